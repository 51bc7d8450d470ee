//! Room `telemetry`: the frame of the status page, and what it is allowed to do.
//!
//! # Design
//!
//! One document without anything from elsewhere. Its policy allows the one style sheet and the one script
//! that are in it, by their hashes, and asking the server that it came from: a script or style that
//! found its way into a figure or name does nothing, even where escaping failed.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// Where in the frame the figures go.
const FIGURES: &str = "<!--figures-->";

/// The document up to the figures, and behind them.
static HALVES: LazyLock<(String, String)> = LazyLock::new(|| {
    let whole = FRAME.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
    let (before, behind) = whole.split_once(FIGURES).unwrap_or((&whole, ""));
    (before.to_owned(), behind.to_owned())
});

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// The page around these figures, which are HTML.
pub(super) fn document(figures: &str) -> String {
    let (before, behind) = &*HALVES;
    [before, figures, behind].concat()
}

/// What browsers are told about it.
pub(super) fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut tell = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    tell(header::CONTENT_TYPE, "text/html; charset=utf-8");
    tell(header::CONTENT_SECURITY_POLICY, &POLICY);
    tell(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    tell(header::REFERRER_POLICY, "no-referrer");
    tell(header::CACHE_CONTROL, "no-store");
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_has_room_for_everything_and_names_nothing_elsewhere() {
        let whole = document("FIGURES");
        assert!(whole.contains("FIGURES") && whole.contains(STYLE) && whole.contains(SCRIPT));
        assert!(!whole.contains(FIGURES), "{FIGURES} is in the frame once");
        for elsewhere in ["https:", "//cdn", "@import", "src=\"http"] {
            assert!(!whole.contains(elsewhere), "{elsewhere}");
        }
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
    }

    #[test]
    fn every_header_is_there() {
        let headers = headers();
        assert_eq!(headers.len(), 5);
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
