//! Room `embedded` (edge): which requests are answered, in which versions, and whether the bytes of
//! one have its shape.
//!
//! # Design
//!
//! The codec reserves memory for as many elements as an array claims to have before it reads the
//! first, so four bytes of garbage could make it ask for terabytes, which ends the process. Every
//! request is therefore walked here first, by a description of its fields: the protocol guide's,
//! in the versions offered. Topic ids (Fetch 13, Metadata 10) are left out on purpose; clients
//! choose the highest version that both sides have.

use kafka_protocol::messages::ApiKey;

/// Elements of all arrays and tags of one request together.
const ELEMENTS_MAX: usize = 100_000;

/// A field's form on the wire.
#[derive(Debug)]
enum Shape {
    /// So many bytes (numbers and booleans).
    Fixed(usize),
    Text,
    Bytes,
    /// An array of structs.
    Structs(&'static [Field]),
    /// An array of plain values.
    Values(&'static Shape),
}

/// A form, and the versions that have it.
#[derive(Debug)]
struct Field(i16, i16, Shape);

const fn always(shape: Shape) -> Field {
    Field(0, i16::MAX, shape)
}

const fn since(version: i16, shape: Shape) -> Field {
    Field(version, i16::MAX, shape)
}

/// A kind of request that is answered.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) key: ApiKey,
    pub(super) min: i16,
    pub(super) max: i16,
    /// The first version with compact lengths and tagged fields.
    flexible: i16,
    fields: &'static [Field],
}

use Shape::{Bytes, Fixed, Structs, Text, Values};

const INT32: Shape = Fixed(4);
const TOPIC_OF_INT32: &[Field] = &[always(Text), always(Values(&INT32))];

const fn api(key: ApiKey, min: i16, max: i16, flexible: i16, fields: &'static [Field]) -> Api {
    Api { key, min, max, flexible, fields }
}

/// Everything that is answered.
pub(super) const APIS: &[Api] = &[
    api(
        ApiKey::Produce,
        3,
        9,
        9,
        &[
            always(Text),
            always(Fixed(6)),
            always(Structs(&[always(Text), always(Structs(&[always(INT32), always(Bytes)]))])),
        ],
    ),
    api(
        ApiKey::Fetch,
        4,
        12,
        12,
        &[
            always(Fixed(17)),
            since(7, Fixed(8)),
            always(Structs(&[
                always(Text),
                always(Structs(&[
                    always(INT32),
                    since(9, INT32),
                    always(Fixed(8)),
                    since(12, INT32),
                    since(5, Fixed(8)),
                    always(INT32),
                ])),
            ])),
            since(7, Structs(TOPIC_OF_INT32)),
            since(11, Text),
        ],
    ),
    api(
        ApiKey::ListOffsets,
        1,
        6,
        6,
        &[
            always(INT32),
            since(2, Fixed(1)),
            always(Structs(&[
                always(Text),
                always(Structs(&[always(INT32), since(4, INT32), always(Fixed(8))])),
            ])),
        ],
    ),
    api(
        ApiKey::Metadata,
        0,
        9,
        9,
        &[always(Structs(&[always(Text)])), since(4, Fixed(1)), since(8, Fixed(2))],
    ),
    api(
        ApiKey::OffsetCommit,
        2,
        8,
        8,
        &[
            always(Text),
            always(INT32),
            always(Text),
            since(7, Text),
            Field(2, 4, Fixed(8)),
            always(Structs(&[
                always(Text),
                always(Structs(&[always(INT32), always(Fixed(8)), since(6, INT32), always(Text)])),
            ])),
        ],
    ),
    api(
        ApiKey::OffsetFetch,
        1,
        7,
        6,
        &[always(Text), always(Structs(TOPIC_OF_INT32)), since(7, Fixed(1))],
    ),
    api(ApiKey::FindCoordinator, 0, 3, 3, &[always(Text), since(1, Fixed(1))]),
    api(
        ApiKey::JoinGroup,
        0,
        7,
        6,
        &[
            always(Text),
            always(INT32),
            since(1, INT32),
            always(Text),
            since(5, Text),
            always(Text),
            always(Structs(&[always(Text), always(Bytes)])),
        ],
    ),
    api(ApiKey::Heartbeat, 0, 4, 4, &[always(Text), always(INT32), always(Text), since(3, Text)]),
    api(
        ApiKey::LeaveGroup,
        0,
        5,
        4,
        &[
            always(Text),
            Field(0, 2, Text),
            since(3, Structs(&[always(Text), always(Text), since(5, Text)])),
        ],
    ),
    api(
        ApiKey::SyncGroup,
        0,
        5,
        4,
        &[
            always(Text),
            always(INT32),
            always(Text),
            since(3, Text),
            since(5, Text),
            since(5, Text),
            always(Structs(&[always(Text), always(Bytes)])),
        ],
    ),
    api(ApiKey::ApiVersions, 0, 3, 3, &[since(3, Text), since(3, Text)]),
    api(
        ApiKey::CreateTopics,
        2,
        6,
        5,
        &[
            always(Structs(&[
                always(Text),
                always(Fixed(6)),
                always(Structs(&[always(INT32), always(Values(&INT32))])),
                always(Structs(&[always(Text), always(Text)])),
            ])),
            always(Fixed(5)),
        ],
    ),
    api(ApiKey::DeleteTopics, 1, 5, 4, &[always(Values(&Text)), always(INT32)]),
    api(ApiKey::InitProducerId, 0, 4, 2, &[always(Text), always(INT32), since(3, Fixed(10))]),
    api(
        ApiKey::OffsetForLeaderEpoch,
        2,
        4,
        4,
        &[since(3, INT32), always(Structs(&[always(Text), always(Structs(&[always(Fixed(12))]))]))],
    ),
    api(
        ApiKey::DescribeConfigs,
        1,
        4,
        4,
        &[
            always(Structs(&[always(Fixed(1)), always(Text), always(Values(&Text))])),
            always(Fixed(1)),
            since(3, Fixed(1)),
        ],
    ),
    api(
        ApiKey::CreatePartitions,
        0,
        3,
        2,
        &[
            always(Structs(&[
                always(Text),
                always(INT32),
                always(Structs(&[always(Values(&INT32))])),
            ])),
            always(Fixed(5)),
        ],
    ),
];

impl Api {
    /// The kind that a request header names.
    pub(super) fn of(key: i16) -> Option<&'static Self> {
        APIS.iter().find(|api| api.key as i16 == key)
    }

    /// Where the body of a request begins in `frame`, if header and body have the shape that this
    /// version prescribes.
    pub(super) fn body_of(&self, version: i16, frame: &[u8]) -> Option<usize> {
        let mut walk = Walk { rest: frame, version, flexible: false, elements: 0 };
        // Key, version, correlation id and client id; the latter stays in the old form for ever.
        walk.one(&Fixed(8))?;
        walk.one(&Text)?;
        walk.flexible = version >= self.flexible;
        walk.tags()?;
        let body = frame.len() - walk.rest.len();
        walk.fields(self.fields)?;
        Some(body)
    }
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements: usize,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Option<()> {
        for Field(from, to, shape) in fields {
            if (*from..=*to).contains(&self.version) {
                self.one(shape)?;
            }
        }
        self.tags()
    }

    fn one(&mut self, shape: &Shape) -> Option<()> {
        match shape {
            Fixed(length) => self.skip(*length),
            Text | Bytes => {
                let length = self.length(matches!(shape, Text))?;
                self.skip(length)
            }
            Structs(fields) => self.each(|walk| walk.fields(fields)),
            Values(shape) => self.each(|walk| walk.one(shape)),
        }
    }

    fn each(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        for _ in 0..self.length(false)? {
            self.count()?;
            element(self)?;
        }
        Some(())
    }

    fn tags(&mut self) -> Option<()> {
        if self.flexible {
            for _ in 0..self.varint()? {
                self.count()?;
                self.varint()?;
                let length = self.varint()?;
                self.skip(usize::try_from(length).ok()?)?;
            }
        }
        Some(())
    }

    fn count(&mut self) -> Option<()> {
        self.elements += 1;
        (self.elements <= ELEMENTS_MAX).then_some(())
    }

    /// The length of what follows; null is as long as empty.
    fn length(&mut self, short: bool) -> Option<usize> {
        let length = if self.flexible {
            i64::from(self.varint()?) - 1
        } else if short {
            let (head, rest) = self.rest.split_first_chunk()?;
            self.rest = rest;
            i64::from(i16::from_be_bytes(*head))
        } else {
            let (head, rest) = self.rest.split_first_chunk()?;
            self.rest = rest;
            i64::from(i32::from_be_bytes(*head))
        };
        usize::try_from(length.max(0)).ok()
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for shift in (0..5).map(|byte| byte * 7) {
            let (head, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u32::from(head & 0x7f) << shift;
            if head & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.rest = self.rest.get(length..)?;
        Some(())
    }
}
