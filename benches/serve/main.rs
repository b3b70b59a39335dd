//! What a call costs over HTTPS, beside a server that decides nothing: CPU time, and the time that
//! callers wait, alone and while large reviews are under way.
//!
//! The load alternates between the servers, so what else the machine does weighs on all of them.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts of calls are small"
)]

mod load;
#[allow(dead_code, unreachable_pub, reason = "each benchmark uses a part of it")]
#[path = "../mesh/mod.rs"]
mod mesh;
mod null;
mod process;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use isthmus::server::issue;
use serde_json::Value;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use load::{Connection, Load};
use mesh::{Layout, local, newcomer, peer, review};
use process::Process;

/// How often each server has its turn.
const ROUNDS: usize = 21;
/// How many connections small reviews come by.
const CONNECTIONS: usize = 8;
/// How many calls a turn has by each connection.
const CALLS: usize = 1_000;
/// How often the waiting is measured, alone and beside large reviews.
const WAITING_ROUNDS: usize = 5;
/// How many calls each such round has by each connection, and the pause before each.
const WAITING_CALLS: usize = 100;
const PAUSE: Duration = Duration::from_millis(5);
/// How many large reviews are under way at once, and the pause before each: their callers must not
/// take what the measured ones compute by.
const LARGE: usize = 2;
const LARGE_PAUSE: Duration = Duration::from_millis(20);
/// The size of a large review, in bytes.
const LARGE_BODY: usize = 4 << 20;
/// When no further round is begun.
const LONGEST: Duration = Duration::from_mins(10);

/// A server that is measured.
struct Measured {
    name: &'static str,
    process: Process,
    load: Load,
    /// CPU time of a call in each round, in microseconds.
    cpu: Vec<f64>,
}

fn main() {
    let args: Vec<_> = std::env::args().collect();
    if let [_, null::ARGUMENT, certificate, key] =
        &*args.iter().map(String::as_str).collect::<Vec<_>>()
    {
        return null::serve(certificate, key);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("serve");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory");
    runtime.expect("a runtime").block_on(measure(&directory));
    fs::remove_dir_all(&directory).expect("it is removed");
}

async fn measure(directory: &Path) {
    let issued = issue(&[], Duration::from_hours(24)).expect("a certificate");
    let [certificate, key] = ["tls.pem", "tls-key.pem"].map(|file| path(directory, file));
    fs::write(&certificate, &issued.certificate).expect("it is written");
    fs::write(&key, &issued.key).expect("it is written");
    let tls = load::connector(&issued.authority);
    let pair = [&*certificate, &*key];
    let serve = |name, members, log| (name, isthmus(directory, pair, name, members, log));
    let servers = [
        ("null", null_server(directory, pair)),
        serve("10 members, log", 10, "info"),
        serve("10 members, no log", 10, "error"),
        serve("10,000 members, log", 10_000, "info"),
        serve("10,000 members, no log", 10_000, "error"),
    ];
    let mut measured = Vec::new();
    for (name, process) in servers {
        let load = Load::open(&tls, process.address, CONNECTIONS, Duration::ZERO).await;
        let load = load.expect("connections");
        measured.push(Measured { name, process, load, cpu: Vec::new() });
    }
    cost(&mut measured).await;
    for Measured { name, process, .. } in &measured {
        if matches!(*name, "null" | "10,000 members, log") {
            waiting(name, process, &tls).await;
        }
    }
}

/// Measures and prints what a call costs each server in CPU time.
async fn cost(servers: &mut [Measured]) {
    let call = load::call(&review(&newcomer()));
    let end = Instant::now() + LONGEST;
    // The first round fills caches and counts for nothing.
    for round in 0..=ROUNDS {
        if Instant::now() > end {
            break;
        }
        for server in &mut *servers {
            let before = server.process.cpu();
            server.load.run(&call, CALLS).await;
            let spent = server.process.cpu().saturating_sub(before);
            if round > 0 {
                server.cpu.push(spent.as_secs_f64() * 1e6 / (CONNECTIONS * CALLS) as f64);
            }
        }
        servers.reverse();
    }
    let null = servers.iter().find(|server| server.name == "null").expect("it is there");
    let null = null.cpu.clone();
    for server in servers {
        let ratios = server.cpu.iter().zip(&null).map(|(cpu, null)| cpu / null);
        println!(
            "serve/cpu/{}: {:.1} us a call, {:.2} times the null server",
            server.name,
            median(server.cpu.clone()),
            median(ratios.collect())
        );
    }
}

/// Measures and prints how long callers of small reviews wait, alone and beside large ones.
async fn waiting(name: &str, process: &Process, tls: &TlsConnector) {
    let small = load::call(&review(&newcomer()));
    let large = load::call(&large_review());
    let load = Load::open(tls, process.address, CONNECTIONS, PAUSE).await;
    let mut load = load.expect("connections");
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut answered = 0;
    for round in 0..=WAITING_ROUNDS {
        let took = load.run(&small, WAITING_CALLS).await;
        let stop = Arc::new(AtomicBool::new(false));
        let larges = [(); LARGE].map(|()| {
            let (tls, address) = (tls.clone(), process.address);
            let (stop, large) = (Arc::clone(&stop), Arc::clone(&large));
            thread::spawn(move || call_until(&stop, &tls, address, &large))
        });
        let took_beside = load.run(&small, WAITING_CALLS).await;
        stop.store(true, Ordering::Relaxed);
        for large in larges {
            answered += large.join().expect("the load runs");
        }
        if round > 0 {
            alone.extend(took);
            beside.extend(took_beside);
        }
    }
    let [alone, beside] = [alone, beside].map(|mut took| {
        took.sort_unstable();
        let at = |part: f64| took[(took.len() as f64 * part) as usize].as_secs_f64() * 1e3;
        (at(0.5), at(0.99))
    });
    println!(
        "serve/waiting/{name}: alone p50 {:.2} ms, p99 {:.2} ms; beside {answered} reviews of 4 MB p50 {:.2} ms, p99 {:.2} ms: p99 {:.1} times",
        alone.0,
        alone.1,
        beside.0,
        beside.1,
        beside.1 / alone.1
    );
}

/// Makes calls by one connection until it is told to stop; says how many were answered.
fn call_until(stop: &AtomicBool, tls: &TlsConnector, address: SocketAddr, call: &[u8]) -> usize {
    // Encrypting them must not keep the measured callers waiting.
    let _ = rustix::process::nice(10);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut connection = Connection::open(tls, address).await.expect("one more");
        let mut answered = 0;
        while !stop.load(Ordering::Relaxed) {
            sleep(LARGE_PAUSE).await;
            let (status, _) = connection.call(call).await;
            answered += usize::from(status == 200);
        }
        answered
    })
}

/// A review of an update whose object and old object are as large as they get.
fn large_review() -> Vec<u8> {
    let recorded =
        include_str!("../../tests/data/admission-reviews/008-create-configmap-kubeadm-config.json");
    let mut review: Value = serde_json::from_str(recorded).expect("the recorded review is JSON");
    let request = &mut review["request"];
    let key = "ClusterConfiguration";
    let mut text = request["object"]["data"][key].as_str().expect("a text").to_owned();
    text.push_str("\nscheduler:\n  extraVolumes:\n");
    for n in 0.. {
        if text.len() > LARGE_BODY / 2 {
            break;
        }
        let _ = writeln!(text, "  - name: volume-{n:06}\n    hostPath: /etc/kubernetes/{n:06}");
    }
    request["object"]["data"][key] = text.into();
    request["oldObject"] = request["object"].clone();
    request["operation"] = "UPDATE".into();
    serde_json::to_vec(&review).expect("JSON")
}

fn null_server(directory: &Path, [certificate, key]: [&str; 2]) -> Process {
    let program = std::env::current_exe().expect("this program");
    let log = File::create(directory.join("null.log")).expect("a file");
    let args = [null::ARGUMENT, certificate, key];
    Process::start(program.to_str().expect("a path"), &args, log, "webhook:")
}

/// Starts `isthmus serve` with a mesh of so many members.
fn isthmus(
    directory: &Path,
    [certificate, key]: [&str; 2],
    name: &str,
    members: usize,
    log: &str,
) -> Process {
    let inventory = directory.join(name);
    fs::create_dir_all(&inventory).expect("a directory");
    let objects = (0..members).map(|n| peer(n, Layout::Flat)).chain([local()]);
    let text: String = objects.fold(String::new(), |mut text, object| {
        let _ = writeln!(text, "---\n{object}");
        text
    });
    fs::write(inventory.join("mesh.yaml"), text).expect("it is written");
    let inventory = inventory.to_str().expect("a path");
    let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    // Only calls are measured.
    args.extend(["--inventory", inventory, "--inventory-poll", "24h"]);
    args.extend(["--tls-cert", certificate, "--tls-key", key, "--log", log]);
    args.extend(["--log-format", "json"]);
    let log = File::create(directory.join(format!("{name}.log"))).expect("a file");
    Process::start(env!("CARGO_BIN_EXE_isthmus"), &args, log, "guarding")
}

fn path(directory: &Path, file: &str) -> String {
    directory.join(file).to_str().expect("a path").to_owned()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
