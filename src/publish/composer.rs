//! Room `publish`: one publisher's messages.

use crate::stamp::{Format, Stamper, TRACEPARENT_LEN};
use crate::wire::{Composed, Source};

/// Makes a publisher's messages of their sequence numbers.
#[derive(Debug)]
pub(super) struct Composer {
    stamper: Stamper,
    path: u8,
    publisher: u32,
    format: Format,
    size: usize,
    payload: Vec<u8>,
    property: [u8; TRACEPARENT_LEN],
}

impl Composer {
    /// Path and publisher as the stamp has them.
    pub(super) fn new(
        stamper: Stamper,
        (path, publisher): (u8, u32),
        (format, size): (Format, usize),
    ) -> Self {
        let property = [0; TRACEPARENT_LEN];
        Self { stamper, path, publisher, format, size, payload: Vec::new(), property }
    }
}

impl Source for Composer {
    fn size(&self) -> usize {
        self.size.max(self.format.size_min())
    }

    fn compose(&mut self, number: u64) -> Composed<'_> {
        let identity = self.stamper.identity(self.path, self.publisher, number);
        let id = self.stamper.write(&mut self.payload, self.format, self.size, identity);
        self.property = id.traceparent();
        Composed { payload: &self.payload, property: &self.property }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::{Reading, Run};

    #[test]
    fn a_message_is_the_same_whenever_it_is_written() {
        let stamper = Stamper::new(b"plant-7", Run { epoch: 1, instance: 2 });
        for format in [Format::Json, Format::Text, Format::Binary] {
            let mut composer = Composer::new(stamper.clone(), (3, 4), (format, 300));
            let first = (composer.compose(5).payload.to_vec(), composer.property);
            composer.compose(6);
            let again = composer.compose(5);
            assert_eq!((again.payload, again.property), (&first.0[..], &first.1[..]));
            let Reading::Ours(found) = stamper.read(Some(again.property), again.payload) else {
                panic!("not found");
            };
            assert_eq!((found.identity.publisher, found.identity.sequence), (4, 5));
            assert_eq!(composer.size(), first.0.len());
        }
    }
}
