//! What the cluster has now, by one list for each watch.

use std::fmt;

use futures_util::future::join_all;
use kube::{Client, Config};

use super::call::Failure;
use super::list::is_nowhere;
use super::watch::{PAGE, Parsed, Watch, watches};
use crate::mesh::Reading;
use crate::settings::Settings;

/// Why the state of the cluster is not completely known.
#[derive(Debug, thiserror::Error)]
pub struct Unread {
    /// The address of the API server.
    cluster: String,
    /// What could not be read; every watch, or none where there is not even a client.
    watches: Vec<String>,
    /// Why, in the same order.
    reasons: Vec<Failure>,
}

/// What a cluster has.
pub struct Contents {
    /// What its objects say.
    pub readings: Vec<Reading>,
    /// Whether it knows `IstioMulticluster` as a resource, though there may be none.
    pub serves_peers: bool,
}

/// Reads what every object of the cluster says.
pub async fn read(config: Config, settings: &Settings) -> Result<Contents, Unread> {
    let cluster = config.cluster_url.to_string();
    let mut unread = Unread { cluster, watches: Vec::new(), reasons: Vec::new() };
    let client = match Client::try_from(config) {
        Ok(client) => client,
        Err(error) => {
            unread.reasons.push(Failure::from(error));
            return Err(unread);
        }
    };
    let watches = watches(settings);
    let lists = join_all(watches.iter().map(|watch| watch.list(&client, settings))).await;
    let mut contents = Contents { readings: Vec::new(), serves_peers: false };
    for (watch, listed) in watches.iter().zip(lists) {
        match listed {
            Ok(None) => {}
            Ok(Some(listed)) => {
                contents.readings.extend(listed);
                contents.serves_peers |= watch.document.is_peer();
            }
            Err(why) => {
                unread.watches.push(watch.to_string());
                unread.reasons.push(why);
            }
        }
    }
    if unread.reasons.is_empty() { Ok(contents) } else { Err(unread) }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, watches, reasons } = self;
        write!(f, "the cluster at {cluster} cannot be read:")?;
        let forbidden = reasons.iter().find(|why| why.is_forbidden());
        let first = reasons.first().map(ToString::to_string);
        if let Some(reason) = first
            && forbidden.is_none()
            && reasons.iter().all(|why| why.to_string() == reason)
        {
            // An API server that is away is away for all of them.
            return write!(f, " {reason}");
        }
        for (watch, why) in watches.iter().zip(reasons) {
            if why.is_forbidden() {
                write!(f, "\n  {watch}: forbidden")?;
            } else {
                write!(f, "\n  {watch}: {why}")?;
            }
        }
        if let Some(forbidden) = forbidden {
            write!(f, "\n{forbidden}\n`isthmus rbac` prints the required roles")?;
        }
        Ok(())
    }
}

impl Watch {
    /// What there is of it; nothing where the resource is not served.
    async fn list(
        &self,
        client: &Client,
        settings: &Settings,
    ) -> Result<Option<Vec<Reading>>, Failure> {
        let Some(served) = self.served(client).await? else { return Ok(None) };
        let (mut readings, mut next) = (Vec::new(), None);
        loop {
            let listed = match Box::pin(served.objects.page(PAGE, next)).await {
                Ok(listed) => listed,
                // The resource went away between the two questions.
                Err(failure) if failure.is_not_found() => return Ok(None),
                Err(failure) if is_nowhere(client, self.namespace.as_deref(), &failure).await => {
                    return Ok(Some(Vec::new()));
                }
                Err(failure) => return Err(failure),
            };
            for object in listed.items {
                let name = object.metadata.name.clone().unwrap_or_default();
                match self.read(object, &served.types, settings) {
                    Parsed::Says(reading) => readings.push(reading),
                    Parsed::OfNoConcern => {}
                    Parsed::Unreadable(error) => {
                        return Err(Failure::Other(format!("{name} cannot be read: {error}")));
                    }
                }
            }
            next = listed.metadata.continue_;
            if next.is_none() {
                return Ok(Some(readings));
            }
        }
    }
}
