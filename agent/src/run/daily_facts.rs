//! Daily facts: stated with a check-in, until a reply accepts them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use packcast_protocol::api::{DailyFacts, DeviceFacts};
use packcast_protocol::with_causes;

use super::Agent;
use crate::clock::now;
use crate::platform::{self, SystemName};
use crate::state::stated_facts::{NamesDigest, StatedFacts};

/// The time limit for the address of the server.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// An address of no network (RFC 5737), which selects the default route.
const ANYWHERE: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 443);

/// Facts that are due, with the names of which the agent remembers a digest.
pub(super) struct DueFacts {
    pub(super) facts: DailyFacts,
    names: NamesDigest,
}

impl Agent {
    /// Returns the daily facts if they are due.
    pub(super) async fn due_facts(&self, reported: &DeviceFacts) -> Option<DueFacts> {
        if self.facts_refused.get() {
            return None;
        }
        let system = platform::system_name();
        let names = names(reported, &system);
        let known = StatedFacts::load(&self.state).unwrap_or_else(|error| {
            let error = with_causes(&error);
            tracing::warn!(error, "cannot read the memory of the daily facts");
            None
        });
        if !StatedFacts::is_due(known.as_ref(), names, now()) {
            return None;
        }
        let address = self.own_address().await;
        let facts = crate::facts::collect(&system, address, self.config.site.as_ref());
        Some(DueFacts { facts, names })
    }

    /// Remembers that the function has the facts on record. Without this memory, the agent states
    /// them again.
    pub(super) fn facts_recorded(&self, due: &DueFacts) {
        let stated = StatedFacts {
            at: now(),
            names: due.names,
        };
        if let Err(error) = stated.store(&self.state) {
            let error = with_causes(&error);
            tracing::warn!(error, "cannot store the memory of the daily facts");
        }
    }

    /// Returns the address from which this device connects to the server, or to other networks if
    /// only a proxy knows the server.
    async fn own_address(&self) -> Option<IpAddr> {
        let peer = self.config.server.peer()?;
        let lookup = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host(peer));
        let found = lookup.await.ok().and_then(Result::ok);
        let peer = found.and_then(|mut found| found.next());
        route_from(peer.unwrap_or(ANYWHERE))
    }
}

/// Returns the address of this device on the route to a peer.
///
/// Connecting a UDP socket only selects the route: no packet is sent.
fn route_from(peer: SocketAddr) -> Option<IpAddr> {
    let any = if peer.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(peer).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

fn names(reported: &DeviceFacts, system: &SystemName) -> NamesDigest {
    NamesDigest::of(&[
        reported.host_name.as_str(),
        reported.agent.as_str(),
        reported.arch.as_str(),
        system.name.as_deref().unwrap_or_default(),
        system.version.as_deref().unwrap_or_default(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_to_this_machine_has_its_own_address() {
        let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
        assert_eq!(route_from(peer), Some(peer.ip()));
    }
}
