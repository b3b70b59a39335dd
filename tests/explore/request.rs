//! Writers: a write is judged, maybe more than once, and stored some time later, or never.

use isthmus::ledger::Step;

use crate::replica::{Replica, Write};
use crate::world::{CC, NAMES, Object, STORED_WITHIN, VALUES, World, brings};

pub(crate) struct Request {
    write: Write,
    /// When it began; it is stored soon enough after that, or never.
    begun: u64,
    replica: usize,
    phase: Phase,
    /// How often its writer begins it again when it fails.
    repeats: u64,
}

enum Phase {
    New,
    /// It has this ticket of a swap under way.
    Entering(u64),
    Admitted,
    /// etcd has it, and stores it when it goes on.
    Proposed,
    /// Its writer waits until then.
    Resting(u64),
}

impl Request {
    pub(crate) fn new(world: &mut World) -> Option<Self> {
        let name = world.aim.names[world.random.at(world.aim.names.len())];
        let value = world.aim.value(&mut world.random);
        // A creation of a name that exists waits for that to be deleted.
        let exists = world.store.contains_key(&name);
        let creates = name != CC && (!exists || world.random.below(3) == 0);
        if !creates && !exists {
            return None;
        }
        let repeats = world.random.below(3);
        Self::of(world, name, value, creates, repeats)
    }

    fn of(world: &mut World, name: usize, value: u8, creates: bool, repeats: u64) -> Option<Self> {
        let old = world.store.get(&name).copied();
        let old = if creates { None } else { Some(old?) };
        let uid = if creates { world.uid() } else { 0 };
        let write = Write { name, value, uid, old };
        let replica = world.random.at(3);
        Some(Self { write, begun: world.now, replica, phase: Phase::New, repeats })
    }

    pub(crate) fn step(mut self, world: &mut World) -> Option<Self> {
        if let Phase::Resting(until) = self.phase {
            return if world.now < until { Some(self) } else { self.anew(world) };
        }
        if world.now > self.begun + STORED_WITHIN && !matches!(self.phase, Phase::Proposed) {
            return self.again(world);
        }
        match self.phase {
            Phase::Proposed | Phase::Resting(_) => Some(self),
            Phase::New => self.judge(world),
            Phase::Entering(ticket) => {
                let replica = &mut world.replicas[self.replica];
                let take = |tickets: &mut Vec<u64>| {
                    let at = tickets.iter().position(|it| *it == ticket);
                    at.map(|at| tickets.swap_remove(at)).is_some()
                };
                if take(&mut replica.entered) {
                    self.answered(world)
                } else if take(&mut replica.lost) {
                    self.phase = Phase::New;
                    Some(self)
                } else {
                    // The caller may tire of waiting, and ask another replica.
                    if world.random.below(8) == 0 {
                        (self.phase, self.replica) = (Phase::New, world.random.at(3));
                    }
                    Some(self)
                }
            }
            Phase::Admitted => self.store(world),
        }
    }

    fn judge(mut self, world: &mut World) -> Option<Self> {
        if self.write.old.is_some_and(|old| old.value == self.write.value) {
            // It changes no claim.
            self.phase = Phase::Admitted;
            return Some(self);
        }
        let write = &self.write;
        let at = self.replica;
        let step = world.with_replica(at, |replica, world| replica.admit(world, write));
        let cache = &world.replicas[at].cache;
        world.tell(|| format!("replica {at} judges {write:?}: {step:?} with {cache:?}"));
        match step {
            Step::Allow => self.phase = Phase::Admitted,
            Step::Enter(ticket) => self.phase = Phase::Entering(ticket),
            Step::Deny => {
                world.denied += 1;
                let mut before = world.values();
                before.remove(&write.name);
                before.extend(write.old.map(|old: Object| (write.name, old.value)));
                let mut after = before.clone();
                after.insert(write.name, write.value);
                let is_misled = world.replicas[self.replica].is_misled();
                if !is_misled && !brings(&before, &after, write.name) {
                    let told = format!("{} = {} was denied", NAMES[write.name], write.value);
                    world.failure.get_or_insert(told + " and clashes with nothing");
                }
                return None;
            }
            Step::Wait(_) => {
                world.delayed += 1;
                return self.again(world);
            }
            Step::Superseded | Step::Unread => self.replica = world.random.at(3),
            Step::List(_) | Step::Confirm => {}
        }
        Some(self)
    }

    /// The replica that was asked is gone, and another one is asked.
    pub(crate) fn lose(&mut self, replica: usize) {
        if self.replica == replica && matches!(self.phase, Phase::Entering(_)) {
            self.phase = Phase::New;
        }
    }

    /// The answer comes, or comes too late, or never.
    fn answered(mut self, world: &mut World) -> Option<Self> {
        match world.random.below(12) {
            // It is lost, and the API server asks once more.
            0 => (self.phase, self.replica) = (Phase::New, world.random.at(3)),
            1 => return self.again(world),
            // It comes too late, where failures are ignored: it is stored all the same.
            2 => {
                if world.left == crate::world::Left::Late
                    && let Some(page) = &mut world.lease.page
                {
                    page.entries.pop();
                    page.nonce += 1;
                }
                self.phase = Phase::Admitted;
            }
            _ => self.phase = Phase::Admitted,
        }
        Some(self)
    }

    fn store(mut self, world: &mut World) -> Option<Self> {
        let age = world.now - self.begun;
        match world.random.below(10) {
            // Webhooks that are asked later take their time.
            0..6 if age < STORED_WITHIN - 5_000 => return Some(self),
            // A quota, or another webhook, refuses it.
            6 => return self.again(world),
            _ => {}
        }
        if world.is_stalled() {
            self.phase = Phase::Proposed;
            return Some(self);
        }
        self.commit(world)
    }

    /// etcd goes on: it stores what it has.
    pub(crate) fn flush(self, world: &mut World) -> Option<Self> {
        if matches!(self.phase, Phase::Proposed) { self.commit(world) } else { Some(self) }
    }

    fn commit(mut self, world: &mut World) -> Option<Self> {
        let Write { name, value, uid, old } = self.write;
        match (old, world.store.get(&name).copied()) {
            (None, None) => {
                world.stored += 1;
                world.put(name, Some((value, uid)));
                None
            }
            (Some(old), Some(stored)) if stored == old => {
                world.stored += 1;
                world.put(name, Some((value, old.uid)));
                None
            }
            // Within a patch the API server begins anew with what is stored.
            (Some(_), Some(stored)) if world.now < self.begun + STORED_WITHIN => {
                (self.write.old, self.phase) = (Some(stored), Phase::New);
                Some(self)
            }
            _ => None,
        }
    }

    /// Its writer begins it again, later.
    fn again(mut self, world: &mut World) -> Option<Self> {
        self.repeats = self.repeats.checked_sub(1)?;
        let rest = world.aim.rests[world.random.at(4)];
        self.phase = Phase::Resting(world.now + rest);
        Some(self)
    }

    fn anew(self, world: &mut World) -> Option<Self> {
        let Write { name, value, old, .. } = self.write;
        Self::of(world, name, value, old.is_none(), self.repeats)
    }

    /// What is admitted is stored, or not, and nothing else goes on.
    pub(crate) fn end(self, world: &mut World) {
        if matches!(self.phase, Phase::Admitted) {
            let mut request = Some(self);
            for _ in 0..20 {
                request = match request {
                    Some(it) if matches!(it.phase, Phase::Admitted) => it.step(world),
                    _ => return,
                };
            }
        }
    }

    /// A write that is in no clash passes.
    pub(crate) fn pass(world: &mut World) {
        let values = world.values();
        let free = (0..VALUES).find(|value| {
            let mut after = values.clone();
            after.insert(0, *value);
            values.get(&0) != Some(value) && !brings(&values, &after, 0)
        });
        let Some(value) = free else { return };
        let creates = !world.store.contains_key(&0);
        for _ in 0..40 {
            world.now += 1_000;
            let Some(mut request) = Self::of(world, 0, value, creates, 0) else { continue };
            for _ in 0..8 {
                let at = request.replica;
                world.with_replica(at, Replica::work_on);
                match request.phase {
                    Phase::Admitted => return,
                    _ => match request.step(world) {
                        Some(next) => request = next,
                        None => break,
                    },
                }
            }
        }
        let told = format!("{} = {value} is in no clash and never passes", NAMES[0]);
        world.failure.get_or_insert(told);
    }
}
