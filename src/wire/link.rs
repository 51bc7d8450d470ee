//! Room `wire`: a connection that is made again whenever it breaks, until told to stop.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::{Connection, Failure, Happening, Leftover};
use crate::shutdown::Tasks;

const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(5);

/// A connection with the delays between its attempts: 100 ms to 5 s, jittered, for ever.
pub struct Link {
    connection: Connection,
    delays: ExponentialBackoff,
    delay: Option<Duration>,
}

/// What a link has to tell.
#[derive(Debug)]
pub enum Step {
    /// Something happened.
    Happened(Happening),
    /// The connection broke, or could not be made; the next step tries again after a while.
    Broke(Failure, Leftover),
    /// It is time to stop; the connection may still stand.
    Stopped,
}

impl Link {
    /// Connects at the first step.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { connection, delays: delays(), delay: None }
    }

    /// Waits until there is something to tell.
    pub async fn step(&mut self, tasks: &Tasks) -> Step {
        if let Some(delay) = self.delay.take() {
            tokio::select! {
                () = tokio::time::sleep(delay) => (),
                () = tasks.stopped() => return Step::Stopped,
            }
        }
        let polled = tokio::select! {
            biased;
            () = tasks.stopped() => return Step::Stopped,
            polled = self.connection.poll() => polled,
        };
        match polled {
            Ok(happening) => {
                if matches!(happening, Happening::Connected { .. }) {
                    self.delays = delays();
                }
                Step::Happened(happening)
            }
            Err(failure) => {
                self.delay = Some(self.delays.next().unwrap_or(DELAY_MAX));
                Step::Broke(failure, self.connection.leftover())
            }
        }
    }

    /// The connection as it stands, to say goodbye on.
    #[must_use]
    pub fn into_connection(self) -> Connection {
        self.connection
    }
}

fn delays() -> ExponentialBackoff {
    let delays = ExponentialBuilder::default().with_min_delay(DELAY_MIN).with_max_delay(DELAY_MAX);
    delays.with_jitter().without_max_times().build()
}
