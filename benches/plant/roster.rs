//! The roster of both benches: one path over one lane.

use std::time::Duration;

use landfall::correlate::{Carrier, Lane, Path, Qos, Roster};

/// So many publishers at QoS 1.
pub(crate) fn roster(publishers: usize) -> Roster {
    let mut roster = Roster::default();
    let path = Path {
        name: "plant".into(),
        lanes: vec![Lane::MqttKafka],
        qos: vec![Qos::AtLeastOnce],
        carriers: Carrier::ALL.to_vec(),
        deadline: Duration::from_secs(30),
    };
    roster.add(path, std::iter::repeat_n(Qos::AtLeastOnce, publishers));
    roster
}
