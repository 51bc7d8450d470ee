//! Room `embedded` (edge): what the fault link knows of the messages that it was given.

use crate::clock::Instant;

/// The ledger of a link; all of it is what the link did and what Kafka told it, and nothing that a
/// probe found out.
#[derive(Clone, Debug, Default)]
pub struct LinkLog {
    /// When the first message came.
    pub first: Option<Instant>,
    /// The messages in the order of their arrival; one that came twice is there twice.
    pub passages: Vec<Passage>,
    /// Records without a stamp that Kafka has, by route.
    pub strangers: Vec<u64>,
    /// Messages that no route is for, acknowledged and dropped.
    pub strays: u64,
    /// Messages beyond the ledger's bound, passed on unharmed.
    pub unlogged: u64,
}

/// A message on its way through the link.
#[derive(Clone, Debug)]
pub struct Passage {
    /// The trace id of its user property `traceparent`, in hexadecimal digits; empty without one.
    pub trace_id: String,
    /// Index of its route.
    pub route: usize,
    /// The records that Kafka has of it.
    pub records: Vec<Landed>,
}

/// A record that Kafka has confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landed {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When the bridge gave it to its producer.
    pub handed: Instant,
    /// What was done to it.
    pub facts: Facts,
}

/// What the link did to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether the payload is what came.
    pub is_intact: bool,
    /// Whether the user properties became headers.
    pub has_properties: bool,
    /// Whether the payload still holds its stamp.
    pub has_stamp: bool,
}
