//! Room `wire`: how a connection is encrypted, and whom it trusts.

use std::fmt;

use native_tls::{Certificate, Identity, TlsConnector};

/// What ends each certificate of a PEM file.
const END: &str = "-----END CERTIFICATE-----";

/// How TLS is spoken: the broker's certificate is always verified. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    pub(super) connector: TlsConnector,
    pub(super) server_name: Option<String>,
}

impl Tls {
    /// Trusts these authorities, or those of the system; shows this certificate and its key, if the
    /// broker asks (all PEM). The broker's certificate must be for `server_name`, or else for the
    /// host that it is reached by.
    ///
    /// # Errors
    ///
    /// When one of them can't be used, and why.
    pub fn new(
        authorities: Option<&[u8]>,
        identity: Option<(&[u8], &[u8])>,
        server_name: Option<String>,
    ) -> Result<Self, String> {
        let mut builder = TlsConnector::builder();
        if let Some(authorities) = authorities {
            builder.disable_built_in_roots(true);
            for certificate in certificates(authorities)? {
                builder.add_root_certificate(certificate);
            }
        }
        if let Some((certificate, key)) = identity {
            let identity = Identity::from_pkcs8(certificate, key).map_err(|error| {
                format!("certificate and key can't be used together: {error}; both must be PEM, the key as PKCS #8")
            })?;
            builder.identity(identity);
        }
        let connector = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { connector, server_name })
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, String> {
    let text = String::from_utf8_lossy(pem);
    let blocks = text.split_inclusive(END).filter(|block| block.contains(END));
    let certificates = blocks.map(|block| Certificate::from_pem(block.as_bytes()));
    let certificates: Vec<_> = certificates
        .collect::<Result<_, _>>()
        .map_err(|error| format!("holds what is no certificate: {error}"))?;
    if certificates.is_empty() {
        return Err("holds no certificate; give a PEM file".into());
    }
    Ok(certificates)
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        for (pem, expected) in [
            ("", "holds no certificate; give a PEM file"),
            ("hello", "holds no certificate; give a PEM file"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "holds what is no certificate",
            ),
        ] {
            let said = Tls::new(Some(pem.as_bytes()), None, None).unwrap_err();
            assert!(said.starts_with(expected), "{said}");
        }
        let said = Tls::new(None, Some((b"x", b"y")), None).unwrap_err();
        assert!(said.starts_with("certificate and key can't be used together"), "{said}");
        assert!(Tls::new(None, None, None).is_ok(), "the system's authorities");
    }
}
