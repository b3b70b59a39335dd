//! The command line: one file for each command.

mod audit;
mod banner;
mod certs;
mod chart;
mod check;
mod crd;
mod explain;
mod facts;
mod failure_policy;
mod flow;
mod join;
mod json;
mod kube;
mod lines;
mod log;
mod map;
mod mesh;
mod plan;
mod policy;
mod probe;
mod rbac;
mod rules;
mod scout;
mod serve;
mod settings;
mod tls;
mod tool;
mod webhooks;
mod yaml;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use chart::documents as chart_documents;
pub use crd::chart_file as chart_crd;
pub use rules::markdown as rules_page;

/// The JSON schema of `isthmus.yaml`.
pub fn repository_schema() -> String {
    check::repository_schema()
}

use crate::report::diagnostic::{CheckReport, Level};

/// The exit status where something cannot be read or used.
const FAILED: u8 = 2;

/// An admission webhook for Istio multicluster meshes: denies writes that would break the mesh, and
/// says what to write instead.
#[derive(Debug, Parser)]
#[command(name = "isthmus", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer admission reviews over HTTPS.
    Serve(Box<serve::Args>),
    /// Write certificates for development.
    Certs(certs::Args),
    Check(check::Args),
    Audit(audit::Args),
    /// Visit the members of the mesh, and keep in MeshMembers what they show.
    Scout(scout::Args),
    Plan(plan::Args),
    Map(map::Args),
    Facts(facts::Args),
    Join(join::Args),
    /// Print every rule: what it denies, why, what to do about it, and an example.
    Rules(rules::Args),
    /// Explain one rule: what it denies, why, what to do about it, and an example.
    Explain(explain::Args),
    /// Check that the API server calls isthmus, with a dry run of an object that must be denied.
    Probe(probe::Args),
    /// Print the RBAC roles that isthmus needs, as manifests.
    Rbac(rbac::Args),
    /// Print the webhook configurations, as manifests.
    Webhooks(webhooks::Args),
    /// Print the CustomResourceDefinition of MeshMember, as a manifest.
    Crd,
    /// Print the completions of a shell: `source <(isthmus completion bash)`.
    Completion(tool::CompletionArgs),
    /// Write the manual pages into a directory.
    Man(tool::ManArgs),
    /// Print the version.
    Version,
}

/// Runs the command of the process's arguments.
///
/// Exit status: 0 if all is well, 1 if something is denied, 2 if something cannot be read or used.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Certs(args) => certs::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Scout(args) => scout::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Map(args) => map::run(&args),
        Command::Facts(args) => facts::run(&args),
        Command::Join(args) => join::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Rbac(args) => Ok(rbac::run(&args)),
        Command::Webhooks(args) => webhooks::run(&args),
        Command::Completion(args) => tool::completion(&args),
        Command::Man(args) => tool::man(&args),
        Command::Version => tool::version(),
        Command::Crd => Ok(crd::run()),
    };
    result.unwrap_or_else(|error| {
        anstream::eprintln!("isthmus: {}", told(&error));
        ExitCode::from(FAILED)
    })
}

/// An error with its causes; one that already contains its cause does not repeat it.
fn told(error: &anyhow::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    for error in error.chain().map(ToString::to_string) {
        if words.last().is_none_or(|last| !last.contains(&error)) {
            words.push(error);
        }
    }
    words.join(": ")
}

/// The exit status of a command that judges; `strict` counts warnings too.
fn exit_code(report: &CheckReport, strict: bool) -> ExitCode {
    let is_denied = report.count(Level::Denial) > 0;
    let is_warned = report.count(Level::Warning) > 0;
    ExitCode::from(u8::from(is_denied || (strict && is_warned)))
}

/// Prints a text; a closed pipe is not an error.
fn print(to: &mut dyn Write, text: &str) -> std::io::Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
