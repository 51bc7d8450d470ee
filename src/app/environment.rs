//! Room `app`: where a run takes place, for its report.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use sha2::{Digest, Sha256};

use crate::clock;
use crate::config::Loaded;
use crate::report::{Environment, MachineKind, Product};
use crate::telemetry::Identity;

/// This build.
pub(super) fn product() -> Product {
    Product {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("LANDFALL_COMMIT").map(str::to_owned),
    }
}

/// Who sends over OTLP.
pub(super) fn identity(loaded: &Loaded) -> Identity {
    Identity {
        probe: loaded.resolved.probe.clone(),
        host: line("/proc/sys/kernel/hostname").unwrap_or_default(),
        version: product().version,
    }
}

/// What a calibration is of.
pub(super) fn machine() -> MachineKind {
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    // Not every kind of processor has a name there.
    let cpu = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    MachineKind { cpu, cpus: cpus(), kernel: kernel() }
}

fn cpus() -> u64 {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64
}

fn kernel() -> String {
    format!("Linux {}", line("/proc/sys/kernel/osrelease").unwrap_or_default())
}

/// This machine, and what the run was told. Its memory is known with the first sample.
pub(super) fn survey(loaded: &Loaded) -> Environment {
    let digest = Sha256::digest(loaded.show().as_bytes());
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    Environment {
        probe: loaded.resolved.probe.clone(),
        boot_id: clock::boot_id(),
        kernel: kernel(),
        cpus: cpus(),
        memory_bytes: 0,
        clock_source: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        config_digest: hex(&digest),
        versions: BTreeMap::from([("librdkafka".to_owned(), librdkafka)]),
    }
}

/// Two lower-case digits a byte.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into memory does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
