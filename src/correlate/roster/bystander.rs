//! Room `correlate`: MQTT clients that nothing is measured of.

/// What a client does that is there and measures nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bystander {
    /// It keeps alive and nothing else.
    Idle,
    /// It is subscribed and reads only so much a second.
    SlowSubscriber,
    /// It is subscribed, goes without a word, and comes back to its session.
    Persistent,
    /// It comes, goes and comes again with many others at once.
    Storm,
}

impl Bystander {
    /// Every kind, in the order of their indices.
    pub const ALL: [Self; 4] = [Self::Idle, Self::SlowSubscriber, Self::Persistent, Self::Storm];

    /// The name in metrics, which is that of its key.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::SlowSubscriber => "slow_subscribers",
            Self::Persistent => "persistent",
            Self::Storm => "storm",
        }
    }

    /// Position in [`Bystander::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether it is subscribed to what the path publishes.
    #[must_use]
    pub const fn listens(self) -> bool {
        matches!(self, Self::SlowSubscriber | Self::Persistent)
    }
}
