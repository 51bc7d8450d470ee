//! Room `telemetry`: what every message counts for, added up before it is counted.

use crate::correlate::{Event, PublisherId};

use super::Inner;

/// Counts of some events by group. A counter that many threads may touch costs more than the addition.
pub(super) struct Tally<'a> {
    inner: &'a Inner,
    counts: Vec<Counts>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    offered: u64,
    published: u64,
    acknowledged: u64,
}

impl<'a> Tally<'a> {
    pub(super) fn of(inner: &'a Inner) -> Self {
        Self { inner, counts: vec![Counts::default(); inner.groups.len()] }
    }

    /// Counts an event, if it is one of those that every message brings; whether that was all.
    pub(super) fn take(&mut self, event: &Event) -> bool {
        match *event {
            Event::Offered { publisher, count } => {
                self.count(publisher, count, |counts| &mut counts.offered);
            }
            // How late they were is counted with all other legs.
            Event::Published { publisher, count, .. } => {
                self.count(publisher, count, |counts| &mut counts.published);
                return false;
            }
            Event::Acknowledged { publisher, .. } => {
                self.count(publisher, 1, |counts| &mut counts.acknowledged);
            }
            _ => return false,
        }
        true
    }

    fn count(
        &mut self,
        publisher: PublisherId,
        count: u32,
        of: impl FnOnce(&mut Counts) -> &mut u64,
    ) {
        let Some(&group) = self.inner.group_of.get(publisher.0 as usize) else { return };
        if let Some(counts) = self.counts.get_mut(usize::from(group)) {
            *of(counts) += u64::from(count);
        }
    }

    /// Books what was counted.
    pub(super) fn book(self) {
        for (group, counts) in self.inner.groups.iter().zip(self.counts) {
            let Counts { offered, published, acknowledged } = counts;
            for (counter, count) in [
                (&group.offered, offered),
                (&group.published, published),
                (&group.acknowledged, acknowledged),
            ] {
                if count > 0 {
                    counter.increment(count);
                }
            }
        }
    }
}
