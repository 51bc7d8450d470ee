//! Room `report`: how to read `report.md`, for whoever sees one for the first time.

/// Closes every report.
pub(super) const HOW_TO_READ: &str = "\
* Latencies are taken from the *intended* send time on one clock that never steps, so that a probe \
or a broker that falls behind can't hide it. `service_latency_seconds` in report.json is taken from \
the send time.
* Every slot of the schedule has exactly one outcome on each lane. *acked lost*: the broker had \
acknowledged it, its deadline had passed, and everything that the sink held by then had been read, \
in Kafka a second time by another client. \
*unacked lost*: never acknowledged (at QoS 0 nothing is). *late*: it came out after its deadline, \
or after it had been given up. *unresolved*: nobody can say.
* Counts and availability are judged over the whole run, latencies over valid windows, and the other \
figure stands beside it. A message belongs to the window in which it came out. `invalid` means that what is unknown could overturn the \
verdict, and is no better than failed.
* A quantile of few messages says little: p99.9 of fewer than 10,000 is hardly more than the \
longest. max is the longest that came out; what was lost is in no latency.
* *durability_gap*: how long before its append a message had already been acknowledged, which is what \
a crash could have lost; zero where the acknowledgement came later. *append* is LogAppendTime; \
*create* is CreateTime, by the clock of whoever produced the record.
* *uncertainty* is what the probe itself may have added: how late it sent and how long what came waited \
for it (p99 of each), and how fine clock, books and Kafka's timestamps are. It is unknown where a part \
is.
* *duplicate* counts further records of a message, whoever made them; *resent* is the part that the \
probe itself sent again; *reread* is the same record read twice and no duplicate. Foreign records \
are somebody else's and no fault.";

pub(super) const HOW_TO_READ_CONTROL: &str = "\
* Lane *kafka_kafka* is the control: the same schedule produced straight to Kafka and read by the same \
code, so that what lane *mqtt_kafka* takes longer is what the way over MQTT adds. Everything that \
names no lane speaks of the messages over MQTT.";
