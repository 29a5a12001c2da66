//! Builds of the agent, and the packages that deploy them.

use std::path::{Path, PathBuf};

use packcast_tests::process::text;
use packcast_tests::world::World;

/// The package of each update.
pub(crate) const PACKAGE: &str = "packcast-agent";

/// Builds of the agent for updates.
#[derive(Clone, Debug)]
pub(crate) struct Builds {
    /// The version of the installed agent, with points at which it can end.
    pub(crate) with_points: PathBuf,
    /// A newer version, with points.
    pub(crate) newer: Build,
    /// A program that ends at once.
    pub(crate) broken: Build,
}

/// A build, with its version.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    pub(crate) program: PathBuf,
    pub(crate) version: &'static str,
}

impl Builds {
    pub(crate) fn new(with_points: PathBuf, newer: PathBuf, broken: PathBuf) -> Self {
        let build = |program, version| Build { program, version };
        Self {
            with_points,
            newer: build(newer, "999.1.0"),
            broken: build(broken, "999.2.0"),
        }
    }

    pub(crate) fn version(&self, is_broken: bool) -> &'static str {
        if is_broken {
            self.broken.version
        } else {
            self.newer.version
        }
    }
}

/// Publishes and activates an update.
pub(crate) fn publish(world: &World, build: &Build) {
    let file = format!("windows-x86_64={}", text(Path::new(&build.program)));
    world.ok(&[
        "publish-agent",
        &file,
        "--version",
        build.version,
        "--activate",
    ]);
}
