//! Room `wire`: an event loop and a name server that says nothing.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use super::super::client::REST;
use super::*;
use crate::correlate::Qos;
use crate::wire::{Endpoint, Mute, Sending, Session, Version};

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
    let endpoint = Endpoint {
        host: "broker".into(),
        port: 1,
        version: Version::V5,
        credentials: None,
        tls: None,
    };
    let session = Session {
        client_id: "c".into(),
        keep_alive: Duration::from_secs(30),
        inflight: 1,
        queue: 1,
        patience: Duration::from_mins(1),
        connect_after: Duration::ZERO,
        packet_bytes_max: 1_000,
    };
    let sending = Sending { topic: "t".into(), qos: Qos::AtMostOnce, source: Mute };
    Client::new(endpoint, session, sending)
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
        assert!(clock.now().saturating_since(first) > REST * 3);
    });
}
