//! What `landfall run` reports is what is true: an in-memory Kafka holds every record by a known
//! distribution and logs when it really let it go. The long version, at more rates and with every
//! distribution, is `benches/ground_truth.sh`.

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "support/crossing.rs"]
mod crossing;
#[expect(dead_code, reason = "only the type of a record is needed")]
#[path = "support/systems.rs"]
mod systems;
#[expect(dead_code, reason = "support for a bench too, which uses more of it")]
#[path = "support/truth.rs"]
mod truth;

use crossing::Run;
use truth::compared::compare;
use truth::quantile::at;
use truth::{Holds, Plant};

const RATE: u32 = 1_000;
const SECONDS: usize = 6;

#[test]
fn reported_latencies_are_the_true_ones() {
    let plant = Plant::start(Holds::HeavyTail);
    let configuration = plant.configuration(RATE);
    let mut run = Run::start(&configuration, &["--for", &format!("{SECONDS}s")]);
    let code = run.ended();
    let (report, slots) = (run.report(), run.slots());
    let compared = compare(&slots, &report, plant.end());

    assert_eq!(code, 0, "{}", run.said());
    assert!(compared.others.is_empty(), "{:?}", compared.others);
    assert_eq!(compared.untold, 0, "records that no slot tells of");
    // Poisson arrivals: some hundred more or less.
    assert!(compared.messages > SECONDS * 900, "{} messages", compared.messages);

    // Whatever the machine does, no message is read before its release, and the report says of the
    // slots what they say.
    let (least, middle) = (at(&compared.differences, 0.0), at(&compared.differences, 0.5));
    assert!(least >= 0.0, "a message came {least} ns before its release");
    for quantile in &compared.quantiles {
        println!(
            "{}: true {:.3} ms, reported {:.3} ms",
            quantile.name,
            quantile.truth / 1e6,
            quantile.reported / 1e6
        );
        assert!(quantile.is_of_its_slots(), "{}", quantile.name);
    }
    // A machine that wakes threads late reads late.
    let machine = at(&compared.lateness, 0.99);
    println!("{middle} ns from release to receipt, the machine being {machine} ns late");
    assert!(middle < 1e6 + machine, "{middle} ns, the machine being {machine} ns late");
    let median = &compared.quantiles[0];
    assert!(median.truth > 4e6, "the records were not held: {}", median.truth);
    assert!(median.off().abs() < 1e6 + machine, "off by {}", median.off());
}
