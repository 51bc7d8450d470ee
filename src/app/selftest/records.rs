//! Room `app`: the records of a message, and when each was appended and could be fetched.

use std::collections::HashMap;

use super::plant::Ledgers;
use super::scenes::{DEADLINE, Part, SCENES, Scene};
use super::timing::Stamped;
use super::truth::{Slot, Stream};
use crate::clock::Instant;
use crate::embedded::bridge::{Landed, Passage};

/// The messages by their trace ids; one that came twice is there twice.
pub(super) type Passages<'a> = HashMap<&'a str, Vec<&'a Passage>>;

/// The records of a message, in their order.
pub(super) fn records_of(passages: &[&Passage]) -> Vec<Landed> {
    let mut records: Vec<Landed> =
        passages.iter().flat_map(|passage| &passage.records).copied().collect();
    records.sort_unstable_by_key(|record| record.offset);
    records
}

/// What the report can know Kafka's clock by: the first records of a publisher's messages, unless they
/// have another timestamp or came too late.
pub(super) fn stamped<'a>(
    stream: &'a Stream,
    ledgers: &'a Ledgers,
    passages: &'a Passages<'_>,
) -> impl Iterator<Item = Stamped> + 'a {
    let scene = SCENES.get(stream.scene);
    let tells_nothing = |part| matches!(part, Part::Created | Part::SetBack | Part::Stuck);
    let scene = scene.filter(|scene| !tells_nothing(scene.part));
    let of = move |slot: &Slot| {
        let scene = scene?;
        let first = *records_of(passages.get(slot.trace_id.as_str())?).first()?;
        let stamped = stamped_of(scene, ledgers, first, slot.intended)?;
        let is_given_up = scene.part != Part::Behind
            && stamped.released.saturating_since(slot.intended) > DEADLINE;
        (!is_given_up).then_some(stamped)
    };
    stream.slots.iter().filter_map(of)
}

/// When a record was appended, and when consumers could have it, by the clock of who reads it.
pub(super) fn stamped_of(
    scene: &Scene,
    ledgers: &Ledgers,
    record: Landed,
    due: Instant,
) -> Option<Stamped> {
    let batches = ledgers.releases.get(&(scene.name.to_owned(), record.partition))?;
    let place = batches.partition_point(|&(base, ..)| base <= record.offset);
    let &(base, count, appended) = batches.get(place.checked_sub(1)?)?;
    if record.offset >= base + count {
        return None;
    }
    let released = match scene.part {
        Part::Behind => appended.max(ledgers.moments.let_go?),
        _ => appended,
    };
    let (appended, released) = (appended - scene.set_back(), released - scene.set_back());
    Some(Stamped { due, appended, released })
}
