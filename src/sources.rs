//! How well the mesh is known: which of its sources have been read, and how long ago the cluster or
//! the files were last known to say what the mesh says.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The state of all sources of a mesh.
pub struct Sources {
    sources: Mutex<BTreeMap<String, Source>>,
    complete: watch::Sender<bool>,
}

/// Whether reviews must wait for a source to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it a verdict may be wrong: nothing is answered before it was read.
    Required,
    /// It adds to what is known, and verdicts are made without it, too.
    Advisory,
}

struct Source {
    need: Need,
    /// Why part of it is unknown; nothing once all of it was read.
    missing: Option<String>,
    /// Whether each change is logged as it happens.
    live: bool,
    /// When it was last known to be complete.
    complete: Option<Instant>,
    /// Whether it is lost.
    lost: bool,
}

impl Sources {
    /// Sources of which nothing was read yet.
    pub fn new(sources: impl IntoIterator<Item = (String, Need)>) -> Self {
        let unread = |(name, need)| {
            let missing = Some("not read yet".to_owned());
            (name, Source { need, missing, live: false, complete: None, lost: false })
        };
        let sources: BTreeMap<_, _> = sources.into_iter().map(unread).collect();
        let complete = watch::Sender::new(!sources.values().any(Source::is_awaited));
        Self { sources: Mutex::new(sources), complete }
    }

    /// Notes how a source stands that is looked at now and then. What was read once is known from
    /// then on, however old.
    pub fn looked_at(&self, name: &str, missing: Option<String>, complete: bool) {
        self.change(name, |source| {
            if source.missing.is_some() {
                source.missing = missing;
            }
            if complete {
                source.complete = Some(Instant::now());
            }
        });
    }

    /// Notes that a source was read, and logs its changes from now on; returns whether all lost
    /// sources are back now.
    pub fn live(&self, name: &str) -> bool {
        let (before, after) = self.change(name, |source| {
            source.lost = false;
            source.missing = None;
            source.live = true;
            source.complete = Some(Instant::now());
        });
        before > 0 && after == 0
    }

    /// Notes that a source does not tell of changes any more, and has been silent for so long; says
    /// whether it is the first one that is lost.
    pub fn lose(&self, name: &str, why: &str, silent_for: Duration) -> bool {
        let (before, after) = self.change(name, |source| {
            source.lost = true;
            if let Some(missing) = &mut source.missing {
                why.clone_into(missing);
            }
            if std::mem::take(&mut source.live) {
                let now = Instant::now();
                source.complete = Some(now.checked_sub(silent_for).unwrap_or(now));
            }
        });
        before == 0 && after > 0
    }

    /// Why a required part of the mesh is not known; empty once all of them were.
    pub fn missing(&self) -> Vec<String> {
        let sources = self.sources();
        let awaited = sources.iter().filter(|(_, source)| source.is_awaited());
        let missing = awaited.filter_map(|(name, source)| {
            source.missing.as_ref().map(|why| format!("{name} is not read: {why}"))
        });
        missing.collect()
    }

    /// How many sources are lost.
    pub fn lost(&self) -> usize {
        lost(&self.sources())
    }

    /// How old the oldest part of the mesh may be, in seconds.
    pub fn age(&self) -> f64 {
        self.sources().values().map(Source::age).fold(0.0, f64::max)
    }

    /// What of the mesh has not been known for longer than that, and for how long at least one
    /// part of it; nothing if all is.
    pub fn stale(&self, longer_than: Duration) -> Option<(String, Duration)> {
        let sources = self.sources();
        let aged = sources.iter().map(|(name, source)| (name, source.age()));
        let stale: Vec<_> = aged.filter(|(_, age)| *age > longer_than.as_secs_f64()).collect();
        let oldest = stale.iter().map(|(_, age)| *age).fold(0.0, f64::max);
        let oldest = Duration::try_from_secs_f64(oldest).unwrap_or(Duration::MAX);
        match stale.as_slice() {
            [] => None,
            [(name, _)] => Some(((*name).clone(), oldest)),
            _ => Some(("the cluster".to_owned(), oldest)),
        }
    }

    /// Waits until every required source was read.
    pub async fn complete(&self) {
        let mut complete = self.complete.subscribe();
        // The sender is part of `self`, and so outlives this.
        let _ = complete.wait_for(|complete| *complete).await;
    }

    /// Changes a source; says how many were lost before and after, in one step, for sources change
    /// at the same moment.
    fn change(&self, name: &str, change: impl FnOnce(&mut Source)) -> (usize, usize) {
        let mut sources = self.sources();
        let before = lost(&sources);
        if let Some(source) = sources.get_mut(name) {
            change(source);
        }
        let after = lost(&sources);
        let complete = !sources.values().any(Source::is_awaited);
        drop(sources);
        self.complete.send_if_modified(|known| std::mem::replace(known, complete) != complete);
        (before, after)
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<String, Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost(sources: &BTreeMap<String, Source>) -> usize {
    sources.values().filter(|source| source.lost).count()
}

impl Source {
    fn is_awaited(&self) -> bool {
        self.need == Need::Required && self.missing.is_some()
    }

    fn age(&self) -> f64 {
        if self.live {
            return 0.0;
        }
        self.complete.map_or(f64::INFINITY, |at| at.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn required(names: &[&str]) -> Sources {
        Sources::new(names.iter().map(|name| ((*name).to_owned(), Need::Required)))
    }

    #[test]
    fn only_what_is_required_is_waited_for() {
        let named = |name: &str, need| (name.to_owned(), need);
        let sources = Sources::new([named("a", Need::Required), named("b", Need::Advisory)]);
        assert_eq!(sources.missing(), ["a is not read: not read yet"]);
        assert!(!*sources.complete.borrow());
        sources.live("a");
        assert_eq!(sources.missing(), [""; 0]);
        assert!(*sources.complete.borrow());
        assert!(sources.lose("b", "it is gone", Duration::ZERO), "a loss is told all the same");
        assert_eq!(sources.missing(), [""; 0]);
    }

    #[test]
    fn outdated_knowledge_is_named() {
        let minute = Duration::from_mins(1);
        let sources = required(&["a", "b", "files"]);
        for name in ["a", "b"] {
            sources.live(name);
        }
        sources.looked_at("files", None, true);
        assert_eq!(sources.stale(minute), None);
        sources.lose("a", "it is gone", Duration::ZERO);
        assert_eq!(sources.stale(minute), None, "it has not been lost for long");
        sources.live("a");
        sources.lose("a", "it is gone", 3 * minute);
        let (what, age) = sources.stale(minute).unwrap();
        assert!(what == "a" && age >= 3 * minute, "{what} {age:?}");
        sources.lose("b", "it is gone", 2 * minute);
        let (what, age) = sources.stale(minute).unwrap();
        assert!(what == "the cluster" && age >= 3 * minute, "{what} {age:?}");
    }

    #[test]
    fn each_loss_of_the_first_and_return_of_the_last_is_logged_once() {
        const ROUNDS: usize = 20_000;
        let names = ["a", "b", "c", "d"];
        let sources = required(&names);
        let told = |name: &str| -> (usize, usize) {
            (0..ROUNDS).fold((0, 0), |(lost, back), _| {
                let lost = lost + usize::from(sources.lose(name, "it is gone", Duration::ZERO));
                (lost, back + usize::from(sources.live(name)))
            })
        };
        let told = thread::scope(|scope| {
            let threads = names.map(|name| scope.spawn(move || told(name)));
            threads.map(|thread| thread.join().unwrap())
        });
        let sum = told.iter().fold((0, 0), |sum, told| (sum.0 + told.0, sum.1 + told.1));
        // They take turns, and at the end nothing is lost.
        assert!(sum.0 > 0);
        assert_eq!(sum.0, sum.1);
    }
}
