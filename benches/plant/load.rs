//! What the floor and the bare client share: the load that is asked for, and what is printed of it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use landfall::clock::Instant;

/// The topic of all messages, to which nobody subscribes.
pub(crate) const TOPIC: &str = "landfall/floor";

/// What is to be sent, and how long.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) clients: u32,
    /// Of a payload, in bytes.
    pub(crate) size: usize,
    pub(crate) qos: u8,
    /// Messages a second in all; flat out without it.
    pub(crate) rate: Option<f64>,
    /// What is due within it is sent together; zero wakes for every message.
    pub(crate) tick: Duration,
    /// Most messages of a client without an answer, and most in one write.
    pub(crate) window: u16,
    pub(crate) length: Duration,
}

/// What came of it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Handed over (QoS 0) or acknowledged to the end.
    pub(crate) messages: u64,
    /// Sent, and never answered.
    pub(crate) unanswered: u64,
    /// Messages that had to wait for room in the window of their client, or in its socket.
    pub(crate) held_back: u64,
}

/// The moments that figures are taken between, with the processor time used until then.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) at: Instant,
    pub(crate) cpu: Duration,
}

impl Load {
    /// Reads the command line; `None` where nothing is asked for, as by a plain `cargo bench`.
    pub(crate) fn from_arguments() -> Result<Option<Self>, String> {
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench").peekable();
        if words.peek().is_none() {
            return Ok(None);
        }
        let mut load = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 1883)),
            clients: 100,
            size: 256,
            qos: 0,
            rate: None,
            tick: Duration::from_millis(1),
            window: 100,
            length: Duration::from_secs(5),
        };
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            load.set(&name, &value)?;
        }
        if !load.address.ip().is_loopback() {
            return Err(format!("{} is not on this machine; a load goes there only", load.address));
        }
        Ok(Some(load))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let refused = || format!("{value} is no value for {name}");
        let positive = || value.parse::<f64>().ok().filter(|it| *it > 0.0).ok_or_else(refused);
        let count = |range: std::ops::RangeInclusive<u32>| {
            value.parse::<u32>().ok().filter(|it| range.contains(it)).ok_or_else(refused)
        };
        match name {
            "--address" => self.address = value.parse().map_err(|_| refused())?,
            "--clients" => self.clients = count(1..=100_000)?,
            "--size" => self.size = count(0..=262_144)? as usize,
            "--qos" => self.qos = u8::try_from(count(0..=2)?).map_err(|_| refused())?,
            "--rate" => self.rate = Some(positive()?),
            "--tick-ms" => self.tick = Duration::from_millis(count(0..=1_000)?.into()),
            "--window" => self.window = u16::try_from(count(1..=30_000)?).map_err(|_| refused())?,
            "--seconds" => self.length = Duration::from_secs(count(1..=600)?.into()),
            _ => return Err(format!("there is no {name}")),
        }
        Ok(())
    }

    /// Prints what came of it as one line of JSON.
    #[expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "figures for a script")]
    pub(crate) fn print(&self, tally: &Tally, from: Mark, to: Mark) {
        let seconds = to.at.saturating_since(from.at).as_secs_f64();
        let line = serde_json::json!({
            "clients": self.clients,
            "size": self.size,
            "qos": self.qos,
            "asked_rate": self.rate,
            "tick_seconds": self.rate.map(|_| self.tick.as_secs_f64()),
            "window": self.window,
            "messages": tally.messages,
            "unanswered": tally.unanswered,
            "held_back": tally.held_back,
            "seconds": seconds,
            "cpu_seconds": to.cpu.saturating_sub(from.cpu).as_secs_f64(),
            "rate": tally.messages as f64 / seconds,
        });
        println!("{line}");
    }
}

/// User and system time of this process, to a tick of the kernel (proc(5), `/proc/self/stat`).
pub(crate) fn cpu() -> io::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name stands in parentheses; the field behind it is the third.
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind.split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / per_second)))
}
