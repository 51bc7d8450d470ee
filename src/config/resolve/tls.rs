//! Room `config` (wiring): how MQTT connections are encrypted.

use std::path::PathBuf;

use super::super::files::{self, SECRET_MAX};
use super::super::keys::{self, tls};
use super::super::kind::Kind;
use super::super::resolved::Url;
use super::super::table::Key;
use super::super::wording::quote;
use super::{Reader, View};
use crate::wire::Tls;

impl Reader<'_> {
    /// Reads `tls`; nothing only where the connection is not encrypted, or what is wrong was noted.
    pub(super) fn tls(&mut self, mqtt: &View<'_>, url: Option<&Url>) -> Option<Tls> {
        let view = mqtt.section(&keys::TLS);
        let is_encrypted = url?.tls;
        let Some(view) = view else {
            return self.made(mqtt, is_encrypted.then(|| Tls::new(None, None, None))?);
        };
        if !is_encrypted {
            let what = "is for connections that are encrypted; write mqtts:// in url, or remove it";
            self.problems.add(view.node.origin, &view.path, what);
            return None;
        }
        let count = self.problems.len();
        let authorities = self.pem(&view, &tls::CA_FILE);
        let certificate = self.pem(&view, &tls::CERT_FILE);
        let key = self.pem(&view, &tls::KEY_FILE);
        let server_name = view.get(&tls::SERVER_NAME, self.problems);
        if self.problems.len() > count {
            return None;
        }
        if certificate.is_some() != key.is_some() {
            let what = "needs both cert_file and key_file, or neither";
            self.problems.add(view.node.origin, &view.path, what);
            return None;
        }
        let identity = certificate.as_deref().zip(key.as_deref());
        self.made(&view, Tls::new(authorities.as_deref(), identity, server_name))
    }

    fn made(&mut self, view: &View<'_>, tls: Result<Tls, String>) -> Option<Tls> {
        tls.map_err(|what| self.problems.add(view.node.origin, &view.path, what)).ok()
    }

    fn pem<K: Kind<Read = PathBuf>>(&mut self, view: &View<'_>, key: &Key<K>) -> Option<Vec<u8>> {
        let path = view.get(key, self.problems)?;
        let read = files::read(&self.base.join(&path), SECRET_MAX);
        let read = read.map_err(|what| format!("{}: {what}", quote(&path.to_string_lossy())));
        let (origin, place) = (view.origin_of(key), view.path_of(key));
        read.map_err(|what| self.problems.add(origin, &place, what)).ok()
    }
}
