//! Where logs go and what they look like.

use std::io::{IsTerminal, stderr};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::json::Json;
use super::lines::Lines;

/// What log lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

/// Sends logs to standard error. Without a format it is the one that suits who reads there.
pub(super) fn init(format: Option<LogFormat>, filter: &str) -> anyhow::Result<Lines> {
    let terminal = stderr().is_terminal();
    let fallback = if terminal { LogFormat::Human } else { LogFormat::Json };
    // Watches log their own problems, once.
    let filter = EnvFilter::try_new(format!("kube_runtime=off,kube_client=off,{filter}"))?;
    let lines = Lines::to(stderr())?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines.clone());
    match format.unwrap_or(fallback) {
        LogFormat::Human => {
            log.with_ansi(terminal && colors_are_welcome()).with_target(false).init();
        }
        LogFormat::Json => log.event_format(Json).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        // Not the message, which may repeat what a Secret contains.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a bug in isthmus");
    }));
    Ok(lines)
}

fn colors_are_welcome() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
