//! Room `correlate` (pure): observations in, exactly one outcome per slot and lane out.

mod batch;
mod books;
mod elapsed;
mod event;
mod inbox;
mod late;
mod leases;
mod ledger;
mod limits;
mod machine;
mod observation;
mod roster;
mod row;
mod sinks;
mod verdicts;

pub use batch::Batch;
pub use elapsed::Elapsed;
pub use event::{Arrival, Carrier, Copied, Departure, DuplicateCause, Event, Gap, Leg, Outcome};
pub use inbox::{Inbox, PartitionName, Router, Shard};
pub use late::{LateSend, SEND_LATE_NANOS};
pub use leases::Leases;
pub use limits::Limits;
pub use machine::{Correlator, Kept, TakenUp};
pub use observation::{
    Append, Aside, Lane, NotSent, Observation, PathId, PublisherId, Reader, RecordPlace, Sink,
    Stage,
};
pub use roster::{Audience, Bystander, Path, Publisher, Qos, Receive, Roster};
pub use row::Row;
