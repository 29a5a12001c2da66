//! The devices of the load, with both kinds of agents.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use packcast_protocol::UnixTime;
use packcast_testing::peer::Peer;
use rustls::ClientConfig;

use super::connection::Connection;
use super::system::{LoadedSystem, PACKAGES};

/// One of this many devices has a Packcast agent.
const EACH_PACKCAST: u32 = 4;

/// Devices that have been told of all packages.
#[derive(Debug)]
pub(super) struct Devices(Vec<LoadDevice>);

#[derive(Debug)]
struct LoadDevice {
    peer: Peer,
    /// The check-in of an OCS agent, which is always the same. `None` for a Packcast agent, which
    /// signs each one.
    check_in: Option<Request<Bytes>>,
}

impl Devices {
    pub(super) fn create(count: u32, system: &LoadedSystem) -> Self {
        let device = |number: u32| {
            let peer = if number.is_multiple_of(EACH_PACKCAST) {
                Peer::packcast_on(number, &format!("pc{number}"), system.trust())
            } else {
                Peer::ocs(number)
            };
            let check_in = peer.is_ocs().then(|| peer.check_in(&[], now()));
            LoadDevice { peer, check_in }
        };
        Self((0..count).map(device).collect())
    }

    /// Returns the check-in of the device with this number, modulo the number of devices.
    pub(super) fn check_in(&self, number: usize) -> Request<Bytes> {
        let device = &self.0[number % self.0.len()];
        let cached = device.check_in.clone();
        cached.unwrap_or_else(|| device.peer.check_in(&[], now()))
    }

    /// Lets each device check in until it has been told of all packages, and lacks nothing of the
    /// signed state.
    pub(super) async fn settle(
        &self,
        tls: &Arc<ClientConfig>,
        address: SocketAddr,
        connections: u32,
    ) {
        let size = self.0.len().div_ceil(connections as usize);
        let settled = self.0.chunks(size).map(async |devices| {
            let mut connection = Connection::open(tls, address).await;
            for device in devices {
                device.settle(&mut connection).await;
            }
        });
        join_all(settled).await;
    }
}

impl LoadDevice {
    async fn settle(&self, connection: &mut Connection) {
        loop {
            let request = self.peer.check_in(&[], now());
            let (status, body) = connection.send(request).await.expect("the edge answers");
            assert_eq!(status, StatusCode::OK, "{body:?}");
            let reply = self.peer.read_reply(&body);
            if reply.tasks.len() == PACKAGES as usize && !self.peer.asks_again() {
                return;
            }
        }
    }
}

fn now() -> UnixTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime(now.expect("the clock is past 1970").as_secs())
}
