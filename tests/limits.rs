//! What a run needs of the machine is counted before anything starts: refused with the arithmetic where it
//! does not fit, and the limit of file descriptors raised where that is enough.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A configuration, and a listener that nobody may connect to.
struct Scene {
    directory: TempDir,
    broker: TcpListener,
}

impl Scene {
    fn new(clients: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        broker.set_nonblocking(true).unwrap();
        let text = format!(
            "probe: p\npaths:\n  - name: a\n    mqtt: {{ url: 'mqtt://{}', clients: {clients} }}\n\
             telemetry: {{ listen: '127.0.0.1:0' }}\n",
            broker.local_addr().unwrap()
        );
        fs::write(directory.path().join("landfall.yaml"), text).unwrap();
        Self { directory, broker }
    }

    /// `landfall` with these arguments, below what the shell sets before.
    fn command(&self, limits: &str, arguments: &str) -> Command {
        let mut command = Command::new("sh");
        let landfall = env!("CARGO_BIN_EXE_landfall");
        command.args(["-c", &format!("{limits}; exec '{landfall}' {arguments}")]);
        command.current_dir(self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end: exit code, standard output and standard error. Nobody was connected to.
    fn refused(&self, limits: &str, arguments: &str) -> (Option<i32>, String, String) {
        let output = self.command(limits, arguments).output().unwrap();
        let knock = self.broker.accept().map_err(|error| error.kind());
        assert_eq!(knock.err(), Some(ErrorKind::WouldBlock), "nobody was to connect");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

const ARITHMETIC: &str = "100 clients + 128 others = 228 file descriptors, 64 allowed";

#[test]
fn too_few_file_descriptors_are_refused_with_the_arithmetic() {
    let scene = Scene::new(100);
    let (code, said, complained) = scene.refused("ulimit -n 64", "run --for 1s");
    assert_eq!((code, said.as_str()), (Some(2), ""), "{complained}");
    let expected = format!(
        "this host has too few descriptors: {ARITHMETIC}; raise the limit of open files to 228 (ulimit -n"
    );
    assert!(complained.starts_with(&expected), "{complained}");
    assert_eq!(complained.lines().count(), 1, "{complained}");

    let (code, said, complained) = scene.refused("ulimit -n 64", "check");
    assert_eq!(code, Some(2), "{said}{complained}");
    assert!(said.contains(&format!("  FAIL  descriptors     {ARITHMETIC}\n")), "{said}");
    assert!(said.contains("        -> raise the limit of open files to 228"), "{said}");
    assert!(said.contains("  ok    ports           "), "{said}");
    assert!(said.contains("  ok    memory          100 clients x 5.12 kB + "), "{said}");
    assert!(
        said.contains("A run is refused; nothing was connected to. First, this host"),
        "{said}"
    );
}

#[test]
fn the_limit_is_raised_as_far_as_it_may_be_and_the_arithmetic_is_logged() {
    let scene = Scene::new(1_001);
    let limits = "ulimit -S -n 64; ulimit -H -n 2000";
    let mut landfall = scene.command(limits, "run --log info").spawn().unwrap();
    let mut log = BufReader::new(landfall.stderr.take().unwrap()).lines().map(Result::unwrap);
    let before: Vec<String> =
        log.by_ref().take_while(|line| !line.contains("listening on http://")).collect();
    let limits = fs::read_to_string(format!("/proc/{}/limits", landfall.id())).unwrap();
    landfall.kill().unwrap();
    landfall.wait().unwrap();
    let words = "descriptors: 1001 clients + 128 others = 1129 file descriptors, 2000 allowed; a run \
                 raises its limit of 64";
    assert!(before.iter().any(|line| line.contains(words)), "{before:?}");
    assert!(
        before.iter().any(|line| line.contains("memory: 1001 clients x 5.12 kB")),
        "{before:?}"
    );
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let files: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(files[3..5], ["2000", "2000"], "as much again in reserve: {limits}");
}
