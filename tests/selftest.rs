//! `landfall selftest` as its users run it, and what it says where the books are falsified.

#![expect(clippy::unwrap_used, reason = "functions of tests are tests")]

use std::process::{Child, Command, Output, Stdio};

/// Every counter of the report, in its order.
const COUNTERS: [&str; 16] = [
    "delivered",
    "late",
    "acked_lost",
    "unacked_lost",
    "not_sent",
    "rejected",
    "unresolved",
    "duplicate",
    "reread",
    "resent",
    "reordered",
    "corrupt",
    "foreign",
    "schema_violation",
    "late_recovery",
    "negative",
];
/// How many run at a time: each of them mostly waits.
const AT_A_TIME: usize = 8;

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.args(["--log", "error", "selftest"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Alone at first, and then the falsified ones together: of those nobody says that nothing else differs.
#[test]
fn every_figure_agrees_and_each_falsified_counter_is_found_out() {
    let mut honest = start(&[]).wait_with_output().unwrap();
    if honest.status.code() == Some(1) {
        // A processor that stands still for a moment makes one message late that the sleeper beside it does
        // not feel. Counts hold whatever the machine does; of durations another run may say that it did.
        let text = said(&honest);
        let mut differing = text.lines().filter(|line| line.ends_with("DIFFERS"));
        assert!(differing.all(|line| line.contains(" (from ")), "{text}");
        honest = start(&[]).wait_with_output().unwrap();
    }
    let text = said(&honest);
    assert_eq!(honest.status.code(), Some(0), "{text}");
    assert!(text.contains("figures agree (seed 1, "), "{text}");
    for counter in COUNTERS {
        for what in [format!(" {counter}: expected "), format!("all {counter} was provoked")] {
            let never = counter == "schema_violation";
            assert!(never || text.contains(&what), "{what} is not in\n{text}");
        }
    }

    for some in COUNTERS.chunks(AT_A_TIME) {
        let falsified = |&counter| (counter, start(&["--sabotage", counter]));
        let running: Vec<(&str, Child)> = some.iter().map(falsified).collect();
        for (counter, child) in running {
            let output = child.wait_with_output().unwrap();
            let text = said(&output);
            assert_eq!(output.status.code(), Some(1), "{counter}: {text}");
            let its = format!("reordering qos 1 {counter}: expected ");
            let found = text.lines().any(|it| it.starts_with(&its) && it.ends_with(" DIFFERS"));
            assert!(found, "{counter}: {text}");
        }
    }
}

#[test]
fn an_unknown_counter_is_refused_with_those_that_there_are() {
    let output = start(&["--sabotage", "colour"]).wait_with_output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    let listed = |counter: &&str| text.contains(*counter);
    assert!(text.contains("colour") && COUNTERS.iter().all(listed), "{text}");
}
