//! Room `embedded` (edge): the bridge at work, from each MQTT packet to what it leads to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rumqttc::v5::ConnectionError;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use tokio::sync::Semaphore;

use super::kafka::{Delivery, Kafka};
use super::session::{Acknowledgements, Session, granted};
use super::{Acknowledge, Bridge, Error};

const FIRST_BACK_OFF: Duration = Duration::from_millis(200);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// A bridge at work.
pub(super) struct Crossing<'a> {
    bridge: &'a Bridge,
    acknowledgements: Arc<Acknowledgements>,
    kafka: &'a Kafka,
    in_flight: Arc<Semaphore>,
    back_off: Duration,
    connections: u64,
    /// Attempts to connect that failed in a row.
    failures: u64,
}

impl<'a> Crossing<'a> {
    pub(super) fn new(
        bridge: &'a Bridge,
        acknowledgements: Arc<Acknowledgements>,
        kafka: &'a Kafka,
        in_flight: Arc<Semaphore>,
    ) -> Self {
        let back_off = FIRST_BACK_OFF;
        Self { bridge, acknowledgements, kafka, in_flight, back_off, connections: 0, failures: 0 }
    }

    /// Carries messages until something fails for good.
    pub(super) async fn cross(&mut self, session: &mut Session) -> Error {
        loop {
            let done = match session.next().await {
                Ok(packet) => self.take(packet, session).await,
                Err(error) => {
                    self.wait_after(&error, session).await;
                    Ok(())
                }
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    async fn take(&mut self, packet: Packet, session: &mut Session) -> Result<(), Error> {
        match packet {
            Packet::Publish(publish) => self.carry(&publish).await,
            Packet::PubRel(release) => self.acknowledgements.released(release.pkid),
            Packet::ConnAck(answer) => {
                if !answer.session_present {
                    self.acknowledgements.session_lost();
                }
                session.connected()?;
                let earlier = u64::from(self.connections > 0);
                self.connections += 1;
                self.bridge.counters.0.reconnects.fetch_add(earlier, Ordering::Relaxed);
            }
            Packet::SubAck(answer) => {
                let mqtt = &self.bridge.config.mqtt;
                let qos = granted(&answer, &mqtt.filter)?;
                if qos != mqtt.qos_max {
                    tracing::warn!(asked = ?mqtt.qos_max, granted = ?qos, filter = mqtt.filter, "the broker grants the bridge another QoS; let it grant the one that is asked for");
                }
                self.back_off = FIRST_BACK_OFF;
                self.failures = 0;
                self.bridge.subscribed.send_replace(true);
            }
            _ => {}
        }
        Ok(())
    }

    async fn carry(&mut self, publish: &Publish) {
        self.back_off = FIRST_BACK_OFF;
        self.bridge.counters.0.received.fetch_add(1, Ordering::Relaxed);
        let Some(ticket) = self.acknowledgements.received(publish.qos, publish.pkid) else {
            return;
        };
        let ticket = match self.bridge.config.acknowledge {
            Acknowledge::AfterKafka => Some(ticket),
            Acknowledge::BeforeKafka => {
                self.acknowledgements.settled(ticket);
                None
            }
        };
        // Never closed, so it always comes.
        if let Ok(permit) = Arc::clone(&self.in_flight).acquire_owned().await {
            let delivery = Delivery { ticket, permit: Some(permit), note: None };
            let Some(link) = &self.bridge.link else {
                return self.kafka.produce(publish, delivery).await;
            };
            if let Some(ticket) = link.take(publish, delivery, self.bridge.clock.now()) {
                self.acknowledgements.settled(ticket);
            }
        }
    }

    async fn wait_after(&mut self, error: &ConnectionError, session: &mut Session) {
        self.acknowledgements.disconnected(session);
        self.bridge.subscribed.send_replace(false);
        let mqtt = &self.bridge.config.mqtt;
        let wait = jittered(self.back_off, self.bridge.clock.now().nanos());
        self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
        self.failures += 1;
        // Ever more seldom: an outage of hours is no news any more.
        if self.failures.is_power_of_two() {
            let broker = format_args!("{}:{}", mqtt.host, mqtt.port);
            tracing::warn!(%error, %broker, failures = self.failures, "the bridge has no MQTT connection and tries again; check that the broker runs");
        }
        tokio::time::sleep(wait).await;
    }
}

/// Between half of `longest` and all of it, so that many bridges do not come back at once. The low
/// digits of a clock are random enough for that.
fn jittered(longest: Duration, random: u64) -> Duration {
    let share = u32::try_from(random % 1_000).unwrap_or(0);
    longest / 2 + longest / 2_000 * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_within_their_bounds() {
        assert_eq!(jittered(FIRST_BACK_OFF, 0), Duration::from_millis(100));
        assert!(jittered(LONGEST_BACK_OFF, 999) <= LONGEST_BACK_OFF);
        assert!(jittered(LONGEST_BACK_OFF, 999) > jittered(LONGEST_BACK_OFF, 1));
    }
}
