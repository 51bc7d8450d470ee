//! Room `embedded`: a thread of the null sink.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::Tally;
use super::session::{End, Session};
use crate::clock::cpu_of_thread;
use crate::shutdown::Tasks;

/// How much is read from a socket at a time.
const READ_BYTES: usize = 64 * 1_024;
/// How many sockets are looked at in a turn.
const EVENTS_MAX: usize = 256;
/// How often it is asked whether to stop.
const LOOK_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const LISTENER: u64 = u64::MAX;

/// One thread's share of the connections.
#[derive(Debug)]
pub(super) struct Serving {
    listener: Arc<TcpListener>,
    /// Whether it listens: not while the system has no descriptor to give.
    listens: bool,
    epoll: OwnedFd,
    peers: Vec<Option<Peer>>,
    /// Places of peers that are gone.
    vacant: Vec<usize>,
    space: Vec<u8>,
    out: Vec<u8>,
    tally: Arc<Tally>,
}

#[derive(Debug)]
struct Peer {
    stream: TcpStream,
    session: Session,
    /// Answers that found no room: nothing is read before they have gone.
    unsent: Vec<u8>,
}

impl Serving {
    pub(super) fn new(listener: Arc<TcpListener>, tally: Arc<Tally>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &*listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        Ok(Self {
            listener,
            listens: true,
            epoll,
            peers: Vec::new(),
            vacant: Vec::new(),
            space: vec![0; READ_BYTES],
            out: Vec::new(),
            tally,
        })
    }

    pub(super) fn run(&mut self, stop: &Tasks) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
        while !stop.stopping() {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&LOOK_UP)) {
                Ok(_) | Err(Errno::INTR) => (),
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    place => self.serve(usize::try_from(place).unwrap_or(usize::MAX)),
                }
            }
            let nanos = u64::try_from(cpu_of_thread().as_nanos()).unwrap_or(u64::MAX);
            self.tally.cpu_nanos.store(nanos, Ordering::Relaxed);
        }
        Ok(())
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    // Who is gone already is told by its socket.
                    let _ = self.welcome(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => (),
                Err(_) => {
                    // It would be told of them again and again.
                    self.listens = epoll::delete(&self.epoll, &*self.listener).is_err();
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() - 1
        });
        epoll::add(&self.epoll, &stream, EventData::new_u64(place as u64), EventFlags::IN)
            .inspect_err(|_| self.vacant.push(place))?;
        let peer = Peer { stream, session: Session::default(), unsent: Vec::new() };
        self.peers[place] = Some(peer);
        self.tally.connections.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Reads once from a peer and answers, or goes on answering it.
    fn serve(&mut self, place: usize) {
        let Some(Some(peer)) = self.peers.get_mut(place) else { return };
        let held = !peer.unsent.is_empty();
        let mut messages = 0;
        let read = if held {
            Ok(())
        } else {
            peer.read(&mut self.space, &mut self.out, &self.tally, &mut messages)
        };
        self.tally.messages.fetch_add(messages, Ordering::Relaxed);
        let written = peer.write(&mut self.out);
        self.out.clear();
        match read.and(written.map_err(|_| End::Goodbye)) {
            Ok(()) if held != peer.unsent.is_empty() => (),
            Ok(()) => {
                let flags = if held { EventFlags::IN } else { EventFlags::OUT };
                let data = EventData::new_u64(place as u64);
                // Fails only for a socket that was not added.
                let _ = epoll::modify(&self.epoll, &peer.stream, data, flags);
            }
            Err(end) => self.dismiss(place, end),
        }
    }

    fn dismiss(&mut self, place: usize, end: End) {
        // Whoever sees the end of its connection finds it counted.
        if end == End::Nonsense {
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
        }
        self.peers[place] = None;
        self.vacant.push(place);
        if !self.listens {
            let data = EventData::new_u64(LISTENER);
            self.listens = epoll::add(&self.epoll, &*self.listener, data, EventFlags::IN).is_ok();
        }
    }
}

impl Peer {
    /// Reads once, and counts the messages that are complete.
    fn read(
        &mut self,
        space: &mut [u8],
        out: &mut Vec<u8>,
        tally: &Tally,
        messages: &mut u64,
    ) -> Result<(), End> {
        match self.stream.read(space) {
            Ok(0) => Err(End::Goodbye),
            Ok(length) => {
                tally.bytes.fetch_add(length as u64, Ordering::Relaxed);
                self.session.take(&space[..length], out, messages)
            }
            Err(error) if may_go_on(&error) => Ok(()),
            Err(_) => Err(End::Goodbye),
        }
    }

    /// Writes what is unsent, and what is in `out` behind it.
    fn write(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if !self.unsent.is_empty() {
            std::mem::swap(&mut self.unsent, out);
            self.unsent.clear();
        }
        let mut left = out.as_slice();
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        self.unsent.extend_from_slice(left);
        Ok(())
    }
}

fn may_go_on(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
