//! Room `preflight` (pure): what a check saw of a path, judged and put into plain words.
//!
//! # Design
//!
//! Edges say what they saw ([`Reach`], [`Cluster`], [`Crossing`] and what is in them); here it becomes
//! [`Finding`]s: one a step, with a mark, and with what to do where something is wrong. Explanations
//! are told apart by what was seen and never by what is usual. Where one sight allows several, all
//! are named, the likeliest first. What others say (brokers, librdkafka, records) is cut and kept on
//! its line.

mod cluster;
mod facts;
mod finding;
mod lost;
mod message;
mod mqtt;
mod network;
mod resources;
mod summary;
mod topics;
mod wording;

pub use cluster::{advertised, cluster};
pub use facts::{
    Accepted, Answer, Attempt, Broker, Copy, Crossing, Evidence, Login, Message, Needs, Partition,
    Reach, Reading, Record, Said, Sample, Security, Strangers, Survey, Topic, TopicProblem,
    Trouble, Unknown,
};
pub use finding::{Fault, Finding, Mark};
pub use message::messages;
pub use mqtt::mqtt;
pub use resources::{
    CLIENT_BYTES, Demand, Destination, Limits, program, resources, source_addresses,
};
pub use summary::Summary;
pub use topics::{control_topic, topics};
