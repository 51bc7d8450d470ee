//! Room `config` (wiring): keys that say how MQTT connections are encrypted.

use std::path::PathBuf;

use crate::config::grammar;
use crate::config::kind::Text;
use crate::config::table::{Fallback, Key};

use super::{Keys, QUOTE_IT, file};

/// The keys below `tls`.
pub(super) static TLS_KEYS: Keys = &[&CA_FILE, &CERT_FILE, &KEY_FILE, &SERVER_NAME];

key!(CA_FILE: Text<PathBuf> = "ca_file", Fallback::Absent, file(),
    "A PEM file with the authorities that the broker's certificate may come from; a relative path starts \
     at the directory of this file. Without it those of the system are trusted.");
key!(CERT_FILE: Text<PathBuf> = "cert_file", Fallback::Absent, file(),
    "A PEM file with the certificate that is shown to the broker, and those it hangs on.");
key!(KEY_FILE: Text<PathBuf> = "key_file", Fallback::Absent, file(),
    "A PEM file with the key of that certificate, as PKCS #8.");
key!(SERVER_NAME: Text<String> = "server_name", Fallback::Absent, Text {
        what: "a host name", instead_of_number: QUOTE_IT, pattern: r"^[A-Za-z0-9._-]{1,253}$",
        parse: grammar::host_name },
    "The name that the broker's certificate must be for, where that is not the host of url.");
