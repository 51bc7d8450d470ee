//! Room `app`: the files that a run leaves behind.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::audit::Audit;
use super::wiring::Parts;
use super::{Error, Options};
use crate::report::Report;

/// Makes sure, before anything is sent, that what is asked for can be written.
pub(super) fn open(options: &Options, parts: &Parts) -> Result<Option<Arc<Audit>>, Error> {
    if let Some(directory) = &options.report {
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(directory.join("report.part"), ""))
            .and_then(|()| fs::remove_file(directory.join("report.part")))
            .map_err(|error| {
                Error::Refused(format!(
                    "--report {}: {error}; name a directory that can be written to",
                    directory.display()
                ))
            })?;
    }
    let Some(path) = &options.slots else {
        return Ok(None);
    };
    let audit = Audit::create(path, Arc::clone(&parts.roster), parts.stamper.clone());
    audit.map(Some).map_err(|error| {
        Error::Refused(format!(
            "--slots {}: {error}; name a file that can be written",
            path.display()
        ))
    })
}

/// Writes everything that was asked for, and the summary.
pub(super) fn finish(
    report: &Report,
    options: &Options,
    audit: Option<&Audit>,
) -> Result<(), Error> {
    options.screen.print(&report.summary());
    if let (Some(audit), Some(path)) = (audit, &options.slots) {
        audit
            .finish()
            .map_err(|error| Error::Refused(format!("--slots {}: {error}", path.display())))?;
    }
    let Some(directory) = &options.report else {
        return Ok(());
    };
    let json = report.json().map_err(|error| Error::System("report.json", error.into()))?;
    let written =
        [("report.json", json), ("report.md", report.markdown()), ("junit.xml", report.junit())];
    for (name, text) in written {
        let path = directory.join(name);
        write_whole(&path, &text)
            .map_err(|error| Error::Refused(format!("--report {}: {error}", path.display())))?;
    }
    Ok(())
}

/// Writes a file so that nobody ever reads half of it.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("part");
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}
