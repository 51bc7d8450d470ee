//! Room `correlate`: what messages waited for that were sent late.

/// A message is sent late from so many nanoseconds on, which is what a window may be late by.
pub const SEND_LATE_NANOS: i64 = 10_000_000;

/// What a message waited for that was sent late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateSend {
    /// The probe itself: it woke late, or had too much to do, whatever the message waited for then.
    Probe,
    /// The system: the socket took no more, or the broker had not answered enough.
    Backpressure,
}

impl LateSend {
    /// Every cause, in the order of their indices.
    pub const ALL: [Self; 2] = [Self::Probe, Self::Backpressure];

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Backpressure => "backpressure",
        }
    }
}
