//! A TCP proxy whose connections break off in mid-packet.

use std::net::SocketAddr;

use landfall::shutdown::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Each connection ends after so many bytes from the broker, and the next one lives longer by as
/// many again, so that the last one lives long enough.
const LIFETIME_STEP: usize = 3_777;

/// Proxies a free port of this machine to `broker`.
pub(crate) async fn start(broker: SocketAddr, tasks: &Tasks) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let group = tasks.clone();
    tasks.spawn(async move {
        let mut lifetime = 0;
        while let Some(Ok((client, _))) = tokio::select! {
            accepted = listener.accept() => Some(accepted),
            () = group.stopped() => None,
        } {
            lifetime += LIFETIME_STEP;
            // One at a time: the bridge has one connection.
            tokio::select! {
                () = relay(client, broker, lifetime) => {}
                () = group.stopped() => {}
            }
        }
    });
    address
}

async fn relay(mut client: TcpStream, broker: SocketAddr, mut lifetime: usize) {
    let mut broker = TcpStream::connect(broker).await.unwrap();
    let (mut up, mut down) = (vec![0; 4_096], vec![0; 4_096]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(count @ 1..) => if broker.write_all(&up[..count]).await.is_err() { return },
                _ => return,
            },
            read = broker.read(&mut down) => match read {
                Ok(count @ 1..) => {
                    let passed = count.min(lifetime);
                    lifetime -= passed;
                    if client.write_all(&down[..passed]).await.is_err() || lifetime == 0 { return }
                }
                _ => return,
            },
        }
    }
}
