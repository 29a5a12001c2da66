//! A device with a stock agent, played by its requests.

use packcast_https::{Clients, Route};
use packcast_protocol::PackageId;
use packcast_protocol::ocs::envelope::{Coding, seal};
use tokio::runtime::Runtime;

use crate::world::World;

/// What the agent calls itself.
const UNIX_AGENT: &str = "OCS-NG_unified_unix_agent_v2.10.0";

/// A stock agent that says only what it is told to say, and does nothing.
#[derive(Debug)]
pub struct OcsDevice {
    /// The DEVICEID.
    name: String,
    server: String,
    clients: Clients,
    runtime: Runtime,
}

impl OcsDevice {
    /// Returns a device with this host name, which has not been in contact yet.
    pub fn new(world: &World, host_name: &str) -> Self {
        let state = world.state();
        let token = state.ocs_path_token.reveal();
        let clients = Clients::new(Some(&state.ca_file), UNIX_AGENT, Route::Loopback);
        Self {
            name: format!("{host_name}-2026-03-04-05-06-07"),
            server: format!("https://{}/ocsinventory/{token}", state.edge),
            clients: clients.expect("the edge's authority can be read"),
            runtime: Runtime::new().expect("a runtime can be made"),
        }
    }

    /// Returns the device's id as commands take it.
    pub fn id(&self) -> String {
        format!("ocs:{}", self.name)
    }

    /// Contacts the server, and is told what there is for it.
    pub fn contact(&self) {
        let name = &self.name;
        self.post(&format!(
            "<REQUEST><DEVICEID>{name}</DEVICEID><QUERY>PROLOG</QUERY></REQUEST>"
        ));
    }

    /// Says that these packages are in its history.
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

    /// Reports what became of a package.
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
