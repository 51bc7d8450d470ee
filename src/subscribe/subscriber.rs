//! Room `subscribe`: one subscriber.

use std::collections::VecDeque;
use std::sync::Arc;

use super::panel::Panel;
use super::{Surroundings, Turn};
use crate::clock::Instant;
use crate::correlate::{Aside, Observation, PathId, Sink};
use crate::stamp::{Found, Reading};
use crate::study::{Notice, Role};
use crate::wire::{Client, Failure, Happening, Message, Mute};

/// How many unanswered pings are remembered, of a broker that has much to say before it answers.
const PINGS_MAX: usize = 64;

/// One subscriber.
pub(super) struct Subscriber {
    panel: Arc<Panel>,
    number: u32,
    is_judge: bool,
    /// When the pings were sent that are not answered, oldest first.
    pinged: VecDeque<Instant>,
    /// When it was last certainly there.
    last_there: Option<Instant>,
    /// Since when it is away, if it was there before.
    away_since: Option<Instant>,
    asking: Asking,
}

/// How far it has come on this connection with what it is to listen to.
#[derive(Clone, Copy, Debug, Default)]
struct Asking {
    /// How many filters the broker has granted.
    granted: usize,
    /// How many it is asked for beside them.
    asked: usize,
    /// How often it was asked for them.
    questions: u32,
    /// How many answers may still come to questions about what it has granted.
    stale: u32,
    is_done: bool,
}

impl Subscriber {
    pub(super) fn new(panel: Arc<Panel>, number: u32) -> Self {
        let is_judge = panel.config().is_judge(number);
        let (pinged, last_there, away_since) = (VecDeque::new(), None, None);
        let asking = Asking::default();
        Self { panel, number, is_judge, pinged, last_there, away_since, asking }
    }

    pub(super) fn path(&self) -> PathId {
        self.panel.config().path
    }

    pub(super) fn panel(&self) -> &Arc<Panel> {
        &self.panel
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Takes in what happened to it; `index` is its number on its thread.
    pub(super) fn tell(
        &mut self,
        (index, client): (usize, &mut Client<Mute>),
        happening: Happening,
        at: Instant,
        (around, turn): (&Surroundings, &mut Turn),
    ) {
        match happening {
            // Subscribed anew each time: harmless in a session that is resumed, and a broker that
            // lost its state may still claim one.
            Happening::Connected => {
                self.asking = Asking::default();
                self.ask(client);
            }
            Happening::Subscribed(said) => self.answered(client, said, at, (around, turn)),
            Happening::Message(message) => self.received(&message, at, (around, turn)),
            // Told before it is written, which is the safe side. An answer without its ping says less
            // than it could, and never too much.
            Happening::Ping if self.is_judge && self.pinged.len() < PINGS_MAX => {
                self.pinged.push_back(at);
            }
            // Who is not subscribed has read nothing, however alive the connection is.
            Happening::Pong if !self.asking.is_done => self.ask(client),
            Happening::Pong => {
                self.last_there = Some(at);
                if let Some(pinged) = self.pinged.pop_front() {
                    turn.caught_up.push((index, pinged, at));
                }
            }
            Happening::Ping
            | Happening::Sent { .. }
            | Happening::Dropped(_)
            | Happening::Answered { .. } => (),
        }
    }

    /// Asks for what is not granted yet, as much as goes into one packet.
    fn ask(&mut self, client: &mut Client<Mute>) {
        let config = self.panel.config();
        let filters = config.next_filters(self.number, self.asking.granted);
        self.asking.asked = filters.len();
        self.asking.questions += 1;
        client.subscribe_all(filters.into_iter(), config.qos);
    }

    fn answered(
        &mut self,
        client: &mut Client<Mute>,
        said: Result<(), Failure>,
        at: Instant,
        (around, turn): (&Surroundings, &mut Turn),
    ) {
        let asking = &mut self.asking;
        // A question that was put again has two answers.
        if asking.stale > 0 {
            asking.stale -= 1;
            return;
        }
        if asking.is_done {
            return;
        }
        asking.questions = asking.questions.saturating_sub(1);
        if let Err(refusal) = said {
            let config = self.panel.config();
            let asked = config.next_filters(self.number, self.asking.granted);
            let filter = asked.first().copied().unwrap_or(&config.filter);
            let why = format!("the broker refused the subscription to {filter}: {refusal}");
            self.fall(&why, around);
            return;
        }
        asking.stale = std::mem::take(&mut asking.questions);
        asking.granted += std::mem::take(&mut asking.asked);
        let config = self.panel.config();
        if config.next_filters(self.number, self.asking.granted).is_empty() {
            self.back(at, (around, turn));
        } else {
            self.ask(client);
        }
    }

    fn back(&mut self, at: Instant, (around, turn): (&Surroundings, &mut Turn)) {
        if let Some(from) = self.away_since.take().filter(|_| self.is_judge) {
            turn.note_absence(self.path(), from, at);
        }
        self.last_there = Some(at);
        self.asking.is_done = true;
        self.panel.rise(|| around.say(Notice::Up(self.role())));
    }

    pub(super) fn broke(&mut self, failure: &Failure, around: &Surroundings) {
        self.away_since = self.away_since.or(self.last_there);
        self.pinged.clear();
        self.fall(&failure.to_string(), around);
    }

    fn fall(&mut self, why: &str, around: &Surroundings) {
        let was_up = std::mem::take(&mut self.asking.is_done);
        let down = || around.say(Notice::Down(self.role(), why.to_owned()));
        self.panel.fall(was_up, why, down);
    }

    fn received(
        &mut self,
        message: &Message,
        at: Instant,
        (around, turn): (&Surroundings, &mut Turn),
    ) {
        let path = self.path();
        turn.read.insert(path);
        let property = message.property.as_deref().map(str::as_bytes);
        let found = match around.stamper.read(property, &message.payload) {
            // A control message is for Kafka alone: somebody copied it here.
            Reading::Ours(found) if !found.identity.flags.control => found,
            // What is foreign to one of them is to all, and is counted once.
            _ if !self.is_judge => return,
            _ => return turn.batch.count(path, Observation::Foreign { path, count: 1 }),
        };
        self.last_there = Some(at);
        let publisher = found.identity.publisher;
        turn.batch.receive(path, publisher, self.observed(message, &found, at));
    }

    fn observed(&self, message: &Message, found: &Found, at: Instant) -> Observation {
        let path = self.path();
        let (stamped_path, publisher) = (PathId(found.identity.path), found.identity.publisher);
        let sequence = found.identity.sequence;
        let aside = match (message.stored, self.is_judge) {
            (true, _) => Some(Aside::Stored),
            (false, false) => Some(Aside::Witnessed),
            (false, true) => None,
        };
        if let Some(why) = aside {
            return Observation::Aside { path, stamped_path, publisher, sequence, why, at };
        }
        Observation::Received {
            path,
            stamped_path,
            publisher,
            sequence,
            sink: Sink::Mqtt { resent: message.resent },
            at,
            integrity: found.integrity,
            carriers: found.carriers,
            span: found.span,
        }
    }

    fn role(&self) -> Role {
        Role::Subscriber(self.path().0)
    }
}
