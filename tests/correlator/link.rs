//! A simulated link in virtual time between publishers and both sinks, with a truth of its own.
//!
//! Nothing here looks into the correlator: what it is told follows from what happens on the link,
//! and what it should conclude follows from the same, by the rules of loss.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use landfall::clock::Instant;
use landfall::correlate::{
    Append, Carrier, Correlator, DuplicateCause, Event, Lane, Limits, NotSent, Observation,
    Outcome, Path, PathId, PublisherId, Qos, RecordPlace, Roster, Sink, Stage,
};
use landfall::stamp::{Carriers, Integrity};
use landfall::stats::Stats;

pub(super) const PATH: PathId = PathId(0);
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// How long the correlator waits for a sink that is behind.
const PATIENCE: Duration = Duration::from_mins(1);
const MILLI: u64 = 1_000_000;

/// What the link does, in tenths of a percent where nothing else is said.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) seed: u64,
    pub(super) publishers: Vec<Qos>,
    pub(super) slots: u64,
    pub(super) partitions: u32,
    pub(super) interval_millis: u64,
    pub(super) not_sent: u32,
    pub(super) never_sent: u32,
    pub(super) sent_late: u32,
    pub(super) lose: u32,
    pub(super) slow: u32,
    pub(super) double: u32,
    pub(super) damage: u32,
    pub(super) refuse: u32,
    pub(super) unanswered: u32,
    pub(super) slow_answer: u32,
    pub(super) resend: u32,
    /// What was refused or given up comes out all the same.
    pub(super) ghost: u32,
    pub(super) foreign: u32,
    /// A poll, of ten a second.
    pub(super) rewind: u32,
    pub(super) stall: u32,
    /// A subscriber's read, of twenty a second.
    pub(super) cut: u32,
    /// Whether the run is stopped before everything is settled.
    pub(super) stop_early: bool,
}

/// Small numbers, the same for the same seed (splitmix64).
pub(super) struct Dice(pub u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn happens(&mut self, permille: u32) -> bool {
        self.below(1_000) < u64::from(permille)
    }
}

type SlotId = (u32, u64);

#[derive(Clone, Copy, Debug)]
enum Step {
    Due(SlotId),
    NotSent(SlotId, NotSent),
    Sent(SlotId),
    Answer(SlotId, Stage, u8),
    /// The broker passes a message on to a lane.
    Pass(SlotId, Lane, bool),
    Append(Option<SlotId>, bool),
    Queue(SlotId, bool),
    Ask,
    Poll,
    Ping,
    Read,
    Back,
    Advance,
}

#[derive(Clone, Copy)]
enum Queued {
    Message(SlotId, bool, bool),
    Pong(Instant),
}

/// What truly happened to a slot.
#[derive(Clone, Debug, Default)]
struct Slot {
    intended: Instant,
    /// When it was handed to the socket, and in which step of the simulation.
    sent: Option<(Instant, u64)>,
    resent: Option<u64>,
    given_up: Option<u64>,
    accepted: Option<u64>,
    refused: Option<u64>,
    first: [Option<(Instant, u64)>; 2],
}

/// What the books must say of a QoS and lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) outcomes: [u64; 7],
    pub(super) duplicates: [u64; 3],
    pub(super) reordered: u64,
    pub(super) depth_max: u64,
    pub(super) corrupt: u64,
}

pub(super) struct Link {
    shape: Shape,
    dice: Dice,
    now: Instant,
    step: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    steps: Vec<Step>,
    correlator: Correlator,
    pub(super) stats: Stats,
    pub(super) events: Vec<Event>,
    seen_events: usize,
    slots: BTreeMap<SlotId, Slot>,
    verdicts: BTreeMap<(SlotId, usize), Outcome>,
    log: Vec<Vec<(Option<SlotId>, bool, Instant)>>,
    positions: Vec<(usize, usize)>,
    goal: Option<(Instant, Vec<usize>)>,
    stalled_until: Instant,
    wire: VecDeque<Queued>,
    held: Vec<(SlotId, bool)>,
    delivered: VecDeque<SlotId>,
    connected: bool,
    pinging: bool,
    last_there: Instant,
    /// In which step a sink said that it had caught up, and with what.
    caught_up: [Vec<(u64, Instant)>; 2],
    away: Vec<(Instant, Instant)>,
    advances: Vec<(u64, Instant)>,
    highest: BTreeMap<(u32, usize), u64>,
    pub(super) truth: BTreeMap<(Qos, usize), Tally>,
    pub(super) foreign: u64,
}

/// One that has losses confirmed, or one that has not.
fn new_correlator(roster: &Arc<Roster>, shape: &Shape) -> Correlator {
    let correlator = Correlator::new(Arc::clone(roster), Limits::default());
    if shape.seed.is_multiple_of(2) { correlator } else { correlator.confirming() }
}

pub(super) fn roster(publishers: &[Qos]) -> Roster {
    let path = |name: &str| Path {
        name: name.into(),
        lanes: Lane::OF_MQTT.to_vec(),
        qos: Qos::ALL.to_vec(),
        carriers: Carrier::ALL.to_vec(),
        deadline: DEADLINE,
    };
    let mut roster = Roster::default();
    roster.add(path("plant"), publishers.iter().copied());
    roster.add(path("other"), [Qos::AtMostOnce]);
    roster
}

impl Link {
    pub(super) fn new(shape: Shape) -> Self {
        let roster = Arc::new(roster(&shape.publishers));
        let partitions = shape.partitions as usize;
        let mut link = Self {
            dice: Dice(shape.seed),
            now: Instant::from_nanos(1_000 * MILLI),
            step: 0,
            queue: BinaryHeap::new(),
            steps: Vec::new(),
            correlator: new_correlator(&roster, &shape),
            stats: Stats::new(roster),
            events: Vec::new(),
            seen_events: 0,
            slots: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            log: vec![Vec::new(); partitions],
            positions: vec![(0, 0); partitions],
            goal: None,
            stalled_until: Instant::ZERO,
            wire: VecDeque::new(),
            held: Vec::new(),
            delivered: VecDeque::new(),
            connected: true,
            pinging: false,
            last_there: Instant::ZERO,
            caught_up: [Vec::new(), Vec::new()],
            away: Vec::new(),
            advances: Vec::new(),
            highest: BTreeMap::new(),
            truth: BTreeMap::new(),
            foreign: 0,
            shape,
        };
        link.last_there = link.now;
        for publisher in 0..u32::try_from(link.shape.publishers.len()).unwrap() {
            link.later(u64::from(publisher) * 7 * MILLI, Step::Due((publisher, 0)));
        }
        for step in [Step::Ask, Step::Poll, Step::Ping, Step::Read, Step::Advance] {
            let after = link.dice.below(100 * MILLI);
            link.later(after, step);
        }
        link
    }

    /// Lets everything happen, then stops.
    pub(super) fn run(mut self) -> Self {
        let length = self.shape.slots * self.shape.interval_millis * MILLI;
        let settled = if self.shape.stop_early { self.dice.below(12_000) } else { 150_000 };
        let end = self.now.nanos() + length + settled * MILLI;
        while let Some(Reverse((at, index))) = self.queue.pop() {
            if at > end {
                break;
            }
            self.now = Instant::from_nanos(at);
            self.step += 1;
            let step = self.steps[usize::try_from(index).unwrap()];
            self.happen(step);
            self.check_verdicts();
        }
        self.advance();
        self.correlator.finish(&mut self.events);
        self.check_verdicts();
        self.stats.apply(&self.events);
        self.settle();
        self
    }

    pub(super) fn correlator(&self) -> &Correlator {
        &self.correlator
    }

    fn later(&mut self, nanos: u64, step: Step) {
        self.steps.push(step);
        let index = self.steps.len() as u64 - 1;
        // The correlator keeps send times in units of 256 ns.
        let at = (self.now.nanos() + nanos).next_multiple_of(256);
        self.queue.push(Reverse((at, index)));
    }

    fn observe(&mut self, observation: Observation) {
        self.correlator.observe(&observation, &mut self.events);
    }

    fn qos(&self, id: SlotId) -> Qos {
        self.shape.publishers[id.0 as usize]
    }

    fn tally(&mut self, id: SlotId, lane: Lane) -> &mut Tally {
        let key = (self.qos(id), lane.index());
        self.truth.entry(key).or_default()
    }

    fn happen(&mut self, step: Step) {
        match step {
            Step::Due(id) => self.due(id),
            Step::NotSent(id, cause) => {
                self.slots.get_mut(&id).unwrap().given_up = Some(self.step);
                let (publisher, sequence) = (PublisherId(id.0), id.1);
                self.observe(Observation::NotSent { publisher, sequence, cause });
            }
            Step::Sent(id) => self.sent(id),
            Step::Answer(id, stage, reason) => self.answer(id, stage, reason),
            Step::Pass(id, lane, copy) => self.pass(id, lane, copy),
            Step::Append(id, damaged) => {
                let partition = self.dice.below(self.log.len() as u64);
                let record = (id, damaged, self.now);
                self.log[usize::try_from(partition).unwrap()].push(record);
            }
            Step::Queue(id, damaged) => self.queue_message(id, damaged),
            Step::Ask => {
                let highs = self.log.iter().map(Vec::len).collect();
                self.goal.get_or_insert((self.now, highs));
                self.later(1_000 * MILLI, Step::Ask);
            }
            Step::Poll => {
                self.poll();
                let after = self.dice.below(180 * MILLI);
                self.later(after + MILLI, Step::Poll);
            }
            Step::Ping => {
                if self.connected && !self.pinging {
                    self.pinging = true;
                    self.wire.push_back(Queued::Pong(self.now));
                }
                self.later(2_000 * MILLI, Step::Ping);
            }
            Step::Read => {
                self.read();
                let after = self.dice.below(90 * MILLI);
                self.later(after + MILLI, Step::Read);
            }
            Step::Back => self.back(),
            Step::Advance => {
                self.advance();
                self.later(250 * MILLI, Step::Advance);
            }
        }
    }

    fn advance(&mut self) {
        self.step += 1;
        self.advances.push((self.step, self.now));
        self.correlator.advance(self.now, &mut self.events);
        // Whoever looks again at once finds nothing, and the verdicts are the same.
        let lane = Lane::MqttKafka;
        if let Some(from) = self.correlator.missing_since(PATH, lane) {
            let at = self.correlator.caught_up(PATH, lane);
            self.observe(Observation::LookedAgain { path: PATH, lane, from, at });
            self.correlator.advance(self.now, &mut self.events);
            assert_eq!(self.correlator.missing_since(PATH, lane), None);
        }
    }

    fn due(&mut self, id: SlotId) {
        let (publisher, sequence) = (PublisherId(id.0), id.1);
        let slot = Slot { intended: self.now, ..Slot::default() };
        self.slots.insert(id, slot);
        self.observe(Observation::Offered { publisher, sequence, intended: self.now });
        if sequence + 1 < self.shape.slots {
            let jitter = self.dice.below(MILLI);
            self.later(
                self.shape.interval_millis * MILLI + jitter,
                Step::Due((id.0, sequence + 1)),
            );
        }
        if self.dice.happens(self.shape.foreign) {
            self.later(0, Step::Append(None, false));
        }
        if self.dice.happens(self.shape.not_sent) {
            let cause = NotSent::ALL[usize::try_from(self.dice.below(5)).unwrap()];
            self.later(MILLI / 2, Step::NotSent(id, cause));
            if self.dice.happens(self.shape.ghost) {
                self.pass_on(id);
            }
        } else if !self.dice.happens(self.shape.never_sent) {
            let late = self.dice.happens(self.shape.sent_late);
            let most = if late { 8_000 * MILLI } else { MILLI };
            let after = self.dice.below(most);
            self.later(after, Step::Sent(id));
        }
    }

    fn pass_on(&mut self, id: SlotId) {
        for lane in Lane::OF_MQTT {
            let after = MILLI + self.dice.below(MILLI);
            self.later(after, Step::Pass(id, lane, false));
        }
    }

    fn sent(&mut self, id: SlotId) {
        let slot = self.slots.get_mut(&id).unwrap();
        let again = slot.sent.is_some();
        if again {
            slot.resent.get_or_insert(self.step);
        } else {
            slot.sent = Some((self.now, self.step));
        }
        let (publisher, sequence, at) = (PublisherId(id.0), id.1, self.now);
        self.observe(Observation::Sent { publisher, sequence, at, held: false });
        let qos = self.qos(id);
        let answered = qos != Qos::AtMostOnce;
        let refused = answered && !again && self.dice.happens(self.shape.refuse);
        if !refused || self.dice.happens(self.shape.ghost) {
            self.pass_on(id);
        }
        if answered && !again && self.dice.happens(self.shape.resend) {
            let after = 3_000 * MILLI + self.dice.below(9_000 * MILLI);
            self.later(after, Step::Sent(id));
        }
        if !answered || self.dice.happens(self.shape.unanswered) {
            return;
        }
        let slow = self.dice.happens(self.shape.slow_answer);
        let after = MILLI + self.dice.below(if slow { 9_000 * MILLI } else { 20 * MILLI });
        let reason = if refused { 0x87 } else { [0, 0x10][usize::from(again)] };
        match qos {
            Qos::ExactlyOnce => {
                self.later(after, Step::Answer(id, Stage::Pubrec, reason));
                if !refused && !self.dice.happens(self.shape.unanswered) {
                    // A broker that lost its state does not know the packet id any more (0x92):
                    // the message is its own all the same.
                    let reason = if self.dice.happens(100) { 0x92 } else { 0 };
                    self.later(after + MILLI, Step::Answer(id, Stage::Pubcomp, reason));
                }
            }
            _ => self.later(after, Step::Answer(id, Stage::Puback, reason)),
        }
    }

    fn answer(&mut self, id: SlotId, stage: Stage, reason: u8) {
        let slot = self.slots.get_mut(&id).unwrap();
        if reason < 0x80 {
            slot.accepted.get_or_insert(self.step);
        } else if slot.accepted.is_none() {
            slot.refused.get_or_insert(self.step);
        }
        let (publisher, sequence, at) = (PublisherId(id.0), id.1, self.now);
        self.observe(Observation::Acknowledged { publisher, sequence, stage, reason, at });
    }

    fn pass(&mut self, id: SlotId, lane: Lane, copy: bool) {
        if !copy && self.dice.happens(self.shape.double) {
            let after = self.dice.below(20 * MILLI);
            self.later(after, Step::Pass(id, lane, true));
        }
        if self.dice.happens(self.shape.lose) {
            return;
        }
        // Some beyond the deadline, some beyond any verdict.
        let slow = self.dice.happens(self.shape.slow);
        let after = self.dice.below(if slow { 90_000 * MILLI } else { 60 * MILLI });
        let damaged = self.dice.happens(self.shape.damage);
        match lane {
            Lane::MqttKafka => self.later(after, Step::Append(Some(id), damaged)),
            Lane::MqttMqtt => self.later(after, Step::Queue(id, damaged)),
            Lane::KafkaKafka => unreachable!("{id:?} goes in over MQTT"),
        }
    }

    /// The consumer hands over what there is, as room `consume` does.
    fn poll(&mut self) {
        if self.now < self.stalled_until {
            return;
        }
        if self.dice.happens(self.shape.stall) {
            let pause = Duration::from_millis(self.dice.below(100_000));
            self.stalled_until = self.now + pause;
        }
        let at = self.now;
        for partition in 0..self.log.len() {
            if self.dice.happens(self.shape.rewind) {
                let back = usize::try_from(self.dice.below(4)).unwrap();
                self.positions[partition].0 = self.positions[partition].0.saturating_sub(back);
            }
            while let Some(&(id, damaged, append)) =
                self.log[partition].get(self.positions[partition].0)
            {
                let (offset, read_before) = self.positions[partition];
                self.positions[partition] = (offset + 1, read_before.max(offset + 1));
                let Some(id) = id else {
                    self.hand_over_foreign(partition, offset, at);
                    continue;
                };
                let place = RecordPlace {
                    slot: u32::try_from(partition).unwrap(),
                    offset: i64::try_from(offset).unwrap(),
                };
                let append = Append::LogAppendTime(append);
                if offset < read_before {
                    let reread = DuplicateCause::Reread.index();
                    self.tally(id, Lane::MqttKafka).duplicates[reread] += 1;
                } else {
                    self.arrive(id, Lane::MqttKafka, damaged, false);
                }
                self.hand_over(id, Sink::Kafka { place, append }, damaged);
            }
        }
        let passed = |highs: &[usize]| highs.iter().zip(&self.positions).all(|(h, p)| p.0 >= *h);
        if self.goal.as_ref().is_some_and(|(_, highs)| passed(highs)) {
            let (at, _) = self.goal.take().unwrap();
            self.say_caught_up(Lane::MqttKafka, at);
        }
    }

    fn say_caught_up(&mut self, lane: Lane, at: Instant) {
        self.caught_up[lane.index()].push((self.step, at));
        self.observe(Observation::CaughtUp { path: PATH, lane, at });
    }

    /// Somebody else's record: without a stamp, of a slot that was never given out, or of a path
    /// that shares the topic and has a consumer of its own.
    fn hand_over_foreign(&mut self, partition: usize, offset: usize, at: Instant) {
        let kind = self.dice.below(3);
        if kind == 0 {
            self.foreign += 1;
            self.observe(Observation::Foreign { path: PATH, count: 1 });
            return;
        }
        let place = RecordPlace {
            slot: u32::try_from(partition).unwrap(),
            offset: i64::try_from(offset).unwrap(),
        };
        self.foreign += u64::from(kind == 1);
        self.observe(Observation::Received {
            path: PATH,
            stamped_path: if kind == 1 { PATH } else { PathId(1) },
            publisher: 0,
            sequence: if kind == 1 { u64::MAX } else { 0 },
            sink: Sink::Kafka { place, append: Append::None },
            at,
            integrity: Integrity::Intact,
            carriers: Carriers { property: true, payload: true },
            span: None,
        });
    }

    fn hand_over(&mut self, id: SlotId, sink: Sink, damaged: bool) {
        self.observe(Observation::Received {
            path: PATH,
            stamped_path: PATH,
            publisher: id.0,
            sequence: id.1,
            sink,
            at: self.now,
            integrity: if damaged { Integrity::Corrupt } else { Integrity::Intact },
            carriers: Carriers { property: true, payload: !damaged },
            span: None,
        });
    }

    /// Notes that a message came out: the first time, or again.
    fn arrive(&mut self, id: SlotId, lane: Lane, damaged: bool, redelivered: bool) {
        let (now, step) = (self.now, self.step);
        self.tally(id, lane).corrupt += u64::from(damaged);
        let slot = self.slots.get_mut(&id).unwrap();
        if slot.first[lane.index()].is_some() {
            let resent = slot.resent.is_some() || redelivered;
            let cause = if resent { DuplicateCause::Resent } else { DuplicateCause::Pipeline };
            self.tally(id, lane).duplicates[cause.index()] += 1;
            return;
        }
        slot.first[lane.index()] = Some((now, step));
        let highest = self.highest.entry((id.0, lane.index())).or_insert(id.1);
        let depth = highest.saturating_sub(id.1);
        *highest = id.1.max(*highest);
        let tally = self.tally(id, lane);
        tally.reordered += u64::from(depth > 0);
        tally.depth_max = tally.depth_max.max(depth);
    }

    fn queue_message(&mut self, id: SlotId, damaged: bool) {
        if self.connected {
            self.wire.push_back(Queued::Message(id, damaged, false));
        } else if self.qos(id) != Qos::AtMostOnce {
            self.held.push((id, damaged));
        }
    }

    /// The subscriber reads what was sent to it, as room `subscribe` does; or loses its connection.
    fn read(&mut self) {
        if !self.connected {
            return;
        }
        if self.dice.happens(self.shape.cut) {
            self.cut();
            return;
        }
        while let Some(queued) = self.wire.pop_front() {
            self.last_there = self.now;
            match queued {
                Queued::Pong(at) => {
                    self.pinging = false;
                    self.say_caught_up(Lane::MqttMqtt, at);
                }
                Queued::Message(id, damaged, resent) => {
                    self.arrive(id, Lane::MqttMqtt, damaged, resent);
                    self.hand_over(id, Sink::Mqtt { resent }, damaged);
                    self.delivered.push_back(id);
                    if self.delivered.len() > 2 {
                        self.delivered.pop_front();
                    }
                }
            }
        }
    }

    /// What was read but not acknowledged is kept by the broker, and what waited at QoS 1 and 2.
    fn cut(&mut self) {
        (self.connected, self.pinging) = (false, false);
        let unread: Vec<_> = self.wire.drain(..).collect();
        let read = std::mem::take(&mut self.delivered).into_iter().map(|id| (id, false));
        let unread = unread.into_iter().filter_map(|queued| match queued {
            Queued::Message(id, damaged, _) => Some((id, damaged)),
            Queued::Pong(_) => None,
        });
        let kept: Vec<_> = read
            .chain(unread)
            .filter(|&(id, _)| self.shape.publishers[id.0 as usize] == Qos::AtLeastOnce)
            .collect();
        if !self.dice.happens(300) {
            self.held.extend(kept);
        }
        let after = 100 * MILLI + self.dice.below(9_000 * MILLI);
        self.later(after, Step::Back);
    }

    fn back(&mut self) {
        let (from, until) = (self.last_there, self.now);
        self.away.push((from, until));
        self.observe(Observation::Away { path: PATH, lane: Lane::MqttMqtt, from, until });
        self.connected = true;
        self.last_there = self.now;
        let held = std::mem::take(&mut self.held);
        self.wire.extend(held.into_iter().map(|(id, damaged)| Queued::Message(id, damaged, true)));
    }

    /// No slot gets two outcomes on a lane, and none is called lost that was there to be read.
    fn check_verdicts(&mut self) {
        for event in &self.events[self.seen_events..] {
            let &Event::Resolved { publisher, sequence, lane, outcome, .. } = event else {
                continue;
            };
            let id = (publisher.0, sequence);
            let second = self.verdicts.insert((id, lane.index()), outcome);
            assert_eq!(second, None, "{id:?} has one outcome on {lane:?}");
            if matches!(outcome, Outcome::AckedLost | Outcome::UnackedLost) {
                let due = self.slots[&id].intended + DEADLINE;
                let told = self.caught_up[lane.index()].iter().map(|&(_, at)| at).max();
                let told = told.filter(|&at| at > due);
                assert!(told.is_some(), "{id:?} is lost before {lane:?} was read beyond {due:?}");
                assert_eq!(self.slots[&id].first[lane.index()], None, "{id:?} had come out");
                let mut records = self.log.iter().flatten();
                let there = lane == Lane::MqttKafka
                    && records.any(|&(of, _, at)| of == Some(id) && told.is_some_and(|t| at < t));
                assert!(!there, "{id:?} was there when it was called lost");
            }
        }
        self.seen_events = self.events.len();
    }

    /// What became of each slot, by the rules of loss.
    fn settle(&mut self) {
        let slots: Vec<_> = self.slots.keys().copied().collect();
        for id in slots {
            for lane in Lane::OF_MQTT {
                let outcome = self.outcome(id, lane);
                self.tally(id, lane).outcomes[outcome.index()] += 1;
            }
        }
    }

    fn outcome(&self, id: SlotId, lane: Lane) -> Outcome {
        let slot = &self.slots[&id];
        // What ends a slot at once: that it was given up, or refused.
        let ended = match (slot.given_up, slot.refused) {
            (Some(step), _) => Some((step, Outcome::NotSent)),
            (None, Some(step)) => Some((step, Outcome::Rejected)),
            (None, None) => None,
        };
        if let Some((at, step)) = slot.first[lane.index()] {
            let standing = ended.is_none_or(|(ended, _)| ended > step);
            let on_time = at <= slot.intended + DEADLINE && standing;
            return if on_time { Outcome::Delivered } else { Outcome::Late };
        }
        let Some((sent, _)) = slot.sent else { return Outcome::NotSent };
        let due = slot.intended.max(sent) + DEADLINE;
        let away = |&(from, until): &(Instant, Instant)| from <= due && until >= slot.intended;
        let missed = lane == Lane::MqttMqtt && self.away.iter().any(away);
        let caught_up = |step| {
            let told = self.caught_up[lane.index()].iter();
            told.take_while(|&&(at, _)| at < step).any(|&(_, moment)| moment > due)
        };
        let answered = self.qos(id) == Qos::AtMostOnce;
        for &(step, now) in &self.advances {
            if let Some((ended, outcome)) = ended
                && ended < step
            {
                return outcome;
            }
            if caught_up(step) {
                if missed {
                    return Outcome::Unresolved;
                }
                if slot.accepted.is_some_and(|accepted| accepted < step) {
                    return Outcome::AckedLost;
                }
                if answered || now > due + DEADLINE {
                    return Outcome::UnackedLost;
                }
            } else if now > due + PATIENCE {
                return Outcome::Unresolved;
            }
        }
        if caught_up(u64::MAX) { Outcome::UnackedLost } else { Outcome::Unresolved }
    }
}
