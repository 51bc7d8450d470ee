//! Room `consume`: what is wrong with Kafka, in words, and what to do about it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What is said of a cluster that is not there.
const UNREACHABLE: &str = "Kafka can't be reached; check kafka.brokers, and that it runs";

/// The kind of a warning that records are kept from this user.
pub const NOT_ALLOWED: &str = "not_allowed";

/// What a client complained of that explains why it reaches nobody: a question that goes unanswered
/// for that reason only fails in time.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The last complaint since a question went unanswered.
    last: Option<String>,
    /// The one before, which still holds where a question fails in time without a new one.
    lasting: Option<String>,
}

impl Complaints {
    /// Why a question went unanswered that failed so.
    pub(super) fn explain(&self, error: &KafkaError) -> String {
        let mut state = self.state();
        if let Some(complaint) = state.last.take() {
            state.lasting = Some(complaint.clone());
            return complaint;
        }
        let lasting = state.lasting.as_ref().filter(|_| is_late(error));
        lasting.cloned().unwrap_or_else(|| unanswered(error))
    }

    /// A question was answered: what was complained of is over.
    pub(super) fn forget(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Complaints {
    fn error(&self, error: KafkaError, words: &str) {
        let advice = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                "check sasl.* in kafka.properties"
            }
            Some(RDKafkaErrorCode::SSL) => "check ssl.* in kafka.properties",
            Some(RDKafkaErrorCode::Resolve) => "check kafka.brokers, and the name server",
            // Comes behind what explains it.
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                self.state().last.get_or_insert_with(|| UNREACHABLE.to_owned());
                return;
            }
            // Others may be there.
            _ => return,
        };
        self.state().last = Some(format!("{}; {advice}", lasting(words)));
    }
}

impl ConsumerContext for Complaints {}

/// The part of librdkafka's words that does not change with every attempt.
fn lasting(words: &str) -> &str {
    words.split(" (after ").next().unwrap_or(words)
}

/// Whether an answer only took too long.
fn is_late(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::OperationTimedOut | Code::RequestTimedOut | Code::BrokerTransportFailure)
    )
}

/// Why a question went unanswered, as far as its error tells.
fn unanswered(error: &KafkaError) -> String {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown) => UNREACHABLE.to_owned(),
        Some(Code::OperationTimedOut | Code::RequestTimedOut) => {
            "Kafka does not answer in time; check kafka.brokers, and how busy it is".to_owned()
        }
        Some(Code::LeaderNotAvailable | Code::NotLeaderForPartition) => {
            "a partition has no leader; check that all brokers run".to_owned()
        }
        Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
            "Kafka does not allow it; let this user describe and read the topics".to_owned()
        }
        _ => format!("{error}; check kafka.brokers and kafka.properties"),
    }
}

/// Why there is no client.
pub(super) fn no_client(error: &KafkaError) -> String {
    format!(
        "no Kafka client can be made: {error}; check kafka.properties, and limits of the process"
    )
}

/// What a reader is told that is not about one offset: the kind of it, and in full.
pub(super) fn unreadable(error: &KafkaError) -> (&'static str, String) {
    use RDKafkaErrorCode as Code;
    if error.rdkafka_error_code() == Some(Code::TopicAuthorizationFailed) {
        let text = "Kafka does not allow reading; let this user read the topics".to_owned();
        return (NOT_ALLOWED, text);
    }
    let text = format!("reading from Kafka: {error}; it goes on, else see the broker's log");
    ("reading", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complained(code: RDKafkaErrorCode, words: &str) -> Option<String> {
        let complaints = Complaints::default();
        complaints.error(KafkaError::Global(code), words);
        complaints.state().last.take()
    }

    #[test]
    fn what_explains_is_kept_without_what_varies() {
        let words = "sasl://k:9092/1: Authentication failed: no (after 312ms in state AUTH_REQ, 4 \
                     identical error(s) suppressed)";
        let kept = "sasl://k:9092/1: Authentication failed: no; check sasl.* in kafka.properties";
        assert_eq!(complained(RDKafkaErrorCode::Authentication, words).as_deref(), Some(kept));
        assert_eq!(complained(RDKafkaErrorCode::BrokerTransportFailure, words), None);
        let complaints = Complaints::default();
        complaints.error(KafkaError::Global(RDKafkaErrorCode::SSL), "bad certificate");
        complaints
            .error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        let [late, gone] = [RDKafkaErrorCode::OperationTimedOut, RDKafkaErrorCode::InvalidTopic]
            .map(KafkaError::MetadataFetch);
        let bad = "bad certificate; check ssl.* in kafka.properties";
        assert_eq!(complaints.explain(&late), bad);
        assert_eq!(complaints.explain(&late), bad, "an outage keeps its reason");
        assert_eq!(complaints.explain(&gone), unanswered(&gone), "another reason");
        complaints.forget();
        assert_eq!(complaints.explain(&late), unanswered(&late));
        let down = complained(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(down.as_deref(), Some(UNREACHABLE));
    }

    #[test]
    fn every_reason_says_what_to_do() {
        for code in [
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::OperationTimedOut,
            RDKafkaErrorCode::LeaderNotAvailable,
            RDKafkaErrorCode::TopicAuthorizationFailed,
            RDKafkaErrorCode::InvalidPartitions,
        ] {
            let error = KafkaError::MetadataFetch(code);
            for text in [unanswered(&error), no_client(&error), unreadable(&error).1] {
                assert!(text.contains("; "), "{text}");
            }
        }
    }
}
