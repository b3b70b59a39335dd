//! Who calls the webhook, as far as that is known.

use super::app::App;

/// How far the caller of a review is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// It has shown what only the API server has.
    Verified,
    /// It has not, and the API server could have.
    Stranger,
    /// Nobody can show anything: no way to verify callers is set up.
    Anybody,
}

impl Caller {
    /// The caller of a review.
    pub(super) fn of(app: &App) -> Self {
        if app.verifies_callers { Self::Verified } else { Self::Anybody }
    }

    /// Whether what it says is remembered beyond its own review.
    pub(super) fn is_remembered(self) -> bool {
        self != Self::Stranger
    }
}
