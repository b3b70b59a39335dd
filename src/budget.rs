//! What a piece of work may cost, so that no input is dearer than the answer to it is worth.
//!
//! The core reads no clock. It counts what it does, and asks whoever set the work now and then
//! whether there is still time.

use std::cell::Cell;
use std::fmt;

/// Tells whether the time for a piece of work is up.
pub type Clock<'a> = &'a dyn Fn() -> bool;

/// How many units are done between two looks at the clock.
const STRIDE: usize = 256;

/// What is left of the units and the time that a piece of work may take.
pub struct Budget<'a> {
    whole: usize,
    left: Cell<usize>,
    until_look: Cell<usize>,
    clock: Option<Clock<'a>>,
    end: Cell<Option<Exhausted>>,
}

/// Why a piece of work was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// It holds more than is ever done.
    #[error("more than {0} values, aliases counted")]
    Units(usize),
    /// It took longer than whoever asked waits.
    #[error("too complex to be read in the available time")]
    Time,
}

impl<'a> Budget<'a> {
    /// A budget of this many units, without a time limit.
    pub fn of(units: usize) -> Self {
        let (left, until_look) = (Cell::new(units), Cell::new(STRIDE));
        Self { whole: units, left, until_look, clock: None, end: Cell::new(None) }
    }

    /// The same until the time is up.
    #[must_use]
    pub fn until(self, clock: Option<Clock<'a>>) -> Self {
        Self { clock, ..self }
    }

    /// Spends units, if they are left and there is still time.
    pub fn spend(&self, units: usize) -> Result<(), Exhausted> {
        if let Some(end) = self.end.get() {
            return Err(end);
        }
        match self.left.get().checked_sub(units) {
            Some(left) => self.left.set(left),
            None => return self.give_up(Exhausted::Units(self.whole)),
        }
        match self.until_look.get().checked_sub(units) {
            Some(left) => self.until_look.set(left),
            None => {
                self.until_look.set(STRIDE);
                if self.clock.is_some_and(|is_up| is_up()) {
                    return self.give_up(Exhausted::Time);
                }
            }
        }
        Ok(())
    }

    /// Why the work was given up, if it was.
    pub fn end(&self) -> Option<Exhausted> {
        self.end.get()
    }

    fn give_up(&self, end: Exhausted) -> Result<(), Exhausted> {
        self.end.set(Some(end));
        Err(end)
    }
}

impl fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, end, .. } = self;
        f.debug_struct("Budget").field("left", left).field("end", end).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_its_units_or_its_time_and_stays_ended() {
        let budget = Budget::of(10);
        assert_eq!((budget.spend(10), budget.end()), (Ok(()), None));
        let end = Exhausted::Units(10);
        assert_eq!(budget.spend(1), Err(end));
        assert_eq!((budget.spend(0), budget.end()), (Err(end), Some(end)));

        let looks = Cell::new(0);
        let clock = || {
            looks.set(looks.get() + 1);
            looks.get() == 2
        };
        let budget = Budget::of(usize::MAX).until(Some(&clock));
        let spent = (0..10 * STRIDE).take_while(|_| budget.spend(1).is_ok()).count();
        assert_eq!(budget.end(), Some(Exhausted::Time));
        assert!((STRIDE..=3 * STRIDE).contains(&spent), "{spent}");
        assert_eq!(looks.get(), 2, "an ended budget looks no more");
    }
}
