//! Room `app`: how the loads of a run go, and what landfall alone could do.

use std::collections::BTreeSet;
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
/// How many files of a directory are looked at.
const FILES_MAX: usize = 4_096;
/// What a calibration is called that is kept: its size of payloads stands between.
const KEPT: (&str, &str) = ("calibration-", ".json");

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
    /// What landfall alone could do on this machine, as far as it is known of such payloads.
    pub(super) calibrations: Vec<CalibrationBrief>,
}

impl Loads {
    /// Those of a configuration, and what was calibrated.
    pub(super) fn of(resolved: &Resolved, parts: &Parts, from: &Calibrated) -> Self {
        let paths = (0_u8..).zip(&resolved.paths);
        let paths: Vec<Load> = paths.map(|(id, path)| load(path, inflight(parts, id))).collect();
        let heavy: Vec<&Load> = paths.iter().filter(|load| load.is_heavy()).collect();
        let calibrations = if heavy.is_empty() { Vec::new() } else { calibrations(&heavy, from) };
        Self { paths, calibrations }
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

/// Why a file says nothing of this landfall on this machine.
pub(super) enum Unknown {
    /// It is not there.
    Absent,
    /// What is wrong with it, and what to do.
    Unusable(String),
}

/// What is known of payloads about as large as those of these loads.
fn calibrations(heavy: &[&Load], from: &Calibrated) -> Vec<CalibrationBrief> {
    let (files, is_asked): (Vec<PathBuf>, bool) = match from {
        Calibrated::Kept => {
            let Some(directory) = kept_in() else { return Vec::new() };
            let sizes = sizes_in(&directory);
            let nearest = heavy.iter().filter_map(|load| load.calibrated_by(sizes.iter().copied()));
            let nearest: BTreeSet<u32> = nearest.collect();
            (nearest.into_iter().map(|size| directory.join(kept_as(size))).collect(), false)
        }
        Calibrated::In(file) => (vec![file.clone()], true),
        Calibrated::Unasked => return Vec::new(),
    };
    let known = files.iter().filter_map(|file| match calibration(file) {
        Ok(known) => Some(known.brief()),
        Err(Unknown::Absent) if !is_asked => None,
        Err(why) => {
            tracing::warn!("{}", why.words(file));
            None
        }
    });
    known.collect()
}

impl Unknown {
    fn words(&self, file: &Path) -> String {
        let file = file.display();
        match self {
            Self::Absent => {
                format!("{file}: there is no such file; `landfall calibrate --json` writes one")
            }
            Self::Unusable(why) => format!("{file} {why}"),
        }
    }
}

/// What a file has, if it is of this machine and version.
pub(super) fn calibration(file: &Path) -> Result<Calibration, Unknown> {
    let unusable = |why: String| Unknown::Unusable(format!("{why}; run `landfall calibrate` anew"));
    let text = read(file).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Unknown::Absent,
        _ => unusable(format!("can't be read: {error}")),
    })?;
    let known: Calibration = serde_json::from_str(&text)
        .map_err(|error| unusable(format!("is no calibration: {error}")))?;
    let is_of = known.is_of(&environment::product().version, &environment::machine());
    is_of.map_err(|why| unusable(format!("says nothing here: {why}")))?;
    Ok(known)
}

fn read(file: &Path) -> std::io::Result<String> {
    if fs::metadata(file)?.len() > BYTES_MAX {
        return Err(std::io::Error::other("is too large to be a calibration"));
    }
    fs::read_to_string(file)
}

/// Of which sizes of payloads a calibration is kept there.
fn sizes_in(directory: &Path) -> BTreeSet<u32> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten().take(FILES_MAX);
    files.filter_map(|file| size_of(file.file_name().to_str()?)).collect()
}

fn size_of(name: &str) -> Option<u32> {
    let size = name.strip_prefix(KEPT.0)?.strip_suffix(KEPT.1)?.parse().ok()?;
    (kept_as(size) == name).then_some(size)
}

fn kept_as(size: u32) -> String {
    format!("{}{size}{}", KEPT.0, KEPT.1)
}

/// Where a calibration with payloads of that size is kept; nowhere without a home.
pub(super) fn kept_at(size: u32) -> Option<PathBuf> {
    Some(kept_in()?.join(kept_as(size)))
}

fn kept_in() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("landfall"))
}
