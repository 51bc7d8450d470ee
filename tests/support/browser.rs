//! Test support: a real, headless Chromium, spoken to in the DevTools protocol over a pair of pipes.
//!
//! It is installed on first use by `tests/systems/install.sh`, has an empty profile of its own, and ends
//! when it is dropped.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use landfall::clock::Clock;
use landfall::shutdown::Tasks;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the browser may take on a busy machine before the test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// Chromium with one tab.
pub(crate) struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    next: u64,
    /// What the browser told by itself.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Installs it if need be, and opens an empty tab.
    pub(crate) fn start() -> Self {
        let systems = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems");
        let installed = Command::new(systems.join("install.sh")).arg("chromium").status();
        assert!(installed.unwrap().success(), "install.sh chromium failed; see above");
        let profile = TempDir::new().unwrap();
        // The protocol's pipes are descriptors 3 and 4.
        let script = "sandbox=; [[ $(id -u) != 0 ]] || sandbox=--no-sandbox
            exec chromium $sandbox --headless --remote-debugging-pipe --user-data-dir=\"$0\" \
            --disable-gpu --disable-quic --no-first-run --disable-background-networking \
            --disable-component-update --disable-sync --disable-dev-shm-usage about:blank \
            3<&0 4>&1 </dev/null >/dev/null 2>\"$0/log\"";
        let mut command = Command::new("bash");
        command.args(["-c", script]).arg(profile.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, messages) = mpsc::channel();
        Tasks::new()
            .thread("browser", move || {
                for message in BufReader::new(answers).split(0) {
                    let Ok(message) = message else { return };
                    if tell.send(serde_json::from_slice(&message).unwrap()).is_err() {
                        return;
                    }
                }
            })
            .unwrap();
        let (session, next, events) = (None, 1, Vec::new());
        let mut browser =
            Self { child, commands, messages, session, next, events, _profile: profile };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", &target);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Calls a method of the protocol and waits for its result.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        let id = self.next;
        self.next += 1;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let sent = self.commands.write_all(format!("{message}\0").as_bytes());
        sent.unwrap_or_else(|error| panic!("{method}: the browser has ended: {error}"));
        loop {
            let message = self.messages.recv_timeout(PATIENCE);
            let message = message.unwrap_or_else(|error| panic!("{method}: no answer: {error}"));
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    /// Opens an address and waits until it is loaded.
    pub(crate) fn open(&mut self, url: &str) {
        let loads = self.told("Page.loadEventFired").count();
        self.call("Page.navigate", &json!({ "url": url }));
        self.wait("the page to load", |browser| {
            browser.call("Runtime.evaluate", &json!({ "expression": "0" }));
            browser.told("Page.loadEventFired").count() > loads
        });
    }

    /// What a JavaScript expression comes to; a promise is waited for.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", &parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until a JavaScript expression is true.
    pub(crate) fn await_that(&mut self, expression: &str) {
        self.wait(expression, |browser| browser.evaluate(expression) == true);
    }

    fn wait(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let clock = Clock::system();
        let until = clock.now() + PATIENCE;
        while !holds(self) {
            assert!(clock.now() < until, "waited in vain for {what}");
            clock.sleep_until(clock.now() + Duration::from_millis(50));
        }
    }

    /// Shows the page so wide and high, in CSS pixels, in the light or the dark.
    pub(crate) fn look(&mut self, (width, height): (u32, u32), scheme: &str) {
        let is_phone = width < 500;
        let scale = if is_phone { 2 } else { 1 };
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
    }

    /// Writes a picture of the whole page into `$LANDFALL_TEST_SCREENSHOTS`, where that is set.
    pub(crate) fn picture(&mut self, name: &str) {
        let parameters = json!({ "captureBeyondViewport": true, "format": "png" });
        let picture = self.call("Page.captureScreenshot", &parameters);
        let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        assert!(picture.starts_with(b"\x89PNG"), "{name} is no picture");
        if let Some(directory) = std::env::var_os("LANDFALL_TEST_SCREENSHOTS") {
            std::fs::write(Path::new(&directory).join(format!("{name}.png")), picture).unwrap();
        }
    }

    /// Presses a key.
    pub(crate) fn press(&mut self, key: &str) {
        let code = if key == "Enter" { 13 } else { 9 };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    fn told(&self, method: &str) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(move |event| event["method"] == method)
    }

    /// Every address that was asked for.
    pub(crate) fn requests(&self) -> Vec<String> {
        let urls = self.told("Network.requestWillBeSent");
        urls.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// Everything on the console that is an error or a warning.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let is_bad = |level: &Value| level == "error" || level == "warning";
        let console = self.told("Runtime.consoleAPICalled");
        let console = console.filter(|event| is_bad(&event["params"]["type"]));
        let log = self.told("Log.entryAdded");
        let log = log.filter(|event| is_bad(&event["params"]["entry"]["level"]));
        let thrown = self.told("Runtime.exceptionThrown");
        console.chain(log).chain(thrown).map(|event| event["params"].to_string()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Fails where it has ended, as it should not have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
