//! rumqttc alone: what its event loop costs, with nothing around it. The command line, the load and the
//! line that is printed are those of `benches/floor.rs`.
//!
//! Every client is two tasks on one thread, one that publishes and one that polls its event loop. With
//! `--rate` each client has a timer of its own; `--tick-ms` is of no use here.

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use landfall::clock::{Clock, Instant};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use tokio::task::JoinSet;

#[path = "plant/load.rs"]
mod load;

use load::{Load, Mark, TOPIC, Tally, cpu};

/// How long clients may take to connect, and the broker to answer what is left.
const GRACE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let ran = Load::from_arguments().and_then(|load| load.map_or(Ok(()), |load| run(&load)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => told(&error),
    }
}

#[expect(clippy::print_stderr, reason = "a program that is run by hand, too")]
fn told(error: &str) -> ExitCode {
    eprintln!("bare_client: {error}");
    ExitCode::from(2)
}

fn run(load: &Load) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let tasks = tokio::task::LocalSet::new();
    let (tally, from, to) = runtime.block_on(tasks.run_until(publish(load)))?;
    load.print(&tally, from, to);
    Ok(())
}

/// What is seen of all clients.
#[derive(Default)]
struct Seen {
    connected: Cell<u32>,
    asked: Cell<u64>,
    sent: Cell<u64>,
    done: Cell<u64>,
}

async fn publish(load: &Load) -> Result<(Tally, Mark, Mark), String> {
    let clock = Clock::system();
    let seen = Rc::new(Seen::default());
    let (mut polling, mut publishing) = (JoinSet::new(), JoinSet::new());
    let mut clients = Vec::new();
    for number in 0..load.clients {
        let id = format!("bare-{}-{number}", std::process::id());
        let mut options = MqttOptions::new(id, load.address.ip().to_string(), load.address.port());
        options.set_inflight(load.window);
        options.set_max_packet_size(usize::MAX, usize::MAX);
        let (client, mut events) = AsyncClient::new(options, load.window.into());
        events.network_options.set_tcp_nodelay(true);
        polling.spawn_local(poll(events, load.qos, Rc::clone(&seen)));
        clients.push(client);
    }
    until("connected", || seen.connected.get() == load.clients).await?;
    let from = now(clock)?;
    for (number, client) in (0..).zip(&clients) {
        let feeding = Feeding::of(load, number, from.at);
        publishing.spawn_local(feeding.run(client.clone(), clock, Rc::clone(&seen)));
    }
    while publishing.join_next().await.is_some() {}
    if load.qos > 0 {
        until("acknowledged", || seen.done.get() == seen.asked.get()).await?;
    }
    for client in clients {
        client.disconnect().await.map_err(|error| error.to_string())?;
    }
    while polling.join_next().await.is_some() {}
    let to = now(clock)?;
    let messages = if load.qos == 0 { seen.sent.get() } else { seen.done.get() };
    let unanswered = seen.asked.get() - messages;
    Ok((Tally { messages, unanswered, held_back: 0 }, from, to))
}

fn now(clock: Clock) -> Result<Mark, String> {
    Ok(Mark { at: clock.now(), cpu: cpu().map_err(|error| error.to_string())? })
}

/// Waits until it holds, as long as the broker may take.
async fn until(what: &str, holds: impl Fn() -> bool) -> Result<(), String> {
    const STEP: Duration = Duration::from_millis(1);
    let waited = tokio::time::timeout(GRACE, async {
        while !holds() {
            tokio::time::sleep(STEP).await;
        }
    });
    waited.await.map_err(|_| format!("not everything was {what} within {GRACE:?}"))
}

/// Drives a client's connection until it ends.
async fn poll(mut events: EventLoop, qos: u8, seen: Rc<Seen>) {
    while let Ok(event) = events.poll().await {
        let count = match event {
            Event::Outgoing(Outgoing::Publish(_)) => &seen.sent,
            Event::Incoming(Packet::PubAck(_)) if qos == 1 => &seen.done,
            Event::Incoming(Packet::PubComp(_)) if qos == 2 => &seen.done,
            Event::Incoming(Packet::ConnAck(_)) => {
                seen.connected.set(seen.connected.get() + 1);
                continue;
            }
            _ => continue,
        };
        count.set(count.get() + 1);
    }
}

/// What one client publishes.
struct Feeding {
    payload: Bytes,
    qos: QoS,
    /// When its first message is due, and how far apart they are.
    pace: Option<(Instant, Duration)>,
    end: Instant,
}

impl Feeding {
    fn of(load: &Load, number: u32, start: Instant) -> Self {
        let pace = load.rate.map(|rate| {
            let between = Duration::from_secs_f64(1.0 / rate);
            (start + between * number, between * load.clients)
        });
        let qos = match load.qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        Self { payload: Bytes::from(vec![b'x'; load.size]), qos, pace, end: start + load.length }
    }

    async fn run(self, client: AsyncClient, clock: Clock, seen: Rc<Seen>) {
        let mut due = self.pace.map(|(first, _)| first);
        while due.unwrap_or_else(|| clock.now()) < self.end {
            if let (Some(moment), Some((_, between))) = (due, self.pace) {
                tokio::time::sleep(moment.saturating_since(clock.now())).await;
                due = Some(moment + between);
            }
            let payload = self.payload.clone();
            if client.publish_bytes(TOPIC, self.qos, false, payload).await.is_err() {
                return;
            }
            seen.asked.set(seen.asked.get() + 1);
        }
    }
}
