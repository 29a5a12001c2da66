//! The compared programs.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use packcast_store::ObjectKey;
use packcast_tests::measure::{self, ProgramSample};
use packcast_tests::world::{PublishOutput, World};

use crate::FRAGMENT_MIB;
use crate::archive::{TestArchive, md5};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Packcast,
    Md5sum,
    OcsConsole,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packcast => "packcast publish",
            Self::Md5sum => "md5sum",
            Self::OcsConsole => "OCS console (PHP)",
        })
    }
}

impl Side {
    /// Returns the sides whose programs are installed.
    pub(crate) fn available() -> Vec<Self> {
        let mut sides = vec![Self::Packcast, Self::Md5sum];
        if measure::has_program("php", "sudo apt-get install php-cli") {
            sides.push(Self::OcsConsole);
        }
        sides
    }

    /// Runs the program, checks its work, and removes its files.
    pub(crate) fn run(
        self,
        world: &World,
        archive: &TestArchive,
        round: usize,
    ) -> io::Result<ProgramSample> {
        match self {
            Self::Packcast => packcast(world, archive, round),
            Self::Md5sum => {
                let (ran, sample) = ProgramSample::of(Command::new("md5sum").arg(archive.path()))?;
                assert!(ran.stdout.starts_with(&archive.md5), "{ran:#?}");
                Ok(sample)
            }
            Self::OcsConsole => ocs_console(world, archive),
        }
    }
}

fn packcast(world: &World, archive: &TestArchive, round: usize) -> io::Result<ProgramSample> {
    let name = format!("{}-{round}", archive.kind).replace(' ', "-");
    let size = format!("--fragment-size={FRAGMENT_MIB}MiB");
    let mut command = world.command(&["publish", "--name", &name, "--version=1", &size]);
    command
        .args(["--action=store", "--path=/srv/x", "--format=json"])
        .arg(archive.path());
    let (ran, sample) = ProgramSample::of(&mut command)?;
    let output: PublishOutput = serde_json::from_str(&ran.stdout)?;
    let package = output.package;
    let published = package.published().expect("the package is published");
    let digest = published.md5.map(|digest| digest.to_string());
    assert_eq!(digest.as_deref(), Some(&*archive.md5));
    let manifest = world.object(&ObjectKey::manifest(&package.folder, package.id));
    let folder = manifest.parent().expect("objects are in folders");
    let fragments = (1..=published.fragments).map(|n| folder.join(format!("{}-{n}", package.id)));
    check(archive, fragments)?;
    drop(world.ok(&["delete", &format!("{name}@1"), "--yes"]));
    Ok(sample)
}

fn ocs_console(world: &World, archive: &TestArchive) -> io::Result<ProgramSample> {
    let folder = world.directory().join("ocs");
    fs::create_dir(&folder)?;
    let builder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/publish/ocs-builder.php");
    let mut command = Command::new("php");
    // A fragment is a string in memory, which a console's configuration allows as well.
    command.args(["-d", "memory_limit=512M"]).arg(builder);
    command.arg(archive.path()).arg(&folder);
    let (ran, sample) = ProgramSample::of(command.arg(FRAGMENT_MIB.to_string()))?;
    assert_eq!(ran.stdout.trim(), archive.md5);
    let count = fs::read_dir(&folder)?.count();
    check(archive, (1..=count).map(|n| folder.join(n.to_string())))?;
    fs::remove_dir_all(folder)?;
    Ok(sample)
}

/// Expects that the fragments are the archive.
fn check(archive: &TestArchive, files: impl Iterator<Item = PathBuf>) -> io::Result<()> {
    let mut fragments = Fragments { files, open: None };
    let digest = md5(&mut fragments)?;
    assert_eq!(digest, archive.md5, "fragments have other bytes");
    Ok(())
}

/// Files that are read as one.
struct Fragments<I> {
    files: I,
    open: Option<File>,
}

impl<I: Iterator<Item = PathBuf>> Read for Fragments<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(open) = &mut self.open {
                let read = open.read(buffer)?;
                if read > 0 {
                    return Ok(read);
                }
            }
            match self.files.next() {
                None => return Ok(0),
                Some(file) => self.open = Some(File::open(file)?),
            }
        }
    }
}
