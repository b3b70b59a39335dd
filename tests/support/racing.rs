//! Replicas that share a ledger, and writers that come to them at the same moment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value as Json;

use super::api::{Api, MEMBERS};
use super::client::Answer;
use super::guarded::{Guarded, SHARING};
use super::objects::{described, stated, with};
use super::process::Server;
use super::relay::Relay;
use crate::support::wait_for;

/// How many races are run at the same time.
const AT_ONCE: usize = 4;
/// How often a writer begins anew whose call failed as nobody was there; a fault ends the test.
const ATTEMPTS: usize = 200;

/// Replicas that share a ledger. Each is asked about the objects whose names end in its number, so
/// that a test says who judges what; about all others the first one is.
pub(crate) struct Ring {
    /// Where they are. Its own isthmus is one that nobody asks, and that does not share the ledger.
    pub(crate) cluster: Guarded,
    seats: Vec<Seat>,
    args: Vec<String>,
}

/// An address at which one replica after another is asked.
struct Seat {
    relay: Relay,
    server: Mutex<Option<Server>>,
}

impl Ring {
    /// So many replicas, started with more arguments. One alone shares nothing.
    pub(crate) fn start(count: usize, args: &[&str]) -> Self {
        let shared: &[&str] = if count > 1 { &[SHARING] } else { &[] };
        let args = [shared, args].concat();
        let cluster = Guarded::start_unregistered();
        let seats = (0..count).map(|_| Seat { relay: Relay::new(), server: Mutex::default() });
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let ring = Self { cluster, seats: seats.collect(), args };
        (0..count).for_each(|number| ring.restart(number, Signal::TERM));
        ring.register();
        ring.wait_usable();
        ring
    }

    /// Ends a replica by a signal.
    pub(crate) fn end(&self, number: usize, signal: Signal) {
        let before = self.seats[number].server.lock().unwrap().take();
        if let Some(mut before) = before {
            before.signal(signal);
            before.wait_exit();
        }
    }

    /// The same, and starts another one in its place.
    pub(crate) fn restart(&self, number: usize, signal: Signal) {
        self.end(number, signal);
        self.seat(number, self.cluster.replica_with(&self.args()));
    }

    /// Has another server take a seat, such as one that reaches the API server by a cable; gives back
    /// the one that had it.
    pub(crate) fn seat(&self, number: usize, server: Server) -> Option<Server> {
        let seat = &self.seats[number];
        seat.relay.lead_to(Some(server.webhook));
        seat.server.lock().unwrap().replace(server)
    }

    /// Looks at a replica.
    pub(crate) fn with<T>(&self, number: usize, look: impl FnOnce(&Server) -> T) -> T {
        look(self.seats[number].server.lock().unwrap().as_ref().unwrap())
    }

    /// The same with all of them.
    pub(crate) fn with_each(&self, mut look: impl FnMut(&Server)) {
        (0..self.seats.len()).for_each(|number| self.with(number, &mut look));
    }

    /// Waits until all of them can use the ledger, and nothing has to wait for it.
    pub(crate) fn wait_usable(&self) {
        if self.seats.len() > 1 {
            self.with_each(wait_usable);
        }
    }

    pub(crate) fn api(&self) -> Api {
        self.cluster.plane.admin()
    }

    pub(crate) fn args(&self) -> Vec<&str> {
        self.args.iter().map(String::as_str).collect()
    }

    /// Has the API server ask each replica about its part.
    fn register(&self) {
        for (number, seat) in self.seats.iter().enumerate() {
            // A name that is to be generated is not there yet when the mutating webhook is asked.
            let of = |number: usize| {
                format!("(has(request.name) && request.name.endsWith('-{number}'))")
            };
            let others: Vec<_> = (1..self.seats.len()).map(of).collect();
            let expression = match number {
                0 if others.is_empty() => "true".to_owned(),
                0 => format!("!({})", others.join(" || ")),
                number => of(number),
            };
            self.cluster.register_part(seat.relay.address, &number.to_string(), &expression);
        }
        let mut api = self.cluster.plane.admin();
        for number in 0..self.seats.len() {
            let wrong = with(
                described(&format!("probe-{number}"), true, &[]),
                &["spec", "metadataEndpoint"],
                "https://x.example.com",
            );
            wait_for("the webhook to be asked", || {
                let answer = api.try_create(MEMBERS, &wrong);
                answer.text().contains("[InvalidMetadataEndpoint]").then_some(())
            });
        }
    }

    /// Has writers race, some of them at the same time: so many pairs, and then so many of three.
    pub(crate) fn races(&self, pairs: usize, triples: usize) {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let race = next.fetch_add(1, Ordering::Relaxed);
                        if race >= pairs + triples {
                            return;
                        }
                        self.race(&rivals(race, if race < pairs { 2 } else { 3 }));
                    }
                });
            }
        });
        let stored = self.stored();
        for race in 0..pairs + triples {
            let of_race = format!("race{race}-");
            let found: Vec<_> = stored.iter().filter(|name| name.starts_with(&of_race)).collect();
            assert_eq!(found.len(), 1, "{found:?}");
        }
    }

    /// Writes objects that clash at the same moment; who wins is stored, and all others are denied
    /// and told of it.
    #[track_caller]
    pub(crate) fn race(&self, objects: &[Json]) {
        let start = Barrier::new(objects.len());
        let answers: Vec<_> = thread::scope(|scope| {
            let write = |object| {
                let start = &start;
                scope.spawn(move || {
                    let mut api = self.cluster.plane.admin();
                    start.wait();
                    write(&mut api, object)
                })
            };
            let writers: Vec<_> = objects.iter().map(write).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let name = |object: &Json| object["metadata"]["name"].as_str().unwrap().to_owned();
        let mut stored = objects.iter().zip(&answers).filter(|(_, answer)| answer.status == 201);
        let winner = name(stored.next().unwrap_or_else(|| panic!("nobody won: {answers:?}")).0);
        assert_eq!(stored.next().map(|(object, _)| name(object)), None, "beside {winner}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!(answer.status, 422, "{}", answer.text());
            assert!(answer.text().contains(&winner), "{winner}: {}", answer.text());
        }
    }

    /// The names of the IstioMulticlusters that are stored.
    pub(crate) fn stored(&self) -> Vec<String> {
        let found = self.cluster.plane.admin().get(MEMBERS);
        let items = found["items"].as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// Waits until a replica can use the ledger, and nothing has to wait for it.
pub(crate) fn wait_usable(replica: &Server) {
    replica.wait_metric("isthmus_ledger_available", 1.0);
    replica.wait_metric("isthmus_ledger_quarantine_seconds", 0.0);
}

/// Writes as clients do that keep at it: again after as long as is asked for, and where nobody
/// judged the write.
pub(crate) fn write(api: &mut Api, object: &Json) -> Answer {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let answer = api.create(MEMBERS, object);
        let wait = match answer.status {
            429 => {
                let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                Duration::from_secs(wait)
            }
            // Nobody has answered, or not in time.
            500 | 503 | 504 => Duration::from_millis(100),
            _ => return answer,
        };
        last = Some(answer);
        thread::sleep(wait);
    }
    panic!("{:?}", last.map(|answer| answer.text()));
}

/// Members of which only one can be stored; each goes to another replica.
pub(crate) fn rivals(race: usize, count: usize) -> Vec<Json> {
    (0..count).map(|number| rival(race, number)).collect()
}

fn rival(race: usize, number: usize) -> Json {
    let name = format!("race{race}-{number}");
    let range =
        |first: usize, index: usize| format!("10.{}.{}.0/24", first + index / 256, index % 256);
    // Two kinds of clash take turns: the endpoint, and the pods.
    if race.is_multiple_of(2) {
        let object = described(&name, true, &[]);
        let endpoint = format!("https://istio.race{race}.example.com/metadata/");
        return with(object, &["spec", "metadataEndpoint"], endpoint);
    }
    stated(&name, false, &range(0, race), &range(128, race * 3 + number))
}
