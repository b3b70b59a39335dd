//! How much memory a member takes, and the server, as the operating system counts it.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs)]

#[allow(dead_code, unreachable_pub, reason = "each benchmark uses a part of it")]
mod mesh;

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{env, fs};

use isthmus::mesh::Mesh;
use mesh::{Layout, peer, reading};

const MEMBERS: usize = 100_000;
const LAYOUTS: [Layout; 2] = [Layout::Flat, Layout::Gateways];

/// Measures each layout in a process of its own, so that none fills what another left free.
fn main() {
    let arguments: Vec<_> = env::args().collect();
    if let Some(layout) =
        LAYOUTS.into_iter().find(|layout| arguments.contains(&format!("{layout:?}")))
    {
        return measure(layout);
    }
    let program = env::current_exe().expect("this program");
    for layout in LAYOUTS {
        let status = Command::new(&program).arg(format!("{layout:?}")).status();
        assert!(status.expect("it runs").success());
    }
    for members in [1_000, 10_000] {
        serve(members);
    }
}

/// Measures a server whose inventory is one file of so many members, once it guards them.
fn serve(members: usize) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("memory");
    fs::create_dir_all(&directory).expect("a directory");
    let objects = (0..members).fold(String::new(), |mut text, n| {
        writeln!(text, "---\n{}", peer(n, Layout::Flat)).expect("a String takes all");
        text
    });
    fs::write(directory.join("members.yaml"), objects).expect("a file");
    let mut server = Command::new(env!("CARGO_BIN_EXE_isthmus"))
        .args(["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--inventory"])
        .arg(&directory)
        .current_dir(&directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("isthmus");
    let printed = BufReader::new(server.stdout.take().expect("a pipe"));
    let guards = |line: &String| line.starts_with("guarding a mesh of ");
    let line = printed.lines().map_while(Result::ok).find(guards).expect("it starts");
    assert!(line.contains(&members.to_string()), "{line}");
    let [now, peak] = ["VmRSS:", "VmHWM:"].map(|field| kib(&server.id().to_string(), field));
    server.kill().and_then(|()| server.wait()).expect("it ends");
    println!("memory/serve: {now} KiB with {members} members, {peak} KiB at the peak");
}

fn measure(layout: Layout) {
    let mut mesh = Mesh::new(Arc::default());
    let settings = mesh.settings().clone();
    // The first members warm the allocator up, so that their transient buffers do not count.
    let warm = 1_000;
    let mut before = 0;
    for n in 0..MEMBERS + warm {
        if n == warm {
            before = resident();
        }
        mesh.apply(reading(&peer(n, layout), &settings));
    }
    let bytes = (resident() - before) / MEMBERS;
    println!("memory/{layout:?}: {bytes} bytes a member at {MEMBERS} members");
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    kib("self", "VmRSS:") * 1024
}

/// A field of a process's status in KiB (Linux).
fn kib(process: &str, field: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("procfs");
    let line = status.lines().find(|line| line.starts_with(field)).expect(field);
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}
