//! Room `consume`: the headers of a record.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::message::{Header, Headers};

/// The headers whose names are text, in their order.
///
/// # Design
///
/// That names are UTF-8 is what Kafka's protocol says, and neither brokers nor librdkafka look. Its Rust
/// client panics where one is not, so that one record of anybody's would end the thread that reads. What
/// it was about to say is caught here and the header left out, since it is none of ours; Rust's own
/// message about it still goes to standard error.
pub(super) fn of<H: Headers>(headers: &H) -> impl Iterator<Item = Header<'_, &[u8]>> {
    (0..headers.count()).filter_map(|index| {
        catch_unwind(AssertUnwindSafe(|| headers.try_get(index))).ok().flatten()
    })
}
