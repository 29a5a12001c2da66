//! `packcast local`: runs the whole system on this machine.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_agent::log_writer::HarmlessLog;
use packcast_local::{Local, LocalOptions, LocalState};
use packcast_protocol::signature::PublicKey;
use packcast_publisher::{Failure, Warning, local};
use tracing_subscriber::EnvFilter;

use crate::places;
use crate::secrets::FromPerson;
use crate::{local_target, output};

/// Run the whole system on this machine until Ctrl-C
///
/// Runs the table, the objects, the check-in function, and an HTTPS server on 127.0.0.1 with its
/// own certificate authority. The other commands use this system unless --target names another.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast local
  packcast local --state /srv/packcast --port 8443")]
pub(crate) struct Args {
    /// Keep all files in this folder
    ///
    /// The default is a folder in your user's state directory. The other commands find the system
    /// only in the default folder.
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Serve HTTPS on this port of 127.0.0.1; 0 chooses a free port
    ///
    /// The default is the port of the previous run. After a change, configure the new address on
    /// the agents, and activate the packages again.
    #[arg(long)]
    port: Option<u16>,
}

impl Args {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let state_dir = match self.state {
            Some(folder) => folder,
            None => places::find()?.local(),
        };
        // The key is created before the system starts, so that every command finds both.
        let key = Arc::new(local::signing_key(&state_dir, &FromPerson::default())?);
        let options = LocalOptions {
            edge_port: self.port,
            ..LocalOptions::new(&state_dir, local::trust(&state_dir)?)
        };
        let system = Local::start(options).await.map_err(Failure::failed)?;
        let state = system.state();
        let target =
            local_target::of(state.clone(), &state_dir, Arc::new(FromPerson::default())).await;
        let committed = local_target::commit_location(&target, state.edge, Arc::clone(&key)).await;
        // The system runs nevertheless: commands say what has to be done.
        if let Err(failure) = committed {
            output::warn(&[no_location(&failure)]);
        }
        output::data(&text(state, key.public(), &state_dir));
        start_log();
        output::note("running; stop with Ctrl-C");
        stop_signal().await.map_err(Failure::failed)?;
        system.stop().await.map_err(Failure::failed)
    }
}

/// Waits for Ctrl-C and, on Unix, for SIGTERM and SIGHUP.
#[cfg(unix)]
pub(super) async fn stop_signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub(super) async fn stop_signal() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

fn no_location(failure: &Failure) -> Warning {
    Warning::new(format!(
        "cannot add the location of this system to the signed state: {failure}"
    ))
}

fn text(state: &LocalState, key: &PublicKey, state_dir: &Path) -> String {
    output::fields([
        ("server", format!("https://{}", state.edge)),
        ("CA certificate", state.ca_file.display().to_string()),
        ("public key", key.to_string()),
        (
            "OCS agents",
            format!("server=https://{}/ocsinventory/<token>", state.edge),
        ),
        ("tokens and state", state_dir.display().to_string()),
    ])
}

/// Starts the log of refused and recorded requests on standard error; `RUST_LOG` sets the level.
///
/// The engine logs each refused transaction as a warning, but a refusal is a regular answer.
fn start_log() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,dynoxide=off,packcast_check_in=info"));
    // A subscriber exists already if the system runs inside another program, such as a test.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // `anstream` removes the colours if standard error is not a terminal.
        .with_ansi(true)
        .with_target(false)
        .with_writer(|| HarmlessLog(anstream::stderr()))
        .try_init();
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::fixtures::{self, KEY};

    #[test]
    fn the_addresses_of_the_running_system_are_printed() {
        let state = fixtures::read(json!({
            "pid": 1,
            "edge": "127.0.0.1:8443",
            "endpoint": "http://127.0.0.1:8000",
            "table": "packcast",
            "objects_dir": "/srv/packcast/objects",
            "prefix": "d",
            "ca_file": "/srv/packcast/ca.pem",
            "enrolment_token_file": "/srv/packcast/enrolment-token",
            "enrolment_token": "abcdefghijklmnop",
            "ocs_path_token": "abcdefghijklmnop",
            "edge_log": "/srv/packcast/edge.log",
        }));
        let text = text(&state, &KEY.parse().unwrap(), Path::new("/srv/packcast"));
        assert_snapshot!(text, @"
        server            https://127.0.0.1:8443
        CA certificate    /srv/packcast/ca.pem
        public key        RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        OCS agents        server=https://127.0.0.1:8443/ocsinventory/<token>
        tokens and state  /srv/packcast
        ");
        let failure = Failure::failed("the newest key list has expired").hint("renew the list");
        assert_snapshot!(no_location(&failure), @"
        warning: cannot add the location of this system to the signed state: the newest key list has expired
          hint: renew the list
        ");
    }
}
