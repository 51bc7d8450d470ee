//! Room `produce`: what the client hears.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::standing::{self, Standing};
use crate::clock::Clock;
use crate::correlate::{Observation, PublisherId, Router, Stage};

/// The reason code of MQTT that stands for a refusal of Kafka: unspecified error.
const REFUSED: u8 = 0x80;

/// A message on its way to Kafka.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) publisher: PublisherId,
    pub(super) sequence: u64,
}

/// Turns reports into observations, and keeps what was said of the connections.
pub(super) struct Reports {
    clock: Clock,
    router: Router,
    topic: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    leaders: Vec<i32>,
    standing: Option<Standing>,
    /// What the client complained of last.
    complaint: Option<String>,
    /// Why it is of no use any more.
    failure: Option<String>,
}

impl Reports {
    pub(super) fn new(clock: Clock, router: Router, topic: &str) -> Self {
        Self { clock, router, topic: topic.to_owned(), state: Mutex::default() }
    }

    /// Says who leads the partitions of the topic, before any statistics do.
    pub(super) fn await_leaders(&self, leaders: Vec<i32>) {
        self.state().leaders = leaders;
    }

    /// How the connections stand; `None` before that is known.
    pub(super) fn standing(&self) -> Option<Standing> {
        self.state().standing
    }

    /// What the client complained of, where that explains why it reaches nobody.
    pub(super) fn why(&self) -> Option<String> {
        self.state().complaint.clone()
    }

    /// Whether the client is of no use any more.
    pub(super) fn has_failed(&self) -> bool {
        self.state().failure.is_some()
    }

    /// Why.
    pub(super) fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, words: &str) {
        use RDKafkaErrorCode as Code;
        let advice = match error.rdkafka_error_code() {
            Some(Code::Fatal) => {
                self.state().failure = Some(words.to_owned());
                return;
            }
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
                "check sasl.* in kafka.properties"
            }
            Some(Code::SSL) => "check ssl.* in kafka.properties",
            Some(Code::Resolve) => "check kafka.brokers, and the name server",
            Some(Code::AllBrokersDown) => {
                let mut state = self.state();
                state.complaint.get_or_insert_with(|| {
                    "Kafka can't be reached; check kafka.brokers, and that it runs".to_owned()
                });
                return;
            }
            // Others may be there.
            _ => return,
        };
        // What follows is another time with each attempt.
        let words = words.split(" (after ").next().unwrap_or(words);
        self.state().complaint = Some(format!("{words}; {advice}"));
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let mut state = self.state();
        let told = standing::read(statistics, &self.topic, &mut state.leaders);
        if let Some(Standing { up, leaders }) = told {
            state.standing = told;
            if up == leaders {
                state.complaint = None;
            }
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Slot>;

    fn delivery(&self, result: &DeliveryResult<'_>, slot: Box<Slot>) {
        let at = self.clock.now();
        let reason = match result {
            Ok(_) => 0,
            Err((error, _)) if is_refusal(error) => REFUSED,
            // It was given up, and Kafka may have it all the same.
            Err(_) => return,
        };
        let Slot { publisher, sequence } = *slot;
        let stage = Stage::Puback;
        let observation = Observation::Acknowledged { publisher, sequence, stage, reason, at };
        self.router.publish(publisher, observation);
    }
}

/// Whether Kafka said that it does not take a message: it will never come out.
fn is_refusal(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::UnknownTopic
                | Code::UnknownPartition
                | Code::UnknownTopicOrPartition
                | Code::InvalidTopic
                | Code::InvalidMessage
                | Code::InvalidMessageSize
                | Code::InvalidRecord
                | Code::InvalidTimestamp
                | Code::MessageSizeTooLarge
                | Code::MessageBatchTooLarge
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::UnsupportedForMessageFormat
                | Code::PolicyViolation
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::Roster;
    use std::sync::Arc;

    #[test]
    fn what_explains_is_kept_until_all_is_well() {
        let router = Router::new(Arc::new(Roster::default()), 1, 10);
        let reports = Reports::new(Clock::system(), router, "t");
        let complain = |code, words| reports.error(KafkaError::Global(code), words);
        complain(RDKafkaErrorCode::BrokerTransportFailure, "one of them");
        assert_eq!(reports.why(), None, "others may be there");
        complain(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert!(reports.why().unwrap().starts_with("Kafka can't be reached"));
        complain(RDKafkaErrorCode::SaslAuthenticationFailed, "k/1: no (after 3ms in state AUTH)");
        assert_eq!(reports.why().as_deref(), Some("k/1: no; check sasl.* in kafka.properties"));
        complain(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert!(reports.why().unwrap().starts_with("k/1"), "which says less");

        reports.await_leaders(vec![1]);
        let told = |state| {
            let of = format!("{{\"brokers\":{{\"k/1\":{{\"nodeid\":1,\"state\":\"{state}\"}}}}}}");
            reports.stats_raw(of.as_bytes());
            reports.standing()
        };
        assert_eq!(told("DOWN"), Some(Standing { up: 0, leaders: 1 }));
        assert!(reports.why().is_some());
        assert_eq!(told("UP"), Some(Standing { up: 1, leaders: 1 }));
        assert_eq!(reports.why(), None);

        assert!(!reports.has_failed());
        complain(RDKafkaErrorCode::Fatal, "out of order");
        assert_eq!(reports.failure().as_deref(), Some("out of order"));
    }

    #[test]
    fn only_kafkas_own_word_is_a_refusal() {
        let of = |code| is_refusal(&KafkaError::MessageProduction(code));
        assert!(of(RDKafkaErrorCode::MessageSizeTooLarge));
        assert!(of(RDKafkaErrorCode::TopicAuthorizationFailed));
        assert!(!of(RDKafkaErrorCode::MessageTimedOut), "it may have been written");
        assert!(!of(RDKafkaErrorCode::NotEnoughReplicasAfterAppend), "it was");
        assert!(!of(RDKafkaErrorCode::PurgeInflight));
    }
}
