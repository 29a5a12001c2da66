//! `packcast local`: the whole system on this machine.

use std::path::PathBuf;

use packcast_local::{Local, LocalOptions};
use packcast_publisher::{Failure, local};
use tracing_subscriber::EnvFilter;

use crate::output;
use crate::places;
use crate::secrets::FromPerson;

/// Run the whole system on this machine, until it is stopped with Ctrl-C
///
/// Records, objects, the check-in function and an HTTPS edge with a certificate authority of
/// its own, on loopback. The other commands work on it unless another target is named.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep everything in this folder
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Serve HTTPS on this port of 127.0.0.1; 0 takes a free one
    ///
    /// The default is the port of the last start. After a change, agents need the new address,
    /// and packages have to be activated again.
    #[arg(long)]
    port: Option<u16>,
}

impl Args {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let state_dir = match self.state {
            Some(folder) => folder,
            None => places::find()?.local(),
        };
        // Whoever finds the system running finds its key.
        let key = local::signing_key(&state_dir, &FromPerson)?;
        let options = LocalOptions {
            edge_port: self.port,
            ..LocalOptions::new(&state_dir)
        };
        let system = Local::start(options).await.map_err(Failure::failed)?;
        let state = system.state();
        output::data(&output::fields([
            ("server", format!("https://{}", state.edge)),
            ("authority", state.ca_file.display().to_string()),
            ("public key", key.public().to_string()),
            (
                "stock agents",
                format!("server=https://{}/ocsinventory/<token>", state.edge),
            ),
            ("tokens and state", state_dir.display().to_string()),
        ]));
        start_log();
        output::note("running; stop with Ctrl-C");
        tokio::signal::ctrl_c().await.map_err(Failure::failed)?;
        system.stop().await.map_err(Failure::failed)
    }
}

/// Says on standard error what the function refused and recorded; `RUST_LOG` chooses how much.
fn start_log() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,packcast_check_in=info"));
    // There is one already if the system runs inside another program.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Where colours are not wanted, the stream drops them, as it does of notes.
        .with_ansi(true)
        .with_writer(anstream::stderr)
        .try_init();
}
