//! Room `wire`: the bytes of a connection, encrypted or not. Never waits.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use native_tls::{HandshakeError, MidHandshakeTlsStream, TlsStream};

use super::Failure;
use super::tls::Tls;

/// What carries the bytes of a client.
#[derive(Debug)]
pub(super) enum Stream {
    /// As they are.
    Plain(TcpStream),
    /// Not yet: keys are still agreed upon.
    Shaking(MidHandshakeTlsStream<TcpStream>),
    /// Encrypted.
    Encrypted(TlsStream<TcpStream>),
}

impl Stream {
    /// Begins to encrypt a connection to `host`, or goes on with that.
    pub(super) fn encrypt(self, tls: &Tls, host: &str) -> Result<Self, Failure> {
        let name = tls.server_name.as_deref().unwrap_or(host);
        let shaken = match self {
            Self::Plain(tcp) => tls.connector.connect(name, tcp),
            Self::Shaking(shaking) => shaking.handshake(),
            Self::Encrypted(stream) => return Ok(Self::Encrypted(stream)),
        };
        match shaken {
            Ok(stream) => Ok(Self::Encrypted(stream)),
            Err(HandshakeError::WouldBlock(shaking)) => Ok(Self::Shaking(shaking)),
            Err(HandshakeError::Failure(error)) => Err(refused(&error.to_string(), name)),
        }
    }

    /// The socket.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Shaking(shaking) => shaking.get_ref(),
            Self::Encrypted(stream) => stream.get_ref(),
        }
    }

    /// Tells the peer that nothing more will be written.
    pub(super) fn close_for_writing(&mut self) {
        // Both fail only where the peer has closed the connection already.
        if let Self::Encrypted(stream) = self {
            let _ = stream.shutdown();
        }
        let _ = self.tcp().shutdown(Shutdown::Write);
    }

    pub(super) fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(space),
            Self::Shaking(_) => Err(io::ErrorKind::WouldBlock.into()),
            Self::Encrypted(stream) => stream.read(space),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Shaking(_) => Err(io::ErrorKind::WouldBlock.into()),
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    /// Whether it is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }

    /// Whether more was read from the socket than was asked for: nobody will say that it is there.
    pub(super) fn has_more(&self) -> bool {
        match self {
            Self::Encrypted(stream) => stream.buffered_read_size().is_ok_and(|size| size > 0),
            Self::Plain(_) | Self::Shaking(_) => false,
        }
    }
}

fn refused(why: &str, name: &str) -> Failure {
    let what = format!("no TLS with {name}: {why}");
    let to_do = if why.contains("certificate verify failed") {
        "check the broker's certificate, mqtt.tls.ca_file and mqtt.tls.server_name"
    } else {
        "check that the broker speaks TLS there, and which certificates it asks for"
    };
    Failure::new(what, to_do)
}
