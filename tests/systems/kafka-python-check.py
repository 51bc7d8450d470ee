"""Talks to the Kafka at argv[1] through kafka-python: produces, reads back, and reads as two members
of a group. Exits with a message where anything is not as it should be. Topic argv[2] has 2 or more
partitions and LogAppendTime."""

import sys
import threading
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

LOG_APPEND_TIME = 1
RECORDS = 40

brokers, topic = sys.argv[1], sys.argv[2]
deadline = time.monotonic() + 60


def check(holds, message):
    if not holds:
        sys.exit(f"kafka-python: {message}")


def until(holds, message):
    while not holds():
        check(time.monotonic() < deadline, f"{message()}: not in time")
        time.sleep(0.01)


before = int(time.time() * 1000)
producer = KafkaProducer(bootstrap_servers=brokers, linger_ms=0, enable_idempotence=True)
partitions = sorted(producer.partitions_for(topic))
check(len(partitions) >= 2, f"partitions {partitions}")


def send(numbers):
    """Value of each record sent, with partition and offset as acknowledged."""
    sent = {}
    for number in numbers:
        value = b"%d" % number
        partition = partitions[number % len(partitions)]
        # A timestamp of our own, so that one that the broker sets shows.
        future = producer.send(
            topic, key=b"k%d" % number, value=value, partition=partition, timestamp_ms=1_000
        )
        metadata = future.get(timeout=30)
        sent[value] = (metadata.partition, metadata.offset)
    return sent


sent = send(range(RECORDS))
after = int(time.time() * 1000)

reader = KafkaConsumer(bootstrap_servers=brokers, auto_offset_reset="earliest")
places = [TopicPartition(topic, partition) for partition in partitions]
reader.assign(places)
read = {}
while len(read) < RECORDS:
    check(time.monotonic() < deadline, f"{len(read)} of {RECORDS} records in time")
    for records in reader.poll(timeout_ms=200).values():
        for record in records:
            check(record.value not in read, f"{record.value} came twice")
            read[record.value] = record
for value, record in read.items():
    check((record.partition, record.offset) == sent[value], f"{value} is elsewhere: {record}")
    check(record.timestamp_type == LOG_APPEND_TIME, f"timestamp type {record.timestamp_type}")
    check(before <= record.timestamp <= after, f"{before} <= {record.timestamp} <= {after}")
ends = reader.end_offsets(places)
check(sum(ends.values()) == RECORDS, f"end offsets {ends}")
reader.close()


class Member(threading.Thread):
    """A group member that polls all the time. A poll that ends while the group is forming leaves
    kafka-python without heartbeats, hence the thread and its long polls."""

    def __init__(self):
        super().__init__(daemon=True)
        self.consumer = KafkaConsumer(
            topic,
            bootstrap_servers=brokers,
            group_id="kafka-python",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=100,
        )
        self.values = []
        self.share = set()
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set():
            for records in self.consumer.poll(timeout_ms=3_000).values():
                self.values.extend(record.value for record in records)
            self.share = self.consumer.assignment()
        self.consumer.commit()
        self.consumer.close()


members = [Member(), Member()]
for each in members:
    each.start()
until(
    lambda: all(each.share for each in members)
    and not members[0].share & members[1].share
    and members[0].share | members[1].share == set(places),
    lambda: f"shares {[each.share for each in members]}",
)
more = send(range(RECORDS, 2 * RECORDS))
until(
    lambda: more.keys() <= {value for each in members for value in each.values},
    lambda: f"records {[len(each.values) for each in members]}",
)
for value in more:
    count = sum(each.values.count(value) for each in members)
    check(count == 1, f"{value} came {count} times")
for each in members:
    each.stopping.set()
for each in members:
    each.join(60)
    check(not each.is_alive(), "a member does not end")
producer.close()

asking = Member().consumer
committed = sum(asking.committed(place) for place in places)
check(committed == 2 * RECORDS, f"committed {committed} of {2 * RECORDS}")
asking.close()
print(f"kafka-python: {2 * RECORDS} records")
