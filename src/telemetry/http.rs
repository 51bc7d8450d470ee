//! Room `telemetry`: the HTTP server.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::shutdown::Tasks;

use super::edition::Readers;
use super::health::Health;
use super::page;
use super::recorder::Telemetry;
use super::streams::{Line, Streams, Told};

const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// How long an answer that has begun may take when it is time to stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(1);
/// Wait before the next attempt when the system has no connection to give (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What bounds the clients.
#[derive(Clone, Copy)]
struct Limits {
    /// Connections at once.
    connections: usize,
    /// From the beginning of a connection to the last byte of its answer.
    connection_time: Duration,
    /// Streams of events at once, which are no connections in the above sense.
    streams: usize,
    /// How long a reader of a stream may take for one event.
    event_time: Duration,
}

const LIMITS: Limits = Limits {
    connections: 64,
    connection_time: Duration::from_secs(10),
    streams: 16,
    event_time: Duration::from_secs(10),
};

/// Content type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Bytes that may wait in a socket; the kernel takes twice as many.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
const NO_STORE: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

/// What the server's pages are made of.
#[derive(Clone)]
pub struct Pages {
    /// For `/metrics`.
    pub telemetry: Telemetry,
    /// For `/livez` and `/readyz`.
    pub health: Health,
    /// For `/`, `/api/v1/status`, `/api/v1/events` and `/debug/worst`.
    pub readers: Readers,
    /// What tells the age of the heartbeat.
    pub clock: Clock,
}

/// The HTTP server, bound to its address.
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
    pages: Pages,
    limits: Limits,
}

impl HttpServer {
    /// Takes the address. Nobody is answered before [`HttpServer::serve`].
    ///
    /// # Errors
    ///
    /// When the address is not to be had; the text names it and a way out.
    pub fn bind(address: SocketAddr, pages: Pages) -> io::Result<Self> {
        let bound = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        });
        match bound {
            Ok((address, listener)) => Ok(Self { listener, address, pages, limits: LIMITS }),
            Err(error) => {
                let text = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "is in use; choose another port or stop what listens there".to_owned()
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        "is not an address of this machine; choose one that is".to_owned()
                    }
                    io::ErrorKind::PermissionDenied => {
                        "needs privileges; choose a port from 1024 on".to_owned()
                    }
                    _ => format!("can't be listened on: {error}"),
                };
                Err(io::Error::new(error.kind(), format!("{address} {text}")))
            }
        }
    }

    /// Where the server listens; the port is the one that was given when 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is time to stop. A scrape takes milliseconds of computing: run this on a
    /// runtime on which nothing is timed.
    ///
    /// # Errors
    ///
    /// When the runtime can't take the listener over.
    pub async fn serve(self, tasks: Tasks) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let connections = Arc::new(Semaphore::new(self.limits.connections));
        let time = self.limits.connection_time;
        let Limits { streams, event_time, .. } = self.limits;
        let streams = Streams::new(&self.pages.telemetry, tasks.clone(), (streams, event_time));
        let router = router(self.pages, streams);
        loop {
            // Who finds all connections taken waits in the listener's queue, at most as long as one
            // connection may last.
            let accepted = async {
                let permit = Arc::clone(&connections).acquire_owned().await;
                (permit, listener.accept().await)
            };
            tokio::select! {
                () = tasks.stopped() => return Ok(()),
                accepted = accepted => match accepted {
                    (Ok(permit), Ok((stream, _))) => {
                        tasks.spawn(answer(stream, permit, router.clone(), tasks.clone(), time));
                    }
                    (Err(_), _) => return Ok(()),
                    (_, Err(_)) => sleep(ACCEPT_PAUSE).await,
                },
            }
        }
    }
}

/// One connection. What goes wrong on it is its client's affair.
async fn answer(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    router: Router,
    tasks: Tasks,
    time: Duration,
) {
    // What a reader has not taken yet stays small, so that it shows when one stands still.
    let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
    let line = Line::new(permit);
    let router = router.layer(Extension(line.clone()));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        () = within(time, connection.as_mut(), &line) => {}
        () = line.cut() => (),
        () = tasks.stopped() => {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(STOP_TIME_MAX, connection).await;
        }
    }
}

/// Waits for the end of a connection, for so long unless it is a stream.
async fn within(time: Duration, mut connection: impl Future + Unpin, line: &Line) {
    if timeout(time, &mut connection).await.is_err() && line.lasts() {
        connection.await;
    }
}

fn router(pages: Pages, streams: Streams) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/api/v1/status", get(status))
        .route("/api/v1/events", get(events))
        .route("/debug/worst", get(worst))
        .layer(Extension(streams))
        .fallback(async || (StatusCode::NOT_FOUND, "not found; / lists what there is\n"))
        .with_state(pages)
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], pages.telemetry.render())
}

async fn livez(State(pages): State<Pages>) -> impl IntoResponse {
    if pages.health.is_live(pages.clock.now()) {
        (StatusCode::OK, [NO_STORE], "alive\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, [NO_STORE], "no heartbeat for more than 30 s\n")
    }
}

async fn readyz(State(pages): State<Pages>) -> impl IntoResponse {
    let readiness = pages.health.readiness();
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [NO_STORE], Json(readiness))
}

async fn index(State(pages): State<Pages>) -> impl IntoResponse {
    let latest = pages.readers.latest().await;
    (page::headers(), page::document(&String::from_utf8_lossy(&latest.edition.page)))
}

async fn status(State(pages): State<Pages>) -> impl IntoResponse {
    json(pages.readers.latest().await.edition.status.clone())
}

async fn worst(State(pages): State<Pages>) -> impl IntoResponse {
    json(pages.readers.latest().await.edition.worst.clone())
}

fn json(document: Bytes) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), NO_STORE], document)
}

async fn events(
    State(pages): State<Pages>,
    Extension(streams): Extension<Streams>,
    Extension(line): Extension<Line>,
    RawQuery(query): RawQuery,
) -> Response {
    let told = match query.as_deref() {
        None | Some("of=status") => Told::Status,
        Some("of=page") => Told::Page,
        Some(_) => {
            return (StatusCode::BAD_REQUEST, "ask for ?of=status or ?of=page\n").into_response();
        }
    };
    let Some(body) = streams.begin(&pages.readers, told, &line) else {
        let text = "there are as many readers as can be served; try again later\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")], text)
            .into_response();
    };
    ([(header::CONTENT_TYPE, "text/event-stream"), NO_STORE], body).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::super::Build;
    use super::super::edition::{Edition, Press, press};
    use super::*;
    use crate::correlate::Roster;

    const REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

    /// Runs a server with these limits while `client` talks to it.
    fn serve(limits: Limits, client: impl FnOnce(SocketAddr)) {
        serve_editions(limits, |address, _, _| client(address));
    }

    /// The same, with what editions come from and what counts.
    fn serve_editions(limits: Limits, client: impl FnOnce(SocketAddr, &Press, &Telemetry)) {
        let clock = Clock::system();
        let build = Build { version: "0".into(), commit: String::new() };
        let (press, readers) = press(clock);
        let telemetry = Telemetry::new(&Roster::default(), &build, None);
        let pages = Pages {
            telemetry: telemetry.clone(),
            health: Health::new(clock.now(), &[]),
            readers,
            clock,
        };
        let mut server = HttpServer::bind("127.0.0.1:0".parse().unwrap(), pages).unwrap();
        server.limits = limits;
        let address = server.address();
        let tasks = Tasks::new();
        let group = tasks.clone();
        let thread = Tasks::new();
        let serving = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                server.serve(group.clone()).await.unwrap();
                group.finished().await;
            });
        };
        thread.thread("server", serving).unwrap();
        client(address, &press, &telemetry);
        tasks.stop();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(thread.finished());
    }

    fn read_all(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        // A server that hangs up on unread bytes resets the connection: that is an end, too.
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_client_that_never_finishes_its_request_is_cut_off() {
        let limits = Limits { connection_time: Duration::from_millis(50), ..LIMITS };
        serve(limits, |address| {
            let mut slow = TcpStream::connect(address).unwrap();
            slow.write_all(b"GET /livez HTTP/1.1\r\nHost:").unwrap();
            assert_eq!(read_all(&mut slow), "", "ends without an answer");
        });
    }

    #[test]
    fn a_client_too_many_waits_until_a_connection_is_free() {
        let limits = Limits { connections: 2, connection_time: Duration::from_mins(1), ..LIMITS };
        serve(limits, |address| {
            let holders = [(); 2].map(|()| TcpStream::connect(address).unwrap());
            let mut third = TcpStream::connect(address).unwrap();
            third.write_all(REQUEST).unwrap();
            third.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let error = third.read(&mut [0; 1]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            third.set_read_timeout(None).unwrap();
            drop(holders);
            assert!(read_all(&mut third).starts_with("HTTP/1.1 200 OK"));
        });
    }

    #[test]
    fn an_idle_client_does_not_hold_up_the_stop() {
        let limits = Limits { connection_time: Duration::from_hours(1), ..LIMITS };
        let mut idle = None;
        serve(limits, |address| {
            let mut answered = TcpStream::connect(address).unwrap();
            idle = Some(TcpStream::connect(address).unwrap());
            answered.write_all(REQUEST).unwrap();
            assert!(read_all(&mut answered).ends_with("alive\n"));
        });
        assert_eq!(read_all(&mut idle.unwrap()), "");
    }

    /// An edition of right now, whose page has so many bytes.
    fn edition(bytes: usize) -> Edition {
        Edition {
            made: Clock::system().now(),
            status: "{}".into(),
            page: "x".repeat(bytes).into(),
            ..Edition::default()
        }
    }

    /// A stream that has begun: what it said so far.
    fn begin(address: SocketAddr, of: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("GET /api/v1/events?of={of} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let (mut said, mut bytes) = (String::new(), [0; 4096]);
        while !said.ends_with("\n\n\r\n") && !said.contains("503") {
            let read = stream.read(&mut bytes).unwrap();
            assert_ne!(read, 0, "{said}");
            said.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        (stream, said)
    }

    #[test]
    fn streams_have_a_bound_of_their_own_and_take_no_connections() {
        let connection_time = Duration::from_millis(100);
        let limits = Limits { connections: 1, streams: 2, connection_time, ..LIMITS };
        serve_editions(limits, |address, press, telemetry| {
            press.publish(edition(5));
            let (mut first, said) = begin(address, "status");
            assert!(said.contains("content-type: text/event-stream"), "{said}");
            assert!(said.contains("event: status\ndata: {}\n\n"), "{said}");
            let (second, said) = begin(address, "page");
            assert!(said.contains("event: page\ndata: \"xxxxx\"\n\n"), "{said}");
            assert!(begin(address, "page").1.starts_with("HTTP/1.1 503"));
            assert!(begin(address, "status").1.contains("retry-after: 10"));
            let counted = telemetry.render();
            let refused = counted.lines().find(|line| line.contains("cause=\"full\""));
            assert!(refused.unwrap().ends_with(" 2"), "{refused:?}");
            let mut other = TcpStream::connect(address).unwrap();
            other.write_all(REQUEST).unwrap();
            assert!(read_all(&mut other).ends_with("alive\n"));
            // It has lasted for longer than any other connection may.
            let clock = Clock::system();
            clock.sleep_until(clock.now() + connection_time * 2);
            press.publish(edition(5));
            let mut bytes = [0; 256];
            assert_ne!(first.read(&mut bytes).unwrap(), 0);
            drop(second);
            // Whoever leaves makes room.
            let until = clock.now() + Duration::from_secs(20);
            while begin(address, "page").1.starts_with("HTTP/1.1 503") {
                assert!(clock.now() < until, "no room");
                clock.sleep_until(clock.now() + Duration::from_millis(20));
            }
        });
    }

    #[test]
    fn a_reader_that_stands_still_is_cut_off_and_counted() {
        let limits = Limits { event_time: Duration::from_millis(100), ..LIMITS };
        serve_editions(limits, |address, press, telemetry| {
            press.publish(edition(5));
            let (mut stream, _) = begin(address, "page");
            let clock = Clock::system();
            let until = clock.now() + Duration::from_secs(20);
            let is_counted = || {
                let counted = telemetry.render();
                counted.lines().any(|it| it.contains("slow_reader") && it.ends_with(" 1"))
            };
            while !is_counted() {
                assert!(clock.now() < until, "{}", telemetry.render());
                press.publish(edition(1 << 20));
                clock.sleep_until(clock.now() + Duration::from_millis(20));
            }
            assert!(!read_all(&mut stream).ends_with("\n\n\r\n"), "it ends within an event");
        });
    }

    #[test]
    fn a_stream_does_not_hold_up_the_stop() {
        let mut stream = None;
        serve_editions(LIMITS, |address, press, _| {
            press.publish(edition(5));
            stream = Some(begin(address, "status").0);
        });
        assert!(read_all(&mut stream.unwrap()).ends_with("0\r\n\r\n"), "it ends in good order");
    }
}
