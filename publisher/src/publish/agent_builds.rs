//! Packs builds of the Packcast agent, one for each platform, into the archive of an update.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use packcast_protocol::agent_build::{AGENT_PACKAGE, BuildPlatform};
use packcast_protocol::manifest::Platform;

use super::pack::Files;
use super::source::{Source, SourceError};
use crate::failure::Failure;

/// A build of the agent.
#[derive(Clone, Debug)]
pub struct AgentBuild {
    pub path: PathBuf,
    /// `None` if the header of the program names its platform.
    pub platform: Option<BuildPlatform>,
}

/// Errors from packing builds.
#[derive(Debug, thiserror::Error)]
pub enum AgentBuildsError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "cannot tell the platform of {}: expected a program for Linux, Windows or macOS, or PLATFORM=FILE such as linux-x86_64=FILE",
        path.display()
    )]
    UnknownPlatform { path: PathBuf },
    #[error("{} and {} are both for {platform}: pass one file for each platform", first.display(), second.display())]
    SamePlatform {
        first: PathBuf,
        second: PathBuf,
        platform: BuildPlatform,
    },
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl From<AgentBuildsError> for Failure {
    fn from(error: AgentBuildsError) -> Self {
        match error {
            AgentBuildsError::Source(error) => error.into(),
            AgentBuildsError::UnknownPlatform { .. } | AgentBuildsError::SamePlatform { .. } => {
                Self::usage(error)
            }
            AgentBuildsError::Read { .. } => Self::failed(error),
        }
    }
}

/// Collects builds for one archive: `<platform>/packcast-agent`, with `.exe` for Windows.
///
/// Returns the files with the operating system of all builds, or [`Platform::Any`] if they are for
/// several. One archive for all platforms is one package, so one rollout covers a mixed fleet.
pub fn collect_builds(builds: &[AgentBuild]) -> Result<(Source, Platform), AgentBuildsError> {
    let mut known: Vec<(BuildPlatform, &Path)> = Vec::new();
    for AgentBuild { path, platform } in builds {
        let platform = match platform {
            Some(platform) => platform.clone(),
            None => platform_of(path)?,
        };
        if let Some((_, first)) = known.iter().find(|(other, _)| *other == platform) {
            return Err(AgentBuildsError::SamePlatform {
                first: (*first).to_owned(),
                second: path.clone(),
                platform,
            });
        }
        known.push((platform, path));
    }
    let systems = known.iter().map(|(platform, _)| system(platform));
    let common = common(systems);
    let mut programs: Vec<_> = known
        .iter()
        .map(|(platform, path)| (platform.path(), *path))
        .collect();
    programs.sort_unstable();
    let files = Files::programs(&programs).map_err(SourceError::from)?;
    let source = Source::of_files(Path::new(AGENT_PACKAGE), files, Platform::Any);
    Ok((source, common))
}

fn system(platform: &BuildPlatform) -> Platform {
    match platform.system() {
        "linux" => Platform::Linux,
        "windows" => Platform::Windows,
        "macos" => Platform::Macos,
        _ => Platform::Any,
    }
}

/// Returns the system of all builds, or [`Platform::Any`].
fn common(mut systems: impl Iterator<Item = Platform>) -> Platform {
    let first = systems.next().unwrap_or_default();
    if systems.all(|other| other == first) {
        first
    } else {
        Platform::Any
    }
}

fn platform_of(path: &Path) -> Result<BuildPlatform, AgentBuildsError> {
    let read = |source| AgentBuildsError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(read)?;
    let mut head = Vec::new();
    (&mut file).take(64).read_to_end(&mut head).map_err(read)?;
    let mut portable = Vec::new();
    if let Some(at) = portable_header(&head) {
        file.seek(SeekFrom::Start(at.into())).map_err(read)?;
        file.take(6).read_to_end(&mut portable).map_err(read)?;
    }
    let name = platform_in(&head, &portable);
    name.and_then(|name| name.parse().ok())
        .ok_or_else(|| AgentBuildsError::UnknownPlatform {
            path: path.to_owned(),
        })
}

/// Returns the position of the second header of a Windows program.
fn portable_header(head: &[u8]) -> Option<u32> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let field = head.get(0x3C..0x40)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

/// Returns the platform that the headers of a program name.
fn platform_in(head: &[u8], portable: &[u8]) -> Option<&'static str> {
    match (head, portable) {
        ([0x7F, b'E', b'L', b'F', 2, 1, ..], _) => match head.get(18..20)? {
            [0x3E, 0] => Some("linux-x86_64"),
            [0xB7, 0] => Some("linux-aarch64"),
            _ => None,
        },
        (_, [b'P', b'E', 0, 0, 0x64, 0x86]) => Some("windows-x86_64"),
        (_, [b'P', b'E', 0, 0, 0x64, 0xAA]) => Some("windows-aarch64"),
        ([0xCF, 0xFA, 0xED, 0xFE, 7, 0, 0, 1, ..], _) => Some("macos-x86_64"),
        ([0xCF, 0xFA, 0xED, 0xFE, 0x0C, 0, 0, 1, ..], _) => Some("macos-aarch64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::rendered::converted;

    fn elf(machine: u8) -> Vec<u8> {
        let mut head = vec![0; 64];
        head[..6].copy_from_slice(&[0x7F, b'E', b'L', b'F', 2, 1]);
        head[18] = machine;
        head
    }

    fn windows(machine: [u8; 2]) -> Vec<u8> {
        let mut head = vec![0; 0x86];
        head[..2].copy_from_slice(b"MZ");
        head[0x3C] = 0x80;
        head[0x80..0x84].copy_from_slice(b"PE\0\0");
        head[0x84..].copy_from_slice(&machine);
        head
    }

    #[test]
    fn the_header_of_a_program_names_its_platform() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let check = |content: &[u8], expected: Option<&str>| {
            fs::write(&path, content).unwrap();
            let found = platform_of(&path).map(|platform| platform.to_string());
            assert_eq!(found.ok().as_deref(), expected, "{content:?}");
        };
        check(&elf(0x3E), Some("linux-x86_64"));
        check(&elf(0xB7), Some("linux-aarch64"));
        check(&elf(0x03), None);
        check(&elf(0x3E)[..18], None);
        check(&windows([0x64, 0x86]), Some("windows-x86_64"));
        check(&windows([0x64, 0xAA]), Some("windows-aarch64"));
        check(&windows([0x4C, 0x01]), None);
        check(b"MZ", None);
        check(b"MZ\0\0", None);
        check(b"\xCF\xFA\xED\xFE\x0C\0\0\x01", Some("macos-aarch64"));
        check(b"#!/bin/sh\n", None);
        check(b"", None);
    }

    #[test]
    fn one_archive_has_a_program_for_each_platform() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let build = |path: PathBuf, platform: Option<&str>| AgentBuild {
            path,
            platform: platform.map(|it| it.parse().unwrap()),
        };
        let builds = [
            build(file("a", &elf(0x3E)), None),
            build(file("b", b"#!/bin/sh\n"), Some("linux-aarch64")),
        ];
        let (source, platform) = collect_builds(&builds).unwrap();
        assert_eq!(platform, Platform::Linux);
        let packed = source.archive(&crate::Progress::none()).unwrap();
        let unpacked = flate2::read::GzDecoder::new(packed.reader());
        let mut archive = tar::Archive::new(unpacked);
        let entries = archive.entries().unwrap().map(Result::unwrap);
        let files: Vec<(String, u32)> = entries
            .filter(|entry| entry.header().entry_type().is_file())
            .map(|entry| {
                let path = entry.path().unwrap().display().to_string();
                (path, entry.header().mode().unwrap())
            })
            .collect();
        let expected = [
            "linux-aarch64/packcast-agent",
            "linux-x86_64/packcast-agent",
        ];
        assert_eq!(files, expected.map(|path| (path.to_owned(), 0o755)));

        let mixed = [
            build(file("a", &elf(0x3E)), None),
            build(file("c", &windows([0x64, 0x86])), None),
        ];
        let (_, platform) = collect_builds(&mixed).unwrap();
        assert_eq!(platform, Platform::Any);
        let twice = [
            build(file("a", &elf(0x3E)), None),
            build(file("b", &elf(0x3E)), None),
        ];
        let refused = collect_builds(&twice);
        assert!(
            matches!(refused, Err(AgentBuildsError::SamePlatform { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn error_messages() {
        let path = || PathBuf::from("/x");
        let io = || io::Error::from(io::ErrorKind::NotFound);
        let errors = [
            AgentBuildsError::Read {
                path: path(),
                source: io(),
            },
            AgentBuildsError::UnknownPlatform { path: path() },
            AgentBuildsError::SamePlatform {
                first: path(),
                second: "/y".into(),
                platform: "linux-x86_64".parse().unwrap(),
            },
        ];
        insta::assert_snapshot!(converted(errors), @r"
        Failed: cannot read /x
        Usage: cannot tell the platform of /x: expected a program for Linux, Windows or macOS, or PLATFORM=FILE such as linux-x86_64=FILE
        Usage: /x and /y are both for linux-x86_64: pass one file for each platform
        ");
    }
}
