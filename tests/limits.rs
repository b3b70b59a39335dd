//! What a release build holds out against, in figures: `make limits`.
//!
//! They depend on the machine, so no test that must pass everywhere asks for them.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

#[allow(dead_code, reason = "each test binary uses a part of it")]
mod support;

use std::collections::VecDeque;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use support::api::{Api, MEMBERS};
use support::client::{Client, tcp_from};
use support::elsewhere::{Elsewhere, Reply, Shows, kubeconfig, outer_address, remote_secret};
use support::guarded::{LEASES, VALIDATE};
use support::objects::{described, labelled, multicluster, review, with};
use support::plane::{Plane, exclusive};
use support::process::Server;
use support::racing::{Ring, write};
use support::scouting::{Scout, home};
use support::showing::Showing;
use support::{TempDir, peer, wait_for};

const MIB: u64 = 1 << 20;
/// What the chart gives a pod.
const LIMIT: u64 = 256 * MIB;
/// What is never to be exceeded, holds included.
const PEAK: u64 = 200 * MIB;
/// What holds may take, which only a server that watches a cluster has.
const HOLDS: u64 = 8 * MIB;

/// What kubelet and Prometheus ask for.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/metrics"];
const HEAD: &str = "POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

/// A limit of memory as the kernel enforces it; removed at the end.
struct Limit(PathBuf);

impl Limit {
    /// Puts a process under a limit, where this one may make such.
    fn on(server: &Server) -> Option<Self> {
        let name = format!("isthmus-limits-{}", std::process::id());
        let hierarchies = [("memory", "memory.limit_in_bytes"), ("", "memory.max")];
        hierarchies.into_iter().find_map(|(hierarchy, file)| {
            let group = Path::new("/sys/fs/cgroup").join(hierarchy).join(&name);
            fs::create_dir(&group).ok()?;
            let limit = Self(group);
            fs::write(limit.0.join(file), LIMIT.to_string()).ok()?;
            fs::write(limit.0.join("cgroup.procs"), server.id().to_string()).ok()?;
            Some(limit)
        })
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // It can go once the process has.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Whether there is more left of it than an entry in the table of processes.
fn is_alive(server: &Server) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id()));
    status.is_ok_and(|status| status.contains("VmHWM:"))
}

fn neighbour(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 1, 0, u8::try_from(n % 32).unwrap())
}

fn list(bytes: usize) -> Json {
    Json::Array(vec![json!(1); bytes / 2 - 8])
}

/// The reviews that take most memory for their size.
fn worst() -> Vec<String> {
    let most = (2 << 20) - 64;
    let configuration = json!({
        "apiVersion": "deckhouse.io/v1", "kind": "ClusterConfiguration",
        "metadata": {"name": "peer"},
        "clusterDomain": list(most), "podSubnetCIDR": list(most),
        "podSubnetNodeCIDRPrefix": list(most), "serviceSubnetCIDR": list(most - 1024),
    });
    let text = format!("a: [{}]\n", "1,".repeat(most / 2 - 16));
    let member = |text: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "isthmus", "labels": {"isthmus.dev/member": "a"}},
            "data": {"cluster-configuration.yaml": text},
        })
    };
    let addresses: Vec<_> = (0..most / 16).map(|n| json!({"ip": n})).collect();
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "istio-pilot", "namespace": "istio-system"},
        "subsets": [{"addresses": addresses}],
    });
    let mut update = review(None, &member(&text));
    update["request"]["operation"] = json!("UPDATE");
    update["request"]["oldObject"] = member(&text);
    let reviews = [
        review(None, &configuration),
        update,
        review(None, &endpoints),
        review(None, &member(&"x: 1\n".repeat(most / 8))),
    ];
    let reviews: Vec<_> = reviews.iter().map(Json::to_string).collect();
    assert!(reviews.iter().all(|review| review.len() <= 8 << 20));
    reviews
}

/// Connections that have sent as much as they can without a complete request, and stall.
fn stalled(server: &Server) -> Vec<(Option<Client>, Option<std::net::TcpStream>)> {
    let body = "x".repeat(31 << 10);
    let hello = [b"\x16\x03\x01\x40\x00\x01\x00\xff\xf0".as_slice(), &[3; 16_000]].concat();
    let secured = (0..768).map(|n| {
        let mut client = Client::from(neighbour(n), server.webhook).unwrap();
        let request = match n % 2 {
            0 => format!("{HEAD}Content-Length: 8000000\r\n\r\n{body}"),
            _ => format!("{HEAD}X: {}", &body[..15 << 10]),
        };
        client.write(request.as_bytes()).unwrap();
        (Some(client), None)
    });
    let half = (0..256).map(|n| {
        let mut stream = tcp_from(neighbour(n), server.webhook).unwrap();
        let _ = std::io::Write::write_all(&mut stream, &hello);
        (None, Some(stream))
    });
    secured.collect::<Vec<_>>().into_iter().chain(half).collect()
}

#[test]
fn the_worst_of_everything_at_once_stays_within_the_limit() {
    let inventory = TempDir::new();
    let server = Server::start(inventory.path(), &["--client-timeout", "5m"]);
    let limit = Limit::on(&server);
    println!("memory limit by cgroup: {}", limit.is_some());
    println!("at rest: {} MiB", server.peak() / 1024);
    let reviews = worst();
    for (n, review) in reviews.iter().enumerate() {
        let answer = server.client().post("/validate", review);
        println!(
            "body {n}, {} KiB, {}: {} MiB",
            review.len() >> 10,
            answer.status,
            server.peak() / 1024
        );
        assert_eq!(answer.status, 200);
        let answer = server.client().post("/mutate", review);
        println!("the same, mutated, {}: {} MiB", answer.status, server.peak() / 1024);
    }
    let connections = stalled(&server);
    println!("{} connections: {} MiB", connections.len(), server.resident() / 1024);

    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let sound = peer("peer", "https://istio.example.com/metadata/").to_string();
    thread::scope(|scope| {
        for n in 0..16 {
            let (reviews, server, done, answered) = (&reviews, &server, &done, &answered);
            scope.spawn(move || {
                let source = Ipv4Addr::new(127, 2, 0, n);
                for review in reviews.iter().cycle().skip(usize::from(n)) {
                    if done.load(Relaxed) {
                        return;
                    }
                    let Ok(mut client) = Client::from(source, server.webhook) else { continue };
                    let head = format!("{HEAD}Content-Length: {}\r\n\r\n", review.len());
                    let _ = client
                        .write(head.as_bytes())
                        .and_then(|()| client.write(review.as_bytes()));
                    let status = client.answer().map_or(0, |answer| answer.status);
                    answered.fetch_add(usize::from(status == 200), Relaxed);
                }
            });
        }
        let begun = Instant::now();
        let request = format!("{HEAD}Content-Length: {}\r\n\r\n{sound}", sound.len());
        let localhost = Ipv4Addr::LOCALHOST;
        let call = || Client::from(localhost, server.webhook)?.status(request.as_bytes());
        let (mut calls, mut served, mut slowest) = (0, (0, 0), [Duration::ZERO; 3]);
        while begun.elapsed() < Duration::from_secs(10) || answered.load(Relaxed) < 32 {
            assert!(begun.elapsed() < Duration::from_mins(5) && is_alive(&server), "it is gone");
            calls += 1;
            served.0 += usize::from(call().is_ok_and(|status| status == 200));
            let (probe, begun) = (calls % PROBES.len(), Instant::now());
            served.1 += usize::from(probed(&server, PROBES[probe]).is_ok_and(|it| it == 200));
            slowest[probe] = slowest[probe].max(begun.elapsed());
        }
        done.store(true, Relaxed);
        println!("{calls} sound reviews beside {} of the worst", answered.load(Relaxed));
        for (path, slowest) in PROBES.iter().zip(slowest) {
            println!("the slowest {path}: {} ms", slowest.as_millis());
        }
        assert_eq!(served, (calls, calls));
    });
    let peak = server.peak() * 1024;
    println!("peak: {} MiB", peak / MIB);
    assert!(peak + HOLDS < PEAK, "{} MiB and {} for holds", peak / MIB, HOLDS / MIB);
    drop((connections, server, limit));
}

/// How many connections neighbours make in a second, and for how long.
const CONNECTS: u32 = 3_000;
const FLOOD: Duration = Duration::from_secs(10);

#[test]
fn three_thousand_connections_a_second_lock_nobody_out() {
    let inventory = TempDir::new();
    let server = Server::start(inventory.path(), &[]);
    let sound = peer("peer", "https://istio.example.com/metadata/").to_string();
    let request = format!("{HEAD}Content-Length: {}\r\n\r\n{sound}", sound.len());
    let call = || Client::from(Ipv4Addr::LOCALHOST, server.webhook)?.status(request.as_bytes());
    let (begun, made) = (Instant::now(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for n in 0..2 {
            let (made, address) = (&made, server.webhook);
            scope.spawn(move || {
                let mut open = VecDeque::new();
                while begun.elapsed() < FLOOD {
                    let due = begun.elapsed().as_secs_f64() * f64::from(CONNECTS);
                    if f64::from(u32::try_from(made.load(Relaxed)).unwrap()) > due {
                        thread::sleep(Duration::from_millis(1));
                        continue;
                    }
                    let made = made.fetch_add(1, Relaxed);
                    open.push_back(tcp_from(neighbour(2 * made + n), address));
                    if open.len() > 512 {
                        open.pop_front();
                    }
                }
            });
        }
        let (mut calls, mut served, mut slowest) = (0, (0, 0), [Duration::ZERO; 2]);
        while begun.elapsed() < FLOOD {
            let times = [
                timed(|| served.0 += usize::from(call().is_ok_and(|status| status == 200))),
                timed(|| {
                    let status = probed(&server, PROBES[calls % PROBES.len()]);
                    served.1 += usize::from(status.is_ok_and(|status| status == 200));
                }),
            ];
            slowest = [slowest[0].max(times[0]), slowest[1].max(times[1])];
            calls += 1;
            thread::sleep(Duration::from_millis(20));
        }
        let rate = made.load(Relaxed) as u64 / FLOOD.as_secs();
        println!("{calls} calls and probes beside {rate} connections a second");
        println!("the slowest: {} ms and {} ms", slowest[0].as_millis(), slowest[1].as_millis());
        assert_eq!(served, (calls, calls));
    });
}

/// How many clusters hang while they are read for a write.
const HANGING: usize = 50;
/// Calls of which the slowest hundredth counts, and how often they are made in turn.
const CALLS: usize = 2_000;
const TURNS: usize = 5;
/// How much slower those may be than without.
const SLOWER: f64 = 1.2;

#[test]
fn other_reviews_are_not_slowed_by_fifty_clusters_that_hang() {
    const PATH: &str = "00112233445566778899aabbccddeeff";
    let inventory = TempDir::new();
    let path = TempDir::with("path", PATH);
    let file = path.path().join("path");
    let server = Server::start(
        inventory.path(),
        &["--tls-path-file", file.to_str().unwrap(), "--reach=true", "--reach-timeout=8s"],
    );
    let sound = peer("peer", "https://istio.example.com/metadata/");
    let validate = format!("/validate/{PATH}?timeout=30s");
    let p99 = |calls: usize| {
        let mut client = server.client();
        let mut times: Vec<_> = (0..calls)
            .map(|_| timed(|| assert_eq!(client.post(&validate, sound.to_string()).status, 200)))
            .collect();
        times.sort_unstable();
        times[calls * 99 / 100]
    };
    p99(CALLS);
    let (mut idle, mut beside) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        idle.push(p99(CALLS));
        let peers: Vec<_> = (0..HANGING).map(|_| Elsewhere::start(|_| Reply::Hang)).collect();
        let secrets: Vec<_> = (0..HANGING)
            .map(|n| {
                let id = format!("c{turn}-{n}");
                remote_secret(&id, &peers[n].kubeconfig(&id, "token"))
            })
            .collect();
        thread::scope(|scope| {
            for secret in &secrets {
                let mut client = server.client();
                let validate = &validate;
                scope.spawn(move || client.post(validate, review(None, secret).to_string()));
            }
            server.wait_metric("isthmus_reviews_in_flight", 50.0);
            beside.push(p99(CALLS));
            // They break off, and so the writes are answered.
            drop(peers);
        });
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[TURNS / 2].as_secs_f64()
    };
    println!("p99 by turns: {idle:?} alone, {beside:?} beside {HANGING} that hang");
    let ratio = median(&mut beside) / median(&mut idle);
    println!("p99 of other reviews: {ratio:.2} times");
    assert!(ratio < SLOWER);
}

/// What the scout may take, and for how long, for a round of so many clusters.
const SCOUT: u64 = 64 * MIB;
const ROUND: Duration = Duration::from_mins(1);
const PEERS: u8 = 100;
const DEAD: u8 = 10;

#[test]
fn a_scout_visits_a_hundred_clusters_of_which_ten_are_dead_within_a_minute() {
    let (own, _turn) = exclusive();
    home(own, &["--remote-secrets"]);
    let secrets = "/api/v1/namespaces/istio-system/secrets";
    // Half of the dead take connections and never answer; to the others, no connection is made.
    let dead: Vec<_> =
        (0..DEAD).map(|_| TcpListener::bind((outer_address(), 0)).unwrap()).collect();
    let alive: Vec<_> = (DEAD..PEERS).map(alive).collect();
    for n in 0..PEERS {
        let id = format!("c{n}");
        let config = match n.checked_sub(DEAD) {
            Some(n) => alive[usize::from(n)].kubeconfig(&id, "token"),
            None => {
                let address = dead[usize::from(n)].local_addr().unwrap().to_string();
                let nowhere = format!("192.0.2.{n}:6443");
                let address = if n % 2 == 0 { address } else { nowhere };
                kubeconfig(&id, &format!("https://{address}"), &alive[0].authority, "token")
            }
        };
        let made = own.admin().create(secrets, &remote_secret(&id, &config));
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let (begun, mut rounds) = (Instant::now(), 0);
    let scout = Scout::start(own, &["--remote-secrets", "--interval=1m"]);
    let visited = |outcome: &dyn Fn(&str) -> bool| {
        let page = scout.page("/metrics").1;
        let lines =
            page.lines().filter(|line| line.contains("scout_visits_total") && outcome(line));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>()
    };
    let members = "/apis/isthmus.dev/v1alpha1/meshmembers";
    loop {
        let listed = own.admin().get(members);
        let is = |member: &Json, kind: &str, value: &str| {
            let conditions = member["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|it| it["type"] == kind && it["status"] == value)
        };
        let listed: Vec<_> = listed["items"].as_array().into_iter().flatten().collect();
        let read =
            listed.iter().filter(|it| is(it, "Reachable", "True") && is(it, "Sound", "True"));
        let lost = listed.iter().filter(|it| is(it, "Reachable", "False"));
        // The local member is one of those that are read.
        if (read.count(), lost.count()) == (usize::from(PEERS - DEAD) + 1, usize::from(DEAD)) {
            break;
        }
        assert!(begun.elapsed() < 10 * ROUND, "{listed:#?}");
        thread::sleep(Duration::from_millis(100));
    }
    let took = begun.elapsed();
    println!("a round of {PEERS} clusters, {DEAD} dead: {:.1} s", took.as_secs_f64());
    let read = |line: &str| line.contains("\"Read\"");
    while rounds < 3 {
        let so_far = visited(&read);
        while visited(&read) < so_far + f64::from(PEERS - DEAD) {
            thread::sleep(Duration::from_millis(100));
        }
        rounds += 1;
    }
    println!("{} visits read, {} not", visited(&read), visited(&|line| !read(line)));
    let peak = scout.peak() * 1024;
    println!("peak of the scout: {} KiB", peak / 1024);
    own.admin().clear(secrets);
    assert!(took < ROUND);
    assert!(peak < SCOUT);
}

/// How soon facts are to be shown of a cluster that a Secret leads to, and how often it is tried.
const SOON: Duration = Duration::from_secs(10);
const TRIES: u8 = 20;

#[test]
fn a_rendered_secret_is_followed_by_domain_and_subnets_within_ten_seconds() {
    let (own, _turn) = exclusive();
    Showing::nothing(own).deckhouse();
    let local = home(own, &["--remote-secrets"]);
    let secrets = "/api/v1/namespaces/d8-istio/secrets";
    own.admin().clear(secrets);
    let _scout = Scout::start(own, &["--remote-secrets"]);
    let shown = |name: &str, is: &dyn Fn(&Json) -> bool| {
        wait_for(name, || {
            let path = format!("/apis/isthmus.dev/v1alpha1/meshmembers/{name}");
            is(&own.admin().get(&path)["status"]["summary"]).then_some(())
        });
    };
    let mut times: Vec<_> = (0..TRIES)
        .map(|n| {
            let (name, id, peer) = (format!("m{n}"), format!("istio-cluster-{n}"), alive(n));
            local.create(MEMBERS, &multicluster(&name));
            shown(&name, &|summary| summary["joinedBy"] == "IstioMulticluster");
            let secret = remote_secret(&id, &peer.kubeconfig(&id, "token"));
            let labels = json!({"istio/multiCluster": "true", "heritage": "deckhouse"});
            let metadata = json!({
                "name": format!("istio-remote-secret-{name}"), "namespace": "d8-istio",
                "labels": labels,
            });
            local.create(secrets, &with(secret, &["metadata"], metadata));
            timed(|| {
                shown(&name, &|summary| {
                    let facts = ["clusterDomain", "pods", "services"];
                    facts.iter().all(|fact| summary[fact].as_str().is_some_and(|it| !it.is_empty()))
                });
            })
        })
        .collect();
    own.admin().clear(secrets);
    times.sort_unstable();
    let (half, most) = (times[usize::from(TRIES) / 2], times[usize::from(TRIES) - 1]);
    println!("from a rendered Secret to facts: {half:.1?} as a median, {most:.1?} at most");
    assert!(most < SOON);
}

/// A cluster that clashes with none of the others.
fn alive(n: u8) -> Elsewhere {
    Elsewhere::start(move |path| {
        let uid = format!("0b9d1c80-8a46-11ee-b9d1-0242ac12{n:04}");
        let (pods, services) = (format!("10.{n}.0.0/16"), format!("10.{}.0.0/16", n + PEERS));
        let id = format!("c{n}");
        let shows = Shows {
            uid: &uid,
            pods: &pods,
            services: &services,
            domain: "cluster.local",
            network: "",
            id: &id,
        };
        match shows.reply(path) {
            // A cluster that is in use fills the pages that are asked for.
            Reply::Answer(200, body) => Reply::Answer(
                200,
                body.replacen('{', &format!("{{\"padding\":\"{}\",", "x".repeat(64 << 10)), 1),
            ),
            reply => reply,
        }
    })
}

fn probed(server: &Server, path: &str) -> std::io::Result<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    Client::plain_from(Ipv4Addr::LOCALHOST, server.admin)?.status(request.as_bytes())
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// How many writes are made one after the other, and how many reviews in one turn.
const WRITES: usize = 300;
const REVIEWS: usize = 2_000;
/// How many writes of any number of clients come in a second, by how many connections, and for how
/// long.
const RATE: u32 = 200;
const CLIENTS: usize = 64;
const LOAD: Duration = Duration::from_secs(20);
/// How many bytes all replicas may write into the ledger in a second.
const LEDGER_RATE: u64 = 256 << 10;

#[test]
fn a_ledger_costs_one_write_more_and_holds_two_hundred_in_a_second() {
    const REPLICAS: usize = 3;
    // One after the other, each beside a plain update of a Lease.
    let alone = sequential(&Ring::start(1, &[]), "without a ledger");
    let ring = Ring::start(REPLICAS, &[]);
    let shared = sequential(&ring, "with a ledger");
    println!("a write takes {:.2} times as long", median(&shared) / median(&alone));
    unchanged(&ring);

    let plane = ring.cluster.plane;
    let first = revision(plane);
    let (begun, next) = (Instant::now(), AtomicUsize::new(0));
    let (waited, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let count = u32::try_from(LOAD.as_secs()).unwrap() * RATE;
    let mut times: Vec<_> = thread::scope(|scope| {
        let client = || {
            let (mut api, mut times) = (ring.api(), Vec::new());
            loop {
                let number = u32::try_from(next.fetch_add(1, Relaxed)).unwrap();
                if number >= count {
                    return times;
                }
                let due = begun + Duration::from_secs(1) / RATE * number;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let name = format!("loaded{number}-{}", number as usize % REPLICAS);
                let member = described(&name, true, &[]);
                let answer = api.create(MEMBERS, &member);
                waited.fetch_add(usize::from(answer.status == 429), Relaxed);
                failed.fetch_add(usize::from(answer.status >= 500), Relaxed);
                if answer.status != 201 {
                    let answer = write(&mut api, &member);
                    assert_eq!(answer.status, 201, "{}", answer.text());
                }
                times.push(due.elapsed());
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let took = begun.elapsed();
    let stored = ring.stored().iter().filter(|name| name.starts_with("loaded")).count();
    assert_eq!(stored, count as usize);
    times.sort_unstable();
    println!(
        "{:.0} a second through {REPLICAS} replicas: {}; {} had to wait, {} failed at first",
        f64::from(count) / took.as_secs_f64(),
        percentiles(&times),
        waited.load(Relaxed),
        failed.load(Relaxed)
    );
    let pages = pages_since(plane, first);
    let (bytes, largest) = (pages.iter().sum::<u64>(), pages.iter().max().unwrap());
    println!(
        "{} swaps, {} KiB in a second, the largest {largest} bytes",
        pages.len(),
        bytes / 1024 / took.as_secs().max(1)
    );
    let mut lost = 0.0;
    ring.with_each(|replica| {
        lost += replica.metric(r#"isthmus_ledger_swaps_total{result="lost"}"#).unwrap_or_default();
    });
    println!("{lost} swaps lost");
    let allowed = (took + Duration::from_secs(1)).as_secs() * LEDGER_RATE;
    assert!(bytes <= allowed, "{bytes} bytes, {allowed} are allowed");
    assert!(took < LOAD + LOAD / 4, "{took:?}");
}

/// Creates members through the first replica, one after the other, each beside a plain update of a
/// Lease.
fn sequential(ring: &Ring, what: &str) -> Vec<Duration> {
    let mut api = ring.api();
    let plain = json!({"metadata": {"name": "plain"}});
    assert_eq!(api.create(LEASES, &plain).status, 201);
    let (mut leases, mut members) = (Vec::new(), Vec::new());
    for at in 0..WRITES {
        let note = json!({"metadata": {"annotations": {"note": at.to_string()}}});
        leases.push(timed(|| api.merge(&format!("{LEASES}/plain"), &note)));
        let member = described(&format!("sound{at}-0"), true, &[]);
        let create = |api: &mut Api| assert_eq!(api.create(MEMBERS, &member).status, 201);
        members.push(timed(|| create(&mut api)));
    }
    for times in [&mut leases, &mut members] {
        times.sort_unstable();
    }
    let of = [&leases, &members].map(|times| percentiles(times));
    println!("{what}: an update of a Lease {}; a write that changes a claim {}", of[0], of[1]);
    members
}

/// Compares reviews that change no claim with those of a replica without a ledger.
fn unchanged(ring: &Ring) {
    let old = described("sound0-0", true, &[]);
    let update = review(Some(&old), &labelled(old.clone(), "some", "label")).to_string();
    let turn = |server: &Server| {
        let mut client = server.client();
        let call = |_| timed(|| assert_eq!(client.post(VALIDATE, &update).status, 200));
        let mut times: Vec<_> = (0..REVIEWS).map(call).collect();
        times.sort_unstable();
        times
    };
    let (mut shared, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        alone.push(turn(&ring.cluster.isthmus));
        shared.push(ring.with(0, turn));
    }
    let ratios = |percent: usize| {
        let at = |times: &Vec<Duration>| times[times.len() * percent / 100].as_secs_f64();
        let mut ratios: Vec<_> = shared.iter().zip(&alone).map(|(a, b)| at(a) / at(b)).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios[TURNS / 2]
    };
    let (p50, p99) = (ratios(50), ratios(99));
    println!("reviews that change no claim take {p50:.2} (p50) and {p99:.2} (p99) times as long");
    assert!(p50 < SLOWER);
}

fn median(times: &[Duration]) -> f64 {
    times[times.len() / 2].as_secs_f64()
}

fn percentiles(times: &[Duration]) -> String {
    let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e3;
    format!("p50 {:.1} ms, p99 {:.1} ms", at(50), at(99))
}

/// The Lease of the ledger as etcd holds it at a revision.
fn lease_at(plane: &Plane, revision: u64) -> Json {
    let key = STANDARD.encode("/registry/leases/isthmus/isthmus-ledger");
    plane.etcd("/v3/kv/range", &json!({"key": key, "revision": revision.to_string()}))
}

/// The revision of etcd.
fn revision(plane: &Plane) -> u64 {
    number(&lease_at(plane, 0)["header"]["revision"])
}

fn number(text: &Json) -> u64 {
    text.as_str().unwrap().parse().unwrap()
}

/// How large each version of it is that etcd has stored since a revision.
fn pages_since(plane: &Plane, first: u64) -> Vec<u64> {
    let (mut pages, mut at) = (Vec::new(), revision(plane));
    while at > first {
        let found = lease_at(plane, at)["kvs"][0].take();
        at = number(&found["mod_revision"]);
        if at > first {
            let value = STANDARD.decode(found["value"].as_str().unwrap()).unwrap();
            pages.push(value.len() as u64);
        }
        at -= 1;
    }
    pages
}
