//! Room `publish` (edge): sends stamped messages at their intended times.
//!
//! # Design
//!
//! Publishers have threads of their own, one a shard, with two kinds of tasks: one ([`pace`]) is woken when a slot
//! is due, generates the payload and queues it; the others ([`run`]), one a connection, hand it to the
//! socket and report when. They share a thread because handing each message to another one costs a
//! wake-up, which is most of what a message costs at the rates of a sidecar, and some 50 us.
//!
//! `rumqttc` only tells the packet id of what it sends, so a [`Line`] remembers the order in which
//! sequences were queued ([`tracker`]) and ties each answer to its slot.

mod line;
mod pacer;
mod tracker;

pub use line::{Config, Line, run};
pub use pacer::{Pacer, Stretch, pace};
