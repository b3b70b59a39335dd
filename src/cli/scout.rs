//! `isthmus scout`: visits the members of the mesh.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::kube::KubeArgs;
use super::lines::ToTheLast;
use super::log::{self, LogFormat};
use super::settings::SettingsArgs;
use super::{FAILED, told};
use crate::cluster::Dial;
use crate::report::policy_report::Api;
use crate::scout::{self, Config, Secrets};
use crate::value::duration;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    kube: KubeArgs,
    /// Read all remote Secrets in Istio's namespaces, and visit the clusters they lead to.
    #[arg(long, env = "ISTHMUS_REMOTE_SECRETS")]
    remote_secrets: bool,
    /// Read only the remote Secrets of these names.
    #[arg(
        long,
        env = "ISTHMUS_SECRET_NAMES",
        value_delimiter = ',',
        conflicts_with = "remote_secrets",
        value_name = "NAMES"
    )]
    secret_names: Vec<String>,
    /// How often each member is visited.
    #[arg(
        long,
        env = "ISTHMUS_INTERVAL",
        default_value = "10m",
        value_parser = duration::positive,
        value_name = "DURATION"
    )]
    interval: Duration,
    /// For how long the MeshMember of a cluster stays after what joined it is gone: a Secret that is
    /// restored meanwhile is that of a known member, and not denied for what has long stood.
    #[arg(
        long,
        env = "ISTHMUS_KEEP",
        default_value = "24h",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    keep: Duration,
    /// Keep policy reports of what stands wrong up to date in the cluster, in this API.
    #[arg(long, env = "ISTHMUS_POLICY_REPORTS", value_enum, value_name = "GROUP")]
    policy_reports: Option<Api>,
    /// The address of probes and metrics, over HTTP.
    #[arg(long, env = "ISTHMUS_ADMIN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    admin: String,
    /// The log format; by default human on a terminal and JSON elsewhere.
    #[arg(long, env = "ISTHMUS_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// The log level: error, warn, info, debug, or a filter such as `isthmus=debug`.
    #[arg(long, env = "ISTHMUS_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// Visit clusters at loopback addresses too: in tests, all of them are on one machine. No variable
    /// and no value of the chart sets it, and who may change a pod's arguments has its account anyway.
    /// All other addresses that are refused stay so.
    #[arg(long, hide = true)]
    allow_loopback_peers: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl ValueEnum for Api {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.group()))
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let log = ToTheLast(log::init(args.log_format, &args.log).context("--log")?);
    Ok(match until_the_end(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.0.print(&format!("isthmus: {}\n", told(&error)));
            ExitCode::from(FAILED)
        }
    })
}

fn until_the_end(args: &Args) -> anyhow::Result<()> {
    let secrets = match args.secret_names.as_slice() {
        _ if args.remote_secrets => Secrets::All,
        [] => Secrets::None,
        names => Secrets::Named(names.to_vec()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start")?;
    let ended = runtime.block_on(async {
        let config = Config {
            settings: args.settings.settings(),
            cluster: args.kube.as_pod().await?,
            secrets,
            interval: args.interval,
            keep: args.keep,
            policy_reports: args.policy_reports,
            admin: args.admin.clone(),
            dial: Dial::default().with_loopback(args.allow_loopback_peers),
        };
        let show = |admin| tracing::info!(%admin, "visiting the members of the mesh");
        Box::pin(scout::run(config, show)).await
    });
    // What is left is cut short.
    runtime.shutdown_background();
    ended
}
