//! The floor: what this machine can publish at all. Bare non-blocking sockets on one thread, no client
//! library, MQTT 3.1.1 packets that are prepared once.
//!
//! ```sh
//! cargo bench --bench floor -- --address 127.0.0.1:1883 --clients 100 --size 256 --qos 1 --rate 10000
//! ```
//!
//! With `--rate` (messages a second, all clients together) it sleeps until the next tick of `--tick-ms`
//! (1; 0 wakes for each message), takes in what has been answered, and sends what is due, in turn over
//! the clients, with one write for each message. Without it each client has up to `--window` messages
//! without an answer, and half of them are sent anew, in one write, at the first tick by which they are
//! answered; at QoS 0, which is never answered, its socket is kept full. After `--seconds`
//! everything that was begun is ended, every client says goodbye, and the time counts until the broker
//! has read all of it. Prints one line of JSON. `benches/tools/compare.sh` runs it beside real tools.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use landfall::clock::{Clock, Instant};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;

#[path = "plant/load.rs"]
mod load;

use load::{Load, Mark, TOPIC, Tally, cpu};

/// How long the broker may take to answer and to read what is left, at the end.
const GRACE: Duration = Duration::from_mins(1);
const READ_BYTES: usize = 65_536;
const SEND_BUFFER_BYTES: usize = 131_072;
const ACKNOWLEDGEMENT_BYTES: usize = 4;
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;

fn main() -> ExitCode {
    let clock = Clock::system();
    let ran = Load::from_arguments().and_then(|load| {
        let Some(load) = load else { return Ok(()) };
        let (tally, from, to) = run(clock, &load).map_err(|error| error.to_string())?;
        load.print(&tally, from, to);
        Ok(())
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => told(&error),
    }
}

#[expect(clippy::print_stderr, reason = "a program that is run by hand, too")]
fn told(error: &str) -> ExitCode {
    eprintln!("floor: {error}");
    ExitCode::from(2)
}

fn run(clock: Clock, load: &Load) -> io::Result<(Tally, Mark, Mark)> {
    let mut floor = Floor::connected(load)?;
    let from = Mark { at: clock.now(), cpu: cpu()? };
    let end = from.at + load.length;
    match load.rate {
        Some(rate) => floor.paced(clock, rate, load.tick, end)?,
        None => floor.flat_out(clock, load.tick, end)?,
    }
    floor.finish(clock)?;
    let to = Mark { at: clock.now(), cpu: cpu()? };
    Ok((floor.tally(), from, to))
}

/// One connection.
struct Client {
    socket: TcpStream,
    /// Messages that were begun, the one that is half written included.
    begun: u64,
    /// Messages that were answered to the end.
    done: u64,
    /// Bytes of the last message begun that are not written yet.
    rest: usize,
    /// Bytes of an answer whose end has not come yet.
    partial: Vec<u8>,
    /// It is waited for room in the socket.
    full: bool,
}

struct Floor {
    epoll: OwnedFd,
    clients: Vec<Client>,
    /// Packets of equal length, one behind the other, with the packet ids from 1 on: twice the window,
    /// so that no id is given out again before its message is answered.
    packets: Vec<u8>,
    packet_bytes: usize,
    qos: u8,
    window: u64,
    held_back: u64,
    events: Vec<Event>,
    space: Vec<u8>,
}

impl Floor {
    /// All clients, connected and accepted one after the other.
    fn connected(load: &Load) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut clients = Vec::with_capacity(load.clients as usize);
        for number in 0..load.clients {
            let mut socket = TcpStream::connect(load.address)?;
            socket.set_nodelay(true)?;
            // What waits in sockets has left nobody's hands yet, and delays the end.
            rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES)?;
            socket.write_all(&connect_packet(number))?;
            let mut connack = [0; 4];
            socket.read_exact(&mut connack)?;
            if connack[3] != 0 {
                let refused = format!("the broker refused a client with code {}", connack[3]);
                return Err(io::Error::other(refused));
            }
            socket.set_nonblocking(true)?;
            epoll::add(&epoll, &socket, EventData::new_u64(number.into()), EventFlags::IN)?;
            let partial = Vec::with_capacity(ACKNOWLEDGEMENT_BYTES);
            clients.push(Client { socket, begun: 0, done: 0, rest: 0, partial, full: false });
        }
        let packets: Vec<Vec<u8>> =
            (1..=load.window * 2).map(|id| publish_packet(load.qos, id, load.size)).collect();
        Ok(Self {
            epoll,
            events: Vec::with_capacity(clients.len()),
            clients,
            packet_bytes: packets[0].len(),
            packets: packets.concat(),
            qos: load.qos,
            window: load.window.into(),
            held_back: 0,
            space: vec![0; READ_BYTES],
        })
    }

    /// Sends at a rate until `end`: what is due at a tick is sent at that tick.
    fn paced(&mut self, clock: Clock, rate: f64, tick: Duration, end: Instant) -> io::Result<()> {
        let start = clock.now();
        let (mut sent, mut wake) = (0_u32, start);
        let due_at = |number: u32| start + Duration::from_secs_f64(f64::from(number) / rate);
        while wake < end {
            wake = if tick.is_zero() { due_at(sent) } else { wake + tick };
            clock.sleep_until(wake);
            if self.qos > 0 {
                self.hear_all(Duration::ZERO)?;
            }
            while due_at(sent) <= wake {
                let client = (sent as usize) % self.clients.len();
                self.send_one(client)?;
                sent += 1;
            }
        }
        Ok(())
    }

    /// One message in one write; waits for room where there is none.
    fn send_one(&mut self, client: usize) -> io::Result<()> {
        if self.qos > 0 && self.clients[client].in_flight() >= self.window {
            self.held_back += 1;
            while self.clients[client].in_flight() >= self.window {
                self.hear_all(GRACE)?;
            }
        }
        self.fill(client, 1)?;
        if self.clients[client].rest > 0 {
            self.held_back += 1;
            self.complete(client)?;
        }
        Ok(())
    }

    /// Keeps every client busy until `end`: at QoS 0 its socket is filled whenever it takes more, else half
    /// of its window at a time, at ticks, as long as the broker has the other half to deal with.
    fn flat_out(&mut self, clock: Clock, tick: Duration, end: Instant) -> io::Result<()> {
        for client in 0..self.clients.len() {
            self.refill(client)?;
        }
        let mut wake = clock.now();
        while clock.now() < end {
            if self.qos == 0 {
                self.wait(Duration::from_millis(10))?;
            } else {
                wake = clock.now().max(wake + tick);
                clock.sleep_until(wake);
                self.wait(Duration::ZERO)?;
            }
            let events = std::mem::take(&mut self.events);
            for &event in &events {
                let (client, flags) = (place(event), event.flags);
                if flags.contains(EventFlags::IN) {
                    self.hear(client)?;
                }
                let it = &self.clients[client];
                if self.qos == 0 || it.rest > 0 || it.in_flight() <= self.window / 2 {
                    self.refill(client)?;
                }
            }
            self.events = events;
        }
        Ok(())
    }

    /// Fills the window of a client in one write, and waits for room where not all of it was taken.
    fn refill(&mut self, client: usize) -> io::Result<()> {
        let it = &self.clients[client];
        let room = if self.qos == 0 { self.window } else { self.window - it.in_flight() };
        if room > 0 || it.rest > 0 {
            self.fill(client, room)?;
        }
        // At QoS 0 there is always something to write.
        let full = self.qos == 0 || self.clients[client].rest > 0;
        let it = &mut self.clients[client];
        if full != it.full {
            it.full = full;
            let room = if full { EventFlags::OUT } else { EventFlags::empty() };
            let data = EventData::new_u64(client as u64);
            epoll::modify(&self.epoll, &it.socket, data, EventFlags::IN | room)?;
        }
        Ok(())
    }

    /// Writes the rest of the message that was begun, and up to so many further ones, as far as one
    /// write takes them.
    fn fill(&mut self, client: usize, room: u64) -> io::Result<()> {
        let it = &mut self.clients[client];
        let from = it.offset(self.packet_bytes, self.packets.len());
        let wanted = it.rest + usize::try_from(room).unwrap_or(0) * self.packet_bytes;
        let until = self.packets.len().min(from + wanted);
        let written = match it.socket.write(&self.packets[from..until]) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        it.wrote(written, self.packet_bytes);
        Ok(())
    }

    /// Writes the rest of the message that was begun, however long that takes.
    fn complete(&mut self, client: usize) -> io::Result<()> {
        while self.clients[client].rest > 0 {
            await_room(&self.clients[client].socket)?;
            self.fill(client, 0)?;
        }
        Ok(())
    }

    fn wait(&mut self, at_most: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(at_most).map_err(io::Error::other)?;
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes in what has come on any connection, or comes within so long.
    fn hear_all(&mut self, at_most: Duration) -> io::Result<()> {
        self.wait(at_most)?;
        let events = std::mem::take(&mut self.events);
        for event in &events {
            self.hear(place(*event))?;
        }
        self.events = events;
        Ok(())
    }

    /// Takes in the answers that a client has, and gives what they ask for.
    fn hear(&mut self, client: usize) -> io::Result<()> {
        let it = &mut self.clients[client];
        let count = match it.socket.read(&mut self.space) {
            Ok(0) => return Err(io::Error::other("the broker closed a connection")),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut releases = Vec::new();
        let mut heard = &self.space[..count];
        while !heard.is_empty() {
            let missing = ACKNOWLEDGEMENT_BYTES - it.partial.len();
            let (head, behind) = heard.split_at(missing.min(heard.len()));
            it.partial.extend_from_slice(head);
            heard = behind;
            if it.partial.len() == ACKNOWLEDGEMENT_BYTES {
                match it.partial[0] {
                    PUBACK | PUBCOMP => it.done += 1,
                    PUBREC => releases.extend([PUBREL, 2, it.partial[2], it.partial[3]]),
                    other => return Err(io::Error::other(format!("packet {other:#x} came"))),
                }
                it.partial.clear();
            }
        }
        if !releases.is_empty() {
            // Nothing may come between the parts of a message.
            self.complete(client)?;
            let it = &mut self.clients[client];
            write_out(&mut it.socket, &releases)?;
        }
        Ok(())
    }

    /// Ends every message that was begun, waits for the answers, says goodbye, and waits until the
    /// broker has read all of it.
    fn finish(&mut self, clock: Clock) -> io::Result<()> {
        for client in 0..self.clients.len() {
            self.complete(client)?;
        }
        let end = clock.now() + GRACE;
        for client in 0..self.clients.len() {
            let it = &mut self.clients[client];
            it.full = false;
            let data = EventData::new_u64(client as u64);
            epoll::modify(&self.epoll, &it.socket, data, EventFlags::IN)?;
        }
        while self.qos > 0 && self.clients.iter().any(|it| it.in_flight() > 0) {
            if clock.now() >= end {
                break;
            }
            self.hear_all(Duration::from_millis(100))?;
        }
        for client in &mut self.clients {
            write_out(&mut client.socket, &[0xe0, 0])?;
            client.socket.shutdown(Shutdown::Write)?;
        }
        for client in &mut self.clients {
            client.socket.set_nonblocking(false)?;
            let left = end.saturating_since(clock.now()).max(Duration::from_millis(1));
            client.socket.set_read_timeout(Some(left))?;
            io::copy(&mut client.socket, &mut io::sink())?;
        }
        Ok(())
    }

    fn tally(&self) -> Tally {
        let count = |of: fn(&Client) -> u64| self.clients.iter().map(of).sum::<u64>();
        let (begun, done) = (count(|it| it.begun), count(|it| it.done));
        let messages = if self.qos == 0 { begun } else { done };
        Tally { messages, unanswered: begun - messages, held_back: self.held_back }
    }
}

impl Client {
    fn in_flight(&self) -> u64 {
        self.begun - self.done
    }

    /// Where in all packets the next byte is.
    fn offset(&self, packet: usize, all: usize) -> usize {
        let slots = (all / packet) as u64;
        let behind = usize::try_from(self.begun % slots).unwrap_or(0) * packet;
        if self.rest == 0 {
            behind
        } else if behind == 0 {
            all - self.rest
        } else {
            behind - self.rest
        }
    }

    /// So many bytes were written.
    fn wrote(&mut self, written: usize, packet: usize) {
        if written <= self.rest {
            self.rest -= written;
            return;
        }
        let further = written - self.rest;
        self.begun += further.div_ceil(packet) as u64;
        self.rest = (packet - further % packet) % packet;
    }
}

fn place(event: Event) -> usize {
    usize::try_from(event.data.u64()).unwrap_or(usize::MAX)
}

/// Writes all of it, and waits for room where there is none.
fn write_out(socket: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => await_room(socket)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn await_room(socket: &TcpStream) -> io::Result<()> {
    let timeout = Timespec::try_from(GRACE).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&timeout)) {
        Ok(0) => Err(io::Error::other("the broker takes nothing any more")),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// CONNECT with a clean session and no keep-alive.
fn connect_packet(client: u32) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([4, 2, 0, 0]);
    body.extend(text(&format!("floor-{}-{client}", std::process::id())));
    packet(0x10, &body)
}

fn publish_packet(qos: u8, id: u16, size: usize) -> Vec<u8> {
    let mut body = text(TOPIC);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    body.resize(body.len() + size, b'x');
    packet(0x30 | (qos << 1), &body)
}

/// A string with its length before it.
fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// A packet with its remaining length, seven bits a byte.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    while length >= 0x80 {
        packet.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    packet.push(u8::try_from(length).unwrap_or(0));
    packet.extend_from_slice(body);
    packet
}
