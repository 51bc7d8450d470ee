//! Room `correlate`: who listens at the end of lane `mqtt_mqtt`.

/// What each subscriber of a path is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Receive {
    /// Everything. The first one judges the lane, and what the others are handed is counted beside it.
    #[default]
    All,
    /// Its share of a shared subscription: each message goes to one of them.
    Share,
    /// What its own clients publish: each message goes to one of them.
    Own,
}

/// The subscribers of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audience {
    /// How many there are.
    pub count: u32,
    /// What each of them is sent.
    pub receive: Receive,
}

impl Default for Audience {
    fn default() -> Self {
        Self { count: 1, receive: Receive::All }
    }
}

impl Audience {
    /// Whether what they are handed is counted over all of them, beside what the lane says.
    #[must_use]
    pub const fn is_crowd(self) -> bool {
        self.count > 1
    }

    /// How many of them each message is for.
    #[must_use]
    pub const fn of_each_message(self) -> u32 {
        match self.receive {
            Receive::All => self.count,
            Receive::Share | Receive::Own => 1,
        }
    }

    /// How many of them the lane is judged by: so many of the first ones.
    #[must_use]
    pub const fn judges(self) -> u32 {
        match self.receive {
            Receive::All => 1,
            Receive::Share | Receive::Own => self.count,
        }
    }

    /// Whether the messages of a publisher come out in one stream, so that their order says something.
    #[must_use]
    pub const fn keeps_order(self) -> bool {
        !(matches!(self.receive, Receive::Share) && self.is_crowd())
    }
}
