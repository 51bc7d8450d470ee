"""Talks to the Kafka at argv[1] through kafka-python: produces, reads back, and reads as two members
of a group. Exits with a message where anything is not as it should be. Topic argv[2] has 2 or more
partitions and LogAppendTime."""

import sys
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

LOG_APPEND_TIME = 1
RECORDS = 40

brokers, topic = sys.argv[1], sys.argv[2]
deadline = time.monotonic() + 60


def check(holds, message):
    if not holds:
        sys.exit(f"kafka-python: {message}")


def collect(consumers, wanted):
    found = {}
    while len(found) < wanted:
        check(time.monotonic() < deadline, f"{len(found)} of {wanted} records in time")
        for consumer in consumers:
            for records in consumer.poll(timeout_ms=200).values():
                for record in records:
                    check(record.value not in found, f"{record.value} came twice")
                    found[record.value] = record
    return found


before = int(time.time() * 1000)
producer = KafkaProducer(bootstrap_servers=brokers, linger_ms=0, enable_idempotence=True)
partitions = sorted(producer.partitions_for(topic))
check(len(partitions) >= 2, f"partitions {partitions}")
sent = {}
for number in range(RECORDS):
    value = b"%d" % number
    partition = partitions[number % len(partitions)]
    # A timestamp of our own, so that one that the broker sets shows.
    metadata = producer.send(
        topic, key=b"k%d" % number, value=value, partition=partition, timestamp_ms=1_000
    ).get(timeout=30)
    sent[value] = (metadata.partition, metadata.offset)
producer.close()
after = int(time.time() * 1000)

reader = KafkaConsumer(bootstrap_servers=brokers, auto_offset_reset="earliest")
places = [TopicPartition(topic, partition) for partition in partitions]
reader.assign(places)
for value, record in collect([reader], RECORDS).items():
    check((record.partition, record.offset) == sent[value], f"{value} is elsewhere: {record}")
    check(record.timestamp_type == LOG_APPEND_TIME, f"timestamp type {record.timestamp_type}")
    check(before <= record.timestamp <= after, f"{before} <= {record.timestamp} <= {after}")
ends = reader.end_offsets(places)
check(sum(ends.values()) == RECORDS, f"end offsets {ends}")
reader.close()


def member():
    return KafkaConsumer(
        topic,
        bootstrap_servers=brokers,
        group_id="kafka-python",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )


members = [member(), member()]
while not all(each.assignment() for each in members):
    check(time.monotonic() < deadline, f"shares {[each.assignment() for each in members]}")
    for each in members:
        each.poll(timeout_ms=100, max_records=1)
for each in members:
    for place in each.assignment():
        each.seek_to_beginning(place)
shares = [each.assignment() for each in members]
check(not shares[0] & shares[1], f"shares overlap: {shares}")
check(shares[0] | shares[1] == set(places), f"shares leave some out: {shares}")
collect(members, RECORDS)
for each in members:
    each.commit()
    each.close()

after_all = member()
while not after_all.assignment():
    check(time.monotonic() < deadline, "no assignment")
    after_all.poll(timeout_ms=100)
committed = sum(after_all.committed(place) for place in places)
check(committed == RECORDS, f"committed {committed} of {RECORDS}")
after_all.close()
print(f"kafka-python: {RECORDS} records")
