//! How much memory a member takes, as the operating system counts it.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs)]

#[allow(dead_code, unreachable_pub, reason = "each benchmark uses a part of it")]
mod mesh;

use std::process::Command;
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

/// Resident memory of this process in bytes (Linux).
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let kib: usize = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kib * 1024
}
