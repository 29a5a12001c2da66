//! `packcast local`: the whole system on this machine.

use std::path::PathBuf;

use packcast_local::{Local, LocalOptions};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::keys::SigningKey;
use crate::output;
use crate::target::{Places, local_key_file};

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
            None => Places::find().map_err(Failure::failed)?.local(),
        };
        // Whoever finds the system running finds its key.
        let key = signing_key(&state_dir)?;
        let options = LocalOptions {
            edge_port: self.port,
            ..LocalOptions::new(&state_dir)
        };
        let local = Local::start(options).await.map_err(Failure::failed)?;
        let state = local.state();
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
        local.stop().await.map_err(Failure::failed)
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

/// Reads the key of a system on this machine, or makes it.
///
/// It is not encrypted: whoever can read the folder of such a system owns it anyway.
pub(crate) fn signing_key(state_dir: &std::path::Path) -> Result<SigningKey, Failure> {
    let file = local_key_file(state_dir);
    let key = if file.exists() {
        SigningKey::read(&file)
    } else {
        SigningKey::generate(&file, None)
    };
    key.map_err(super::keys::failure)
}
