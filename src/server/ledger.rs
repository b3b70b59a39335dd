//! Keeps the page that the replicas share in a Lease: one task makes all calls for it, one after the
//! other, and reviews wait for what they need of it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::authority::NamespacedName;
use super::metrics::metrics;
use super::tls::provider;
use crate::cluster::{Live, PageLease, Swapped, Told, Watch, Written};
use crate::ledger::{Due, Expected, MOST_BYTES, Outcome, Page, Setup, Sight, Swap, checksum};
use crate::mesh::{ObjectRef, Reading};
use crate::settings::{SETTINGS, Settings};
use crate::snapshot::{PageState, SharedPage, Snapshot};

/// How often it is looked whether anything is due: entries become late, and watches come.
const TICK: Duration = Duration::from_millis(500);
/// How often the page is read while nothing is entered, so that what is wrong with it is told soon.
const POLL: Duration = Duration::from_secs(5);
/// How long to wait after the first failure, and after many.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How many bytes all replicas together write in a second: etcd keeps each page until it compacts.
const RATE: u64 = 256 << 10;
/// How many of them the Lease takes beside the text of the page, more or less.
const LEASE: usize = 1 << 10;
/// How much longer a replica leaves to others at most than it takes them to write: as long as a few of
/// the largest pages take.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// Within which time a replica that has lost a swap tries again: a few of them take as long.
const APART: Duration = Duration::from_millis(30);
/// How long late entries are looked at before anything else goes on.
const LOOKING: Duration = Duration::from_millis(500);
/// Upper bounds of the histogram of waits, in seconds.
const BUCKETS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Where the page is, and who goes on without it.
#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// The Lease.
    pub lease: NamespacedName,
    /// The groups of webhooks whose writes are judged without it while it cannot be used.
    pub optional: Vec<&'static str>,
}

metrics! {
    /// What is counted of the page.
    struct LedgerMetrics {
        available: Gauge = "ledger_available", "Whether this replica can use the ledger of all replicas";
        entries: Gauge = "ledger_entries", "Entries of the ledger of all replicas";
        bytes: Gauge = "ledger_bytes", "Size of the ledger of all replicas, as last written by this one";
        quarantine: Gauge<f64, AtomicU64> = "ledger_quarantine_seconds",
            "For how long writes that change claims still wait because pending ones may have been lost";
        swaps: Family<ResultLabels, Counter> = "ledger_swaps",
            "Attempts to change the ledger of all replicas, by what became of them";
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ResultLabels {
    result: &'static str,
}

/// The page, as reviews use it.
pub(super) struct Ledger {
    snapshot: Arc<Snapshot>,
    told: Arc<Told>,
    live: Arc<Live>,
    lease: PageLease,
    name: NamespacedName,
    /// The watches of what is judged without it while it cannot be used, and all others.
    optional: [Vec<Watch>; 2],
    /// How often reading it was asked for, and up to which of these that was done.
    asked: watch::Sender<u64>,
    done: watch::Sender<u64>,
    metrics: LedgerMetrics,
    waits: Histogram,
}

impl Ledger {
    /// Has the snapshot share the page.
    pub(super) fn new(
        config: LedgerConfig,
        client: kube::Client,
        (snapshot, told, live): (&Arc<Snapshot>, &Arc<Told>, &Arc<Live>),
        (settings, longest): (&Settings, Duration),
        watches: &[Watch],
        registry: &mut Registry,
    ) -> Self {
        let LedgerConfig { lease: name, optional } = config;
        snapshot.share(Setup {
            digest: digest(settings, longest),
            longest,
            watches: watches.iter().map(|watch| watch.to_string().into()).collect(),
            most_bytes: MOST_BYTES,
            without: None,
        });
        let is_optional = |watch: &Watch| {
            watch.document.webhook.is_some_and(|webhook| optional.contains(&webhook.group))
        };
        let (optional, others) = watches.iter().cloned().partition(is_optional);
        let waits = Histogram::new(BUCKETS);
        let help = "Time from the judgement of a write to its entry in the ledger of all replicas";
        registry.register("ledger_wait_seconds", help, waits.clone());
        let metrics = LedgerMetrics::shown_by(registry);
        for result in ["committed", "lost", "refused", "unknown"] {
            drop(metrics.swaps.get_or_create(&ResultLabels { result }));
        }
        Self {
            snapshot: Arc::clone(snapshot),
            told: Arc::clone(told),
            live: Arc::clone(live),
            lease: PageLease::new(client, &name.namespace, &name.name),
            name,
            optional: [optional, others],
            asked: watch::Sender::new(0),
            done: watch::Sender::new(0),
            metrics,
            waits,
        }
    }

    /// Reads the page, from now on.
    pub(super) async fn read(&self) {
        let mut asked = 0;
        self.asked.send_modify(|count| {
            *count += 1;
            asked = *count;
        });
        // The sender is part of `self`, and so outlives this.
        let _ = self.done.subscribe().wait_for(|done| *done >= asked).await;
    }

    /// Waits until the watches have come as far as the page demands.
    pub(super) async fn catch_up(&self) {
        self.told.catch_up(|| self.snapshot.behind()).await;
    }

    /// Whether a write of an object is judged without the page while that cannot be used.
    pub(super) fn is_optional(&self, object: &ObjectRef) -> bool {
        let [optional, others] = &self.optional;
        let covers = |watches: &[Watch]| watches.iter().any(|watch| watch.covers(object));
        covers(optional) && !covers(others)
    }

    /// Notes how long a write has waited for its entry.
    pub(super) fn waited(&self, time: Duration) {
        self.waits.observe(time.as_secs_f64());
    }

    /// Shows how the page is now.
    pub(super) fn show(&self) {
        let Some(page) = self.snapshot.page() else { return };
        self.metrics.available.set(page.is_usable().into());
        self.metrics.entries.set(i64::try_from(page.entries).unwrap_or(i64::MAX));
        self.metrics.quarantine.set(page.quarantine.as_secs_f64());
    }

    fn count(&self, result: &'static str) {
        self.metrics.swaps.get_or_create(&ResultLabels { result }).inc();
    }
}

/// What tells replicas apart that judge otherwise.
fn digest(settings: &Settings, longest: Duration) -> Arc<str> {
    let settings = SETTINGS.iter().map(|setting| format!("{}\n", setting.of(settings)));
    let sum = checksum(&(settings.collect::<String>() + &format!("{longest:?}")));
    format!("{} {sum:016x}", env!("CARGO_PKG_VERSION")).into()
}

/// What alone makes calls for the page.
pub(super) struct PageKeeper {
    ledger: Arc<Ledger>,
    asked: watch::Receiver<u64>,
    read_at: Instant,
    pace: Pace,
    /// What is wrong with the page, as it was told last.
    told: Option<Arc<str>>,
    was_quarantined: bool,
}

impl PageKeeper {
    pub(super) fn new(ledger: &Arc<Ledger>) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            asked: ledger.asked.subscribe(),
            read_at: Instant::now(),
            pace: Pace::new(Instant::now()),
            told: None,
            was_quarantined: false,
        }
    }

    /// Keeps the page, until it is cancelled.
    pub(super) async fn keep(&mut self) {
        // Whoever had asked before a fault asks still.
        self.asked.mark_changed();
        let mut wait = BACKOFF.0;
        loop {
            if self.state().fault.is_some() {
                if self.mend().await {
                    wait = BACKOFF.0;
                } else {
                    sleep(wait).await;
                    wait = (wait * 2).min(BACKOFF.1);
                }
                continue;
            }
            match self.page(|page| page.due()).flatten() {
                Some(Due::Read) => drop(self.read().await),
                Some(Due::Swap) => {
                    tokio::select! {
                        biased;
                        _ = self.asked.changed() => drop(self.read().await),
                        () = sleep_until(self.pace.next) => drop(self.swap().await),
                    }
                }
                Some(Due::Look(objects)) => {
                    let look = self.ledger.live.look(objects, |snapshot, stamp, found| {
                        snapshot.with_page(|mut page| page.looked(stamp, found));
                    });
                    let _ = timeout(LOOKING, look).await;
                    self.rest().await;
                }
                None => self.rest().await,
            }
        }
    }

    fn page<T>(&self, act: impl FnOnce(SharedPage<'_>) -> T) -> Option<T> {
        self.ledger.snapshot.with_page(act)
    }

    fn state(&self) -> PageState {
        self.page(|page| page.state()).unwrap_or_default()
    }

    /// Until something is to be done.
    async fn rest(&mut self) {
        let ledger = Arc::clone(&self.ledger);
        tokio::select! {
            biased;
            _ = self.asked.changed() => drop(self.read().await),
            () = ledger.snapshot.staged() => {}
            () = sleep(TICK) => {
                // While entries may be missing, no list is late enough.
                if self.state().quarantine.is_zero() {
                    ledger.told.ask(&ledger.snapshot.behind());
                }
                if self.read_at.elapsed() >= POLL {
                    self.read().await;
                }
            }
        }
    }

    /// Uses the page again once it can be read and written.
    async fn mend(&mut self) -> bool {
        let is_mended = self.read().await.is_some() && self.swap().await;
        if is_mended {
            self.page(|mut page| page.fails(None));
            self.told = None;
            let entries = self.state().entries;
            tracing::info!(lease = %self.ledger.name, entries, "the ledger is in use");
        }
        is_mended
    }

    /// Reads the page, if that can be done.
    async fn read(&mut self) -> Option<Written> {
        let asked = *self.asked.borrow_and_update();
        self.read_at = Instant::now();
        let name = &self.ledger.name;
        let read = match self.ledger.lease.read().await {
            Ok(Some(found)) => Ok(found),
            // Nobody else makes it: GitOps tools leave Leases out.
            Ok(None) => self.ledger.lease.create().await.map_err(|why| {
                format!("there is no Lease {name}, and it cannot be created: {why}; `isthmus rbac --ledger {name}` prints the roles that are needed")
            }),
            Err(why) => Err(why),
        };
        match &read {
            Ok(Written { uid, version, page }) => {
                let read = |(nonce, text): &(_, String)| {
                    let page = Page::<Arc<Reading>>::of_text(text, uid);
                    page.filter(|page| page.nonce == *nonce)
                };
                let length = page.as_ref().map_or(0, |(_, text)| text.len());
                let page = page.as_ref().and_then(read);
                let (uid, version) = (uid.clone(), version.clone());
                self.page(|mut shared| shared.read(Sight { uid, version, page }));
                self.pace.look(Instant::now(), self.state().generation, length);
                self.note_quarantine();
            }
            Err(why) => self.fails(why),
        }
        self.ledger.done.send_replace(asked);
        read.ok()
    }

    /// Makes the next swap, if there is one; says whether there was nothing that kept it from that.
    async fn swap(&mut self) -> bool {
        let ledger = Arc::clone(&self.ledger);
        let mut nonce = [0; 16];
        if provider().secure_random.fill(&mut nonce).is_err() {
            self.fails("there is no source of randomness");
            return false;
        }
        let nonce = u128::from_be_bytes(nonce);
        let Some(Swap { expected, page }) = self.page(|mut page| page.swap(nonce)).flatten() else {
            // Replicas of another kind judge by it.
            return true;
        };
        let (asked, begun) = (*self.asked.borrow_and_update(), Instant::now());
        let text = page.to_text(&expected.uid);
        match ledger.lease.swap(&expected, nonce, &text).await {
            Swapped::Committed(version) => {
                ledger.count("committed");
                ledger.metrics.bytes.set(i64::try_from(text.len()).unwrap_or(i64::MAX));
                self.pace.made(begun, Instant::now(), page.generation, text.len());
                self.page(|mut page| page.swapped(Outcome::Committed(version)));
                self.note_quarantine();
                // What was written is what is there.
                ledger.done.send_replace(asked);
                true
            }
            Swapped::Lost(why) => {
                ledger.count("lost");
                self.pace.lose(Instant::now(), nonce);
                // What is as expected was not changed by another replica: it is refused for something else.
                let found = self.read().await;
                if found.is_some_and(|found| is_expected(&expected, &found)) {
                    self.fails(&why);
                }
                false
            }
            Swapped::Refused(why) => {
                ledger.count("refused");
                self.page(|mut page| page.swapped(Outcome::Lost));
                self.fails(&why);
                false
            }
            Swapped::Unknown => {
                ledger.count("unknown");
                // It may have been written, and whoever could not tell is not to be asked at once.
                self.pace.next = begun + paced(text.len()).max(BACKOFF.0);
                self.page(|mut page| page.swapped(Outcome::Unknown));
                false
            }
        }
    }

    /// Has reviews know that the page cannot be used, and tells it once.
    fn fails(&mut self, why: &str) {
        let why: Arc<str> = format!("the ledger cannot be used: {why}").into();
        self.page(|mut page| page.fails(Some(Arc::clone(&why))));
        if self.told.as_ref() != Some(&why) {
            let lease = &self.ledger.name;
            tracing::error!(%lease, %why, "writes that change claims are refused until the ledger can be used");
            self.told = Some(why);
        }
    }

    /// Tells once that pending writes may have been lost.
    fn note_quarantine(&mut self) {
        let left = self.state().quarantine;
        let is_quarantined = !left.is_zero();
        if is_quarantined && !self.was_quarantined {
            let (lease, seconds) = (&self.ledger.name, left.as_secs());
            tracing::warn!(%lease, seconds, "the ledger is new, spoilt or restored: writes that change claims have to wait for those that may be pending");
        }
        self.was_quarantined = is_quarantined;
    }
}

fn is_expected(expected: &Expected, found: &Written) -> bool {
    let is_state = match &expected.state {
        Ok(nonce) => found.page.as_ref().is_some_and(|(found, _)| found == nonce),
        Err(version) => found.version == *version,
    };
    is_state && found.uid == expected.uid
}

/// How soon the next swap may be made. What is admitted while one is under way shares the next one,
/// and a write that comes alone does not wait; but since its own last swap, each replica leaves as
/// much time as what all of them have written takes at the rate that is allowed.
struct Pace {
    /// How many swaps of all replicas there had been when it was last looked, and when that was.
    generation: Option<u64>,
    looked: Instant,
    /// When the next swap may be begun.
    next: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { generation: None, looked: now, next: now }
    }

    /// Takes in a swap of this replica, begun at a time.
    fn made(&mut self, begun: Instant, now: Instant, generation: u64, page: usize) {
        *self = Self { generation: Some(generation), looked: now, next: begun + paced(page) };
    }

    /// Takes in that another replica was first. What is admitted meanwhile shares the next swap, and
    /// chance keeps the same ones from meeting again.
    fn lose(&mut self, now: Instant, chance: u128) {
        let rest = Duration::from_nanos(u64::try_from(chance % APART.as_nanos()).unwrap_or(0));
        self.next = self.next.max(now + rest);
    }

    /// Takes in how many swaps of all replicas there have been, and how large the page is.
    fn look(&mut self, now: Instant, generation: u64, page: usize) {
        let before = self.generation.replace(generation).unwrap_or(generation);
        let swaps = u32::try_from(generation.saturating_sub(before)).unwrap_or(u32::MAX);
        // Others wait as well: if that is longer, their pages were smaller than this one.
        let most = now - self.looked + LONGEST_REST;
        self.next += paced(page).saturating_mul(swaps).min(most);
        self.looked = now;
    }
}

/// How long it takes to write a page at the rate that is allowed.
fn paced(page: usize) -> Duration {
    Duration::from_micros((page + LEASE) as u64 * 1_000_000 / RATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_comes_alone_does_not_wait_and_all_replicas_together_are_bounded() {
        const REPLICAS: usize = 3;
        let begun = Instant::now();
        for page in [100, 4 << 10, 40 << 10] {
            // All of them have always something to enter, and learn of others when they lose.
            let mut paces =
                [(); REPLICAS].map(|()| Pace { generation: Some(0), ..Pace::new(begun) });
            let (mut made, mut now, mut generation) = ([0; REPLICAS], begun, 0);
            for tries in 0.. {
                let next = paces.iter_mut().enumerate().min_by_key(|(_, it)| it.next).unwrap();
                let (at, pace) = next;
                // No timer is exact.
                let tried = now.max(pace.next) + Duration::from_micros(tries * 700 % 1_000);
                now = tried + Duration::from_millis(1);
                if now > begun + Duration::from_mins(1) {
                    break;
                }
                if pace.generation == Some(generation) {
                    generation += 1;
                    made[at] += 1;
                    pace.made(tried, now, generation, page);
                } else {
                    pace.look(now, generation, page);
                }
            }
            let bytes = (page + LEASE) as u64;
            let (written, allowed) = (generation * bytes, 60 * RATE + REPLICAS as u64 * bytes);
            assert!(written <= allowed, "{written} bytes in a minute");
            assert!(written >= allowed / 2, "{written} bytes in a minute");
            let (least, most) = (made.iter().min().unwrap(), made.iter().max().unwrap());
            assert!(most <= &(least * 4), "{made:?}");
        }
        // Who comes alone does not wait, and nobody for long though pages were smaller before.
        let hour = begun + Duration::from_hours(1);
        let mut pace = Pace::new(begun);
        pace.look(begun, 7, 0);
        assert!(pace.next <= begun);
        pace.look(hour, 4_000_000, MOST_BYTES);
        assert!(pace.next <= hour + LONGEST_REST);
        pace.made(hour, hour, 4_000_001, 1_000);
        assert!(pace.next < hour + Duration::from_millis(10));
    }

    #[test]
    fn replicas_differ_by_each_setting_and_by_the_longest_time() {
        let longest = Duration::from_secs(45);
        let usual = digest(&Settings::default(), longest);
        let other = Settings { strict_descriptors: true, ..Settings::default() };
        assert_eq!(usual, digest(&Settings::default(), longest));
        assert_ne!(usual, digest(&other, longest));
        assert_ne!(usual, digest(&Settings::default(), longest / 2));
    }
}
