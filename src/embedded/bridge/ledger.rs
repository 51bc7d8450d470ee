//! Room `embedded` (edge): which MQTT messages the bridge still owes an acknowledgement.
//!
//! # Design
//!
//! An acknowledgement names a packet id, and a packet id means something only within its
//! connection (QoS 1) or session (QoS 2). A delivery report that comes after a reconnect must not
//! be turned into an acknowledgement: the broker resends the message, may have given the packet id
//! to another one, and would take the late acknowledgement for that. So a [`Ticket`] is good only
//! on the connection it was received on.
//!
//! * QoS 1: what is resent is produced again (at least once).
//! * QoS 2: until it is released (PUBREL) the packet id stands for the same message, however often
//!   it is resent and over however many connections; it is produced once, and each resend is
//!   answered as soon as Kafka has it. This memory ends with the process.

use std::collections::HashMap;

use rumqttc::v5::mqttbytes::QoS;

/// What a message needs for being acknowledged later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) qos: QoS,
    pub(super) packet: u16,
    connection: u64,
    serial: u64,
}

/// What to do with a message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receipt {
    /// It is new: produce it, and hand in the ticket when Kafka has it.
    Produce(Ticket),
    /// It was resent while Kafka has not confirmed it: the first ticket acknowledges it.
    Pending,
    /// It was resent although Kafka has it: acknowledge it again, now.
    Acknowledge,
}

#[derive(Debug)]
struct Held {
    serial: u64,
    connection: u64,
    delivered: bool,
}

/// The unfinished messages of one MQTT session. At most one entry a packet id, so 65,535.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    connection: u64,
    serial: u64,
    unreleased: HashMap<u16, Held>,
}

impl Ledger {
    /// A message came in on the present connection.
    pub(super) fn received(&mut self, qos: QoS, packet: u16) -> Receipt {
        self.serial += 1;
        let ticket = Ticket { qos, packet, connection: self.connection, serial: self.serial };
        if qos != QoS::ExactlyOnce {
            return Receipt::Produce(ticket);
        }
        if let Some(held) = self.unreleased.get_mut(&packet) {
            held.connection = self.connection;
            return if held.delivered { Receipt::Acknowledge } else { Receipt::Pending };
        }
        let held = Held { serial: self.serial, connection: self.connection, delivered: false };
        self.unreleased.insert(packet, held);
        Receipt::Produce(ticket)
    }

    /// Kafka has the message (or never will): whether to acknowledge it now.
    pub(super) fn settled(&mut self, ticket: Ticket) -> bool {
        match ticket.qos {
            QoS::AtMostOnce => false,
            QoS::AtLeastOnce => ticket.connection == self.connection,
            QoS::ExactlyOnce => self
                .unreleased
                .get_mut(&ticket.packet)
                .filter(|held| held.serial == ticket.serial)
                .is_some_and(|held| {
                    held.delivered = true;
                    held.connection == self.connection
                }),
        }
    }

    /// The broker released the packet id (PUBREL): it stands for the next message from now on.
    pub(super) fn released(&mut self, packet: u16) {
        self.unreleased.remove(&packet);
    }

    /// The connection ended: no ticket of it is good any more.
    pub(super) fn disconnected(&mut self) {
        self.connection += 1;
    }

    /// The broker has forgotten the session: packet ids start anew.
    pub(super) fn session_lost(&mut self) {
        self.unreleased.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn produce(receipt: Receipt) -> Ticket {
        match receipt {
            Receipt::Produce(ticket) => ticket,
            other => panic!("expected a message to produce, got {other:?}"),
        }
    }

    #[test]
    fn a_late_delivery_acknowledges_nothing_on_the_next_connection() {
        let mut ledger = Ledger::default();
        let before = produce(ledger.received(QoS::AtLeastOnce, 7));
        ledger.disconnected();
        assert!(!ledger.settled(before));
        let after = produce(ledger.received(QoS::AtLeastOnce, 7));
        assert!(ledger.settled(after));
    }

    #[test]
    fn exactly_once_is_produced_once_across_connections() {
        let mut ledger = Ledger::default();
        let ticket = produce(ledger.received(QoS::ExactlyOnce, 7));
        ledger.disconnected();
        assert_eq!(ledger.received(QoS::ExactlyOnce, 7), Receipt::Pending);
        assert!(ledger.settled(ticket), "the resend is answered when Kafka has the message");
        ledger.disconnected();
        assert_eq!(ledger.received(QoS::ExactlyOnce, 7), Receipt::Acknowledge);
        ledger.released(7);
        assert_ne!(produce(ledger.received(QoS::ExactlyOnce, 7)), ticket);
    }

    #[test]
    fn a_ticket_of_a_lost_session_is_void() {
        let mut ledger = Ledger::default();
        let old = produce(ledger.received(QoS::ExactlyOnce, 7));
        ledger.disconnected();
        ledger.session_lost();
        let new = produce(ledger.received(QoS::ExactlyOnce, 7));
        assert!(!ledger.settled(old));
        assert_eq!(ledger.received(QoS::ExactlyOnce, 7), Receipt::Pending);
        assert!(ledger.settled(new));
    }

    proptest! {
        /// Against a model of a broker: whatever the order of deliveries, cuts and resends, an
        /// acknowledgement always concerns the message that the broker holds under that packet id.
        #[test]
        fn an_acknowledgement_never_names_another_message(steps in prop::collection::vec((0_u8..4, 1_u16..4, 0_usize..8), 1..200)) {
            let mut ledger = Ledger::default();
            let mut on_broker: HashMap<u16, u64> = HashMap::new();
            let mut producing: Vec<(Ticket, u64)> = Vec::new();
            let mut message = 0;
            for (step, packet, which) in steps {
                match step {
                    0 if !on_broker.contains_key(&packet) => {
                        message += 1;
                        on_broker.insert(packet, message);
                        let ticket = produce(ledger.received(QoS::ExactlyOnce, packet));
                        producing.push((ticket, message));
                    }
                    1 if !producing.is_empty() => {
                        let (ticket, delivered) = producing.swap_remove(which % producing.len());
                        if ledger.settled(ticket) {
                            prop_assert_eq!(on_broker.remove(&ticket.packet), Some(delivered));
                            ledger.released(ticket.packet);
                        }
                    }
                    2 => {
                        ledger.disconnected();
                        for packet in on_broker.clone().into_keys() {
                            match ledger.received(QoS::ExactlyOnce, packet) {
                                Receipt::Produce(_) => prop_assert!(false, "produced twice"),
                                Receipt::Pending => {}
                                Receipt::Acknowledge => {
                                    on_broker.remove(&packet);
                                    ledger.released(packet);
                                }
                            }
                        }
                    }
                    3 => {
                        ledger.disconnected();
                        ledger.session_lost();
                        on_broker.clear();
                    }
                    _ => {}
                }
            }
        }
    }
}
