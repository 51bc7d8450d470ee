//! Room `publish`: one publisher's messages.

use std::sync::Arc;

use crate::stamp::{Format, Stamp, Stamper};
use crate::wire::{Property, Source};

/// Makes a publisher's messages of their sequence numbers.
#[derive(Debug)]
pub(super) struct Composer {
    stamper: Arc<Stamper>,
    path: u8,
    publisher: u32,
    format: Format,
    size: usize,
    /// Of the message that was begun last.
    stamp: Stamp,
}

impl Composer {
    /// Path and publisher as the stamp has them.
    pub(super) fn new(
        stamper: Arc<Stamper>,
        (path, publisher): (u8, u32),
        (format, size): (Format, usize),
    ) -> Self {
        let stamp = stamper.stamp(stamper.identity(path, publisher, 0));
        Self { stamper, path, publisher, format, size, stamp }
    }
}

impl Source for Composer {
    fn size(&self) -> usize {
        self.size.max(self.format.size_min())
    }

    fn begin(&mut self, number: u64) -> Property {
        let identity = self.stamper.identity(self.path, self.publisher, number);
        self.stamp = self.stamper.stamp(identity);
        Some(*self.stamp.property())
    }

    fn append(&mut self, packet: &mut Vec<u8>) {
        self.stamp.append(packet, self.format, self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::{Reading, Run};

    #[test]
    fn a_message_is_the_same_whenever_it_is_written() {
        let stamper = Arc::new(Stamper::new(b"plant-7", Run { epoch: 1, instance: 2 }));
        for format in [Format::Json, Format::Text, Format::Binary] {
            let mut composer = Composer::new(Arc::clone(&stamper), (3, 4), (format, 300));
            let mut composed = |number| {
                let (property, mut packet) = (composer.begin(number), vec![7; 99]);
                composer.append(&mut packet);
                (packet.split_off(99), property.unwrap())
            };
            let first = composed(5);
            assert_ne!(composed(6), first);
            let again = composed(5);
            assert_eq!(again, first);
            let Reading::Ours(found) = stamper.read(Some(&again.1), &again.0) else {
                panic!("not found");
            };
            assert_eq!((found.identity.publisher, found.identity.sequence), (4, 5));
            assert_eq!(composer.size(), first.0.len());
        }
    }
}
