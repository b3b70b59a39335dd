//! Other pods of the cluster, which may connect as often as they like.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustls::version::TLS13;

use crate::support::client::{Client, tcp_from};
use crate::support::pem;
use crate::support::process::Server;
use crate::support::{Done, TempDir, peer, wait_for};

/// How many strangers keep a connection, as many as there may be in all.
const KEPT: u16 = 1024;
/// How many connections one that floods has open at a time.
const AT_A_TIME: usize = 256;
/// How many are made before each call, at least, and may be made beside it.
const FOR_EACH: usize = 30;
/// How many calls and probes have to be answered, all of them.
const CALLS: usize = 100;

const PROBE: &[u8] = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
const NOTHING_HERE: &[u8] = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";

fn call() -> Vec<u8> {
    let review = peer("peer", "https://istio.example.com/metadata/").to_string();
    let head = "POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{review}", review.len()).into_bytes()
}

/// A neighbour's address; none is the one that callers and probes come from.
fn neighbour(n: u16) -> Ipv4Addr {
    let [high, low] = (n % 32).to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

/// A flood of connections whose makers say nothing.
#[derive(Default)]
struct Flood {
    made: AtomicUsize,
    /// How many may be made until more are asked for, so that no machine drowns in them.
    wanted: AtomicUsize,
    done: AtomicBool,
}

impl Flood {
    fn run(&self, address: SocketAddr, neighbours: Range<u16>) {
        let mut open = VecDeque::new();
        for n in neighbours.cycle() {
            if self.done.load(Relaxed) {
                return;
            }
            if self.made.load(Relaxed) >= self.wanted.load(Relaxed) {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            if let Ok(stream) = tcp_from(neighbour(n), address) {
                self.made.fetch_add(1, Relaxed);
                open.push_back(stream);
            }
            if open.len() > AT_A_TIME {
                open.pop_front();
            }
        }
    }

    /// Waits for so many more, and lets some be made beside what comes then.
    fn wait_for(&self, more: usize) {
        let enough = self.made.load(Relaxed) + more;
        self.wanted.fetch_max(enough + FOR_EACH, Relaxed);
        wait_for("the flood", || (self.made.load(Relaxed) >= enough).then_some(()));
    }

    /// How many calls are served while it goes on.
    fn served(&self, call: impl Fn() -> io::Result<u16>) -> usize {
        let served = (0..CALLS).filter(|_| {
            self.wait_for(FOR_EACH);
            call().is_ok_and(|status| status == 200)
        });
        served.count()
    }
}

/// How many calls and probes are served while neighbours flood both ports.
fn served(server: &Server, call: impl Fn() -> io::Result<u16> + Send) -> (usize, usize) {
    let flood = &Flood::default();
    thread::scope(|scope| {
        let _done = Done(&flood.done);
        let ports = [server.webhook, server.admin, server.webhook, server.admin];
        for (address, neighbours) in ports.into_iter().zip([0..8, 8..16, 16..24, 24..32]) {
            scope.spawn(move || flood.run(address, neighbours));
        }
        // Both ports are full before the first call.
        flood.wait_for(4 * AT_A_TIME);
        let calls = scope.spawn(|| flood.served(call));
        let probe = || Client::plain_from(Ipv4Addr::LOCALHOST, server.admin)?.status(PROBE);
        let probes = flood.served(probe);
        (calls.join().unwrap(), probes)
    })
}

#[test]
fn neighbours_do_not_lock_out_callers_or_probes() {
    let inventory = TempDir::new();
    let server = Server::start(inventory.path(), &[]);
    let call = call();
    let mut kept = Client::from(Ipv4Addr::LOCALHOST, server.webhook).unwrap();
    assert_eq!(kept.status(&call).unwrap(), 200);
    // Strangers have requests answered and keep their connections.
    let mut strangers: Vec<_> = (0..KEPT)
        .filter_map(|n| {
            let mut client = Client::from(neighbour(n), server.webhook).ok()?;
            (client.status(NOTHING_HERE).ok()? == 404).then_some(client)
        })
        .collect();
    assert_eq!(strangers.len(), usize::from(KEPT));
    let fresh = || Client::from(Ipv4Addr::LOCALHOST, server.webhook)?.status(&call);
    assert_eq!(served(&server, fresh), (CALLS, CALLS));
    assert_eq!(kept.status(&call).unwrap(), 200, "a caller's connection is kept");
    assert!(strangers[0].is_closed(), "strangers have made room");
}

#[test]
fn neighbours_cost_verified_callers_no_connection() {
    let caller = pem::valid();
    let authority = ::pem::encode(&::pem::Pem::new("CERTIFICATE", caller.authority.as_ref()));
    let authorities = TempDir::with("ca.crt", &authority);
    let file = authorities.path().join("ca.crt");
    let args = ["--tls-client-ca", file.to_str().unwrap(), "--max-connections", "64"];
    let server = Server::start(authorities.path(), &args);
    let call = call();
    let connect = || Client::presenting(server.webhook, &TLS13, &caller);
    let mut kept: Vec<_> = (0..16)
        .map(|_| {
            let mut client = connect().unwrap();
            assert_eq!(client.status(&call).unwrap(), 200);
            client
        })
        .collect();
    let fresh = || connect()?.status(&call);
    assert_eq!(served(&server, fresh), (CALLS, CALLS));
    for client in &mut kept {
        assert_eq!(client.status(&call).unwrap(), 200);
    }
}
