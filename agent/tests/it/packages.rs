//! The content of the packages in the stories.
#![cfg(unix)]

use packcast_protocol::{Action, Sha256Digest};

use crate::archives::Tar;
use crate::lab::Package;

pub(crate) fn launch(command: &str) -> Action<()> {
    Action::Launch {
        archive: (),
        command: command.parse().unwrap(),
    }
}

pub(crate) fn execute(command: &str) -> Action<()> {
    Action::Execute {
        archive: None,
        command: command.parse().unwrap(),
    }
}

pub(crate) fn package(id: u32, archive: Option<Tar>) -> Package {
    Package {
        id,
        archive: archive.map(Tar::gz),
        change: |_| {},
    }
}

pub(crate) fn script(text: &str) -> Tar {
    Tar::new()
        .program("run.sh", text)
        .file("data", &noise(6000))
}

/// Returns incompressible bytes, so that the archive has several fragments.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(32))
        .flat_map(|n| *Sha256Digest::of(&n.to_le_bytes()).as_bytes())
        .collect()
}
