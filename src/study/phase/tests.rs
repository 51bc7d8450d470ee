//! Room `study`: the state machine of a run, by example and by chance.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const PUBLISHER: Role = Role::Publisher(0);
const CONSUMER: Role = Role::Consumer(0);
/// The only role of the second path.
const OTHER: Role = Role::Publisher(1);

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

fn machine(paths: Vec<Vec<Role>>, measure_for: Option<Duration>) -> Machine {
    Machine::new(Plan { paths, measure_for, settle: 40 * SECOND, drain: 20 * SECOND })
}

fn one_path(measure_for: Option<Duration>) -> Machine {
    machine(vec![vec![PUBLISHER, CONSUMER]], measure_for)
}

fn two_paths(measure_for: Option<Duration>) -> Machine {
    machine(vec![vec![PUBLISHER, CONSUMER], vec![OTHER]], measure_for)
}

fn up(machine: &mut Machine, roles: &[Role]) {
    for &role in roles {
        machine.notice(&Notice::Up(role));
    }
}

fn down(role: Role, why: &str) -> Notice {
    Notice::Down(role, why.into())
}

fn loading(measure_for: Option<Duration>) -> Machine {
    let mut machine = one_path(measure_for);
    up(&mut machine, &[PUBLISHER, CONSUMER]);
    let since = at(1) + LEAD;
    let until = measure_for.map(|length| since + length);
    let start = Command::Start { path: 0, at: since, until };
    assert_eq!(machine.advance(at(1), 0), Some(start));
    assert_eq!(machine.advance(at(1), 0), None);
    machine
}

#[test]
fn nothing_is_due_before_everything_of_a_path_stands() {
    let mut machine = one_path(None);
    assert!(machine.notice(&Notice::Up(PUBLISHER)));
    assert_eq!(machine.advance(at(100), 0), None);
    assert_eq!(machine.down().collect::<Vec<_>>(), [(CONSUMER, None)]);
    machine.notice(&Notice::Up(CONSUMER));
    assert!(matches!(machine.advance(at(101), 0), Some(Command::Start { until: None, .. })));
    assert!(machine.is_ready());
}

#[test]
fn paths_that_are_ready_at_about_the_same_time_begin_together() {
    let mut machine = two_paths(Some(10 * SECOND));
    up(&mut machine, &[PUBLISHER, CONSUMER]);
    assert_eq!(machine.advance(at(1), 0), None);
    assert_eq!(machine.advance(at(4), 0), None);
    up(&mut machine, &[OTHER]);
    let (since, until) = (at(5) + LEAD, Some(at(15) + LEAD));
    for path in 0..2 {
        let start = Command::Start { path, at: since, until };
        assert_eq!(machine.advance(at(5), 0), Some(start));
    }
    assert_eq!(machine.advance(at(5), 0), None);
    assert!(machine.is_ready());
}

#[test]
fn a_path_does_not_wait_for_another_one_for_ever() {
    let mut machine = two_paths(Some(60 * SECOND));
    machine.notice(&down(OTHER, "refused"));
    up(&mut machine, &[PUBLISHER, CONSUMER]);
    assert_eq!(machine.advance(at(1), 0), None);
    let since = at(1) + TOGETHER;
    let until = Some(since + LEAD + 60 * SECOND);
    let start = |path, at| Some(Command::Start { path, at, until });
    assert_eq!(machine.advance(since, 0), start(0, since + LEAD));
    assert_eq!(machine.advance(since, 0), None);
    assert!(!machine.is_ready(), "a path is missing");
    assert_eq!((machine.started(0), machine.started(1)), (Some(since + LEAD), None));
    assert_eq!(machine.down_on(1).collect::<Vec<_>>(), [(OTHER, Some("refused"))]);
    up(&mut machine, &[OTHER]);
    assert_eq!(machine.advance(at(30), 7), start(1, at(30) + LEAD), "and ends with the others");
    assert!(machine.is_ready());
}

#[test]
fn a_path_that_comes_when_the_time_is_over_does_not_begin() {
    let mut machine = two_paths(Some(10 * SECOND));
    up(&mut machine, &[PUBLISHER, CONSUMER]);
    machine.advance(at(1), 0);
    let begun = at(1) + TOGETHER;
    assert!(machine.advance(begun, 0).is_some());
    up(&mut machine, &[OTHER]);
    assert_eq!(machine.advance(begun + 10 * SECOND, 3), None);
    let over = begun + 11 * SECOND;
    assert_eq!(machine.advance(over, 3), Some(Command::StopSchedule));
    assert_eq!(machine.advance(over, 3), None);
    assert_eq!(machine.started(1), None);
}

#[test]
fn who_is_ready_and_falls_away_again_makes_nobody_begin() {
    let mut machine = two_paths(None);
    up(&mut machine, &[OTHER]);
    assert_eq!(machine.advance(at(1), 0), None);
    machine.notice(&down(OTHER, "gone"));
    assert_eq!(machine.advance(at(30), 0), None);
    up(&mut machine, &[OTHER]);
    assert_eq!(machine.advance(at(31), 0), None, "it waits anew");
}

#[test]
fn an_end_by_time_waits_for_every_verdict() {
    let mut machine = loading(Some(10 * SECOND));
    assert_eq!(machine.advance(at(11), 5), None, "the lead is not measured");
    assert_eq!(machine.advance(at(12), 5), Some(Command::StopSchedule));
    assert!(!machine.is_ready());
    assert_eq!(machine.advance(at(51), 5), None);
    assert_eq!(machine.advance(at(51), 0), Some(Command::Finish));
    assert_eq!((machine.phase(), machine.advance(at(99), 0)), (Phase::Done, None));
}

#[test]
fn a_signal_waits_for_the_drain_and_no_longer() {
    let mut machine = loading(None);
    machine.stop();
    assert_eq!(machine.advance(at(5), 3), Some(Command::StopSchedule));
    assert_eq!(machine.advance(at(24), 3), None);
    assert_eq!(machine.advance(at(25), 3), Some(Command::Finish));
}

#[test]
fn a_signal_shortens_the_wait_for_verdicts() {
    let mut machine = loading(Some(10 * SECOND));
    assert_eq!(machine.advance(at(12), 5), Some(Command::StopSchedule));
    machine.stop();
    assert_eq!(machine.advance(at(13), 5), None);
    assert_eq!(machine.advance(at(32), 5), None);
    assert_eq!(machine.advance(at(33), 5), Some(Command::Finish));
}

#[test]
fn a_signal_before_readiness_ends_at_once() {
    let mut machine = one_path(None);
    machine.stop();
    assert_eq!(machine.advance(at(1), 0), Some(Command::Finish));
}

#[test]
fn a_repeated_reason_is_no_news() {
    let mut machine = loading(None);
    assert!(machine.notice(&down(CONSUMER, "refused")));
    assert!(!machine.notice(&down(CONSUMER, "refused")));
    assert!(!machine.is_ready());
    assert!(machine.notice(&Notice::Up(CONSUMER)));
    assert!(!machine.notice(&Notice::Up(CONSUMER)));
}

#[test]
fn who_is_not_in_the_plan_changes_nothing() {
    let mut machine = loading(None);
    assert!(!machine.notice(&down(OTHER, "refused")));
    assert!(machine.is_ready());
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Up(usize),
    Down(usize),
    Pass(u64),
    Settle(bool),
    Stop,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0_usize..5).prop_map(Act::Up),
        3 => (0_usize..5).prop_map(Act::Down),
        6 => (0_u64..4_000).prop_map(Act::Pass),
        1 => any::<bool>().prop_map(Act::Settle),
        1 => Just(Act::Stop),
    ];
    prop::collection::vec(act, 0..80)
}

proptest! {
    #[test]
    fn each_path_begins_once_and_only_while_its_own_connections_stand(
        acts in acts(), seconds in prop::option::of(1_u64..20),
    ) {
        let roles: Vec<Role> =
            (0..3).map(Role::Publisher).chain([Role::Consumer(0), Role::Consumer(2)]).collect();
        let paths = vec![vec![roles[0], roles[3]], vec![roles[1]], vec![roles[2], roles[4]]];
        let mut machine = machine(paths.clone(), seconds.map(Duration::from_secs));
        let (mut stands, mut now, mut open) = ([false; 5], at(100), 1);
        let (mut started, mut ends) = ([false; 3], Vec::new());
        let (mut stopped, mut finished) = (0, 0);
        for act in acts {
            match act {
                Act::Up(of) => {
                    stands[of] = true;
                    machine.notice(&Notice::Up(roles[of]));
                }
                Act::Down(of) => {
                    stands[of] = false;
                    machine.notice(&down(roles[of], "gone"));
                }
                Act::Pass(millis) => now = now + Duration::from_millis(millis),
                Act::Settle(settled) => open = u64::from(!settled),
                Act::Stop => machine.stop(),
            }
            while let Some(command) = machine.advance(now, open) {
                match command {
                    Command::Start { path, at, until } => {
                        let path = usize::from(path);
                        prop_assert!(!std::mem::replace(&mut started[path], true));
                        prop_assert_eq!(stopped + finished, 0);
                        prop_assert!(at > now && until.is_none_or(|until| at < until));
                        let its = |role| stands[roles.iter().position(|it| it == role).unwrap()];
                        prop_assert!(paths[path].iter().all(its));
                        ends.push(until);
                    }
                    Command::StopSchedule => stopped += 1,
                    Command::Finish => finished += 1,
                }
            }
            prop_assert!(stopped <= 1 && finished <= 1);
            prop_assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "all end together");
            let all_stand = stands.iter().all(|&it| it);
            if all_stand && stopped + finished == 0 && seconds.is_none() {
                prop_assert_eq!(started, [true; 3], "whoever is there is measured");
            }
            prop_assert_eq!(
                machine.is_ready(),
                all_stand && started == [true; 3] && stopped + finished == 0
            );
        }
    }
}
