//! How much memory a member takes, as the operating system counts it.
#![allow(clippy::expect_used, clippy::print_stdout, missing_docs)]

#[allow(dead_code, unreachable_pub, reason = "each benchmark uses a part of it")]
mod mesh;

use std::fs;

use isthmus::mesh::Mesh;
use mesh::{Layout, peer, reading};

fn main() {
    const MEMBERS: usize = 100_000;
    for layout in [Layout::Flat, Layout::Gateways] {
        let mut mesh = Mesh::new(std::sync::Arc::default());
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
}

/// Resident memory of this process in bytes (Linux).
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let kib: usize = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kib * 1024
}
