//! Room `report`: what landfall itself could do on a machine, as `landfall calibrate` found out.

mod rounds;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::figures::{NONE, counted, duration, duration_or_none, percentage, plain, thousands};
use super::table::Table;

/// Version of the fields of a calibration; rises when one is renamed, removed or changes its meaning.
const SCHEMA_VERSION: u32 = 1;

/// What `landfall calibrate` found out: its JSON is what `--json` writes, and what is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calibration {
    /// Version of the fields.
    pub schema_version: u32,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Version of the landfall that was measured.
    pub landfall: String,
    /// Where.
    pub machine: MachineKind,
    /// What took the messages: `null sink`, or the URL of a broker.
    pub target: String,
    /// How many clients there were.
    pub clients: u32,
    /// How large each payload was.
    pub payload_bytes: u32,
    /// How payloads were written: `json`, `text` or `binary`.
    pub format: String,
    /// For how long each load was measured in a round.
    pub seconds: f64,
    /// How often each load was measured. Figures are the medians over the rounds.
    pub rounds: u32,
    /// Each QoS in a closed loop: as fast as it goes.
    pub flat_out: Vec<Level>,
    /// Each QoS at [`Calibration::paced_rate`].
    pub paced: Vec<Level>,
    /// Messages a second of the paced loads.
    pub paced_rate: f64,
}

/// What tells machines apart as far as speed goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineKind {
    /// Model of the processors, as the kernel has it.
    pub cpu: String,
    /// Processors that landfall may use.
    pub cpus: u64,
    /// Name and release of the kernel.
    pub kernel: String,
}

/// One load of a calibration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Level {
    /// 0, 1 or 2.
    pub qos: u8,
    /// Messages a second, stamped, booked and counted as in any run.
    pub messages_a_second: f64,
    /// CPU time of everything but the sink for each message, in microseconds.
    pub cpu_us_a_message: f64,
    /// The largest share of a quarter of a second in which a sending thread was at work.
    pub busiest_thread_ratio: f64,
    /// How late landfall woke to send, p99; null in a closed loop, where nothing is due.
    pub scheduler_lag_p99_seconds: Option<f64>,
    /// From when a message was due until it was handed to the socket, p99.
    pub publish_delay_p99_seconds: Option<f64>,
    /// The same load with one message for all, as many bytes, no stamp, no books and no metrics.
    pub bare: Bare,
    /// Share of the messages per CPU second that measuring takes; below zero where noise is larger.
    pub cost_of_measuring: f64,
    /// The same of the round in which it was least.
    pub cost_least: f64,
    /// The same of the round in which it was most.
    pub cost_most: f64,
}

/// A load that is only sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bare {
    /// Messages a second.
    pub messages_a_second: f64,
    /// CPU time of everything but the sink for each message, in microseconds.
    pub cpu_us_a_message: f64,
}

/// What a report has of a calibration, by QoS in digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBrief {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Where.
    pub machine: MachineKind,
    /// How large each payload was.
    pub payload_bytes: u32,
    /// Messages a second that landfall alone could do.
    pub messages_a_second: BTreeMap<String, f64>,
    /// CPU time for each of them, in microseconds.
    pub cpu_us_a_message: BTreeMap<String, f64>,
    /// Share of the messages per CPU second that measuring takes.
    pub cost_of_measuring: BTreeMap<String, f64>,
}

impl Level {
    /// A load whose CPU times are known: works out what measuring costs.
    #[must_use]
    pub fn compared(self) -> Self {
        let cost_of_measuring = match self.cpu_us_a_message {
            measured if measured > 0.0 => 1.0 - self.bare.cpu_us_a_message / measured,
            _ => 0.0,
        };
        let (cost_least, cost_most) = (cost_of_measuring, cost_of_measuring);
        Self { cost_of_measuring, cost_least, cost_most, ..self }
    }
}

impl Calibration {
    /// One of this version's fields, without a load yet.
    #[must_use]
    pub fn new(at: String, landfall: String, machine: MachineKind) -> Self {
        Self { schema_version: SCHEMA_VERSION, at, landfall, machine, ..Self::default() }
    }

    /// Whether it says anything about this landfall on this machine; else why not.
    ///
    /// # Errors
    ///
    /// What it is of instead.
    pub fn is_of(&self, landfall: &str, machine: &MachineKind) -> Result<(), String> {
        if self.schema_version != SCHEMA_VERSION {
            return Err(format!("its format is {}, not {SCHEMA_VERSION}", self.schema_version));
        }
        if self.landfall != landfall {
            return Err(format!("it is of landfall {}", plain(&self.landfall)));
        }
        if self.machine != *machine {
            return Err(format!("it is of another machine, {}", self.machine.words()));
        }
        if self.flat_out.is_empty() {
            return Err("it holds no load".to_owned());
        }
        Ok(())
    }

    /// Whether it is better founded than another one: measured for longer, or with more clients.
    #[must_use]
    pub fn outweighs(&self, other: &Self) -> bool {
        let measured = |of: &Self| of.seconds * f64::from(of.rounds);
        measured(self) > measured(other) || self.clients > other.clients
    }

    /// How it was measured, in words.
    #[must_use]
    pub fn effort(&self) -> String {
        format!(
            "{}, {} each, {}",
            counted(self.clients.into(), "client"),
            duration(self.seconds),
            counted(self.rounds.into(), "round")
        )
    }

    /// Whether something was sent in each load.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let mut levels = self.flat_out.iter().chain(&self.paced);
        levels.all(|level| level.messages_a_second > 0.0 && level.bare.messages_a_second > 0.0)
    }

    /// What a report has of it.
    #[must_use]
    pub fn brief(&self) -> CalibrationBrief {
        let by_qos = |of: fn(&Level) -> f64| {
            self.flat_out.iter().map(|level| (level.qos.to_string(), of(level))).collect()
        };
        CalibrationBrief {
            at: self.at.clone(),
            machine: self.machine.clone(),
            payload_bytes: self.payload_bytes,
            messages_a_second: by_qos(|level| level.messages_a_second),
            cpu_us_a_message: by_qos(|level| level.cpu_us_a_message),
            cost_of_measuring: by_qos(|level| level.cost_of_measuring),
        }
    }

    /// Plain text for a terminal, without colour.
    #[must_use]
    pub fn text(&self) -> String {
        let what = if self.target == NULL_SINK {
            "into a sink in this process that keeps nothing".to_owned()
        } else {
            format!("into {}", plain(&self.target))
        };
        let mut lines = vec![
            format!("landfall {} on {}", plain(&self.landfall), self.machine.words()),
            format!(
                "{}, payloads of {} ({}), {} each, {}, {what}",
                counted(self.clients.into(), "client"),
                counted(self.payload_bytes.into(), "byte"),
                plain(&self.format),
                duration(self.seconds),
                counted(self.rounds.into(), "round"),
            ),
        ];
        let paced = format!("paced, {} messages/s", thousands(self.paced_rate));
        for (title, levels) in
            [("flat out (closed loop)", &self.flat_out), (paced.as_str(), &self.paced)]
        {
            lines.extend([String::new(), title.to_owned()]);
            lines.extend(table(levels, self.rounds).text());
        }
        lines.extend([String::new(), self.conclusion()]);
        lines.join("\n")
    }

    fn conclusion(&self) -> String {
        let rates: Vec<String> = self
            .flat_out
            .iter()
            .map(|of| format!("{} messages/s at QoS {}", thousands(of.messages_a_second), of.qos))
            .collect();
        let rates = rates.join(", ");
        if self.target != NULL_SINK {
            return format!(
                "landfall and that broker together do {rates}. Without --broker it is landfall alone."
            );
        }
        let rounds = if self.rounds > 1 {
            "Every figure is the median of its rounds, \"cost\" that of what they cost: it need not fit the \
             medians beside it."
        } else {
            "One round does not say how far the next one would be from it."
        };
        format!(
            "landfall alone can do {rates} on this machine, sending alone. The sink has the same \
             processors, so against a broker on another host it could do more. \"cost\" is what \
             stamping, booking and exporting take of the messages per CPU second; \"bare\" is the same \
             load without them. {rounds}"
        )
    }
}

/// What takes the messages where no broker is named.
pub const NULL_SINK: &str = "null sink";

fn table(levels: &[Level], rounds: u32) -> Table {
    let spread = |level: &Level| match rounds {
        0 | 1 => NONE.to_owned(),
        _ => format!("{} to {}", percentage(level.cost_least), percentage(level.cost_most)),
    };
    let header = [
        "QoS",
        "messages/s",
        "CPU a message",
        "busiest thread",
        "woken late, p99",
        "sent after due, p99",
        "bare messages/s",
        "bare CPU",
        "cost",
        "from round to round",
    ];
    let mut table = Table::new(0, header);
    for level in levels {
        table.push(vec![
            level.qos.to_string(),
            thousands(level.messages_a_second),
            duration(level.cpu_us_a_message / 1e6),
            percentage(level.busiest_thread_ratio),
            duration_or_none(level.scheduler_lag_p99_seconds),
            duration_or_none(level.publish_delay_p99_seconds),
            thousands(level.bare.messages_a_second),
            duration(level.bare.cpu_us_a_message / 1e6),
            percentage(level.cost_of_measuring),
            spread(level),
        ]);
    }
    table
}

impl MachineKind {
    fn words(&self) -> String {
        let cpu = if self.cpu.is_empty() { NONE.to_owned() } else { plain(&self.cpu) };
        format!("{cpu}, {}, {}", counted(self.cpus, "CPU"), plain(&self.kernel))
    }
}

impl CalibrationBrief {
    /// What share of what landfall could do these messages a second are, by QoS; `None` where a QoS
    /// was not calibrated.
    pub(super) fn share(&self, rates: impl IntoIterator<Item = (u8, f64)>) -> Option<f64> {
        let share = |(qos, rate): (u8, f64)| {
            let most = self.messages_a_second.get(&qos.to_string()).filter(|&&most| most > 0.0)?;
            Some(rate / most)
        };
        rates.into_iter().map(share).sum()
    }

    /// What landfall could do at these levels of QoS, and when that was found out.
    pub(super) fn sentence(&self, qos: impl IntoIterator<Item = u8>) -> String {
        let rates = qos.into_iter().filter_map(|qos| {
            let most = self.messages_a_second.get(&qos.to_string())?;
            Some(format!("{} messages/s at QoS {qos}", thousands(*most)))
        });
        format!(
            "Sending alone, into a sink on the same processors, landfall could do {}, {} each, on this \
             machine (calibrated {})",
            rates.collect::<Vec<_>>().join(", "),
            counted(self.payload_bytes.into(), "byte"),
            plain(self.at.get(..10).unwrap_or(&self.at)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration() -> Calibration {
        let machine = MachineKind { cpu: "EPYC".into(), cpus: 2, kernel: "Linux 6.1".into() };
        let level = |qos, messages_a_second| {
            let bare = Bare { messages_a_second: 500_000.0, cpu_us_a_message: 1.8 };
            let level =
                Level { qos, messages_a_second, cpu_us_a_message: 2.0, bare, ..Level::default() };
            level.compared()
        };
        Calibration {
            clients: 100,
            payload_bytes: 256,
            format: "json".to_owned(),
            seconds: 3.0,
            rounds: 3,
            target: NULL_SINK.to_owned(),
            flat_out: vec![level(0, 400_000.4), level(1, 200_000.0)],
            paced: vec![level(0, 10_000.0)],
            paced_rate: 10_000.0,
            ..Calibration::new("2026-11-27T12:00:00Z".into(), "0.1.0".into(), machine)
        }
    }

    #[test]
    fn it_holds_for_one_machine_and_one_version() {
        let of = calibration();
        assert_eq!(of.is_of("0.1.0", &of.machine), Ok(()));
        assert!(of.is_of("0.2.0", &of.machine).unwrap_err().contains("landfall 0.1.0"));
        let other = MachineKind { cpus: 4, ..of.machine.clone() };
        assert!(of.is_of("0.1.0", &other).unwrap_err().contains("EPYC, 2 CPUs"));
        let newer = Calibration { schema_version: 2, ..of.clone() };
        assert!(newer.is_of("0.1.0", &of.machine).is_err());
        let empty = Calibration { flat_out: Vec::new(), ..of.clone() };
        assert!(empty.is_of("0.1.0", &of.machine).is_err());
    }

    #[test]
    fn what_is_better_founded_outweighs() {
        let good = calibration();
        let (short, few) = (
            Calibration { rounds: 1, ..good.clone() },
            Calibration { clients: 1, seconds: 60.0, ..good.clone() },
        );
        assert!(good.outweighs(&short) && good.outweighs(&few));
        assert!(!good.outweighs(&good) && !short.outweighs(&good));
        assert_eq!(good.effort(), "100 clients, 3.00 s each, 3 rounds");
    }

    #[test]
    fn shares_add_up_over_qos() {
        let brief = calibration().brief();
        let share = brief.share([(0, 40_000.04), (1, 50_000.0)]).unwrap();
        assert!((share - 0.35).abs() < 1e-9, "{share}");
        assert_eq!(brief.share([(0, 1.0), (2, 1.0)]), None, "QoS 2 was not calibrated");
        assert!((brief.cost_of_measuring["0"] - 0.1).abs() < 1e-9);
        assert_eq!(
            brief.sentence([0, 1]),
            "Sending alone, into a sink on the same processors, landfall could do 400,000 messages/s at \
             QoS 0, 200,000 messages/s at QoS 1, 256 bytes each, on this machine (calibrated 2026-11-27)"
        );
    }

    #[test]
    fn a_load_in_which_nothing_was_sent_makes_it_unsound() {
        assert!(calibration().is_sound());
        let mut of = calibration();
        of.paced[0].messages_a_second = 0.0;
        assert!(!of.is_sound());
    }

    #[test]
    fn its_text_says_what_was_measured() {
        let text = calibration().text();
        assert!(text.contains("landfall 0.1.0 on EPYC, 2 CPUs, Linux 6.1\n100 clients, payloads of 256 bytes (json), 3.00 s each, 3 rounds"), "{text}");
        assert!(text.contains("alone can do 400,000 messages/s at QoS 0"), "{text}");
        assert!(text.contains("against a broker on another host it could do more"), "{text}");
        let row = |text: &str| {
            let mut rows = text.lines().filter(|line| line.trim_start().starts_with("1  "));
            rows.next().unwrap().to_owned()
        };
        assert!(row(&text).ends_with("10.0 % to 10.0 %"), "{text}");
        assert!(text.contains("\"cost\" that of what they cost"), "{text}");
        let once = Calibration { rounds: 1, ..calibration() }.text();
        assert!(row(&once).ends_with(" -"), "one round is as far from itself as can be: {once}");
        assert!(!once.contains("median") && once.contains("One round"), "{once}");
        let broker = Calibration { target: "mqtt://b:1".into(), ..calibration() };
        assert!(broker.text().contains("landfall and that broker together"), "{}", broker.text());
    }
}
