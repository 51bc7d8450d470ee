"""What the broker saw: what it received, how many bytes it read, and how many clients are connected."""

import os
import socket
import struct
import threading
import time

# Payload bytes of all PUBLISH packets. Mosquitto's own count of messages leaves out those at QoS 2.
RECEIVED = "$SYS/broker/publish/bytes/received"
# Mosquitto publishes this one last each time, and it changes each time: what it says of itself is said to us.
LAST = "$SYS/broker/publish/bytes/sent"


def string(text):
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def wait_until(holds, seconds, otherwise):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.01)


class Broker:
    """Listens to $SYS of the Mosquitto at `port`, whose process is `pid`."""

    def __init__(self, port, pid):
        self.port, self.pid = port, pid
        self.received = 0  # payload bytes
        self.rounds = 0  # how often all of $SYS was published
        self.socket = socket.create_connection(("127.0.0.1", port))
        connect = string("MQTT") + b"\x04\x02\x00\x00" + string("compare-sys")
        self.send(0x10, connect)
        self.send(0x82, b"\x00\x01" + b"".join(string(it) + b"\x00" for it in (RECEIVED, LAST)))
        threading.Thread(target=self.listen, daemon=True).start()
        # It has taken our connection once it speaks to us.
        wait_until(lambda: self.rounds > 0, 10, "Mosquitto publishes no $SYS")
        self.sockets_before = self.sockets()

    def send(self, kind, body):
        self.socket.sendall(bytes([kind, len(body)]) + body)

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError("Mosquitto closed the connection")
            data += more
        return data

    def listen(self):
        while True:
            kind = self.read(1)[0]
            # Everything that comes here is shorter than 128 bytes.
            body = self.read(self.read(1)[0])
            if kind & 0xF0 != 0x30:
                continue
            length = struct.unpack(">H", body[:2])[0]
            topic, value = body[2 : 2 + length].decode(), body[2 + length :]
            if topic == RECEIVED:
                self.received = int(value)
            elif topic == LAST:
                self.rounds += 1

    def sockets(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def connected(self):
        """How many clients have a connection, our own left out."""
        return self.sockets() - self.sockets_before

    def bytes_read(self):
        """By its calls of read(2), which Mosquitto uses for its sockets (proc(5), io)."""
        with open(f"/proc/{self.pid}/io") as file:
            return int(file.readline().split()[1])

    def settled(self, expected=None):
        """How many bytes of payload it has received, once it has said so anew: as soon as there are `expected`,
        else when two sayings in a row agree and it read next to nothing between them."""
        last = None
        while True:
            rounds = self.rounds
            wait_until(lambda: self.rounds > rounds, 60, "Mosquitto says nothing of itself any more")
            now = (self.received, self.bytes_read() // 4096)
            if now == last or (expected is not None and self.received >= expected):
                return self.received
            last = now
