//! The facts of a cluster, read within bounds, whatever it answers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::http::header::ACCEPT;
use hyper::{Request, StatusCode};
use jiff::Timestamp;
use kube::client::Body;
use kube::{Client, Config};
use serde::Deserialize;
use tokio::time::timeout;

use super::unreached::Unreached;
use crate::meshmember::Observed;
use crate::observe::{Ask, Seen};
use crate::settings::Settings;
use crate::value::ClusterUuid;

/// Where Deckhouse publishes a cluster's UUID, below its metadata endpoint.
const PUBLIC: &str = "/public/public.json";
/// The largest such answer, in bytes.
const LARGEST_METADATA: usize = 64 << 10;

/// What reading one cluster may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long it may take in all.
    pub time: Duration,
    /// The largest answer, in bytes. What is larger counts as refused.
    pub answer: usize,
    /// All answers together, in bytes.
    pub whole: usize,
    /// How many answers are waited for at once.
    pub at_once: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { time: Duration::from_secs(30), answer: 4 << 20, whole: 32 << 20, at_once: 4 }
    }
}

/// What a cluster shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Its facts.
    pub observed: Observed,
    /// The resources that it did not let be read, though the account of a remote Secret usually may.
    pub refused: Vec<&'static str>,
}

/// Reads the facts of a cluster by this client.
pub async fn observe(
    client: &Client,
    settings: &Settings,
    bounds: &Bounds,
) -> Result<Shown, Unreached> {
    let reader = Reader { client, bounds, left: AtomicUsize::new(bounds.whole) };
    timeout(bounds.time, reader.read(settings)).await.map_err(|_| Unreached::Slow)?
}

/// Reads the facts of the cluster that a kubeconfig of our own leads to, however it does.
pub async fn observe_own(
    config: Config,
    settings: &Settings,
    bounds: &Bounds,
) -> Result<Observed, Unreached> {
    let client = Client::try_from(config).map_err(|error| Unreached::of(&error))?;
    observe(&client, settings, bounds).await.map(|shown| shown.observed)
}

/// Reads the UUID that a cluster's public metadata tell, by this client.
pub(super) async fn read_metadata(
    client: &Client,
    time: Duration,
) -> Result<ClusterUuid, Unreached> {
    #[derive(Deserialize)]
    struct Public {
        #[serde(rename = "clusterUUID")]
        cluster_uuid: String,
    }
    let read = timeout(time, fetch(client, PUBLIC, LARGEST_METADATA)).await;
    let read = read.map_err(|_| Unreached::Slow)??.ok_or(Unreached::TooMuch)?;
    let public: Public = serde_json::from_slice(&read).map_err(|_| Unreached::NotMetadata)?;
    ClusterUuid::try_parse(&public.cluster_uuid).map_err(|_| Unreached::NotMetadata)
}

/// The answer to a request for this path; nothing where it is larger than this.
async fn fetch(client: &Client, path: &str, most: usize) -> Result<Option<Bytes>, Unreached> {
    let request = Request::get(path).header(ACCEPT, "application/json");
    let request = request.body(Body::empty()).map_err(|error| Unreached::of(&error))?;
    let answer = client.send(request).await.map_err(|error| Unreached::of(&error))?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => return Err(Unreached::Unauthorized),
        status if status.is_redirection() => return Err(Unreached::Redirect(status.as_u16())),
        status => return Err(Unreached::Status(status.as_u16())),
    }
    match Limited::new(answer.into_body(), most).collect().await {
        Ok(read) => Ok(Some(read.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(error) => Err(Unreached::of(&*error)),
    }
}

struct Reader<'a> {
    client: &'a Client,
    bounds: &'a Bounds,
    /// How many bytes may still be read.
    left: AtomicUsize,
}

impl Reader<'_> {
    async fn read(&self, settings: &Settings) -> Result<Shown, Unreached> {
        let mut seen = Seen::new(settings);
        for asks in [Seen::first, Seen::then] {
            let asks = asks(&seen);
            self.ask_all(&mut seen, asks).await?;
        }
        let observed = seen.facts(Timestamp::now()).ok_or(Unreached::Unidentified)?;
        Ok(Shown { observed, refused: seen.refused() })
    }

    async fn ask_all(&self, seen: &mut Seen, asks: Vec<Ask>) -> Result<(), Unreached> {
        let mut waiting = VecDeque::from(asks);
        let mut asked = FuturesUnordered::new();
        loop {
            while asked.len() < self.bounds.at_once.max(1)
                && let Some(ask) = waiting.pop_front()
            {
                asked.push(async move { (self.ask(&ask).await, ask) });
            }
            let Some((answer, ask)) = asked.next().await else { return Ok(()) };
            match answer? {
                Answer::Text(text) => waiting.extend(seen.take(&ask, &text)?),
                Answer::Refused => seen.refuse(&ask),
                Answer::Absent => {}
            }
        }
    }

    async fn ask(&self, ask: &Ask) -> Result<Answer, Unreached> {
        let most = self.bounds.answer.min(self.left.load(Ordering::Relaxed));
        let read = match fetch(self.client, &ask.path(), most).await {
            Ok(read) => read,
            Err(Unreached::Status(403)) => return Ok(Answer::Refused),
            Err(Unreached::Status(404)) => return Ok(Answer::Absent),
            Err(error) => return Err(error),
        };
        let cost = read.as_ref().map_or(most, Bytes::len);
        let left = |left: usize| left.checked_sub(cost).filter(|left| *left > 0);
        let spent = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        spent.map_err(|_| Unreached::TooMuch)?;
        let Some(read) = read else { return Ok(Answer::Refused) };
        let text = String::from_utf8(read.to_vec());
        text.map(Answer::Text).map_err(|_| Unreached::NotKubernetes(crate::observe::NotKubernetes))
    }
}

/// What is answered.
enum Answer {
    Text(String),
    /// It may not be read, or is too large to be.
    Refused,
    /// It is not there.
    Absent,
}
