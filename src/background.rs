//! Room `background` (edge): MQTT clients that are there and measure nothing.
//!
//! # Design
//!
//! A broker that has ten thousand other clients, or some that do not read, is not the same broker. These
//! are those others. Nothing that they do reaches the books: what they are handed is counted apart, a
//! connection of theirs that breaks makes no window invalid, and no path waits for them. All of them
//! share one thread and are made as all clients are.

mod band;

use std::io;

use tokio::sync::mpsc::Sender;

use crate::clock::{Clock, Instant};
use crate::correlate::Router;
use crate::shutdown::Tasks;
use crate::study::Notice;
use crate::wire::{Bell, Client, Clients, EventLoop, Failure, Handler, Handshake, Happening, Mute};

pub use band::{Config, Counts, Tally};

use band::Band;

/// What they are given.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where they read the time.
    pub clock: Clock,
    /// Where they report how long their connections took.
    pub router: Router,
    /// Where they say what troubles them.
    pub notices: Sender<Notice>,
    /// Whether a process before this one had their MQTT sessions and ended without goodbye.
    pub takes_over: bool,
}

/// Has them come, go and listen until told to stop. Then they say goodbye and let the broker forget their
/// sessions. `bell` must be rung when it is time to stop.
///
/// # Errors
///
/// When the system has no descriptor or thread to give.
pub fn run(
    configs: Vec<Config>,
    around: Surroundings,
    bell: Bell,
    tasks: &Tasks,
) -> io::Result<()> {
    let Surroundings { clock, takes_over, .. } = around;
    let clients: Vec<Client<Mute>> = configs.iter().flat_map(Config::clients).collect();
    let begun = clock.now();
    let mut bands: Vec<Band> = Vec::with_capacity(configs.len());
    for config in configs {
        let first = bands.last().map_or(0, Band::end);
        bands.push(Band::new(config, first, begun));
    }
    let background = Background { around, bands };
    let event_loop = EventLoop::new(clock, background, clients, bell)?;
    if takes_over { event_loop.taking_over() } else { event_loop }.run(tasks)
}

/// Clients at work, as the event loop numbers them.
struct Background {
    around: Surroundings,
    /// In the order of their clients.
    bands: Vec<Band>,
}

impl Background {
    fn band(&mut self, client: usize) -> Option<&mut Band> {
        let place = self.bands.partition_point(|band| band.end() <= client);
        self.bands.get_mut(place)
    }

    fn say(&self, warning: Option<Notice>) {
        if let Some(warning) = warning {
            // Fails only when nobody listens any more, at the end of the run.
            let _ = self.around.notices.blocking_send(warning);
        }
    }
}

impl Handler for Background {
    type Source = Mute;

    fn next_due(&self) -> Option<Instant> {
        self.bands.iter().filter_map(Band::next_due).min()
    }

    fn act(&mut self, now: Instant, clients: &mut Clients<'_, Mute>) {
        for band in &mut self.bands {
            if band.next_due().is_some_and(|due| due <= now) {
                band.go(now, clients);
            }
        }
    }

    fn happened(
        &mut self,
        (index, client): (usize, &mut Client<Mute>),
        happening: Happening,
        at: Instant,
    ) {
        let Some(band) = self.band(index) else { return };
        let warning = match happening {
            Happening::Connected => {
                band.came(index, client);
                None
            }
            Happening::Message(_) => {
                band.received();
                None
            }
            Happening::Subscribed(Err(refusal)) => {
                band.complain(&format!("the broker refused a subscription: {refusal}"), at)
            }
            _ => None,
        };
        self.say(warning);
    }

    fn shook_hands(&mut self, index: usize, took: Handshake) {
        if let Some(path) = self.band(index).map(|band| band.path()) {
            self.around.router.count(path, took.observed(path));
        }
    }

    fn broke(&mut self, index: usize, failure: &Failure) {
        let now = self.around.clock.now();
        let Some(band) = self.band(index) else { return };
        band.left(index);
        let warning = band.complain(&failure.to_string(), now);
        self.say(warning);
    }
}
