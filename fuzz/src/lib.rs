//! What the fuzz targets share: the laws, and how much CPU an input may cost.

pub mod oracles;

use oracles::TARGETS;
use rustix::time::{ClockId, clock_gettime};

/// The most CPU time that an input may cost for each KiB that is read of it, in nanoseconds.
const DEAREST_KIB: i64 = 10_000_000;
/// Time may be counted that is not the input's own, such as a first use or a cold cache.
const TRIES: usize = 3;

/// Holds an input to the law of a target, and to the CPU time that it may cost.
///
/// # Panics
///
/// If a law is broken.
pub fn run(target: &str, data: &[u8]) {
    let Some(target) = TARGETS.iter().find(|known| known.name == target) else {
        panic!("{target} is not a target");
    };
    let mut least = i64::MAX;
    let mut allowed = 0;
    for _ in 0..TRIES {
        let begun = cpu();
        let bytes = (target.law)(data);
        least = least.min(cpu() - begun);
        allowed = DEAREST_KIB * (1 + i64::try_from(bytes / 1024).unwrap_or(i64::MAX / DEAREST_KIB));
        if least <= allowed {
            return;
        }
    }
    panic!("{} ms of CPU, which is more than {}", least / 1_000_000, allowed / 1_000_000);
}

/// The CPU time of this thread, in nanoseconds.
fn cpu() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
