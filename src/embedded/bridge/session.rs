//! Room `embedded` (edge): the bridge's MQTT session.
//!
//! # Design
//!
//! `rumqttc` 0.25 leaves four things undone for a subscriber that acknowledges by hand; they are
//! done here.
//!
//! * It forgets at each disconnect which QoS 2 packet ids it holds, and takes the PUBREL that the
//!   broker then resends for a protocol error: it disconnects, reconnects, meets the same PUBREL,
//!   for ever. (MQTT wants any PUBREL answered.) So [`Session::connected`] makes it expect a PUBREL
//!   for every packet id.
//! * It keeps a PUBREC that was queued when the connection broke and sends it on the next one,
//!   beside the one for the resent message. [`Acknowledgements::disconnected`] throws away what is queued;
//!   what is resent is acknowledged anew.
//! * It hands out messages that it had read before the connection broke after the reconnect, and
//!   once more when the broker resends them. They are thrown away too.
//! * It takes packets of up to 10 KiB unless told otherwise, and `TCP_NODELAY` is off.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectProperties, Filter, Packet, Publish, RetainForwardRule, SubAck, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use secrecy::ExposeSecret;

use super::ledger::{Ledger, Receipt, Ticket};
use super::{Config, Error};

const KEEP_ALIVE: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT_SECONDS: u64 = 5;
/// How long the broker keeps the session while the bridge is away.
const SESSION_EXPIRY_SECONDS: u32 = 3_600;
/// Well above what Kafka takes by default, so that Kafka decides what is too large.
const MAX_PACKET_BYTES: u32 = 16 * 1024 * 1024;
/// One acknowledgement for each packet id, and one subscription. Not as many as the receive maximum
/// allows: Mosquitto 2.0 sends more, and an acknowledgement that found no room would be owed for ever.
const REQUESTS: usize = 65_536;
/// The bridge publishes nothing; the library reserves memory for each.
const OUTGOING_IN_FLIGHT: u16 = 16;

/// The connection to the broker, over all reconnects.
pub(super) struct Session {
    client: AsyncClient,
    events: EventLoop,
    filter: Filter,
}

impl Session {
    /// A session that connects when it is first polled.
    pub(super) fn new(config: &Config) -> Self {
        let mqtt = &config.mqtt;
        let receive_maximum = u16::try_from(config.max_in_flight).unwrap_or(u16::MAX);
        let mut options = MqttOptions::new(&mqtt.client_id, &mqtt.host, mqtt.port);
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_connection_timeout(CONNECT_TIMEOUT_SECONDS)
            .set_clean_start(false)
            .set_manual_acks(true)
            .set_outgoing_inflight_upper_limit(OUTGOING_IN_FLIGHT)
            .set_connect_properties(ConnectProperties {
                session_expiry_interval: Some(SESSION_EXPIRY_SECONDS),
                receive_maximum: Some(receive_maximum),
                max_packet_size: Some(MAX_PACKET_BYTES),
                ..ConnectProperties::new()
            });
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        if let Some(credentials) = &mqtt.credentials {
            options.set_credentials(&credentials.username, credentials.password.expose_secret());
        }
        let (client, events) = AsyncClient::new(options, REQUESTS);
        let filter = Filter {
            retain_forward_rule: RetainForwardRule::OnNewSubscribe,
            ..Filter::new(&mqtt.filter, mqtt.qos_max)
        };
        Self { client, events, filter }
    }

    /// Where acknowledgements for this session are given, from anywhere.
    pub(super) fn acknowledgements(&self) -> Acknowledgements {
        Acknowledgements { ledger: Mutex::default(), client: self.client.clone() }
    }

    /// The next packet from the broker; connects first where it must.
    pub(super) async fn next(&mut self) -> Result<Packet, ConnectionError> {
        loop {
            if let Event::Incoming(packet) = self.events.poll().await? {
                return Ok(packet);
            }
        }
    }

    /// To be called when the broker has accepted the connection, before the next packet is read.
    pub(super) fn connected(&mut self) -> Result<(), Error> {
        let mut expected = Publish::new(String::new(), QoS::ExactlyOnce, Vec::new(), None);
        for packet in 1..=u16::MAX {
            expected.pkid = packet;
            // With manual acknowledgement this marks the packet id as held and does nothing else.
            let marked =
                self.events.state.handle_incoming_packet(Packet::Publish(expected.clone()));
            self.events.state.events.clear();
            marked.map_err(|error| Error::Mqtt(error.to_string()))?;
        }
        // Subscribing again changes nothing in a session that has the subscription.
        self.client
            .try_subscribe_many([self.filter.clone()])
            .map_err(|error| Error::Mqtt(error.to_string()))
    }

    /// Throws away what belongs to the connection that ended.
    fn forget(&mut self) {
        self.events.clean();
        self.events.pending.clear();
        self.events.state.events.clear();
    }

    /// Says goodbye; the broker keeps the session. Sent by the next polls.
    pub(super) fn disconnect(&self) {
        // Full or closed means that there is nobody to take leave of.
        let _ = self.client.try_disconnect();
    }
}

/// The acknowledgements that are owed, and the way to give them; shared with the thread that hears
/// from Kafka. One lock covers deciding and queueing, so that none slips past a disconnect.
pub(super) struct Acknowledgements {
    ledger: Mutex<Ledger>,
    client: AsyncClient,
}

impl Acknowledgements {
    /// A message came in: the ticket to produce it with, or `None` where that is done already.
    pub(super) fn received(&self, qos: QoS, packet: u16) -> Option<Ticket> {
        let mut ledger = self.ledger();
        match ledger.received(qos, packet) {
            Receipt::Produce(ticket) => return Some(ticket),
            Receipt::Acknowledge => self.acknowledge(qos, packet),
            Receipt::Pending => {}
        }
        None
    }

    /// Kafka has the message, or never will: acknowledges it where that still means something.
    pub(super) fn settled(&self, ticket: Ticket) {
        let mut ledger = self.ledger();
        if ledger.settled(ticket) {
            self.acknowledge(ticket.qos, ticket.packet);
        }
    }

    /// The broker released the packet id.
    pub(super) fn released(&self, packet: u16) {
        self.ledger().released(packet);
    }

    /// The broker has no session any more.
    pub(super) fn session_lost(&self) {
        self.ledger().session_lost();
    }

    /// The connection ended: nothing queued or on its way is acknowledged on the next one.
    pub(super) fn disconnected(&self, session: &mut Session) {
        let mut ledger = self.ledger();
        ledger.disconnected();
        session.forget();
    }

    fn acknowledge(&self, qos: QoS, packet: u16) {
        let mut publish = Publish::new(String::new(), qos, Vec::new(), None);
        publish.pkid = packet;
        // There is room; closed means that the bridge is ending, and the broker sends it again.
        let _ = self.client.try_ack(&publish);
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the broker accepted the subscription, and with which QoS.
///
/// # Errors
///
/// When it refused.
pub(super) fn granted(answer: &SubAck, filter: &str) -> Result<QoS, Error> {
    match answer.return_codes.first() {
        Some(SubscribeReasonCode::Success(qos)) => Ok(*qos),
        refused => {
            Err(Error::Refused { filter: filter.to_owned(), reason: format!("{refused:?}") })
        }
    }
}
