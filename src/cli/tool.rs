//! What shells and package managers ask of any tool: completions, manual pages, the version.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, print};

#[derive(Debug, clap::Args)]
pub(super) struct CompletionArgs {
    /// The shell.
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// The directory to write the pages to, which must exist.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn completion(args: &CompletionArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "isthmus", &mut script);
    print(&mut io::stdout(), &String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let directory = &args.directory;
    anyhow::ensure!(directory.is_dir(), "{}: there is no such directory", directory.display());
    clap_mangen::generate_to(Cli::command(), directory)
        .with_context(|| format!("{} cannot be written", directory.display()))?;
    // The command lists what it has written, for those who pack it.
    let mut pages: Vec<_> = fs::read_dir(directory)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("isthmus") && name.ends_with(".1"))
        .collect();
    pages.sort();
    print(&mut io::stdout(), &(pages.join("\n") + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn version() -> anyhow::Result<ExitCode> {
    print(&mut io::stdout(), concat!("isthmus ", env!("CARGO_PKG_VERSION"), "\n"))?;
    Ok(ExitCode::SUCCESS)
}
