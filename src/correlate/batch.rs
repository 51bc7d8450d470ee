//! Room `correlate`: observations of one edge on their way to the inboxes.

use super::{Observation, PathId, PublisherId, Router, Row};

/// How many observations for one inbox wait at most: some 25 KiB, which a processor keeps close.
const ROOM: usize = 256;

/// Gathers what one edge sees, and hands it on in one push for each inbox.
///
/// # Design
///
/// A busy edge sees a million things a second, and a lock for each of them costs as much as the rest.
/// So they wait here until the edge has nothing more to look at and hands them over, or until there
/// is no room. Every inbox gets what is for it in the order in which it was seen, and what was sent
/// before what was received.
///
/// Nobody knows of what waits: an edge must hand over before it waits for anything, before it says
/// that it has caught up, and before anything can come back of a slot that it was offered, since the
/// books take a message of an unknown slot for somebody else's. What is left when the edge ends is
/// handed over then.
#[derive(Debug)]
pub struct Batch {
    router: Router,
    /// Of each shard, what is for its two inboxes.
    shards: Vec<Waiting>,
}

#[derive(Clone, Debug, Default)]
struct Waiting {
    publish: Vec<Row>,
    receive: Vec<Observation>,
}

impl Batch {
    /// Empty, to be handed over to the shards of this router.
    #[must_use]
    pub fn new(router: &Router) -> Self {
        let shards = vec![Waiting::default(); router.shards().len()];
        Self { router: router.clone(), shards }
    }

    /// Takes what a publisher saw.
    #[inline]
    pub fn publish(&mut self, publisher: PublisherId, observation: Observation) {
        let shard = self.router.shard_of(publisher);
        let rows = &mut self.shards[shard].publish;
        if rows.last_mut().is_some_and(|row| row.takes(&observation)) {
            return;
        }
        rows.push(observation.into());
        if rows.len() >= ROOM {
            self.hand_over_to(shard);
        }
    }

    /// Takes a message that came out, for the shard of the publisher that its stamp names.
    #[inline]
    pub fn receive(&mut self, path: PathId, publisher: u32, observation: Observation) {
        let shard = self.router.shard_of_received(path, publisher, &observation);
        self.push_received(shard, observation);
    }

    /// Takes a count, for one shard.
    pub fn count(&mut self, path: PathId, observation: Observation) {
        self.push_received(self.router.shard_of_path(path), observation);
    }

    /// Takes what every shard must know.
    pub fn tell_all(&mut self, observation: Observation) {
        for shard in 0..self.shards.len() {
            self.push_received(shard, observation);
        }
    }

    /// Hands over everything, waiting for room where an inbox has none.
    pub fn hand_over(&mut self) {
        for shard in 0..self.shards.len() {
            self.hand_over_to(shard);
        }
    }

    #[inline]
    fn push_received(&mut self, shard: usize, observation: Observation) {
        self.shards[shard].receive.push(observation);
        if self.shards[shard].receive.len() >= ROOM {
            self.hand_over_to(shard);
        }
    }

    /// What was sent first: a message must not be in the books before its slot is.
    fn hand_over_to(&mut self, shard: usize) {
        let (waiting, inboxes) = (&mut self.shards[shard], &self.router.shards()[shard]);
        if !waiting.publish.is_empty() {
            inboxes.publish.append(&mut waiting.publish);
        }
        if !waiting.receive.is_empty() {
            inboxes.receive.append(&mut waiting.receive);
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Instant;
    use crate::correlate::{Carrier, Lane, Path, Qos, Roster, Shard};

    const PATH: PathId = PathId(0);

    fn woken(nanos: i64) -> Observation {
        Observation::Woken { publisher: PublisherId(0), nanos }
    }

    fn router(shards: usize) -> Router {
        let path = Path {
            name: "plant".into(),
            lanes: vec![Lane::MqttKafka],
            qos: vec![Qos::AtLeastOnce],
            carriers: vec![Carrier::Payload],
            deadline: Duration::from_secs(1),
        };
        let mut roster = Roster::default();
        roster.add(path, [Qos::AtLeastOnce; 5]);
        Router::new(Arc::new(roster), shards, 100_000)
    }

    /// What lies in the two inboxes of each shard.
    fn taken(router: &Router) -> Vec<[Vec<Observation>; 2]> {
        let taken = |shard: &Shard| {
            let (mut published, mut received) = (Vec::new(), Vec::new());
            shard.publish.swap(&mut published);
            shard.receive.swap(&mut received);
            [published.iter().flat_map(Row::each).collect(), received]
        };
        router.shards().iter().map(taken).collect()
    }

    /// Of one publisher after the other, so that there are rows where none comes between.
    fn sent(publisher: u32, sequence: i64) -> Observation {
        let (publisher, sequence) = (PublisherId(publisher), sequence.unsigned_abs());
        Observation::Sent { publisher, sequence, at: Instant::ZERO, held: false }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Publish(u32),
        Receive(u32),
        Count,
        TellAll,
        HandOver,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            20 => (0_u32..5).prop_map(Step::Publish),
            20 => (0_u32..7).prop_map(Step::Receive),
            1 => Just(Step::Count),
            1 => Just(Step::TellAll),
            1 => Just(Step::HandOver),
        ];
        proptest::collection::vec(step, 0..2_000)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_inboxes_hold_what_they_would_hold_without_it(steps in steps(), shards in 1_usize..4) {
            let (one_by_one, together) = (router(shards), router(shards));
            let mut batch = Batch::new(&together);
            for (n, step) in (0..).zip(&steps) {
                match *step {
                    Step::Publish(publisher) => {
                        one_by_one.publish(PublisherId(publisher), sent(publisher, n));
                        batch.publish(PublisherId(publisher), sent(publisher, n));
                    }
                    Step::Receive(publisher) => {
                        one_by_one.receive(PATH, publisher, woken(n));
                        batch.receive(PATH, publisher, woken(n));
                    }
                    Step::Count => {
                        one_by_one.count(PATH, woken(n));
                        batch.count(PATH, woken(n));
                    }
                    Step::TellAll => {
                        one_by_one.tell_all(woken(n));
                        batch.tell_all(woken(n));
                    }
                    Step::HandOver => batch.hand_over(),
                }
            }
            drop(batch);
            prop_assert_eq!(taken(&together), taken(&one_by_one));
        }
    }

    #[test]
    fn what_fills_its_room_goes_by_itself_behind_what_was_sent() {
        let router = router(1);
        let mut batch = Batch::new(&router);
        batch.publish(PublisherId(0), woken(-1));
        for n in 0..256 {
            assert_eq!(taken(&router), [[vec![], vec![]]], "observation {n}");
            batch.receive(PATH, 0, woken(n));
        }
        let [[published, received]] = &taken(&router)[..] else { unreachable!() };
        assert_eq!(published, &[woken(-1)], "a message is not booked before its slot");
        assert!(received.iter().copied().eq((0..256).map(woken)));
        batch.receive(PATH, 0, woken(256));
        assert_eq!(taken(&router), [[vec![], vec![]]]);
        batch.hand_over();
        assert_eq!(taken(&router), [[vec![], vec![woken(256)]]]);
    }
}
