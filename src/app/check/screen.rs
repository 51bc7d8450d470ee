//! Room `app`: what a check prints, on standard output and without secrets.

use std::io::{self, IsTerminal, Write};

use secrecy::ExposeSecret;

use crate::config::{Problems, Resolved};
use crate::preflight::Finding;

/// A secret that is shorter is in every second word, and no secret.
const SECRET_MIN: usize = 4;

/// Where findings are shown.
pub(super) struct Screen {
    in_colour: bool,
    /// What must not be shown, whoever says it: librdkafka, brokers, records.
    secrets: Vec<String>,
}

impl Screen {
    /// A screen without secrets to keep.
    pub(super) fn plain() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { in_colour: wanted && io::stdout().is_terminal(), secrets: Vec::new() }
    }

    /// A screen that keeps the secrets of a configuration.
    pub(super) fn of(resolved: &Resolved) -> Self {
        let passwords = resolved.paths.iter().filter_map(|path| path.mqtt.password.as_ref());
        let properties = resolved.paths.iter().filter_map(|path| path.kafka.as_ref());
        let properties = properties.flat_map(|kafka| kafka.secret_properties.values());
        let texts = passwords.chain(properties).map(ExposeSecret::expose_secret);
        // A secret of several lines may be repeated in part.
        let lines = texts.flat_map(str::lines).map(str::trim);
        let mut secrets: Vec<String> =
            lines.filter(|line| line.len() >= SECRET_MIN).map(str::to_owned).collect();
        // The longer ones first: they may hold a shorter one.
        secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets, ..Self::plain() }
    }

    /// Says what is wrong with the configuration.
    pub(super) fn configuration(&self, problems: &Problems) {
        let text = problems.to_string();
        for line in text.lines() {
            self.write(&format!("  FAIL  configuration   {line}\n"));
        }
        let first = text.lines().next().unwrap_or_default();
        self.say(&format!("The configuration is wrong; nothing was connected to. First, {first}"));
    }

    /// Begins a path.
    pub(super) fn title(&self, title: &str) {
        self.write(&format!("{title}\n"));
    }

    /// Shows findings.
    pub(super) fn show(&self, findings: &[Finding]) {
        for finding in findings {
            self.write(&finding.text(self.in_colour));
        }
    }

    /// Says a sentence, apart from what came before.
    pub(super) fn say(&self, sentence: &str) {
        self.write(&format!("\n{sentence}\n"));
    }

    fn write(&self, text: &str) {
        let text = self.hide(text);
        // Nobody reads a closed pipe; the exit code tells.
        let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    }

    /// A text without secrets.
    fn hide(&self, text: &str) -> String {
        let hide = |text: String, secret: &String| text.replace(secret, "***");
        self.secrets.iter().fold(text.to_owned(), hide)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, load_text};

    #[test]
    fn what_others_repeat_of_a_secret_is_not_shown() {
        let text = "
probe: p
paths:
  - name: a
    mqtt: { url: 'mqtt://b', username: u }
    kafka:
      brokers: k
      topics: [t]
      properties: { sasl.password: abc, ssl.key.pem: \"KEY-ONE\\nKEY-TWO\", ssl.key.password: KEY- }
";
        let environment = [("LANDFALL_MQTT_PASSWORD".to_owned(), "swordfish".to_owned())];
        let loaded = load_text("a.yaml", text, &Overrides::default(), environment).unwrap();
        let screen = Screen::of(&loaded.resolved);
        let said = "swordfish KEY-ONE KEY-TWO KEY-THREE u abc";
        assert_eq!(screen.hide(said), "*** *** *** ***THREE u abc", "too short to be a secret");
    }
}
