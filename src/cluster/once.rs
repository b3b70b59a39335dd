//! What the cluster has now, by one list for each watch.

use std::fmt;

use futures_util::future::join_all;
use kube::api::ListParams;
use kube::{Client, Config};
use tokio::time::timeout;

use super::watch::{ANSWER, FORBIDDEN, NOT_FOUND, SILENT, Watch, Watched, reason, watches};
use crate::mesh::Reading;
use crate::settings::Settings;

/// Why what the cluster has is not known as a whole.
#[derive(Debug, thiserror::Error)]
pub struct Unread {
    /// The address of the API server.
    cluster: String,
    /// What could not be read; every watch, or none where there is not even a client.
    watches: Vec<String>,
    /// Why, in the same order.
    reasons: Vec<Unlisted>,
}

/// Why one list failed.
#[derive(Debug)]
struct Unlisted {
    reason: String,
    is_forbidden: bool,
}

/// Reads what every object of the cluster says.
pub async fn read(config: Config, settings: &Settings) -> Result<Vec<Reading>, Unread> {
    let cluster = config.cluster_url.to_string();
    let mut unread = Unread { cluster, watches: Vec::new(), reasons: Vec::new() };
    let client = match Client::try_from(config) {
        Ok(client) => client,
        Err(error) => {
            unread.reasons.push(error.into());
            return Err(unread);
        }
    };
    let watches = watches(settings);
    let lists = join_all(watches.iter().map(|watch| watch.list(&client, settings))).await;
    let mut readings = Vec::new();
    for (watch, listed) in watches.iter().zip(lists) {
        match listed {
            Ok(listed) => readings.extend(listed),
            Err(why) => {
                unread.watches.push(watch.to_string());
                unread.reasons.push(why);
            }
        }
    }
    if unread.reasons.is_empty() { Ok(readings) } else { Err(unread) }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, watches, reasons } = self;
        write!(f, "the cluster at {cluster} cannot be read:")?;
        let forbidden = reasons.iter().find(|why| why.is_forbidden);
        let first = reasons.first().map(|why| &why.reason);
        if let Some(reason) = first
            && forbidden.is_none()
            && reasons.iter().all(|why| why.reason == *reason)
        {
            // An API server that is away is away for all of them.
            return write!(f, " {reason}");
        }
        for (watch, why) in watches.iter().zip(reasons) {
            let reason = if why.is_forbidden { "forbidden" } else { &why.reason };
            write!(f, "\n  {watch}: {reason}")?;
        }
        if let Some(Unlisted { reason, .. }) = forbidden {
            write!(f, "\n{reason}\n`isthmus rbac` prints the roles that allow it")?;
        }
        Ok(())
    }
}

impl From<kube::Error> for Unlisted {
    fn from(error: kube::Error) -> Self {
        let is_forbidden = matches!(&error, kube::Error::Api(status) if status.code == FORBIDDEN);
        Self { reason: reason(&error), is_forbidden }
    }
}

impl Watch {
    async fn list(&self, client: &Client, settings: &Settings) -> Result<Vec<Reading>, Unlisted> {
        let silent = |_| Unlisted { reason: SILENT.to_owned(), is_forbidden: false };
        timeout(ANSWER, self.list_patiently(client, settings)).await.map_err(silent)?
    }

    async fn list_patiently(
        &self,
        client: &Client,
        settings: &Settings,
    ) -> Result<Vec<Reading>, Unlisted> {
        let Some(served) = self.served(client).await? else { return Ok(Vec::new()) };
        let params = ListParams {
            field_selector: self.fields(),
            label_selector: self.labels(),
            ..ListParams::default()
        };
        let listed = match served.api.list(&params).await {
            Ok(listed) => listed,
            // The resource went away between the two questions.
            Err(kube::Error::Api(status)) if status.code == NOT_FOUND => return Ok(Vec::new()),
            Err(kube::Error::Api(status))
                if status.code == FORBIDDEN && self.has_no_namespace(client).await =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        let mut readings = Vec::new();
        for object in listed.items {
            let name = object.metadata.name.clone().unwrap_or_default();
            match self.read(object, &served.types, settings) {
                Watched::Says(reading) => readings.push(reading),
                Watched::OfNoConcern => {}
                Watched::Unreadable(error) => {
                    let reason = format!("{name} cannot be read: {error}");
                    return Err(Unlisted { reason, is_forbidden: false });
                }
            }
        }
        Ok(readings)
    }
}
