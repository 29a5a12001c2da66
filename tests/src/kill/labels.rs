//! Names of the objects that effects change, equal for every device and in every run.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use packcast_protocol::{PackageId, Sha256Digest};

use super::effect::EffectTarget;

/// A file whose temporary files have a random part in their names, and the suffix of those names.
const MADE_ONCE: (&str, &str) = ("identity", ".new");

/// The beginning of the names of cgroups.
const CGROUP: &str = "packcast-";

/// The beginnings of names that end with an id or a digest: the folder of a target's state, and the
/// files of its documents.
const TARGET_FILES: [&str; 2] = ["target-", "document-"];

/// The end of the names of temporary files.
const TEMPORARY: &str = ".new";

/// Names for the objects of one device.
#[derive(Debug)]
pub(super) struct Labels<'a> {
    /// The folder of the device.
    folder: PathBuf,
    packages: &'a BTreeMap<PackageId, &'static str>,
}

impl<'a> Labels<'a> {
    pub(super) fn new(folder: &Path, packages: &'a BTreeMap<PackageId, &'static str>) -> Self {
        Self {
            folder: folder.to_owned(),
            packages,
        }
    }

    pub(super) fn name(&self, object: &EffectTarget) -> String {
        match object {
            EffectTarget::Path(path) => self.path(path),
            EffectTarget::Connection(number) => format!("connection-{number}"),
            EffectTarget::Program => "program".to_owned(),
        }
    }

    /// Names a path relative to the device's folder, with packages by name, and temporary files
    /// without their random parts.
    pub(super) fn path(&self, path: &Path) -> String {
        let within = path.strip_prefix(&self.folder).unwrap_or(path);
        let names = within.components().map(|name| self.component(name));
        names.collect::<Vec<_>>().join("/")
    }

    fn component(&self, component: Component<'_>) -> String {
        let name = component.as_os_str().to_string_lossy();
        let (made, temporary) = MADE_ONCE;
        if let Some(name) = self.cgroup(&name).or_else(|| target_file(&name)) {
            return name;
        }
        // A version of the agent. Each system has builds of its own.
        if name.parse::<Sha256Digest>().is_ok() {
            return "version".to_owned();
        }
        let package = name.parse().ok().and_then(|id| self.packages.get(&id));
        match package {
            Some(package) => (*package).to_owned(),
            None if name.starts_with(made) && name.ends_with(temporary) => {
                format!("{made}{temporary}")
            }
            None => name.into_owned(),
        }
    }
}

impl Labels<'_> {
    /// Names the cgroup of a package's program, without the digest of the device's folder.
    fn cgroup(&self, name: &str) -> Option<String> {
        let (_, package) = name.strip_prefix(CGROUP)?.split_once('-')?;
        let package = self.packages.get(&package.parse().ok()?)?;
        Some(format!("{CGROUP}{package}"))
    }
}

/// Names a part of the signed state without the id of the target and the digest of the document.
///
/// Each system has a target of its own, and other commits.
fn target_file(name: &str) -> Option<String> {
    let begins = |kind: &&&str| name.starts_with(**kind);
    let kind = TARGET_FILES.iter().find(begins)?;
    let temporary = if name.ends_with(TEMPORARY) {
        TEMPORARY
    } else {
        ""
    };
    Some(format!("{}{temporary}", kind.trim_end_matches('-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_depend_on_the_device_or_the_run() {
        let packages = BTreeMap::from([("1795000000".parse().unwrap(), "tool")]);
        let labels = Labels::new(Path::new("/d/7"), &packages);
        let check = |path: &str, expected: &str| assert_eq!(labels.path(path.as_ref()), expected);
        check(
            "/d/7/state/packages/1795000000/journal.json",
            "state/packages/tool/journal.json",
        );
        check("/d/7/state/identity.Ab12cd.new", "state/identity.new");
        check("/d/7/state/pass.new", "state/pass.new");
        check("/d/7/state/1795000001", "state/1795000001");
        check("/d/7/state/target-aeaq/state", "state/target/state");
        check(
            "/d/7/state/target-aeaq/document-5c7b.new",
            "state/target/document.new",
        );
        let version = format!("/d/7/state/versions/{}", "5c".repeat(32));
        check(&version, "state/versions/version");
        check("/etc/x", "//etc/x");
        check("/c/packcast-5c7b0011-1795000000/x", "//c/packcast-tool/x");
    }
}
