//! A running `isthmus serve`.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use super::client::{Answer, Client};
use super::{TempDir, peer, wait_for};

/// A server; killed at the end.
pub(crate) struct Server {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    pub(crate) webhook: SocketAddr,
    pub(crate) admin: SocketAddr,
    _directory: TempDir,
}

impl Server {
    /// Starts one with this inventory, and waits until it is ready.
    pub(crate) fn start(inventory: &Path, args: &[&str]) -> Self {
        let server = Self::launch(inventory, args);
        server.wait_ready();
        server
    }

    /// The same, which looks at its certificates' files only when it has a reason to.
    pub(crate) fn start_slow(inventory: &Path, args: &[&str]) -> Self {
        Self::start(inventory, &[&["--tls-poll=1h"], args].concat())
    }

    /// Starts one with this inventory, and waits until it listens.
    pub(crate) fn launch(inventory: &Path, args: &[&str]) -> Self {
        Self::launch_with(&[&["--inventory", inventory.to_str().unwrap()], args].concat())
    }

    /// Starts one, and waits until it listens.
    pub(crate) fn launch_with(args: &[&str]) -> Self {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        Self::run(&[&serve, args].concat())
    }

    /// Starts one with this inventory that logs into this, and waits until it is ready.
    pub(crate) fn logging_into(stderr: Stdio, inventory: &Path, args: &[&str]) -> Self {
        let inventory = inventory.to_str().unwrap();
        let serve =
            ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--inventory", inventory];
        let server = Self::run_as(&[], stderr, &[&serve, args].concat());
        server.wait_ready();
        server
    }

    /// Starts the program by these arguments alone, and waits until it listens.
    pub(crate) fn run(args: &[&str]) -> Self {
        Self::run_as(&[], Stdio::piped(), args)
    }

    /// The same, in an environment of which this is part.
    pub(crate) fn run_within(environment: &[(&str, &str)], args: &[&str]) -> Self {
        Self::run_as(environment, Stdio::piped(), args)
    }

    fn run_as(environment: &[(&str, &str)], stderr: Stdio, args: &[&str]) -> Self {
        // A directory of its own, so that no certificates of the project are found.
        let directory = TempDir::new();
        let mut child = command(directory.path())
            .env("ISTHMUS_INVENTORY_POLL", "20ms")
            .env("ISTHMUS_TLS_POLL", "100ms")
            .envs(environment.iter().copied())
            .args(args)
            .stderr(stderr)
            .spawn()
            .unwrap();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = child.stderr.take().map(collect).unwrap_or_default();
        let address = |name: &str, scheme: &str| {
            wait_for("the addresses", || {
                let printed = stdout.lock().unwrap();
                let line = printed.lines().find(|line| line.starts_with(name))?;
                let address = line.split(scheme).nth(1)?.split('/').next()?;
                address.parse().ok()
            })
        };
        let (webhook, admin) = (address("webhook:", "https://"), address("admin:", "http://"));
        Self { child, stdout, stderr, webhook, admin, _directory: directory }
    }

    pub(crate) fn wait_ready(&self) {
        wait_for("readiness", || (self.admin("/readyz").status == 200).then_some(()));
    }

    /// Sends a review and returns the response in the answer.
    #[track_caller]
    pub(crate) fn review(&self, path: &str, review: &Json) -> Json {
        self.client().post(path, review.to_string()).response()
    }

    /// Whether a review is allowed.
    #[track_caller]
    pub(crate) fn allows(&self, review: &Json) -> bool {
        self.review("/validate", review)["allowed"].as_bool().unwrap()
    }

    /// A client that trusts whatever certificate it is shown.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.webhook)
    }

    /// Fetches a page of the admin endpoint.
    pub(crate) fn admin(&self, path: &str) -> Answer {
        Client::plain(self.admin).send("GET", path, &[], b"")
    }

    /// A metric, by its name with all its labels.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let page = self.admin("/metrics").text();
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    /// How many reviews were answered, of whatever kind.
    pub(crate) fn reviews(&self) -> f64 {
        let page = self.admin("/metrics").text();
        let series = page.lines().filter(|line| line.starts_with("isthmus_reviews_total"));
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Waits until a metric has a value.
    #[track_caller]
    pub(crate) fn wait_metric(&self, series: &str, value: f64) {
        let has = |metric: Option<f64>| metric.is_some_and(|m| (m - value).abs() < f64::EPSILON);
        wait_for(series, || has(self.metric(series)).then_some(()));
    }

    /// Waits until the inventory was looked at, from now on.
    pub(crate) fn wait_inventory(&self) {
        let polls = || self.metric("isthmus_inventory_polls_total").unwrap();
        // The look that is under way may have missed what was written.
        let enough = polls() + 2.0;
        wait_for("the inventory", || (polls() >= enough).then_some(()));
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        wait_for("the end", || self.child.try_wait().unwrap())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// All it has printed.
    pub(crate) fn printed(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// All it has logged.
    pub(crate) fn logged(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until it has logged this.
    #[track_caller]
    pub(crate) fn wait_logged(&self, text: &str) {
        wait_for(text, || self.logged().contains(text).then_some(()));
    }

    /// All that it logs of what it has done so far: lines gather before they are written.
    pub(crate) fn all_logged(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mark = format!("mark-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.review("/validate", &peer(&mark, "https://istio.mark.example.com/metadata/"));
        self.wait_logged(&mark);
        self.logged()
    }

    /// Its log lines, as JSON.
    pub(crate) fn log_lines(&self) -> Vec<Json> {
        self.logged().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// How much each of its threads gives way to others, as of nice(1).
    pub(crate) fn niceness(&self) -> Vec<i32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let stats =
            tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
        // The name in parentheses may contain anything; after it come state and numbers.
        let of = |stat: String| stat.rsplit_once(") ")?.1.split(' ').nth(16)?.parse().ok();
        stats.map(|stat| of(stat).unwrap()).collect()
    }

    /// Its memory, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory it has ever had, in KiB.
    pub(crate) fn peak(&self) -> u64 {
        peak(self.id())
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn status(&self, field: &str) -> u64 {
        status(self.id(), field)
    }
}

/// The most memory that a process has ever had, in KiB.
pub(crate) fn peak(process: u32) -> u64 {
    status(process, "VmHWM:")
}

fn status(process: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

impl Drop for Server {
    #[allow(clippy::print_stderr, reason = "it is what a failed test is understood by")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the server logged:\n{}", self.logged());
        }
    }
}

/// The built program, in a directory, knowing nothing of this environment's settings.
pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isthmus"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ISTHMUS_") {
            command.env_remove(name);
        }
    }
    // The peers that tests make up are nowhere, or at addresses of others; those of some tests are not.
    command.env("ISTHMUS_REACH", "false");
    command
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn collect(stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&text);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut text = shared.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    });
    text
}
