//! A device with an OCS agent, simulated by its requests.

use packcast_https::{Clients, Route};
use packcast_protocol::PackageId;
use packcast_protocol::ocs::envelope::{Coding, seal};
use tokio::runtime::Runtime;

use crate::world::World;

/// The user agent of the Unix agent.
const UNIX_AGENT: &str = "OCS-NG_unified_unix_agent_v2.10.0";

/// An OCS agent that sends only the requests that a test asks for.
#[derive(Debug)]
pub struct OcsDevice {
    /// The DEVICEID.
    name: String,
    server: String,
    clients: Clients,
    runtime: Runtime,
}

impl OcsDevice {
    /// Returns a device with this host name, which has not checked in yet.
    pub fn new(world: &World, host_name: &str) -> Self {
        let state = world.state();
        let token = state.ocs_path_token.reveal();
        let clients = Clients::new(Some(&state.ca_file), UNIX_AGENT, Route::Loopback);
        Self {
            name: format!("{host_name}-2026-03-04-05-06-07"),
            server: format!("https://{}/ocsinventory/{token}", state.edge),
            clients: clients.expect("the edge's authority can be read"),
            runtime: Runtime::new().expect("a runtime can be created"),
        }
    }

    /// Returns the device id in the form that commands accept.
    pub fn id(&self) -> String {
        format!("ocs:{}", self.name)
    }

    /// Checks in, which announces the device's tasks.
    pub fn check_in(&self) {
        let name = &self.name;
        self.post(&format!(
            "<REQUEST><DEVICEID>{name}</DEVICEID><QUERY>PROLOG</QUERY></REQUEST>"
        ));
    }

    /// Sends an inventory with these packages in its package history.
    pub fn inventory(&self, history: &[PackageId]) {
        let name = &self.name;
        let packages: String = history
            .iter()
            .map(|id| format!("<PACKAGE ID=\"{id}\" />"))
            .collect();
        self.post(&format!(
            "<REQUEST><CONTENT><DOWNLOAD><HISTORY>{packages}</HISTORY></DOWNLOAD></CONTENT><DEVICEID>{name}</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>"
        ));
    }

    /// Reports the result of a package.
    pub fn report(&self, package: PackageId, code: &str) {
        let name = &self.name;
        self.post(&format!(
            "<REQUEST DEVICEID=\"{name}\" ERR=\"{code}\" ID=\"{package}\" QUERY=\"DOWNLOAD\" />"
        ));
    }

    fn post(&self, document: &str) {
        let body = seal(Coding::Zlib, document.as_bytes());
        let request = self.clients.api.post(&self.server).body(body);
        let answer = self.runtime.block_on(async { request.send().await });
        let answer = answer.expect("the edge answers");
        assert_eq!(answer.status().as_u16(), 200, "{document}");
    }
}
