//! Room `telemetry`: HTTP to a Collector, and the reason why it failed.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

/// Why the last request failed, shared with whoever sends.
#[derive(Clone, Debug, Default)]
pub(super) struct Reason(Arc<Mutex<Option<String>>>);

impl Reason {
    /// Takes the reason, if there is one.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// A client that tells why it failed; the exporter only says that the network did.
#[derive(Debug)]
pub(super) struct TellingClient {
    client: reqwest::Client,
    reason: Reason,
}

impl TellingClient {
    /// A client that trusts the system's certificates, or those of `OTEL_EXPORTER_OTLP_CERTIFICATE`, and
    /// shows the ones of `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` and `..._CLIENT_KEY`. `standard` gives
    /// such variables by what stands behind `OTLP_`, with their names.
    pub(super) fn new(
        standard: impl Fn(&str) -> Option<(String, String)>,
        patience: Duration,
        reason: Reason,
    ) -> Result<Self, String> {
        let mut client = reqwest::Client::builder().timeout(patience);
        if let Some((name, path)) = standard("CERTIFICATE") {
            let pem = read(&name, &path)?;
            let trusted = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| format!("{name}: {path} holds no certificate in PEM: {error}"))?;
            client = client.tls_certs_only(trusted);
        }
        let own = standard("CLIENT_CERTIFICATE").zip(standard("CLIENT_KEY"));
        if let Some(((name, path), (name_of_key, path_of_key))) = own {
            let (certificate, key) = (read(&name, &path)?, read(&name_of_key, &path_of_key)?);
            let identity = reqwest::Identity::from_pkcs8_pem(&certificate, &key);
            client = client.identity(identity.map_err(|error| {
                format!("{name}: {path} and {path_of_key} are no certificate and key: {error}")
            })?);
        }
        let client = client.build().map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Self { client, reason })
    }
}

impl HttpClient for TellingClient {
    fn send_bytes<'client, 'sending>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sending>>
    where
        'client: 'sending,
    {
        Box::pin(async move {
            let answer = self.client.send_bytes(request).await;
            self.reason.set(answer.as_ref().err().map(|error| root(&**error)));
            answer
        })
    }
}

/// What it all began with, which is what a person can do something about.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

fn read(name: &str, path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{name}: {path}: {error}"))
}
