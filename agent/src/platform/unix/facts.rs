//! Facts about the machine and its system, on Linux and macOS.

use crate::platform::facts::{FoundFacts, SystemName};

#[cfg(target_os = "linux")]
pub(crate) use self::linux::{found_facts, system_name};
#[cfg(not(target_os = "linux"))]
pub(crate) use self::macos::{found_facts, system_name};

/// Returns the time zone to which `/etc/localtime` leads.
fn time_zone() -> Option<String> {
    let zone = std::fs::read_link("/etc/localtime").ok()?;
    zone_of(zone.to_str()?).map(str::to_owned)
}

fn zone_of(path: &str) -> Option<&str> {
    let (_, zone) = path.split_once("zoneinfo/")?;
    Some(zone).filter(|zone| !zone.is_empty())
}

/// Returns the domain of a host name, or the first domain in which names are searched.
fn domain(host_name: &str, resolver: &str) -> Option<String> {
    let of_name = host_name.split_once('.').map(|(_, domain)| domain);
    let searched = || {
        let mut lines = resolver.lines().map(str::split_whitespace);
        lines.find_map(|mut words| match words.next() {
            Some("domain" | "search") => words.next(),
            _ => None,
        })
    };
    let domain = of_name.or_else(searched)?.trim_matches('.');
    (!domain.is_empty()).then(|| domain.to_owned())
}

/// Reads a small text file of the system.
fn text(path: &str) -> Option<String> {
    use std::io::Read as _;
    const MAX_BYTES: u64 = 256 << 10;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use super::super::mount_point;
    use super::{FoundFacts, SystemName, domain, text, time_zone};
    use crate::platform::facts::{model, rounded_memory};

    /// File systems on disks of the machine. Others may be on a network, and block the agent.
    const ON_DISKS: [&str; 11] = [
        "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "reiserfs", "xfs",
        "zfs",
    ];

    /// Returns the operating system: the distribution, or the kernel if no distribution is named.
    pub(crate) fn system_name() -> SystemName {
        let release = text("/etc/os-release").or_else(|| text("/usr/lib/os-release"));
        let found = distribution(&release.unwrap_or_default());
        if found.name.is_some() {
            return found;
        }
        let kernel = rustix::system::uname();
        SystemName {
            name: Some(kernel.sysname().to_string_lossy().into_owned()),
            version: Some(kernel.release().to_string_lossy().into_owned()),
        }
    }

    pub(crate) fn found_facts() -> FoundFacts {
        let dmi = |name: &str| text(&format!("/sys/class/dmi/id/{name}"));
        let board = text("/proc/device-tree/model");
        let product =
            dmi("product_name").or_else(|| Some(board?.trim_end_matches('\0').to_owned()));
        let (vendor, version) = (dmi("sys_vendor"), dmi("product_version"));
        let resolver = text("/etc/resolv.conf").unwrap_or_default();
        FoundFacts {
            domain: domain(&crate::platform::host_name(), &resolver),
            model: model(vendor.as_deref(), product.as_deref(), version.as_deref()),
            memory_mib: memory(&text("/proc/meminfo").unwrap_or_default()),
            time_zone: time_zone()
                .or_else(|| text("/etc/timezone").map(|zone| zone.trim().to_owned())),
            volumes: volumes(
                &text("/proc/self/mountinfo").unwrap_or_default(),
                Path::is_dir,
            ),
        }
    }

    /// Reads name and version from `os-release`.
    fn distribution(release: &str) -> SystemName {
        let value = |name: &str| {
            let mut lines = release.lines();
            let value = lines.find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
            let value = unquoted(value.trim());
            (!value.is_empty()).then_some(value)
        };
        SystemName {
            name: value("NAME"),
            version: value("VERSION").or_else(|| value("VERSION_ID")),
        }
    }

    /// Returns a value of a shell's assignment without its quotes.
    fn unquoted(value: &str) -> String {
        let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
        match (inner('"'), inner('\'')) {
            (Some(inner), _) => {
                let mut text = String::new();
                let mut signs = inner.chars();
                while let Some(sign) = signs.next() {
                    text.extend(if sign == '\\' {
                        signs.next()
                    } else {
                        Some(sign)
                    });
                }
                text
            }
            (None, Some(inner)) => inner.to_owned(),
            (None, None) => value.to_owned(),
        }
    }

    fn memory(meminfo: &str) -> Option<u32> {
        let total = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = total.split_whitespace().next()?.parse().ok()?;
        rounded_memory(kib.saturating_mul(1024))
    }

    /// Returns the mount points of volumes on disks, each volume once, the shortest path first. The
    /// root is always a volume.
    fn volumes(mountinfo: &str, is_folder: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        let mut by_device: BTreeMap<&str, PathBuf> = BTreeMap::new();
        for line in mountinfo.lines() {
            let (Some(device), Some(point)) = (line.split(' ').nth(2), mount_point(line)) else {
                continue;
            };
            let kind = line
                .split_once(" - ")
                .and_then(|(_, rest)| rest.split(' ').next());
            let on_disk = kind.is_some_and(|kind| ON_DISKS.contains(&kind));
            // Containers have files of their host as mount points.
            if !(on_disk || point == Path::new("/")) || !is_folder(&point) {
                continue;
            }
            let length = |path: &PathBuf| path.as_os_str().len();
            match by_device.get_mut(device) {
                Some(known) if length(known) > length(&point) => *known = point,
                Some(_) => {}
                None => {
                    by_device.insert(device, point);
                }
            }
        }
        let mut volumes: Vec<PathBuf> = by_device.into_values().collect();
        volumes.sort_by_cached_key(|path| (path.as_os_str().len(), path.clone()));
        volumes
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_distribution_has_a_name_and_a_version() {
            let check = |release: &str, name: Option<&str>, version: Option<&str>| {
                let found = distribution(release);
                let found = (found.name.as_deref(), found.version.as_deref());
                assert_eq!(found, (name, version), "{release}");
            };
            check(
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\n",
                Some("Debian GNU/Linux"),
                Some("12 (bookworm)"),
            );
            check("NAME=Fedora\nVERSION_ID=41\n", Some("Fedora"), Some("41"));
            check("NAME='Arch Linux'\nVERSION=\"\"", Some("Arch Linux"), None);
            check("NAME=\"a \\\"b\\\" \\$c\"", Some("a \"b\" $c"), None);
            check("ID=x\nNAMES=y", None, None);
        }

        #[test]
        fn each_volume_counts_once_and_network_volumes_never() {
            let mounts = "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n\
                23 22 0:21 / /proc rw - proc proc rw\n\
                24 22 0:30 / /srv/nfs rw - nfs4 server:/x rw\n\
                25 22 254:2 /log /var/log\\040old rw - xfs /dev/vdb rw\n\
                26 22 254:2 / /var rw - xfs /dev/vdb rw\n\
                27 22 254:3 /hosts /etc/hosts rw - ext4 /dev/vdc rw\n\
                28 22 0:40 / /run rw - tmpfs tmpfs rw\n\
                cut\n";
            let found = volumes(mounts, |path| path != Path::new("/etc/hosts"));
            assert_eq!(found, [Path::new("/"), Path::new("/var")]);
            let container = "22 1 0:50 / / rw - overlay overlay rw\n";
            assert_eq!(volumes(container, |_| true), [Path::new("/")]);
            assert!(volumes("", |_| true).is_empty());
        }

        #[test]
        fn memory_is_the_total() {
            let meminfo = "MemTotal:       16318480 kB\nMemFree:         9318480 kB\n";
            assert_eq!(memory(meminfo), Some(15_936));
            assert_eq!(memory("MemTotal: lots"), None);
            assert_eq!(memory(""), None);
        }

        #[test]
        fn this_machine_has_facts() {
            let found = found_facts();
            assert_eq!(
                found.volumes.first().map(PathBuf::as_path),
                Some(Path::new("/"))
            );
            assert!(found.memory_mib.is_some());
            assert!(system_name().name.is_some());
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod macos {
    use std::path::PathBuf;
    use std::process::Command;
    use std::sync::OnceLock;

    use super::{FoundFacts, SystemName, domain, text, time_zone};
    use crate::platform::facts::{model, rounded_memory};

    /// Returns the operating system. It changes with a restart only, so it is read once.
    pub(crate) fn system_name() -> SystemName {
        static NAME: OnceLock<SystemName> = OnceLock::new();
        let read = || SystemName {
            name: printed("/usr/bin/sw_vers", &["-productName"]),
            version: printed("/usr/bin/sw_vers", &["-productVersion"]),
        };
        NAME.get_or_init(read).clone()
    }

    pub(crate) fn found_facts() -> FoundFacts {
        let shown = |name: &str| printed("/usr/sbin/sysctl", &["-n", name]);
        let resolver = text("/etc/resolv.conf").unwrap_or_default();
        FoundFacts {
            domain: domain(&crate::platform::host_name(), &resolver),
            model: model(Some("Apple"), shown("hw.model").as_deref(), None),
            memory_mib: shown("hw.memsize").and_then(|bytes| rounded_memory(bytes.parse().ok()?)),
            time_zone: time_zone(),
            // The volumes of a disk share their free space.
            volumes: vec![PathBuf::from("/")],
        }
    }

    /// Returns the first line that a program prints.
    fn printed(program: &str, arguments: &[&str]) -> Option<String> {
        let output = Command::new(program).args(arguments).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().next()?.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_the_time_zone() {
        assert_eq!(
            zone_of("/usr/share/zoneinfo/Europe/Zurich"),
            Some("Europe/Zurich")
        );
        assert_eq!(zone_of("../usr/share/zoneinfo/UTC"), Some("UTC"));
        assert_eq!(zone_of("/usr/share/zoneinfo/"), None);
        assert_eq!(zone_of("/etc/zone"), None);
    }

    #[test]
    fn a_host_name_or_the_resolver_has_the_domain() {
        let resolver = "# comment\nnameserver 192.0.2.1\nsearch branch.example example\n";
        let check = |host: &str, resolver: &str, expected: Option<&str>| {
            assert_eq!(domain(host, resolver).as_deref(), expected, "{host}");
        };
        check("web01.dmz.example", resolver, Some("dmz.example"));
        check("web01", resolver, Some("branch.example"));
        check("web01", "domain lan.\n", Some("lan"));
        check("web01", "search\nsearch .\n", None);
        check("web01.", "", None);
    }
}
