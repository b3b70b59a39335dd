//! A server in a process of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running server; killed at the end.
pub(super) struct Process {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Process {
    /// Starts a program that logs to this file, and waits until it has said where it listens, and a
    /// line that begins like this.
    pub(super) fn start(program: &str, args: &[&str], log: File, last_line: &str) -> Self {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ISTHMUS_") {
                command.env_remove(name);
            }
        }
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        #[allow(clippy::zombie_processes, reason = "it is waited for when this is dropped")]
        let mut child = command.spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut address = None;
        loop {
            let line = lines.next().expect("the server tells its address").expect("text");
            if let Some(url) = line.strip_prefix("webhook:") {
                let host = url.split("https://").nth(1).and_then(|url| url.split('/').next());
                address = host.and_then(|host| host.parse().ok());
            }
            if line.starts_with(last_line)
                && let Some(address) = address
            {
                return Self { child, address };
            }
        }
    }

    /// How long its threads have been computing, as the scheduler counts it.
    pub(super) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("procfs");
        let nanoseconds = tasks.map(|task| {
            let task = task.expect("procfs").path().join("schedstat");
            // A thread may end meanwhile; those that calls are served by do not.
            let stat = fs::read_to_string(task).unwrap_or_default();
            stat.split(' ').next().and_then(|spent| spent.parse().ok()).unwrap_or(0)
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
