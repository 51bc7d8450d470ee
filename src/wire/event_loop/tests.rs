//! Room `wire`: an event loop and a name server that says nothing.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use super::*;
use crate::correlate::Qos;
use crate::wire::{Mute, Sending, samples};

/// Says what goes wrong and when the connection stands.
struct Voice(Sender<String>);

impl Handler for Voice {
    type Source = Mute;

    fn happened(&mut self, _: (usize, &mut Client<Mute>), happening: Happening, _: Instant) {
        self.0.send(format!("{happening:?}")).unwrap();
    }

    fn broke(&mut self, _: usize, failure: &Failure) {
        self.0.send(failure.to_string()).unwrap();
    }
}

fn client() -> Client<Mute> {
    client_of("broker", 1)
}

fn client_of(host: &str, port: u16) -> Client<Mute> {
    let sending = Sending { topic: "t".into(), qos: Qos::AtMostOnce, source: Mute };
    Client::new(samples::endpoint(host, port), samples::session("c"), sending)
}

/// Runs one client whose name server says only what the test lets it say.
fn with_name_server(test: impl FnOnce(&Receiver<String>, &Sender<SocketAddr>)) {
    with(client(), test);
}

fn with(client: Client<Mute>, test: impl FnOnce(&Receiver<String>, &Sender<SocketAddr>)) {
    let (stop, bell) = (Tasks::new(), Bell::new().unwrap());
    let ((tell, told), (answer, answers)) = (mpsc::channel(), mpsc::channel());
    let look_up = move |_: &str, _| answers.recv().map(|it| vec![it]).map_err(|_| "none".into());
    let resolver = Resolver::new(bell.clone(), look_up).unwrap();
    let event_loop =
        EventLoop::resolving(Clock::system(), Voice(tell), [client], bell.clone(), resolver);
    thread::scope(|scope| {
        scope.spawn(|| event_loop.unwrap().run(&stop).unwrap());
        test(&told, &answer);
        stop.stop();
        bell.ring();
    });
}

#[test]
fn a_name_server_that_is_silent_is_said_once_and_its_answer_awaited() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    with_name_server(|told, answer| {
        let patience = Duration::from_mins(1);
        assert_eq!(
            told.recv_timeout(patience).unwrap(),
            "can't connect to broker:1: no answer from the name server; check that it runs"
        );
        answer.send(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
        assert_eq!(told.recv_timeout(patience).unwrap(), "Connected");
    });
}

#[test]
fn who_leaves_does_not_wait_for_a_name_server() {
    with_name_server(|told, _| assert!(told.try_recv().is_err()));
}

#[test]
fn who_reads_slowly_is_told_no_more_than_its_share() {
    const MESSAGES: usize = 5;
    let (listener, clock) = (TcpListener::bind("127.0.0.1:0").unwrap(), Clock::system());
    // As much as one message for each rest.
    with(client().reading(400), |told, answer| {
        let next = || told.recv_timeout(Duration::from_mins(1)).unwrap();
        answer.send(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
        assert_eq!(next(), "Connected");
        let message = [&[0x30, 98, 0, 1, b't', 0][..], &[b'x'; 94]].concat();
        stream.write_all(&message.repeat(MESSAGES)).unwrap();
        assert!(next().starts_with("Message"));
        let first = clock.now();
        for _ in 1..MESSAGES {
            assert!(next().starts_with("Message"));
        }
        // Those between are three quarters of what it reads in a second.
        assert!(clock.now().saturating_since(first) > Duration::from_millis(750));
    });
}

#[test]
fn who_reads_less_slowly_reads_as_much_as_it_may() {
    const MESSAGES: u32 = 600;
    let (listener, clock) = (TcpListener::bind("127.0.0.1:0").unwrap(), Clock::system());
    with(client().reading(1 << 20), |told, answer| {
        let next = || told.recv_timeout(Duration::from_mins(1)).unwrap();
        answer.send(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
        assert_eq!(next(), "Connected");
        let message = [&[0x30, 0xe2, 0x07, 0, 1, b't', 0][..], &[b'x'; 990]].concat();
        let begun = clock.now();
        stream.write_all(&message.repeat(MESSAGES as usize)).unwrap();
        for _ in 0..MESSAGES {
            assert!(next().starts_with("Message"));
        }
        // At its rate it takes 0.57 s, the last of which it does not rest for.
        let took = clock.now().saturating_since(begun);
        assert!((0.4..3.0).contains(&took.as_secs_f64()), "{took:?}");
    });
}

#[test]
fn who_rushes_does_not_wait_for_its_turn() {
    const CLIENTS: usize = 100;
    let clock = Clock::system();
    for (rushes, expected) in [(false, 64), (true, CLIENTS)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = || client_of("127.0.0.1", port);
        let clients = (0..CLIENTS).map(|_| if rushes { client().rushing() } else { client() });
        let (stop, bell) = (Tasks::new(), Bell::new().unwrap());
        let (tell, _told) = mpsc::channel();
        let event_loop = EventLoop::new(clock, Voice(tell), clients, bell.clone()).unwrap();
        // Nobody is answered, so that those who are on the way stay there.
        listener.set_nonblocking(true).unwrap();
        let mut there = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| event_loop.run(&stop).unwrap());
            let patience = clock.now() + Duration::from_mins(1);
            let mut quiet = clock.now() + Duration::from_secs(1);
            while clock.now() < quiet {
                match listener.accept() {
                    Ok(stream) => there.push(stream),
                    Err(_) => clock.sleep_until(clock.now() + Duration::from_millis(5)),
                }
                if there.len() < expected {
                    quiet = clock.now() + Duration::from_millis(500);
                }
                if clock.now() > patience {
                    break;
                }
            }
            stop.stop();
            bell.ring();
        });
        assert_eq!(there.len(), expected, "rushing: {rushes}");
    }
}

/// Takes its time with each connection.
struct Busy(Voice, Clock);

impl Handler for Busy {
    type Source = Mute;

    fn opened(&mut self, _: usize, _: Instant) {
        self.1.sleep_until(self.1.now() + Duration::from_millis(25));
    }

    fn happened(&mut self, client: (usize, &mut Client<Mute>), happening: Happening, at: Instant) {
        self.0.happened(client, happening, at);
    }

    fn broke(&mut self, client: usize, failure: &Failure) {
        self.0.broke(client, failure);
    }
}

#[test]
fn a_broker_was_not_late_where_nobody_had_the_time_to_look() {
    // So many that the loop has to look twice, and is busy for longer than a broker may take before.
    const CLIENTS: usize = 300;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let clients = (0..CLIENTS).map(|_| client_of("127.0.0.1", port).rushing());
    let (stop, bell) = (Tasks::new(), Bell::new().unwrap());
    let (tell, told) = mpsc::channel();
    let busy = Busy(Voice(tell), Clock::system());
    let event_loop = EventLoop::new(Clock::system(), busy, clients, bell.clone()).unwrap();
    let heard: Vec<String> = thread::scope(|scope| {
        scope.spawn(|| event_loop.run(&stop).unwrap());
        let streams = scope.spawn(|| {
            let accept = || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
                stream
            };
            std::iter::repeat_with(accept).take(CLIENTS).collect::<Vec<_>>()
        });
        let patience = Duration::from_mins(1);
        let heard = (0..CLIENTS).map_while(|_| told.recv_timeout(patience).ok()).collect();
        drop(streams.join());
        stop.stop();
        bell.ring();
        heard
    });
    assert_eq!(heard.len(), CLIENTS);
    assert!(heard.iter().all(|it| it == "Connected"), "{heard:?}");
}
