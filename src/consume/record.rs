//! Room `consume`: what is taken out of a record.

use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Message};

use super::{Config, headers};
use crate::clock::{Pairing, WallTime};
use crate::correlate::{Append, Carrier, Lane, Roster};
use crate::stamp::{PROPERTY, Reading, Stamper};

/// How stamps are found in the records of a path and lane.
///
/// # Design
///
/// Asked for headers, librdkafka parses them anew for each record, and takes as long to find none as the
/// stamp in the value takes to be found and checked. So headers are the last thing that is looked at where
/// messages bear no property: a record that shows its stamp without them has nothing in them that anybody
/// counts. A check wants to know of everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Locator {
    is_control: bool,
    looks_at_headers: bool,
}

impl Locator {
    pub(super) fn new(config: &Config, roster: &Roster) -> Self {
        let is_control = config.lane == Lane::KafkaKafka;
        let bears_property = roster.path(config.path).carriers.contains(&Carrier::Property);
        let looks_at_headers = is_control || bears_property || config.lookout.is_some();
        Self { is_control, looks_at_headers }
    }

    /// The stamp in a record, if it has one of this run that belongs on this lane: a copy of a control
    /// message in another topic, or the reverse, is somebody else's.
    #[inline]
    pub(super) fn stamp(self, record: &impl Message, stamper: &Stamper) -> Reading {
        let value = record.payload().unwrap_or_default();
        let within = if self.looks_at_headers { None } else { Some(stamper.read(None, value)) };
        let reading = match within {
            Some(reading @ Reading::Ours(_)) => reading,
            _ => stamper.read(property(record), value),
        };
        match reading {
            Reading::Ours(found) if found.identity.flags.control != self.is_control => {
                Reading::Foreign
            }
            reading => reading,
        }
    }
}

/// The value of the first header that has the name of the stamp's property.
#[inline]
fn property(record: &impl Message) -> Option<&[u8]> {
    let mut headers = headers::of(record.headers()?);
    headers.find(|header| header.key == PROPERTY).and_then(|header| header.value)
}

/// A record's timestamp, placed on our own clock.
pub(super) fn append(record: &BorrowedMessage<'_>, pairing: &Pairing) -> Append {
    let placed = |millis| pairing.instant_of(WallTime::from_millis(millis));
    match record.timestamp() {
        Timestamp::LogAppendTime(millis) => Append::LogAppendTime(placed(millis)),
        Timestamp::CreateTime(millis) => Append::CreateTime(placed(millis)),
        Timestamp::NotAvailable => Append::None,
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    use super::*;
    use crate::consume::Properties;
    use crate::correlate::{Path, PathId};
    use crate::stamp::{Carriers, Format, Run};

    fn record(value: &[u8], property: Option<&[u8]>) -> OwnedMessage {
        let headers = OwnedHeaders::new().insert(Header { key: "other", value: Some("1") });
        let headers = match property {
            Some(_) => headers.insert(Header { key: PROPERTY, value: property }),
            None => headers,
        };
        let (value, time) = (Some(value.to_vec()), Timestamp::NotAvailable);
        OwnedMessage::new(value, None, "t".into(), time, 0, 0, Some(headers))
    }

    /// What carried the stamp of each record where messages bear it by these carriers.
    fn carriers(borne: &[Carrier], stamper: &Stamper, records: &[OwnedMessage]) -> Vec<Carriers> {
        let mut roster = Roster::default();
        let (name, deadline) = ("p".to_owned(), std::time::Duration::from_secs(1));
        let (lane, carriers) = (Lane::MqttKafka, borne.to_vec());
        let path = Path { name, lanes: vec![lane], qos: Vec::new(), carriers, deadline };
        roster.add(path, []);
        let config = Config {
            path: PathId(0),
            lane,
            brokers: String::new(),
            topics: Vec::new(),
            readers: 1,
            properties: Properties::default(),
            group: String::new(),
            lookout: None,
            resumed: None,
        };
        let locator = Locator::new(&config, &roster);
        let carriers = |record| match locator.stamp(record, stamper) {
            Reading::Ours(found) => found.carriers,
            other => panic!("{other:?}"),
        };
        records.iter().map(carriers).collect()
    }

    #[test]
    fn headers_are_looked_at_first_where_messages_bear_one_and_last_where_they_do_not() {
        let stamper = Stamper::new(b"p", Run { epoch: 7, instance: 1 });
        let mut value = Vec::new();
        let id = stamper.write(&mut value, Format::Json, 256, stamper.identity(0, 0, 5));
        let property = id.traceparent();
        let [value_alone, both, header_alone] = [(true, false), (true, true), (false, true)]
            .map(|(payload, property)| Carriers { property, payload });
        let records = [
            record(&value, None),
            record(&value, Some(&property)),
            record(b"wrapped", Some(&property)),
        ];
        let found = carriers(&Carrier::ALL, &stamper, &records);
        assert_eq!(found, [value_alone, both, header_alone]);
        let found = carriers(&[Carrier::Payload], &stamper, &records);
        assert_eq!(found, [value_alone, value_alone, header_alone]);
    }
}
