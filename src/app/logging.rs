//! Room `app`: the log.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::{Error, Screen};

/// Target of the lines that say that a system is back.
pub(super) const RECOVERY: &str = "landfall::recovery";
/// What is written unless somebody asks for something else: what is wrong, and when it is over.
pub(super) const DEFAULT: &str = "warn,landfall::recovery=info,mqtt5=error";

/// What is written of a selftest unless somebody asks: whatever goes wrong in it is provoked.
pub(super) const OF_SELFTEST: &str = "error";

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A JSON object a line.
    Json,
    /// Text.
    Text,
}

/// Writes log lines to standard error from now on.
pub(super) fn start(filter: &str, format: Format, screen: Screen) -> Result<(), Error> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| {
        Error::Refused(format!("--log: {filter}: {error}; try warn, info or debug"))
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(screen);
    let started = match format {
        Format::Json => log.json().try_init(),
        Format::Text => log.with_target(false).try_init(),
    };
    started.map_err(|error| Error::Refused(format!("the log can't be started: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_and_its_end_are_written_by_default() {
        let filter = EnvFilter::try_new(DEFAULT).unwrap().to_string();
        for part in ["warn", &format!("{RECOVERY}=info"), "mqtt5=error"] {
            assert!(filter.split(',').any(|it| it == part), "{part} in {filter}");
        }
    }
}
