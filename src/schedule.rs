//! Room `schedule` (pure): the open-loop plan of which slot is due when.
//!
//! # Design
//!
//! A slot is due whatever became of the slots before it: nothing here knows whether the system
//! keeps up. With fixed arrivals the due time is a function of the index, in wide integers, so that
//! no rounding adds up over months; with Poisson arrivals each gap is a function of seed and index,
//! and the due times are their sum. A [`Profile`] moves them.
//!
//! The one exception is named as such wherever it shows: a closed loop has no plan. Its slots are
//! due when they are asked for, since there is room for another message.

mod profile;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Instant;
use crate::splitmix::mix;

pub use profile::Profile;

const NANOS_PER_SECOND: f64 = 1e9;

/// How the slots of a publisher are spread in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// Independent of each other, with exponentially distributed gaps.
    #[default]
    Poisson,
    /// At equal distances.
    Fixed,
    /// Whenever there is room for one more: a closed loop, whose rate the system decides.
    Closed,
}

/// The plan of one publisher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// How slots are spread.
    pub arrivals: Arrivals,
    /// Mean distance of two slots, in nanoseconds; above zero.
    pub interval_nanos: f64,
    /// Distance of the first slot from the start, in parts of the interval: 0 to 1.
    pub phase: f64,
    /// Makes the plan; the same seed gives the same plan.
    pub seed: u64,
    /// How the rate changes.
    pub profile: Profile,
}

impl Config {
    /// The plans of the `clients` publishers that share `rate` messages a second: equal in rate,
    /// evenly out of phase, each with a seed of its own. `shift`, from 0 to 1, moves all of them by
    /// that part of the distance between two.
    pub fn shared(
        arrivals: Arrivals,
        rate: f64,
        (clients, shift): (u32, f64),
        seed: u64,
    ) -> impl Iterator<Item = Self> {
        let interval_nanos = NANOS_PER_SECOND * f64::from(clients) / rate;
        (0..clients).map(move |client| Self {
            arrivals,
            interval_nanos,
            phase: (f64::from(client) + shift) / f64::from(clients),
            seed: mix(seed ^ mix(u64::from(client))),
            profile: Profile::Steady,
        })
    }
}

/// A stretch of the schedule of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Index of the path.
    pub path: u8,
    /// When the time of its schedule begins.
    pub start: Instant,
    /// Slots that are due from here on are not part of it; without it there is no end.
    pub until: Option<Instant>,
}

/// One slot of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// When it is due.
    pub intended: Instant,
    /// Index of the publisher in the agenda.
    pub publisher: u32,
    /// Index of the slot within its publisher.
    pub sequence: u64,
}

/// The plans of many publishers, merged in order of time.
#[derive(Clone, Debug)]
pub struct Agenda {
    plans: Vec<Plan>,
    due: BinaryHeap<Reverse<Slot>>,
}

impl Agenda {
    /// The plans of publishers, by their index. Nothing is due before they begin.
    pub fn new(configs: impl IntoIterator<Item = Config>) -> Self {
        Self { plans: configs.into_iter().map(Plan::new).collect(), due: BinaryHeap::new() }
    }

    /// Begins a publisher's plan at `start`. Once: its slots would else be given out twice.
    pub fn begin(&mut self, publisher: u32, start: Instant) {
        if let Some(plan) = self.plans.get_mut(publisher as usize) {
            (plan.start, plan.has_begun) = (start, true);
            if plan.config.arrivals != Arrivals::Closed {
                self.due.push(Reverse(plan.next_slot(publisher)));
            }
        }
    }

    /// Has a publisher's slots numbered from `first` on. Before its plan begins.
    pub fn number_from(&mut self, publisher: u32, first: u64) {
        if let Some(plan) = self.plans.get_mut(publisher as usize) {
            (plan.first, plan.sequence) = (first, first);
        }
    }

    /// Takes a slot of a publisher in a closed loop, due at `now`; nothing before its plan begins, nor
    /// of any other publisher.
    pub fn take_closed(&mut self, publisher: u32, now: Instant) -> Option<Slot> {
        let plan = self.plans.get_mut(publisher as usize)?;
        let is_open = plan.config.arrivals == Arrivals::Closed && plan.has_begun;
        if !is_open || now < plan.start {
            return None;
        }
        let sequence = plan.sequence;
        plan.sequence += 1;
        Some(Slot { intended: now, publisher, sequence })
    }

    /// When the next slot is due; `None` where no plan has begun.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse(slot)| slot.intended)
    }

    /// Takes the next slot if it is due at `now`. Slots come in order of time; those that are
    /// overdue come too, with the time at which they were due.
    pub fn take_due(&mut self, now: Instant) -> Option<Slot> {
        let mut top = self.due.peek_mut()?;
        let slot = top.0;
        if slot.intended > now {
            return None;
        }
        let plan = &mut self.plans[slot.publisher as usize];
        *top = Reverse(plan.next_slot(slot.publisher));
        Some(slot)
    }
}

/// Where one publisher stands in its plan.
#[derive(Clone, Debug)]
struct Plan {
    config: Config,
    start: Instant,
    has_begun: bool,
    /// The sequence that the plan begins with.
    first: u64,
    sequence: u64,
    /// Poisson: nanoseconds from the start to the last slot given out.
    elapsed_nanos: u64,
}

impl Plan {
    fn new(config: Config) -> Self {
        Self {
            config,
            start: Instant::ZERO,
            has_begun: false,
            first: 0,
            sequence: 0,
            elapsed_nanos: 0,
        }
    }

    fn next_slot(&mut self, publisher: u32) -> Slot {
        let sequence = self.sequence;
        self.sequence += 1;
        let nanos = match self.config.arrivals {
            Arrivals::Fixed | Arrivals::Closed => self.fixed_nanos(sequence - self.first),
            Arrivals::Poisson => {
                self.elapsed_nanos = self.elapsed_nanos.saturating_add(self.gap_nanos(sequence));
                self.elapsed_nanos
            }
        };
        let nanos = i64::try_from(self.config.profile.warp(nanos)).unwrap_or(i64::MAX);
        Slot { intended: self.start.offset(nanos), publisher, sequence }
    }

    /// `(index + phase) * interval`, exact to the nanosecond: the interval is held in 2^-32 ns.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the interval is positive and far below 2^96; float casts saturate"
    )]
    fn fixed_nanos(&self, index: u64) -> u64 {
        const FRACTION: f64 = 4_294_967_296.0;
        let interval = (self.config.interval_nanos * FRACTION) as u128;
        let phase = (self.config.interval_nanos * self.config.phase * FRACTION) as u128;
        let nanos = (u128::from(index).saturating_mul(interval).saturating_add(phase)) >> 32;
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// An exponentially distributed gap with the mean of the interval.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "53 random bits make the uniform number; float casts saturate"
    )]
    fn gap_nanos(&self, sequence: u64) -> u64 {
        let bits = mix(self.config.seed.wrapping_add(mix(sequence))) >> 11;
        let uniform = (bits as f64 + 0.5) / (1_u64 << 53) as f64;
        (-uniform.ln() * self.config.interval_nanos).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agenda(arrivals: Arrivals, rate: f64, clients: u32, seed: u64) -> Agenda {
        let mut agenda = Agenda::new(Config::shared(arrivals, rate, (clients, 0.0), seed));
        (0..clients).for_each(|client| agenda.begin(client, Instant::from_nanos(1_000)));
        agenda
    }

    fn take(agenda: &mut Agenda, count: usize) -> Vec<Slot> {
        let end = Instant::from_nanos(u64::MAX);
        std::iter::from_fn(|| agenda.take_due(end)).take(count).collect()
    }

    proptest! {
        #[test]
        fn slots_come_in_order_and_none_is_left_out(
            fixed in any::<bool>(), rate in 0.01_f64..100_000.0, clients in 1_u32..20, seed in any::<u64>(),
        ) {
            let arrivals = if fixed { Arrivals::Fixed } else { Arrivals::Poisson };
            let slots = take(&mut agenda(arrivals, rate, clients, seed), 500);
            prop_assert!(slots.is_sorted_by_key(|slot| slot.intended));
            for publisher in 0..clients {
                let sequences = slots.iter().filter(|slot| slot.publisher == publisher);
                prop_assert!(sequences.map(|slot| slot.sequence).eq(
                    (0..).take(slots.iter().filter(|slot| slot.publisher == publisher).count())
                ));
            }
        }

        #[test]
        fn nothing_is_due_before_its_time(rate in 0.1_f64..1_000.0, seed in any::<u64>()) {
            let mut agenda = agenda(Arrivals::Poisson, rate, 3, seed);
            let due = agenda.next_due().unwrap();
            prop_assert_eq!(agenda.take_due(due.offset(-1)), None);
            prop_assert_eq!(agenda.take_due(due).map(|slot| slot.intended), Some(due));
        }
    }

    #[test]
    fn a_fixed_schedule_does_not_drift_over_a_year() {
        let plan = Plan::new(Config::shared(Arrivals::Fixed, 3.0, (1, 0.0), 0).next().unwrap());
        let year_seconds = 365 * 86_400_u64;
        let off = plan.fixed_nanos(3 * year_seconds).abs_diff(year_seconds * 1_000_000_000);
        assert!(off < 1_000, "{off} ns");
    }

    #[test]
    fn clients_of_a_fixed_schedule_take_turns() {
        let slots = take(&mut agenda(Arrivals::Fixed, 1_000.0, 4, 0), 8);
        let due: Vec<u64> = slots.iter().map(|slot| slot.intended.nanos() - 1_000).collect();
        assert_eq!(due, (0..8).map(|slot| slot * 1_000_000).collect::<Vec<_>>());
        let order: Vec<u32> = slots.iter().map(|slot| slot.publisher).collect();
        assert_eq!(order, [0, 1, 2, 3, 0, 1, 2, 3]);
    }

    #[test]
    fn a_publisher_that_begins_later_has_the_same_plan_later() {
        let plans = || Config::shared(Arrivals::Poisson, 100.0, (2, 0.0), 7);
        let of = |starts: [u64; 2], publisher| {
            let mut agenda = Agenda::new(plans());
            assert_eq!(agenda.next_due(), None, "nothing has begun");
            agenda.begin(0, Instant::from_nanos(starts[0]));
            take(&mut agenda, 10);
            agenda.begin(1, Instant::from_nanos(starts[1]));
            let slots = take(&mut agenda, 600);
            assert!(slots.is_sorted_by_key(|slot| slot.intended));
            let its = slots.iter().filter(|slot| slot.publisher == publisher);
            its.map(|slot| (slot.sequence, slot.intended.nanos())).take(15).collect::<Vec<_>>()
        };
        let (early, late) = (of([0, 1_000_000_000], 1), of([0, 3_000_000_000], 1));
        let moved = early.iter().map(|&(sequence, due)| (sequence, due + 2_000_000_000));
        assert_eq!(late, moved.collect::<Vec<_>>());
        assert_eq!(late[0].0, 0);
    }

    #[test]
    fn a_plan_that_goes_on_begins_at_once_and_keeps_its_rate() {
        for arrivals in [Arrivals::Fixed, Arrivals::Poisson] {
            let mut agenda = Agenda::new(Config::shared(arrivals, 100.0, (1, 0.0), 7));
            agenda.number_from(0, 1_000_000);
            agenda.begin(0, Instant::ZERO);
            let slots = take(&mut agenda, 1_000);
            assert!(slots.iter().map(|slot| slot.sequence).eq(1_000_000..1_001_000));
            let seconds = slots[999].intended.saturating_since(Instant::ZERO).as_secs_f64();
            assert!((8.0..12.0).contains(&seconds), "{seconds}");
        }
    }

    #[test]
    fn a_closed_loop_is_due_when_it_is_asked() {
        let mut agenda = Agenda::new(Config::shared(Arrivals::Closed, 100.0, (2, 0.0), 7));
        let (start, later) = (Instant::from_nanos(1_000), Instant::from_nanos(5_000));
        assert_eq!(agenda.take_closed(0, later), None, "it has not begun");
        agenda.number_from(0, 10);
        agenda.begin(0, start);
        assert_eq!(agenda.next_due(), None);
        assert_eq!(agenda.take_closed(0, start.offset(-1)), None);
        for sequence in 10..13 {
            let slot = Slot { intended: later, publisher: 0, sequence };
            assert_eq!(agenda.take_closed(0, later), Some(slot));
        }
        assert_eq!(agenda.take_closed(1, later), None);
        let mut open = self::agenda(Arrivals::Fixed, 100.0, 1, 7);
        assert_eq!(open.take_closed(0, later), None, "it has a plan");
    }

    #[test]
    fn a_profile_moves_slots_and_leaves_none_out() {
        let profile = Profile::Burst { every_nanos: 100_000_000 };
        let plans = Config::shared(Arrivals::Fixed, 1_000.0, (10, 0.0), 0);
        let mut agenda = Agenda::new(plans.map(|plan| Config { profile, ..plan }));
        (0..10).for_each(|client| agenda.begin(client, Instant::ZERO));
        let slots = take(&mut agenda, 250);
        let due = |slot: &Slot| slot.intended.nanos() / 1_000_000;
        assert!(slots[..100].iter().all(|slot| due(slot) == 0));
        assert!(slots[100..200].iter().all(|slot| due(slot) == 100));
        let mut burst: Vec<_> = slots[..100].iter().map(|it| (it.publisher, it.sequence)).collect();
        burst.sort_unstable();
        assert!(burst.into_iter().eq((0..10).flat_map(|of| (0..10).map(move |n| (of, n)))));
    }

    #[test]
    fn a_shift_lets_groups_take_turns() {
        let first = |shift| {
            let mut agenda = Agenda::new(Config::shared(Arrivals::Fixed, 100.0, (1, shift), 0));
            agenda.begin(0, Instant::ZERO);
            agenda.next_due().unwrap().nanos()
        };
        assert_eq!([first(0.0), first(0.5)], [0, 5_000_000]);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() {
        let slots = take(&mut agenda(Arrivals::Poisson, 1_000.0, 1, 7), 50_000);
        let seconds = slots.last().unwrap().intended.saturating_since(Instant::ZERO).as_secs_f64();
        assert!((seconds - 50.0).abs() < 1.0, "50,000 slots in {seconds} s");
        let mut a_window = vec![0_u32; 500];
        for slot in &slots {
            let window = usize::try_from(slot.intended.nanos() / 100_000_000).unwrap();
            if let Some(count) = a_window.get_mut(window) {
                *count += 1;
            }
        }
        let mean = f64::from(a_window.iter().take(480).sum::<u32>()) / 480.0;
        let squares = a_window.iter().take(480).map(|&n| (f64::from(n) - mean).powi(2));
        let dispersion = squares.sum::<f64>() / 479.0 / mean;
        assert!((0.8..1.25).contains(&dispersion), "variance over mean is {dispersion}");
    }

    #[test]
    fn the_same_seed_gives_the_same_plan() {
        let slots = take(&mut agenda(Arrivals::Poisson, 100.0, 3, 42), 1_000);
        let fingerprint = slots.iter().fold(0, |sum, slot| {
            mix(sum ^ slot.intended.nanos() ^ u64::from(slot.publisher) ^ (slot.sequence << 20))
        });
        assert_eq!(fingerprint, 15_266_729_710_387_155_996, "golden fingerprint");
    }
}
