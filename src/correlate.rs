//! Room `correlate` (pure): observations in, exactly one outcome per slot and lane out.

mod event;
mod observation;
mod roster;

pub use event::{Carrier, DuplicateCause, Event, Leg, Outcome};
pub use observation::{
    Append, Carriers, Integrity, Lane, NotSent, Observation, PathId, PublisherId, RecordPlace,
    Sink, Stage,
};
pub use roster::{Path, Publisher, Qos, Roster};
