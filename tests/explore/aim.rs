//! What may happen in a schedule, and how often. Half of the schedules do anything; each of the others
//! is aimed at one of the safeguards that only a rare order of events needs.

use isthmus::ledger::Safeguard;

use crate::world::{CC, Left, MC, Random, VALUES};

/// What may happen.
#[derive(Clone, Copy)]
pub(crate) enum Event {
    Request,
    Step,
    Pump,
    List,
    Read,
    Work,
    Restart,
    Spoil,
    Delete,
    Restore,
    Leap,
    Orphan,
    Clock,
    Stall,
}

/// What always may, and how often in a thousand steps.
const USUAL: [(Event, u64); 6] = [
    (Event::Request, 160),
    (Event::Step, 400),
    (Event::Pump, 160),
    (Event::List, 40),
    (Event::Read, 30),
    (Event::Work, 170),
];
/// What goes wrong beside that.
const FAULTS: [(Event, u64); 8] = [
    (Event::Restart, 7),
    (Event::Spoil, 2),
    (Event::Delete, 1),
    (Event::Restore, 5),
    (Event::Leap, 9),
    (Event::Orphan, 6),
    (Event::Clock, 4),
    (Event::Stall, 2),
];
/// What a schedule writes to.
const WRITTEN: [&[usize]; 4] = [&[0, 1, 2, 0, 1, 2, CC, MC], &[2, 2, 0], &[0, CC], &[0, MC, CC]];
/// After how many milliseconds a writer begins a write again that has failed.
const RESTS: [u64; 4] = [0, 2_000, 6_000, 40_000];

/// Where schedules lead.
pub(crate) struct Aim {
    /// What is written to.
    pub(crate) names: &'static [usize],
    /// The values that are written: so many of them, from the first but one on.
    pub(crate) values: u64,
    /// After how long a failed write is begun again.
    pub(crate) rests: [u64; 4],
    /// How often each event happens.
    pub(crate) weights: Vec<(Event, u64)>,
}

/// What is aimed at: what is written to, how many values, what goes wrong, and when writers come again.
type Row = (Safeguard, &'static [usize], u64, &'static [(Event, u64)], [u64; 4]);

const AIMS: [Row; 8] = [
    // A page that is saved, changed and restored, while few look at it.
    (Safeguard::Nonce, &[0, 1], 2, &[(Event::Restore, 60), (Event::Orphan, 20)], RESTS),
    // What was admitted long ago is stored while others come.
    (Safeguard::Longest, &[0, 1], 2, &[(Event::Leap, 40)], RESTS),
    (Safeguard::Look, &[0, 1, 1], 2, &[(Event::Leap, 40)], RESTS),
    // etcd stands still for as long as an entry lasts.
    (
        Safeguard::Barrier,
        &[0, 1],
        2,
        &[(Event::Stall, 30), (Event::Leap, 60), (Event::Work, 400)],
        RESTS,
    ),
    // One update is repeated just before its first attempt ends.
    (Safeguard::Restamp, &[0, 1], 3, &[(Event::Leap, 25), (Event::Work, 800)], [30_000; 4]),
    // Replicas of another kind, which have listed everything, take over while something is pending.
    (
        Safeguard::Opaque,
        &[0, 1],
        3,
        &[(Event::Restart, 20), (Event::List, 400), (Event::Work, 200)],
        RESTS,
    ),
    // Something is written to a resource that nobody serves yet.
    (Safeguard::Absent, &[0, 1, MC, CC], 2, &[(Event::Restart, 20)], RESTS),
    // An object moves from one watch to another one.
    (Safeguard::Moves, &[2, 2, 2, 0], 4, &[], [0; 4]),
];

impl Aim {
    /// Where the schedules of one lead in which something is left out, or those in which nothing is.
    pub(crate) fn of(left: Left, random: &mut Random) -> Self {
        let row = match left {
            Left::Safeguard(safeguard) => AIMS.iter().find(|row| row.0 == safeguard),
            Left::Nothing => AIMS.get(random.at(2 * AIMS.len())),
            _ => None,
        };
        match row {
            Some((_, names, values, faults, rests)) => {
                let weights = USUAL.iter().chain(*faults).copied().collect();
                Self { names, values: *values, rests: *rests, weights }
            }
            None => {
                let names = WRITTEN[random.at(WRITTEN.len())];
                // Some of the faults only: where all of them happen, they hide each other.
                let fault = |(event, weight)| (event, weight * [0, 0, 1, 5][random.at(4)]);
                let weights = USUAL.into_iter().chain(FAULTS.map(fault)).collect();
                Self { names, values: u64::from(VALUES), rests: RESTS, weights }
            }
        }
    }

    /// What happens next.
    pub(crate) fn event(&self, random: &mut Random) -> Event {
        let mut left = random.below(self.weights.iter().map(|(_, weight)| weight).sum());
        for (event, weight) in &self.weights {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *event,
            }
        }
        Event::Step
    }

    /// A value to be written.
    pub(crate) fn value(&self, random: &mut Random) -> u8 {
        let first = u64::from(self.values < u64::from(VALUES));
        u8::try_from(first + random.below(self.values)).unwrap_or_default()
    }
}
