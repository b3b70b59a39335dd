//! What the dearest objects cost: each list and mapping of each document, at three lengths.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

#[allow(dead_code, unreachable_pub, reason = "the tests use the rest of it")]
#[path = "../tests/support/objects.rs"]
mod objects;
#[allow(dead_code, unreachable_pub, reason = "the tests use the rest of it")]
#[path = "../tests/complexity/parts.rs"]
mod parts;

use parts::{Kind, PARTS, Works, cpu};

/// The sizes of an object that the figures are told for, in bytes.
const SIZES: [usize; 2] = [64 << 10, 2 << 20];

fn main() {
    println!(
        "{:24} {:28} {:8} {:>10} {:>8} {:>10} {:>10}",
        "document", "part", "items", "number", "bytes", "review ms", "start ms"
    );
    for part in PARTS {
        for kind in [Kind::Sound, Kind::Hostile] {
            for size in SIZES {
                let [few, more] = [100, 200].map(|n| Works::of(part, n, kind).bytes());
                let n = size * 100 / (more - few).max(1);
                let works = Works::of(part, n, kind);
                let review = cpu(|| works.review());
                let start = cpu(|| drop(works.start()));
                println!(
                    "{:24} {:28} {:8} {:>10} {:>8} {:>10.1} {:>10.1}",
                    part.document,
                    part.name,
                    format!("{kind:?}"),
                    n,
                    works.bytes(),
                    review.as_secs_f64() * 1e3,
                    start.as_secs_f64() * 1e3
                );
            }
        }
    }
}
