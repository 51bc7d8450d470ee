//! Room `telemetry`: what spans are made of.

use super::Slot;
use crate::clock::Instant;
use crate::correlate::{Departure, DuplicateCause, Lane, RecordPlace};
use crate::stamp::SpanId;

/// Why a message is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is one of the share.
    Sampled,
    /// It was slow.
    Slow,
    /// It came after its deadline.
    Late,
    /// It never came.
    Lost,
    /// The broker refused it.
    Rejected,
    /// It came again.
    Duplicate,
}

impl Why {
    /// The name in attributes.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sampled => "sampled",
            Self::Slow => "slow",
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Rejected => "rejected",
            Self::Duplicate => "duplicate",
        }
    }
}

/// A message up to its acknowledgement.
#[derive(Clone, Debug)]
pub(super) struct Journey {
    pub(super) slot: Slot,
    pub(super) why: Why,
    pub(super) intended: Instant,
    /// When it was handed to the socket, where that is known: it may have come out before whoever sent
    /// it had time to say so.
    pub(super) sent: Option<Instant>,
    pub(super) acknowledged: Option<Instant>,
    /// The reason code of a refusal.
    pub(super) refusal: Option<u8>,
}

impl Journey {
    /// Of a message that was sent, for no reason yet.
    pub(super) fn of(slot: Slot, departure: &Departure) -> Self {
        let intended = departure.intended;
        let sent = departure.sent.nanos().map(|after| intended.offset(after));
        let acknowledged = departure.acknowledged.nanos().map(|after| intended.offset(after));
        Self { slot, why: Why::Sampled, intended, sent, acknowledged, refusal: None }
    }

    /// When its crossing begins, as far as is known.
    pub(super) fn set_out(&self) -> Instant {
        self.sent.unwrap_or(self.intended)
    }

    /// Of a message of which only the end is known.
    pub(super) fn forgotten(slot: Slot, at: Instant) -> Self {
        Self {
            slot,
            why: Why::Sampled,
            intended: at,
            sent: None,
            acknowledged: None,
            refusal: None,
        }
    }
}

/// How it ended on a lane.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) lane: Lane,
    /// An outcome's name, or `duplicate`.
    pub(super) outcome: &'static str,
    pub(super) is_error: bool,
    /// Set where there was an ending before.
    pub(super) again: Option<Again>,
    /// Receipt, or the verdict.
    pub(super) at: Instant,
    /// How it came out, where it did.
    pub(super) receipt: Option<Receipt>,
}

/// A message that came out once more, or after it was given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    /// Why it came once more, where it did.
    pub(super) cause: Option<DuplicateCause>,
}

impl Ending {
    /// How many spans it is.
    pub(super) fn spans(&self) -> usize {
        1 + usize::from(self.receipt.is_some())
    }
}

/// How a message came out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    pub(super) place: RecordPlace,
    /// The broker's LogAppendTime, on our clock.
    pub(super) append: Option<Instant>,
    /// The span that its property named in the place of ours.
    pub(super) span: Option<SpanId>,
}
