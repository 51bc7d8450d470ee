//! Room `correlate` (pure): observations in, exactly one outcome per slot and lane out.

mod books;
mod event;
mod inbox;
mod ledger;
mod machine;
mod observation;
mod roster;
mod verdicts;

pub use event::{Arrival, Carrier, Copied, Departure, DuplicateCause, Event, Leg, Outcome};
pub use inbox::{Inbox, Router, Shard};
pub use machine::{Correlator, Limits};
pub use observation::{
    Append, Lane, NotSent, Observation, PathId, PublisherId, Reader, RecordPlace, Sink, Stage,
};
pub use roster::{Path, Publisher, Qos, Roster};
