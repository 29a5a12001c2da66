//! The sockets of a console: both addresses of loopback, so that no other program of the machine can
//! answer in its place.
//!
//! Browsers look for names below `localhost` at `::1` and at `127.0.0.1`. If a console had only one of
//! them, another user could listen on the same port of the other, and would receive the token.

use std::io;
use std::iter;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};

use crate::ConsoleError;

/// The number of free ports that are tried.
const TRIES: usize = 16;

/// The sockets of a console, with the same port.
#[derive(Debug)]
pub(crate) struct Listeners {
    v4: TcpListener,
    /// `None` if the machine has no loopback of IPv6.
    v6: Option<TcpListener>,
    pub(crate) port: u16,
}

impl Listeners {
    /// Listens on a port of both addresses; 0 chooses a port that is free on both.
    pub(crate) async fn bind(port: u16) -> Result<Self, ConsoleError> {
        if port == 0 {
            Self::bind_first(iter::repeat_n(0, TRIES)).await
        } else {
            Self::bind_first([port]).await
        }
    }

    /// Listens on the first port that is free on both addresses.
    async fn bind_first(ports: impl IntoIterator<Item = u16>) -> Result<Self, ConsoleError> {
        let mut ports = ports.into_iter().peekable();
        loop {
            let port = ports.next().unwrap_or(0);
            match Self::bind_both(port).await {
                Err(ConsoleError::Listen { source, .. })
                    if source.kind() == io::ErrorKind::AddrInUse && ports.peek().is_some() => {}
                bound => return bound,
            }
        }
    }

    async fn bind_both(port: u16) -> Result<Self, ConsoleError> {
        let v4 = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        let port = v4
            .local_addr()
            .map_err(|source| ConsoleError::Listen {
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                source,
            })?
            .port();
        // A socket of the address ::1 receives no connections of IPv4.
        let v6 = match listen(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await {
            Ok(listener) => Some(listener),
            Err(ConsoleError::Listen { source, .. }) if is_without_v6(&source) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { v4, v6, port })
    }

    /// Accepts a connection to one of the addresses.
    pub(crate) async fn accept(&self) -> io::Result<TcpStream> {
        let v6 = async {
            match &self.v6 {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let (stream, _) = tokio::select! {
            accepted = self.v4.accept() => accepted?,
            accepted = v6 => accepted?,
        };
        Ok(stream)
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ConsoleError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| ConsoleError::Listen { address, source })
}

/// Returns true if the machine has no loopback of IPv6, so that nobody else can listen on it either.
fn is_without_v6(error: &io::Error) -> bool {
    // `EAFNOSUPPORT`, which the standard library does not name.
    const NO_FAMILY: i32 = if cfg!(windows) {
        10_047
    } else if cfg!(target_os = "linux") {
        97
    } else {
        47
    };
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(NO_FAMILY)
}

#[cfg(test)]
mod tests {
    use packcast_testing::skip::{Missing, skip};

    use super::*;

    /// Returns a listener on loopback of IPv6; `None` on a machine without it.
    async fn other_user() -> Option<TcpListener> {
        match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await {
            Ok(listener) => Some(listener),
            Err(error) if is_without_v6(&error) => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn a_port_that_another_program_has_on_ipv6_is_refused() {
        let Some(other) = other_user().await else {
            return skip(Missing::Optional("a loopback of IPv6"));
        };
        let port = other.local_addr().unwrap().port();
        let refused = Listeners::bind(port).await.unwrap_err();
        assert!(
            matches!(&refused, ConsoleError::Listen { address, source }
                if address.is_ipv6() && source.kind() == io::ErrorKind::AddrInUse),
            "{refused:?}"
        );
        // A console that chooses its port takes another.
        let bound = Listeners::bind_first([port, 0]).await.unwrap();
        assert_ne!(bound.port, port);
        assert!(bound.v6.is_some());
    }

    #[tokio::test]
    async fn nobody_can_listen_beside_a_console() {
        let bound = Listeners::bind(0).await.unwrap();
        for address in [
            SocketAddr::from((Ipv4Addr::LOCALHOST, bound.port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, bound.port)),
        ] {
            let taken = TcpListener::bind(address).await.unwrap_err();
            assert!(
                taken.kind() == io::ErrorKind::AddrInUse || is_without_v6(&taken),
                "{address}: {taken}"
            );
        }
    }
}
