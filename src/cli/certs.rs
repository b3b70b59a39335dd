//! `isthmus certs`: certificates for development.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::server::issue;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to write ca.pem, tls.pem and tls-key.pem.
    #[arg(long, env = "ISTHMUS_CERTS_DIR", default_value = "certs", value_name = "DIR")]
    certs_dir: PathBuf,
    /// Additional names for the certificate, such as isthmus.isthmus.svc; may be repeated.
    #[arg(long = "name", value_delimiter = ',', value_name = "DNS NAME OR IP")]
    names: Vec<String>,
    /// For how many days the certificate is valid.
    #[arg(
        long,
        default_value = "365",
        value_parser = clap::value_parser!(u32).range(1..=3650),
        value_name = "DAYS"
    )]
    days: u32,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let valid_for = Duration::from_secs(u64::from(args.days) * 24 * 3600);
    let issued = issue(&args.names, valid_for).context("cannot create a certificate")?;
    let directory = &args.certs_dir;
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let files = [
        ("ca.pem", &issued.authority, 0o644),
        ("tls-key.pem", &issued.key, 0o600),
        ("tls.pem", &issued.certificate, 0o644),
    ];
    for (name, text, mode) in files {
        let file = directory.join(name);
        write(&file, text, mode).with_context(|| file.display().to_string())?;
        anstream::println!("wrote {}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a file as a whole or not at all.
fn write(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    let unfinished = file.with_extension("pem.new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut new = options.write(true).create_new(true).mode(mode).open(&unfinished)?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    fs::rename(&unfinished, file)
}
