//! Room `publish` (edge): sends stamped messages at their intended times.
//!
//! # Design
//!
//! A thread of its own ([`pace`]) sleeps until a slot is due, generates the payload and queues it; the
//! connection's task ([`run`]) hands it to the socket and reports when. The two share a [`Line`] a
//! publisher. `rumqttc` only tells the packet id of what it sends, so a line remembers the order in
//! which sequences were queued ([`tracker`]) and ties each answer to its slot.

mod line;
mod pacer;
mod tracker;

pub use line::{Config, Line, run};
pub use pacer::{Pacer, pace};
