//! What landfall reports beside what is true: quantiles and single messages, for three distributions
//! of latency and several rates. `benches/ground_truth.sh` runs it and says more.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program that prints a table; what is not as it must be has to end it"
)]

#[expect(dead_code, reason = "support for several test programs, each of which uses a part")]
#[path = "../tests/support/crossing.rs"]
mod crossing;
#[expect(dead_code, reason = "only the type of a record is needed")]
#[path = "../tests/support/systems.rs"]
mod systems;
#[path = "../tests/support/truth.rs"]
mod truth;

use std::process::ExitCode;

use crossing::Run;
use serde_json::Value;
use truth::compared::{Compared, compare};
use truth::quantile::at;
use truth::{Holds, Plant};

/// One run that was held against the truth.
struct Row {
    holds: Holds,
    rate: u32,
    compared: Compared,
}

fn main() -> ExitCode {
    let number = |text: &str| text.parse::<u32>().unwrap();
    let setting =
        |name: &str, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let seconds = number(&setting("SECONDS_EACH", "60"));
    let rates = setting("RATES", "100 1000 10000");
    let (mut rows, mut report) = (Vec::new(), Value::Null);
    for holds in Holds::ALL {
        for rate in rates.split_whitespace().map(number) {
            let compared;
            (compared, report) = measure(holds, rate, seconds);
            rows.push(Row { holds, rate, compared });
        }
    }
    print_machine(&report, seconds);
    print_quantiles(&rows);
    print_differences(&rows);
    let misses: Vec<String> = rows.iter().flat_map(misses).collect();
    for miss in &misses {
        println!("- missed: {miss}");
    }
    if misses.is_empty() {
        println!("Every bound was held.");
    }
    ExitCode::from(u8::from(!misses.is_empty()))
}

fn measure(holds: Holds, rate: u32, seconds: u32) -> (Compared, Value) {
    let plant = Plant::start(holds);
    let mut run = Run::start(&plant.configuration(rate), &["--for", &format!("{seconds}s")]);
    let code = run.ended();
    let (report, slots) = (run.report(), run.slots());
    let compared = compare(&slots, &report, plant.end());
    if code != 0 {
        println!("{}, {rate}/s: exit code {code}\n{}\n", holds.name(), run.said());
    }
    (compared, report)
}

fn print_machine(report: &Value, seconds: u32) {
    let of = &report["environment"];
    println!(
        "{}; {} CPUs, {:.1} GB, {}, clock source {}; {seconds} s each.\n",
        report["window"]["start"].as_str().unwrap(),
        of["cpus"],
        of["memory_bytes"].as_f64().unwrap() / 1e9,
        of["kernel"].as_str().unwrap(),
        of["clock_source"].as_str().unwrap_or("unknown"),
    );
}

fn print_quantiles(rows: &[Row]) {
    println!(
        "| holds | messages/s | messages | | truth, ms | reported, ms | difference, us | difference, % | bound, us | held |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for Row { holds, rate, compared } in rows {
        for quantile in &compared.quantiles {
            println!(
                "| {} | {rate} | {} | {} | {:.3} | {:.3} | {:.1} | {:.3} | {:.1} | {} |",
                holds.name(),
                compared.messages,
                quantile.name,
                quantile.truth / 1e6,
                quantile.reported / 1e6,
                quantile.off() / 1e3,
                100.0 * quantile.off() / quantile.truth,
                quantile.bound / 1e3,
                if quantile.is_within_bound() { "yes" } else { "**no**" },
            );
        }
    }
    println!();
}

/// In the same table what says how much of it the machine may have caused.
fn print_differences(rows: &[Row]) {
    const SHARES: [f64; 5] = [0.01, 0.5, 0.99, 0.999, 1.0];
    println!(
        "| holds | messages/s | reported minus true, message by message, us: least | p1 | p50 | p99 | p99.9 | most | uncertainty stated, us | not waited for, % | an idle thread woken late, us: p1 | p50 | p99 | p99.9 | most |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for Row { holds, rate, compared } in rows {
        let shares = |ascending: &[i64]| {
            let cells = SHARES.map(|share| format!("{:.1}", at(ascending, share) / 1e3));
            cells.join(" | ")
        };
        let uncertainty = compared.uncertainty.map(|seconds| format!("{:.1}", seconds * 1e6));
        println!(
            "| {} | {rate} | {:.1} | {} | {} | {:.2} | {} |",
            holds.name(),
            at(&compared.differences, 0.0) / 1e3,
            shares(&compared.differences),
            uncertainty.unwrap_or_else(|| "-".to_owned()),
            share(compared.unasked, compared.messages),
            shares(&compared.lateness),
        );
    }
    println!();
}

/// In per cent.
#[expect(clippy::cast_precision_loss, reason = "counts of messages")]
fn share(part: usize, of: usize) -> f64 {
    100.0 * part as f64 / of as f64
}

/// What a run does not show that it has to.
fn misses(Row { holds, rate, compared }: &Row) -> Vec<String> {
    let run = format!("{}, {rate}/s", holds.name());
    let mut missed = Vec::new();
    let mut expect = |holds: bool, what: String| {
        if !holds {
            missed.push(format!("{run}: {what}"));
        }
    };
    for quantile in &compared.quantiles {
        let (name, off) = (quantile.name, quantile.off() / 1e3);
        expect(
            quantile.is_of_its_slots(),
            format!("{name} is not that of the slots, whatever the machine did"),
        );
        let [late, latest] = [0.99, 1.0].map(|share| at(&compared.lateness, share) / 1e3);
        expect(
            quantile.is_within_bound(),
            format!(
                "{name} is off by {off:.1} us; an idle thread was woken {late:.1} us late (p99), {latest:.1} us at most"
            ),
        );
    }
    let least = at(&compared.differences, 0.0);
    expect(least >= 0.0, format!("a message came {least} ns before Kafka let it go"));
    expect(compared.untold == 0, format!("{} records that no slot tells of", compared.untold));
    let others = compared.others.len();
    expect(others == 0, format!("{others} slots did not come out: {:?}", compared.others.first()));
    missed
}
