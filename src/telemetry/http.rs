//! Room `telemetry`: the HTTP server.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Json};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::shutdown::Tasks;

use super::health::Health;
use super::recorder::Telemetry;

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
}

const LIMITS: Limits = Limits { connections: 64, connection_time: Duration::from_secs(10) };

/// Content type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const NO_STORE: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

const INDEX: &str = r#"<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>landfall</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{font:16px/1.6 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}</style>
</head>
<body>
<h1>landfall</h1>
<ul>
<li><a href="/metrics">/metrics</a>: Prometheus metrics</li>
<li><a href="/readyz">/readyz</a>: whether every system is connected</li>
<li><a href="/livez">/livez</a>: whether the process is alive</li>
<li><a href="/api/v1/status">/api/v1/status</a>: status as JSON</li>
</ul>
</body>
</html>
"#;

/// What the server's pages are made of.
#[derive(Clone)]
pub struct Pages {
    /// For `/metrics`.
    pub telemetry: Telemetry,
    /// For `/livez` and `/readyz`.
    pub health: Health,
    /// For `/api/v1/status`: a JSON document, sent as it is.
    pub status: watch::Receiver<Arc<str>>,
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
        let router = router(self.pages);
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
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = timeout(time, connection.as_mut()) => {}
        () = tasks.stopped() => {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(STOP_TIME_MAX, connection).await;
        }
    }
    drop(permit);
}

fn router(pages: Pages) -> Router {
    Router::new()
        .route("/", get(async || Html(INDEX)))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/api/v1/status", get(status))
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

async fn status(State(pages): State<Pages>) -> impl IntoResponse {
    let document = Arc::clone(&pages.status.borrow());
    ([(header::CONTENT_TYPE, "application/json"), NO_STORE], document.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::super::Build;
    use super::*;
    use crate::correlate::Roster;

    const REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

    /// Runs a server with these limits while `client` talks to it.
    fn serve(limits: Limits, client: impl FnOnce(SocketAddr)) {
        let clock = Clock::system();
        let build = Build { version: "0".into(), commit: String::new() };
        let pages = Pages {
            telemetry: Telemetry::new(&Roster::default(), &build, None),
            health: Health::new(clock.now(), &[]),
            status: watch::channel("{}".into()).1,
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
        client(address);
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
        let limits = Limits { connections: 2, connection_time: Duration::from_mins(1) };
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
}
