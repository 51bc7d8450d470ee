//! `landfall` measures, all the time, how long an MQTT message takes to become a Kafka record, and
//! which messages never do.
//!
//! # The rooms
//!
//! Observations go in, outcomes come out. Pure rooms know no clock, socket or file: time is an
//! argument. Edges touch the world, import no other edge, and meet only in `app`. What each room may
//! import is held by `tests/architecture.rs`.
//!
//! | room | kind | purpose |
//! |---|---|---|
//! | [`clock`] | vocabulary | the only reader of time |
//! | [`stamp`] | pure | the trace id and its carriers |
//! | [`schedule`] | pure | which slot is due when |
//! | [`correlate`] | pure | exactly one outcome for each slot and lane |
//! | [`stats`] | pure | counts and distributions, of the run and of its windows |
//! | [`study`] | pure | the phases of a run, and its verdict |
//! | [`report`] | pure | a run as JSON, Markdown and text |
//! | [`preflight`] | pure | what a check saw, in plain words |
//! | [`publish`], [`subscribe`] | edge | MQTT |
//! | [`background`] | edge | MQTT clients that are there and measure nothing |
//! | [`consume`] | edge | Kafka |
//! | [`produce`] | edge | Kafka: the control lane |
//! | [`reach`] | edge | names and TCP ports, for a check |
//! | [`journal`] | edge | state on disk that outlives its process |
//! | [`load`] | edge | a load generator of somebody else's |
//! | [`host`] | edge | CPU and memory of machine, cgroup and processes |
//! | [`telemetry`] | edge | the metric catalogue, `/metrics`, OTLP, traces, health |
//! | [`embedded`] | edge | broker, bridge and Kafka of the demo |
//! | [`wire`] | edge support | MQTT connections of either version, many on one thread |
//! | [`config`] | wiring | what the user wrote, then what it resolves to |
//! | [`shutdown`], [`splitmix`] | leaf | who runs and how all stop; numbers that look random |
//! | [`app`] | wiring | builds, spawns, drains |

pub mod app;
pub mod background;
pub mod clock;
pub mod config;
pub mod consume;
pub mod correlate;
pub mod embedded;
pub mod host;
pub mod journal;
pub mod load;
pub mod preflight;
pub mod produce;
pub mod publish;
pub mod reach;
pub mod report;
pub mod schedule;
pub mod shutdown;
pub mod splitmix;
pub mod stamp;
pub mod stats;
pub mod study;
pub mod subscribe;
pub mod telemetry;
pub mod wire;
