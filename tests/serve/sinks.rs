//! Where the log goes stalls, is slow or is full: nobody who asks waits for it.

use std::fs::{self, File};
use std::io::{Read, Write, pipe};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::process::{Server, command};
use crate::support::{TempDir, peer, wait_for};

const REVIEWS: u32 = 2000;

/// As many reviews as that, each of which takes a long line of the log.
fn ask(server: &Server) {
    let mut review = peer("peer", "https://istio.example.com/metadata/");
    // In JSON six bytes each.
    let long = "\u{1}".repeat(256);
    for field in ["uid", "name", "subResource"] {
        review["request"][field] = long.clone().into();
    }
    review["request"]["userInfo"]["username"] = long.into();
    let review = review.to_string();
    let mut client = server.client();
    for _ in 0..REVIEWS {
        assert_eq!(client.post("/validate", &review).status, 200);
    }
    assert!((server.reviews() - f64::from(REVIEWS)).abs() < f64::EPSILON);
}

fn lost(server: &Server) -> f64 {
    server.metric("isthmus_lost_log_lines_total").unwrap()
}

fn ends(mut server: Server) {
    server.terminate();
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn an_unread_log_stops_nothing() {
    let empty = TempDir::new();
    let (_unread, log) = pipe().unwrap();
    let server = Server::logging_into(log.into(), empty.path(), &[]);
    ask(&server);
    assert!(lost(&server) > 0.0);
    ends(server);
}

#[test]
fn a_full_log_stops_nothing() {
    let empty = TempDir::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let server = Server::logging_into(full.into(), empty.path(), &[]);
    ask(&server);
    wait_for("all lines to be lost", || (lost(&server) >= f64::from(REVIEWS)).then_some(()));
    ends(server);
}

#[test]
fn a_slowly_read_log_has_each_line_or_counts_it() {
    let empty = TempDir::new();
    let (mut slow, log) = pipe().unwrap();
    let server = Server::logging_into(log.into(), empty.path(), &[]);
    let read = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&read);
    let reader = thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = slow.read(&mut piece) {
            let mut read = shared.lock().unwrap();
            // What is logged here is ASCII.
            read.push_str(str::from_utf8(&piece[..length]).unwrap());
            if read.len() < 1 << 20 {
                drop(read);
                thread::sleep(Duration::from_millis(5));
            }
        }
    });
    ask(&server);
    let lost = lost(&server);
    let rest = f64::from(REVIEWS) - lost;
    wait_for("each line that is not lost", || {
        let decided = read.lock().unwrap().matches("review decided").count();
        let decided = f64::from(u32::try_from(decided).unwrap());
        assert!(decided <= rest, "{decided} of {rest}");
        (decided >= rest).then_some(())
    });
    ends(server);
    reader.join().unwrap();
    let log = read.lock().unwrap();
    assert!(log.ends_with('\n') && log.contains("\"message\":\"stopped\""), "its last words");
    assert_eq!(lost > 0.0, log.contains("log lines were lost"));
}

/// Whether the process would be told of a signal, instead of being ended by it.
fn handles(child: &Child, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (signal.as_raw() - 1)) != 0
}

#[test]
fn a_process_with_unread_output_ends_on_a_signal() {
    let directory = TempDir::new();
    let (_unread, mut output) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&output, true).unwrap();
    while output.write(&[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&output, false).unwrap();
    let args = ["serve", "--inventory=.", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"];
    let mut command = command(directory.path());
    command.args(args).stdout(output.try_clone().unwrap()).stderr(Stdio::from(output));
    let mut child = command.spawn().unwrap();
    wait_for("the handler", || handles(&child, Signal::TERM).then_some(()));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let ended = wait_for("the end", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn requests_that_are_not_reviews_are_logged_by_sample() {
    const CALLS: u32 = 1000;
    let empty = TempDir::new();
    let server = Server::start(empty.path(), &[]);
    let begun = Instant::now();
    let mut client = server.client();
    for _ in 0..CALLS {
        assert_eq!(client.send("GET", "/nowhere", &[], b"").status, 404);
        assert_eq!(client.send("GET", "/validate", &[], b"").status, 405);
        assert_eq!(client.post("/validate", "{}").status, 400);
    }
    let most = 10 * (usize::try_from(begun.elapsed().as_secs()).unwrap() + 2);
    for status in [404, 405, 400] {
        let series = format!("isthmus_refused_requests_total{{status=\"{status}\"}}");
        assert_eq!(server.metric(&series), Some(CALLS.into()));
        let lines = server.log_lines();
        let lines: Vec<_> = lines.iter().filter(|line| line["status"] == status).collect();
        assert!((1..=most).contains(&lines.len()), "{} lines of {most}", lines.len());
        let suppressed: u64 = lines.iter().map(|line| line["suppressed"].as_u64().unwrap()).sum();
        assert!(lines.len() as u64 + suppressed <= u64::from(CALLS));
    }
}
