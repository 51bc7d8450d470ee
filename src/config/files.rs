//! Room `config` (wiring): reads the file and its secrets, each within a bound.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Largest configuration file in bytes.
pub(super) const CONFIGURATION_MAX: u64 = 1 << 20;
/// Largest secret in bytes.
pub(super) const SECRET_MAX: u64 = 64 << 10;

/// Longest password that MQTT can carry, in bytes (MQTT 5, section 3.1.3.6).
const PASSWORD_MAX: usize = 65_535;

/// The name of this host, as the kernel has it; empty when it can't be read.
pub(super) fn host_name() -> String {
    let name = read(Path::new("/proc/sys/kernel/hostname"), 256).unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end().into()
}

/// The bytes of a file, or why they can't be had.
pub(super) fn read(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let result = File::open(path).and_then(|file| file.take(max + 1).read_to_end(&mut bytes));
    match result {
        Ok(_) if bytes.len() as u64 > max => Err(format!("is larger than {} KiB", max >> 10)),
        Ok(_) => Ok(bytes),
        Err(error) => Err(match error.kind() {
            ErrorKind::NotFound => "no such file".into(),
            ErrorKind::IsADirectory => "is a directory, not a file".into(),
            ErrorKind::PermissionDenied => "can't be read: permission denied".into(),
            _ => format!("can't be read: {error}"),
        }),
    }
}

/// The text of a secret without the line break at its end. A relative path starts at `base`.
pub(super) fn secret(base: &Path, path: &Path) -> Result<String, String> {
    let bytes = secret_bytes(base, path)?;
    let text = String::from_utf8(bytes).map_err(|_| named(path, "is not UTF-8 text"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text {
        "" => Err(named(path, "is empty")),
        _ if text.contains('\0') => Err(named(path, "holds a NUL character")),
        _ if text.len() > PASSWORD_MAX => Err(named(path, "is longer than 65535 bytes")),
        _ => Ok(text.into()),
    }
}

/// The bytes of a secret, at least one. A relative path starts at `base`.
pub(super) fn secret_bytes(base: &Path, path: &Path) -> Result<Vec<u8>, String> {
    let bytes = read(&base.join(path), SECRET_MAX).map_err(|what| named(path, &what))?;
    if bytes.is_empty() { Err(named(path, "is empty")) } else { Ok(bytes) }
}

fn named(path: &Path, what: &str) -> String {
    format!("{}: {what}", super::wording::quote(&path.to_string_lossy()))
}
