//! The roster of the benches: one path.

use std::time::Duration;

use landfall::correlate::{Carrier, Lane, Path, Qos, Roster};

/// So many publishers at QoS 1, over these lanes.
pub(crate) fn roster(lanes: &[Lane], publishers: usize) -> Roster {
    let mut roster = Roster::default();
    let path = Path {
        name: "plant".into(),
        lanes: lanes.to_vec(),
        qos: vec![Qos::AtLeastOnce],
        carriers: Carrier::ALL.to_vec(),
        deadline: Duration::from_secs(30),
    };
    roster.add(path, std::iter::repeat_n(Qos::AtLeastOnce, publishers));
    roster
}
