//! One review: its body is received, its object read and judged, and the response written, each
//! within its limits.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::metrics::hook_name;
use super::refusal::{Refusal, refused};
use crate::admission::{Answer, Asked, Decision, Here, Hook, Leads, Look, Looks};
use crate::cluster::Unreached;
use crate::ledger::{Wait, Why};
use crate::mesh::ObjectRef;
use crate::report;
use crate::review::{Delay, Verdict, Write};
use crate::server::app::App;
use crate::server::http::body::{self, MEDIUM, Received, Unreceived};
use crate::server::http::connections::{Entry, Open, Phase};
use crate::server::http::room::{Caller, Part};
use crate::settings::Policy;
use crate::snapshot::{Admission, Confirm, SUPERSEDED};
use crate::value::duration;

/// How long a caller waits that does not say so: the API server's default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that the API server ever waits.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The part of the time that a caller waits in which its review is read and judged.
const WORKING: f32 = 0.8;
/// The same for what the ledger demands, after which there is still time to judge and to answer.
const WAITING: f32 = 0.7;
/// What a write waits for that lost its place to others as long as there was time.
const BUSY: Wait = Wait { why: Why::Busy, remaining: Duration::from_secs(2) };
/// The same of one for which the ledger, or what the watches have told, cannot be relied upon.
const UNUSABLE: Wait = Wait { why: Why::Unusable, remaining: Duration::ZERO };
/// Why a write is not judged by what the watches have told.
const BEHIND: &str = "this replica has yet to see what is stored";
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
        Ok(Reply { body, is_elsewhere_better }) => {
            if caller == Caller::Verified && open.is_some_and(|open| open.proven() == Entry::Made) {
                app.http.metrics.closed("evicted");
            }
            let json = HeaderValue::from_static("application/json");
            let mut response = ([(CONTENT_TYPE, json)], body).into_response();
            if is_elsewhere_better {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
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
) -> Result<Reply, Refusal> {
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
    let left = deadline.saturating_duration_since(begun);
    let (working, waiting) = (begun + left.mul_f32(WORKING), begun + left.mul_f32(WAITING));
    let case = Case {
        hook,
        caller,
        received,
        begun,
        working,
        waiting,
        looks: None,
        confirmed: Some(BTreeSet::new()).filter(|_| app.live.is_some()),
        is_alone: false,
        is_late: false,
        fault: None,
    };
    decide(app, case, source, deadline).await
}

/// How long the caller waits.
fn timeout(query: Option<&str>) -> Duration {
    let mut pairs = query.unwrap_or_default().split('&');
    let stated = pairs.find_map(|pair| pair.strip_prefix("timeout="));
    let stated = stated.and_then(|text| duration::parse(text).ok());
    stated.filter(|timeout| !timeout.is_zero()).unwrap_or(DEFAULT_TIMEOUT).min(LONGEST_TIMEOUT)
}

/// What is answered.
struct Reply {
    body: Vec<u8>,
    /// Whether another replica may do better, to which the next connection leads.
    is_elsewhere_better: bool,
}

/// A review that is to be decided.
struct Case {
    hook: Hook,
    caller: Caller,
    received: Received,
    begun: Instant,
    /// When reading and judging it is given up.
    working: Instant,
    /// When waiting for the ledger is given up.
    waiting: Instant,
    /// What was seen where it leads, once that has been looked at.
    looks: Option<Looks>,
    /// The objects that were read for it; nothing where all count as read.
    confirmed: Option<BTreeSet<Arc<ObjectRef>>>,
    /// Whether it is judged without the ledger of all replicas.
    is_alone: bool,
    /// Whether there is no time left to enter it there.
    is_late: bool,
    /// Why nothing can be said of it.
    fault: Option<Arc<str>>,
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
) -> Result<Reply, Refusal> {
    let under_way = UnderWay::begin(app);
    let mut place = app.reviews.part(case.caller, source);
    let length = case.received.bytes.len();
    if length <= MEDIUM && !place.grow(1) {
        return Err(Refusal::Shed("reviews"));
    }
    let mut taken = (place, under_way);
    loop {
        let next = if length <= SMALL {
            answer(app, &case)?
        } else {
            // In a box: what only these need would be moved about with every other review, too.
            let apart = Box::pin(decide_apart(app, case, taken, deadline));
            let next;
            (case, taken, next) = apart.await?;
            next
        };
        let answered = match next {
            Next::Answered(reply) => Some(reply),
            next => Box::pin(go_on(app, &mut case, next)).await?,
        };
        if let Some(reply) = answered {
            return Ok(reply);
        }
    }
}

/// Decides on a thread that everything else is not done by. What the review takes is given back
/// when it is over, though its caller may be gone by then.
async fn decide_apart(
    app: &Arc<App>,
    case: Case,
    taken: (Part, UnderWay),
    deadline: Instant,
) -> Result<(Case, (Part, UnderWay), Next), Refusal> {
    let length = case.received.bytes.len();
    let turns = if length <= MEDIUM { &app.medium_reviews } else { &app.large_reviews };
    let late = || Refusal::Shed("time");
    let turn = turns.next(case.caller, case.working).await.ok_or_else(late)?;
    let shared = Arc::clone(app);
    let work = move || {
        let next = answer(&shared, &case);
        drop(turn);
        next.map(|next| (case, taken, next))
    };
    let next = if length <= MEDIUM { spawn_blocking(work) } else { app.backstage.run(work) };
    let next = timeout_at(deadline.into(), next).await.map_err(|_| late())?;
    next.unwrap_or(Err(Refusal::Panic))
}

/// What a judgement has come to.
enum Next {
    /// This is the answer.
    Answered(Reply),
    /// It is the answer once the write is entered in the ledger.
    Enter(Box<Entering>),
    /// The write leads there: that is to be looked at before it is judged.
    Look(Vec<Leads>),
    /// What the answer rests on is to be read: the watch may have yet to report that it has changed.
    Confirm(Confirm),
    /// This is wrong with what it would be judged by, without which it may be optional.
    Unready(Fault, bool),
}

/// What is wrong with what a write would be judged by.
enum Fault {
    /// The watches have yet to tell what is stored.
    Behind,
    /// Replicas of another kind judge: they are asked if this one says that it is not ready.
    Superseded,
    /// The ledger cannot be used, and why.
    Page(Arc<str>),
}

/// An answer to a write that is yet to be entered.
struct Entering {
    body: Vec<u8>,
    decision: Decision<'static>,
    begun: Instant,
    entered: oneshot::Receiver<()>,
}

/// Does what a judgement demands, and gives back the answer or has the same judged again.
async fn go_on(app: &App, case: &mut Case, next: Next) -> Result<Option<Reply>, Refusal> {
    match next {
        Next::Answered(reply) => return Ok(Some(reply)),
        Next::Look(leads) => case.looks = Some(look(app, leads, case.working).await),
        Next::Confirm(confirm) => self::confirm(app, case, confirm).await,
        Next::Unready(fault, is_optional) => {
            if let (Fault::Behind, Some(ledger)) = (&fault, &app.ledger)
                && timeout_at(case.waiting.into(), ledger.catch_up()).await.is_ok()
            {
                return Ok(None);
            }
            match fault {
                _ if is_optional => case.is_alone = true,
                Fault::Superseded => return Err(Refusal::NotReady(SUPERSEDED.to_owned())),
                Fault::Behind => case.fault = Some(BEHIND.into()),
                Fault::Page(why) => case.fault = Some(why),
            }
        }
        Next::Enter(entering) => {
            let Entering { body, decision, begun, entered } = *entering;
            if let Ok(Ok(())) = timeout_at(case.waiting.into(), entered).await {
                if let Some(ledger) = &app.ledger {
                    ledger.waited(begun.elapsed());
                }
                decided(app, case, &decision);
                return Ok(Some(Reply { body, is_elsewhere_better: false }));
            }
            // It lost its place, and is judged against what was entered first.
            case.confirmed = Some(BTreeSet::new());
            case.is_late = Instant::now() >= case.waiting;
        }
    }
    Ok(None)
}

/// Has the mesh say of some objects what they say now, and of the ledger what it has, as far as there
/// is time for it.
async fn confirm(app: &App, case: &mut Case, confirm: Confirm) {
    let Some(live) = &app.live else { return };
    let Confirm { objects, page } = confirm;
    let ledger = app.ledger.as_ref().filter(|_| page);
    // The ledger first: what is not in it any more by then is stored, if it is to be.
    if let Some(ledger) = ledger {
        let _ = timeout_at(case.waiting.into(), ledger.read()).await;
    }
    let left = case.working.saturating_duration_since(Instant::now());
    let is_read = live.refresh(objects.clone(), CONFIRMING.min(left / 2)).await;
    if ledger.is_none() {
        case.confirmed = None;
    } else {
        case.is_late = Instant::now() >= case.waiting;
        if let Some(confirmed) = case.confirmed.as_mut().filter(|_| is_read) {
            confirmed.extend(objects);
        }
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
fn answer(app: &App, case: &Case) -> Result<Next, Refusal> {
    let Case { hook, caller, ref received, working, ref looks, .. } = *case;
    let is_up = || Instant::now() >= working;
    // Whoever is not known to be the API server must not have it look about the network.
    let may_look = looks.is_none() && caller.is_remembered() && app.reach.is_some();
    let begun = Instant::now();
    caught(|| {
        let mut asked = Asked::read(hook, &received.bytes, &app.settings, Some(&is_up))
            .map_err(Refusal::NotAReview)?;
        if may_look {
            let leads = asked.leads(&app.settings);
            if !leads.is_empty() {
                return Ok(Next::Look(leads));
            }
        }
        if let Some(looks) = looks {
            asked = app.snapshot.read(|mesh| asked.having_looked(mesh, looks));
        }
        let asked = asked.by_outdated(outdated(app));
        let (mut next, mut entered) = (None, None);
        let Answer { body, decision } = asked.answer(|write| match judge(app, case, write) {
            Judged::Verdict(verdict) => verdict,
            Judged::Entering(verdict, entering) => {
                entered = Some(entering);
                verdict
            }
            Judged::Next(demand) => {
                next = Some(demand);
                Verdict::default()
            }
        });
        // It is logged once it is decided, and then only.
        Ok(match (next, entered) {
            (Some(next), _) => next,
            (None, Some(entered)) => {
                let decision = decision.into_owned();
                Next::Enter(Box::new(Entering { body, decision, begun, entered }))
            }
            (None, None) => {
                decided(app, case, &decision);
                Next::Answered(Reply { body, is_elsewhere_better: case.fault.is_some() })
            }
        })
    })?
}

/// What a judgement says of a write, or demands first.
enum Judged {
    Verdict(Verdict),
    Entering(Verdict, oneshot::Receiver<()>),
    Next(Next),
}

fn judge(app: &App, case: &Case, write: Write<'_>) -> Judged {
    // Where nothing is denied, nothing is waited for either.
    let is_enforced = app.settings.enforcement != Policy::Warn;
    if app.hold.is_none() || !case.caller.is_remembered() || !is_enforced {
        return Judged::Verdict(app.snapshot.judge(write));
    }
    if case.is_late || case.fault.is_some() {
        let fault = case.fault.clone();
        let wait = if fault.is_some() { UNUSABLE } else { BUSY };
        let delay = Some(Delay { wait, findings: Vec::new(), fault });
        return Judged::Verdict(Verdict { delay, ..Verdict::default() });
    }
    let object = Arc::clone(&write.new.object);
    let unready = |fault| {
        let is_optional = app.ledger.as_ref().is_some_and(|ledger| ledger.is_optional(&object));
        Judged::Next(Next::Unready(fault, is_optional))
    };
    match app.snapshot.admit(write, case.confirmed.as_ref(), case.is_alone) {
        Admission::Judged(verdict) => Judged::Verdict(*verdict),
        Admission::Entering(verdict, entered) => Judged::Entering(*verdict, entered),
        Admission::Confirm(confirm) => Judged::Next(Next::Confirm(confirm)),
        Admission::List => unready(Fault::Behind),
        Admission::Superseded => unready(Fault::Superseded),
        Admission::Unready(why) => unready(Fault::Page(why)),
    }
}

/// Counts and logs a decision.
fn decided(app: &App, case: &Case, decision: &Decision<'_>) {
    let took = case.begun.elapsed();
    app.metrics.decided(case.hook, decision, took);
    log(case.hook, decision, took);
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
mod tests;
