//! Room `app`: how the loads of a run go, and what landfall alone could do.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::wiring::Parts;
use super::{environment, teams};
use crate::config::{PathConfig, Rate, Resolved};
use crate::correlate::{PathId, Qos};
use crate::report::{Calibration, CalibrationBrief, Load};
use crate::schedule::Arrivals;
use crate::telemetry::Telemetry;

/// Larger files are no calibration.
const BYTES_MAX: u64 = 1 << 20;

/// Where it stands what landfall alone could do on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Calibrated {
    /// Where `landfall calibrate` keeps it.
    #[default]
    Kept,
    /// In this file.
    In(PathBuf),
    /// Nobody wants to know.
    Unasked,
}

/// What is known of the loads of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Loads {
    /// How that of each path goes.
    pub(super) paths: Vec<Load>,
    /// What landfall alone could do on this machine, where that is known and a path is a load.
    pub(super) calibration: Option<CalibrationBrief>,
}

impl Loads {
    /// Those of a configuration, and what was calibrated.
    pub(super) fn of(resolved: &Resolved, parts: &Parts, from: &Calibrated) -> Self {
        let paths = (0_u8..).zip(&resolved.paths);
        let paths: Vec<Load> = paths.map(|(id, path)| load(path, inflight(parts, id))).collect();
        let is_heavy = paths.iter().any(Load::is_heavy);
        Self { calibration: if is_heavy { calibration(from) } else { None }, paths }
    }

    /// Says in metrics how each load goes.
    pub(super) fn tell(&self, telemetry: &Telemetry) {
        for (id, load) in (0..).map(PathId).zip(&self.paths) {
            telemetry.set_load(id, load.is_closed());
        }
    }
}

fn load(path: &PathConfig, inflight: u16) -> Load {
    let mqtt = &path.mqtt;
    let schedule = match mqtt.schedule {
        Arrivals::Poisson => Some("poisson"),
        Arrivals::Fixed => Some("fixed"),
        Arrivals::Closed => None,
    };
    let (mode, rate) = match mqtt.rate {
        Rate::PerSecond(rate) => ("open", Some(rate)),
        Rate::Max => ("closed", None),
    };
    Load {
        mode: mode.to_owned(),
        rate,
        profile: mqtt.profile.name().to_owned(),
        schedule: schedule.map(str::to_owned),
        qos: mqtt.qos.iter().copied().map(Qos::level).collect(),
        clients: mqtt.clients,
        inflight,
        payload_bytes: mqtt.payload.size,
        format: mqtt.payload.format.name().to_owned(),
        tick_seconds: teams::send_tick(mqtt.rate.nominal(), mqtt.schedule).as_secs_f64(),
        tls: mqtt.tls.is_some(),
        calibrated_share: None,
    }
}

/// The same for all clients of a path, but for rounding.
fn inflight(parts: &Parts, path: u8) -> u16 {
    let of_path = parts.publishers.iter().filter(|(config, _)| config.path == path);
    of_path.map(|(config, _)| config.session.inflight).max().unwrap_or(0)
}

/// What was kept for this machine and version.
fn calibration(from: &Calibrated) -> Option<CalibrationBrief> {
    let (file, is_asked) = match from {
        Calibrated::Kept => (kept_at()?, false),
        Calibrated::In(file) => (file.clone(), true),
        Calibrated::Unasked => return None,
    };
    let shown = file.display();
    let read = match read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && !is_asked => return None,
        Err(error) => {
            tracing::warn!("{shown}: {error}; run `landfall calibrate` to write it anew");
            return None;
        }
    };
    let known: Calibration = match serde_json::from_str(&read) {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!("{shown} is no calibration: {error}; run `landfall calibrate` anew");
            return None;
        }
    };
    match known.is_of(&environment::product().version, &environment::machine()) {
        Ok(()) => Some(known.brief()),
        Err(why) => {
            tracing::warn!(
                "the calibration in {shown} says nothing here: {why}; run `landfall calibrate`"
            );
            None
        }
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    if fs::metadata(file)?.len() > BYTES_MAX {
        return Err(std::io::Error::other("is too large to be a calibration"));
    }
    fs::read_to_string(file)
}

/// Where a calibration is kept; nowhere without a home.
pub(super) fn kept_at() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("landfall").join("calibration.json"))
}
