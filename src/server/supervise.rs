//! Background tasks run until the process ends. One that panics or returns is counted, logged, and
//! restarted with its state.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::sleep;

use super::metrics::metrics;

/// How long to wait before a task is restarted, the first time and after many.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// So many ends of a task within [`SPAN`] are too many.
pub(super) const TOO_MANY: usize = 3;
const SPAN: Duration = Duration::from_mins(1);

/// What a task does, again from the beginning after a fault of its own.
pub(super) type Work<T> = for<'a> fn(&'a mut T) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What reviews rest on a task for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Without it they are not answered, or not answered rightly before long.
    Vital,
    /// Nothing: what is stored in the cluster may break it, but not stop isthmus by that.
    Apart,
}

metrics! {
    /// What is counted of tasks.
    struct TaskMetrics {
        failures: Family<TaskLabels, Counter> = "task_failures",
            "Times that a background task panicked or returned, and was restarted";
    }
}

/// A background task, by its name.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct TaskLabels {
    task: String,
}

/// Watches over tasks.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    /// When the vital tasks ended recently.
    ends: Mutex<BTreeMap<String, VecDeque<Instant>>>,
    metrics: TaskMetrics,
    #[cfg(test)]
    faults: Mutex<BTreeMap<String, Arc<tokio::sync::Notify>>>,
}

impl Supervisor {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self { metrics: TaskMetrics::shown_by(registry), ..Self::default() }
    }

    /// Begins a task that keeps its state whatever happens to its work.
    pub(super) fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        weight: Weight,
        mut state: T,
        work: Work<T>,
    ) -> JoinHandle<()> {
        let (this, name) = (Arc::clone(self), name.to_owned());
        #[cfg(test)]
        this.fault(&name);
        drop(this.metrics.failures.get_or_create(&TaskLabels { task: name.clone() }));
        tokio::spawn(async move {
            let mut wait = BACKOFF.0;
            loop {
                let begun = Instant::now();
                let work = work(&mut state);
                #[cfg(test)]
                let work = this.until_injected(&name, work);
                let panicked = AssertUnwindSafe(work).catch_unwind().await.is_err();
                if begun.elapsed() >= SPAN {
                    wait = BACKOFF.0;
                }
                tracing::error!(
                    task = name,
                    panicked,
                    "a background task has ended and is restarted"
                );
                this.note(&name, weight, Instant::now());
                sleep(wait).await;
                wait = (wait * 2).min(BACKOFF.1);
            }
        })
    }

    /// The tasks that end again and again.
    pub(super) fn failing(&self) -> Vec<String> {
        self.failing_at(Instant::now())
    }

    fn failing_at(&self, now: Instant) -> Vec<String> {
        let is_recent = |end: &&Instant| now.saturating_duration_since(**end) < SPAN;
        let ends = self.ends();
        let failing =
            ends.iter().filter(|(_, ends)| ends.iter().filter(is_recent).count() >= TOO_MANY);
        failing.map(|(name, _)| format!("task {name:?} keeps failing")).collect()
    }

    fn note(&self, name: &str, weight: Weight, now: Instant) {
        self.metrics.failures.get_or_create(&TaskLabels { task: name.to_owned() }).inc();
        if weight == Weight::Vital {
            let mut ends = self.ends();
            let ends = ends.entry(name.to_owned()).or_default();
            ends.truncate(TOO_MANY - 1);
            ends.push_front(now);
        }
    }

    fn ends(&self) -> MutexGuard<'_, BTreeMap<String, VecDeque<Instant>>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What blocking work came to; where it has panicked, this does.
pub(super) async fn of_blocking<T>(worked: Result<T, JoinError>) -> T {
    match worked.map_err(JoinError::try_into_panic) {
        Ok(worked) => worked,
        Err(Ok(panic)) => resume_unwind(panic),
        // It was cancelled: the process ends.
        Err(Err(_)) => pending().await,
    }
}

#[cfg(test)]
impl Supervisor {
    /// All tasks.
    pub(super) fn names(&self) -> Vec<String> {
        self.faults.lock().unwrap().keys().cloned().collect()
    }

    /// Has a task panic where it waits.
    pub(super) fn inject(&self, name: &str) {
        self.fault(name).notify_one();
    }

    #[allow(clippy::panic, reason = "it is what is injected")]
    async fn until_injected(&self, name: &str, work: impl Future<Output = ()>) {
        let fault = self.fault(name);
        tokio::select! {
            biased;
            () = fault.notified() => panic!("injected"),
            () = work => {}
        }
    }

    fn fault(&self, name: &str) -> Arc<tokio::sync::Notify> {
        Arc::clone(self.faults.lock().unwrap().entry(name.into()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_task_is_reported_until_it_is_stable() {
        let (supervisor, begun) = (Supervisor::default(), Instant::now());
        let end = |name: &str, weight, seconds| {
            supervisor.note(name, weight, begun + Duration::from_secs(seconds));
        };
        let is_failing =
            |seconds| !supervisor.failing_at(begun + Duration::from_secs(seconds)).is_empty();
        for seconds in [0, 50, 100] {
            end("rarely", Weight::Vital, seconds);
            end("often, but apart", Weight::Apart, seconds);
            end("often, but apart", Weight::Apart, seconds + 1);
            assert!(!is_failing(seconds + 1));
        }
        for seconds in [200, 210, 220] {
            assert!(!is_failing(seconds));
            end("often", Weight::Vital, seconds);
        }
        assert!(is_failing(220) && is_failing(259));
        assert!(!is_failing(260));
        // One more after a pause is one, not a fourth.
        end("often", Weight::Vital, 300);
        assert!(!is_failing(300));
    }

    #[tokio::test]
    async fn a_task_that_panics_or_returns_continues_with_its_state() {
        let supervisor = Arc::<Supervisor>::default();
        let (told, mut tells) = tokio::sync::mpsc::unbounded_channel();
        let task = supervisor.spawn("counts", Weight::Vital, (0, told), |(runs, told)| {
            Box::pin(async move {
                *runs += 1;
                told.send(*runs).unwrap();
                assert!(*runs != 1, "on purpose");
                if *runs == 2 {
                    return;
                }
                pending::<()>().await;
            })
        });
        for runs in 1..=3 {
            assert_eq!(tells.recv().await, Some(runs));
        }
        let counted = TaskLabels { task: "counts".into() };
        assert_eq!(supervisor.metrics.failures.get_or_create(&counted).get(), 2);
        task.abort();
    }
}
