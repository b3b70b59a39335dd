//! One review: its body is received, its object read and judged, and the response written, each
//! within its limits.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::metrics::hook_name;
use super::refusal::{Refusal, refused};
use crate::admission::{Answer, Asked, Decision, Here, Hook, Leads, Look, Looks};
use crate::cluster::Unreached;
use crate::mesh::ObjectRef;
use crate::report;
use crate::review::Verdict;
use crate::server::app::App;
use crate::server::http::body::{self, MEDIUM, Received, Unreceived};
use crate::server::http::connections::{Entry, Open, Phase};
use crate::server::http::room::{Caller, Part};
use crate::snapshot::Admission;
use crate::value::duration;

/// How long a caller waits that does not say so: the API server's default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that the API server ever waits.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The part of the time that a caller waits in which its review is read and judged.
const WORKING: f32 = 0.8;
/// Up to here a review is made at once, in bytes of its body: the worst takes about a millisecond.
const SMALL: usize = 8 << 10;
/// How old what a review is held against may be without a warning.
const OUTDATED: Duration = Duration::from_mins(1);
/// How much longer than reading a cluster its end is waited for.
const LANDING: Duration = Duration::from_millis(200);
/// How long it may take to read again what other objects say.
const CONFIRMING: Duration = Duration::from_secs(1);
/// The longest text of a request that a log line repeats, in characters.
const LONGEST_LOGGED: usize = 256;

pub(super) async fn respond(
    app: &Arc<App>,
    hook: Hook,
    caller: Caller,
    request: Request,
    open: Option<&Open>,
) -> Response {
    match review(app, hook, caller, request, open).await {
        Ok(body) => {
            if caller == Caller::Verified && open.is_some_and(|open| open.proven() == Entry::Made) {
                app.http.metrics.closed("evicted");
            }
            let json = HeaderValue::from_static("application/json");
            ([(CONTENT_TYPE, json)], body).into_response()
        }
        Err(refusal) => refused(app, hook, &refusal),
    }
}

async fn review(
    app: &Arc<App>,
    hook: Hook,
    caller: Caller,
    request: Request,
    open: Option<&Open>,
) -> Result<Vec<u8>, Refusal> {
    let (head, body) = request.into_parts();
    let deadline = Instant::now() + timeout(head.uri.query());
    let source = open.map_or(IpAddr::from([0; 4]), Open::source);
    let faults = app.faults();
    let received = if faults.is_empty() {
        let room = app.memory.part(caller, source);
        {
            let client_timeout = app.http.client_timeout;
            let received = body::receive(client_timeout, &head.headers, body, room, deadline);
            received.await.map_err(|why| match why {
                Unreceived::NoMemory => Refusal::Shed("memory"),
                why => Refusal::Body(why),
            })?
        }
    } else {
        body::linger(app.http.client_timeout, &head.headers, body);
        return Err(Refusal::NotReady(faults.join("; ")));
    };
    if let Some(open) = open {
        open.enter(Phase::Review);
    }
    let begun = Instant::now();
    // What is left is for the answer to get there.
    let working = begun + deadline.saturating_duration_since(begun).mul_f32(WORKING);
    let case = Case { hook, caller, received, begun, working, looks: None };
    decide(app, case, source, deadline).await
}

/// How long the caller waits.
fn timeout(query: Option<&str>) -> Duration {
    let mut pairs = query.unwrap_or_default().split('&');
    let stated = pairs.find_map(|pair| pair.strip_prefix("timeout="));
    let stated = stated.and_then(|text| duration::parse(text).ok());
    stated.filter(|timeout| !timeout.is_zero()).unwrap_or(DEFAULT_TIMEOUT).min(LONGEST_TIMEOUT)
}

/// A review that is to be decided.
struct Case {
    hook: Hook,
    caller: Caller,
    received: Received,
    begun: Instant,
    /// When reading and judging it is given up.
    working: Instant,
    /// What was seen where it leads, once that has been looked at.
    looks: Option<Looks>,
}

/// Decides, as long as there is not too much to decide and the caller still waits.
///
/// Nearly every review takes microseconds and is made at once. Those of larger bodies may take
/// milliseconds: they leave the threads that everything else is done by, and wait for each other,
/// the large ones apart and without a place among the others.
async fn decide(
    app: &Arc<App>,
    mut case: Case,
    source: IpAddr,
    deadline: Instant,
) -> Result<Vec<u8>, Refusal> {
    let under_way = UnderWay::begin(app);
    let mut place = app.reviews.part(case.caller, source);
    let length = case.received.bytes.len();
    if length <= MEDIUM && !place.grow(1) {
        return Err(Refusal::Shed("reviews"));
    }
    if length <= SMALL {
        let mut answered = answer(app, &case, false)?;
        if !answered.leads.is_empty() {
            case.looks = Some(Box::pin(look(app, answered.leads, case.working)).await);
            answered = answer(app, &case, false)?;
        }
        if answered.doubts.is_empty() {
            return Ok(answered.body);
        }
        Box::pin(confirm(app, answered.doubts, case.working)).await;
        return answer(app, &case, true).map(|answered| answered.body);
    }
    // In a box: what only these need would be moved about with every other review, too.
    let apart = Box::pin(decide_apart(app, case, (place, under_way), deadline));
    let (mut case, taken, answered) = apart.await?;
    if answered.leads.is_empty() {
        return Ok(answered.body);
    }
    case.looks = Some(Box::pin(look(app, answered.leads, case.working)).await);
    let (.., answered) = Box::pin(decide_apart(app, case, taken, deadline)).await?;
    Ok(answered.body)
}

/// Decides on a thread that everything else is not done by. What the review takes is given back
/// when it is over, though its caller may be gone by then.
async fn decide_apart(
    app: &Arc<App>,
    case: Case,
    taken: (Part, UnderWay),
    deadline: Instant,
) -> Result<(Case, (Part, UnderWay), Answered), Refusal> {
    let length = case.received.bytes.len();
    let turns = if length <= MEDIUM { &app.medium_reviews } else { &app.large_reviews };
    let late = || Refusal::Shed("time");
    let turn = turns.next(case.caller, case.working).await.ok_or_else(late)?;
    let (shared, runtime) = (Arc::clone(app), Handle::current());
    let work = move || {
        let answered = answer(&shared, &case, false).and_then(|answered| {
            if answered.doubts.is_empty() {
                return Ok(answered);
            }
            runtime.block_on(confirm(&shared, answered.doubts, case.working));
            answer(&shared, &case, true)
        });
        drop(turn);
        answered.map(|answered| (case, taken, answered))
    };
    let answered = if length <= MEDIUM { spawn_blocking(work) } else { app.backstage.run(work) };
    let answered = timeout_at(deadline.into(), answered).await.map_err(|_| late())?;
    answered.unwrap_or(Err(Refusal::Panic))
}

/// How a review is answered.
#[derive(Default)]
struct Answered {
    body: Vec<u8>,
    /// Where the write leads: that is to be looked at before it is judged.
    leads: Vec<Leads>,
    /// Objects that it rests on, to be read first: the watch may have yet to report that they have
    /// changed.
    doubts: Vec<Arc<ObjectRef>>,
}

/// Has the mesh say of some objects what they say now, as far as there is time for it.
async fn confirm(app: &App, objects: Vec<Arc<ObjectRef>>, working: Instant) {
    if let Some(live) = &app.live {
        let left = working.saturating_duration_since(Instant::now());
        live.refresh(objects, CONFIRMING.min(left / 2)).await;
    }
}

/// Looks where a write leads, as far as there is time for it.
async fn look(app: &App, leads: Vec<Leads>, working: Instant) -> Looks {
    let Some(reach) = &app.reach else { return Looks::default() };
    let left = working.saturating_duration_since(Instant::now());
    let time = app.settings.reach_timeout.saturating_add(LANDING).min(left / 2);
    let ways: Vec<_> = leads.iter().map(|at| &at.to.way).collect();
    let here = async {
        match &app.live {
            Some(live) => live.here(time).await,
            None => Here::default(),
        }
    };
    let (seen, here) = tokio::join!(reach.read(&ways, time), here);
    let looks = leads.into_iter().zip(seen);
    let look = |(at, seen): (_, Result<_, Unreached>)| Look {
        at,
        seen: seen.map_err(|why| why.to_string()),
    };
    Looks { elsewhere: looks.map(look).collect(), here }
}

/// Reads what is asked, has it judged, and writes the answer. Only the judging holds up others.
fn answer(app: &App, case: &Case, is_confirmed: bool) -> Result<Answered, Refusal> {
    let Case { hook, caller, ref received, begun, working, ref looks } = *case;
    let is_up = || Instant::now() >= working;
    let is_confirmed = is_confirmed || app.live.is_none();
    // Whoever is not known to be the API server must not have it look about the network.
    let may_look = looks.is_none() && caller.is_remembered() && app.reach.is_some();
    let (mut doubts, mut leads) = (Vec::new(), Vec::new());
    let answer = caught(|| {
        let mut asked = Asked::read(hook, &received.bytes, &app.settings, Some(&is_up))
            .map_err(Refusal::NotAReview)?;
        if may_look {
            leads = asked.leads(&app.settings);
            if !leads.is_empty() {
                return Ok(None);
            }
        }
        if let Some(looks) = looks {
            asked = app.snapshot.read(|mesh| asked.having_looked(mesh, looks));
        }
        let asked = asked.by_outdated(outdated(app));
        Ok(Some(asked.answer(|write| {
            if app.hold.is_none() || !caller.is_remembered() {
                return app.snapshot.judge(write);
            }
            match app.snapshot.admit(write, is_confirmed) {
                Admission::Judged(verdict) => *verdict,
                Admission::Confirm(objects) => {
                    doubts = objects;
                    Verdict::default()
                }
            }
        })))
    })??;
    let Some(Answer { body, decision }) = answer else {
        return Ok(Answered { leads, ..Answered::default() });
    };
    if !doubts.is_empty() {
        // It is answered and logged once they have been read again.
        return Ok(Answered { body, leads, doubts });
    }
    let took = begun.elapsed();
    app.metrics.decided(hook, &decision, took);
    log(hook, &decision, took);
    Ok(Answered { body, leads, doubts })
}

/// The warning about data that is too old to rely on silently.
fn outdated(app: &App) -> Option<String> {
    let (what, age) = app.sources.stale(OUTDATED)?;
    Some(report::outdated(&what, age.as_secs()))
}

/// A fault of ours costs one review, not the server.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Refusal::Panic)
}

/// A review that is counted as under way until this is dropped.
struct UnderWay {
    app: Arc<App>,
}

impl UnderWay {
    fn begin(app: &Arc<App>) -> Self {
        app.metrics.counts.in_flight.inc();
        Self { app: Arc::clone(app) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.app.metrics.counts.in_flight.dec();
    }
}

/// One line a decision. It names things, and repeats nothing of what they contain.
fn log(hook: Hook, decision: &Decision<'_>, took: Duration) {
    tracing::info!(
        hook = hook_name(hook),
        uid = clipped(&decision.uid),
        operation = clipped(&decision.operation),
        kind = clipped(&decision.kind),
        object = clipped(&decision.object),
        subresource = clipped(&decision.subresource),
        user = clipped(&decision.user),
        dry_run = decision.dry_run,
        verdict = decision.outcome.as_str(),
        rules = decision.rules.join(","),
        duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "review decided"
    );
}

fn clipped(text: &str) -> &str {
    text.char_indices().nth(LONGEST_LOGGED).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::webhook::caller::Verification;
    use crate::server::{Certificate, CertificateSource, Limits};
    use crate::sources::Sources;

    #[test]
    #[allow(clippy::panic, reason = "it is what is tested")]
    fn a_panic_becomes_a_response() {
        assert!(matches!(caught(|| panic!("on purpose")), Err::<(), _>(Refusal::Panic)));
        assert_eq!(caught(|| 1).ok(), Some(1));
    }

    #[test]
    fn long_reviews_leave_the_async_threads() {
        let (settings, sources) = (Arc::default(), Arc::new(Sources::new([])));
        let verification = Verification::new(false, false, None).unwrap();
        let certificate = Certificate::load(CertificateSource::SelfSigned).unwrap();
        let limits = Limits {
            connections: 4,
            reviews: 4,
            body_memory: 2 * body::LARGEST,
            client_timeout: DEFAULT_TIMEOUT,
        };
        let app =
            App::new(settings, sources, None, verification, certificate, None, limits).unwrap();
        let app = Arc::new(app);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(1).enable_time().build().unwrap();
        let (end, busy) = std::sync::mpsc::channel::<()>();
        runtime.block_on(async {
            // The threads for such work are taken: what is over all the same was made here.
            let (end_backstage, busy_backstage) = std::sync::mpsc::channel::<()>();
            let busy_backstage = Arc::new(std::sync::Mutex::new(busy_backstage));
            for _ in 0..2 {
                let busy = Arc::clone(&busy_backstage);
                app.backstage.run(move || busy.lock().unwrap().recv());
            }
            let busy = spawn_blocking(move || busy.recv());
            for (length, is_apart) in
                [(SMALL, false), (SMALL + 1, true), (MEDIUM + 1, true), (body::LARGEST, true)]
            {
                let request = Request::post("/validate").body("a".repeat(length).into()).unwrap();
                let review = review(&app, Hook::Validate, Caller::Anybody, request, None);
                tokio::select! {
                    biased;
                    _ = review => assert!(!is_apart, "{length} bytes were waited for"),
                    () = std::future::ready(()) => assert!(is_apart, "{length} bytes"),
                }
            }
            drop((end, end_backstage));
            let _ = busy.await;
        });
    }

    #[test]
    fn the_caller_says_how_long_it_waits() {
        const CASES: &[(Option<&str>, u64)] = &[
            (None, 10_000),
            (Some(""), 10_000),
            (Some("timeout=3s"), 3_000),
            (Some("a=b&timeout=250ms"), 250),
            (Some("timeout=5m"), 30_000),
            (Some("timeout=0s"), 10_000),
            (Some("timeout=soon"), 10_000),
        ];
        for (query, milliseconds) in CASES {
            assert_eq!(timeout(*query), Duration::from_millis(*milliseconds), "{query:?}");
        }
    }

    #[test]
    fn long_texts_are_clipped() {
        assert_eq!(clipped("short"), "short");
        assert_eq!(clipped(&"\u{e4}".repeat(1000)).chars().count(), LONGEST_LOGGED);
    }
}
