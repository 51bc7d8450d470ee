//! Room `embedded` (edge): whether the bytes of a Kafka request have the form that they should.
//!
//! # Design
//!
//! The codec reserves memory for as many elements as an array claims to have before it reads the
//! first, so four bytes of garbage could make it ask for terabytes, which ends the process. Every
//! request is therefore walked here before it is decoded.

/// Elements of all arrays and tags of one request together.
const ELEMENTS_MAX: usize = 100_000;

/// A field's form on the wire.
#[derive(Debug)]
pub(super) enum Shape {
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
pub(super) struct Field(i16, i16, Shape);

/// In every version.
pub(super) const fn always(shape: Shape) -> Field {
    Field(0, i16::MAX, shape)
}

/// From this version on.
pub(super) const fn since(version: i16, shape: Shape) -> Field {
    Field(version, i16::MAX, shape)
}

/// A field of versions up to `last` only.
pub(super) const fn only(first: i16, last: i16, shape: Shape) -> Field {
    Field(first, last, shape)
}

/// Where the body of a request begins in `frame`, if header and body have the given form. A
/// `flexible` version has compact lengths and tagged fields.
pub(super) fn body_of(
    fields: &[Field],
    version: i16,
    flexible: bool,
    frame: &[u8],
) -> Option<usize> {
    let mut walk = Walk { rest: frame, version, flexible: false, elements: 0 };
    // Key, version, correlation id and client id; the latter stays in the old form for ever.
    walk.one(&Shape::Fixed(8))?;
    walk.one(&Shape::Text)?;
    walk.flexible = flexible;
    walk.tags()?;
    let body = frame.len() - walk.rest.len();
    walk.fields(fields)?;
    Some(body)
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
            Shape::Fixed(length) => self.skip(*length),
            Shape::Text | Shape::Bytes => {
                let length = self.length(matches!(shape, Shape::Text))?;
                self.skip(length)
            }
            Shape::Structs(fields) => self.each(|walk| walk.fields(fields)),
            Shape::Values(shape) => self.each(|walk| walk.one(shape)),
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

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        always(Shape::Structs(&[always(Shape::Text), since(2, Shape::Fixed(4))])),
        only(0, 1, Shape::Bytes),
        since(2, Shape::Values(&Shape::Fixed(2))),
    ];

    fn walked(version: i16, body: &[u8]) -> bool {
        let flexible = version >= 3;
        let mut frame = vec![0; 8];
        frame.extend([0, 1, b'c']);
        frame.extend(if flexible { &[0][..] } else { &[] });
        let begin = frame.len();
        frame.extend(body);
        match body_of(FIELDS, version, flexible, &frame) {
            Some(found) => found == begin,
            None => false,
        }
    }

    #[test]
    fn each_version_has_its_form() {
        let old = [0, 0, 0, 1, 0, 2, b'a', b'b', 0, 0, 0, 1, 7];
        assert!(walked(1, &old));
        assert!(!walked(2, &old));
        assert!(walked(2, &[0, 0, 0, 1, 0, 0, 1, 2, 3, 4, 0, 0, 0, 1, 0, 9]));
        // Compact: one struct of "ab", four bytes and a tag 5 of one byte, two values, no tags.
        let new = [2, 3, b'a', b'b', 1, 2, 3, 4, 1, 5, 1, 9, 3, 0, 1, 0, 2, 0];
        assert!(walked(3, &new));
        for length in 0..new.len() {
            assert!(!walked(3, &new[..length]), "{length} bytes");
        }
    }

    #[test]
    fn null_is_empty() {
        assert!(walked(1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
        assert!(walked(3, &[0, 0, 0]));
    }

    #[test]
    fn claims_without_bytes_are_refused() {
        assert!(!walked(1, &[0x7f, 0xff, 0xff, 0xff, 0, 0]));
        assert!(!walked(3, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0]));
        assert!(!walked(3, &[0xff; 20]));
        // The bytes are there, but there are too many elements.
        let count = u32::try_from(ELEMENTS_MAX + 1).unwrap();
        let mut many = count.to_be_bytes().to_vec();
        many.resize(4 + 2 * (ELEMENTS_MAX + 1) + 4, 0);
        assert!(!walked(1, &many));
        many[..4].copy_from_slice(&(count - 1).to_be_bytes());
        assert!(walked(1, &many));
    }
}
