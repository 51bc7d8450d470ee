//! Room `embedded` (edge): which Kafka requests are answered, and in which versions.
//!
//! The fields are the protocol guide's. Topic ids (Fetch 13, Metadata 10, Produce 13) are left out
//! on purpose; clients choose the highest version that both sides have.

use kafka_protocol::messages::ApiKey;

use super::shape::Shape::{Bytes, Fixed, Structs, Text, Values};
use super::shape::{Field, Shape, always, body_of, only, since};

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
            only(2, 4, Fixed(8)),
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
            only(0, 2, Text),
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
        body_of(self.fields, version, version >= self.flexible, frame)
    }
}
