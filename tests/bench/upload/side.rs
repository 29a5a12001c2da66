//! The compared programs.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use packcast_store::ObjectKey;
use packcast_tests::measure::{self, ProgramSample};
use packcast_tests::process::Ran;
use packcast_tests::world::{PublishOutput, World};

use crate::FRAGMENT_BYTES;
use crate::engine::{BUCKET, Engine, KEY, REGION};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Packcast,
    Rclone,
    Aws,
}

/// The archive, and its fragments as files 1, 2 and so on.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) archive: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) count: usize,
}

/// The measurements of one upload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UploadSample {
    pub(crate) program: ProgramSample,
    /// Processor time of the engine meanwhile.
    pub(crate) engine_cpu: Duration,
}

impl UploadSample {
    fn of(command: &mut Command, engine: &Engine) -> io::Result<(Ran, Self)> {
        let before = engine.cpu();
        let (ran, program) = ProgramSample::of(command)?;
        let engine_cpu = engine.cpu().saturating_sub(before);
        Ok((
            ran,
            Self {
                program,
                engine_cpu,
            },
        ))
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packcast => "packcast publish",
            Self::Rclone => "rclone copy",
            Self::Aws => "aws s3 cp --recursive",
        })
    }
}

impl Side {
    /// Returns the sides whose programs are installed.
    pub(crate) fn available() -> Vec<Self> {
        let mut sides = vec![Self::Packcast];
        if measure::has_program("rclone", "sudo apt-get install rclone") {
            sides.push(Self::Rclone);
        }
        if measure::has_program("aws", "sudo apt-get install awscli") {
            sides.push(Self::Aws);
        }
        sides
    }

    /// Uploads the fragments, compares all objects with them, and removes the objects.
    pub(crate) fn run(
        self,
        world: &World,
        engine: &Engine,
        upload: &Upload,
        round: usize,
    ) -> io::Result<UploadSample> {
        if self == Self::Packcast {
            return packcast(world, engine, upload, round);
        }
        // The engine creates the folder. It answers questions about an empty one with an error.
        let folder = engine.bucket().join("copy");
        let (_, sample) = UploadSample::of(&mut self.copy(engine, upload), engine)?;
        check(upload, |number| folder.join(number.to_string()))?;
        fs::remove_dir_all(folder)?;
        Ok(sample)
    }

    /// Returns the command that copies the files of the fragments.
    fn copy(self, engine: &Engine, upload: &Upload) -> Command {
        let mut command = match self {
            Self::Aws => Command::new("aws"),
            Self::Packcast | Self::Rclone => Command::new("rclone"),
        };
        match self {
            Self::Aws => command
                .args(["s3", "cp", "--recursive", "--only-show-errors"])
                .args(["--endpoint-url", &engine.url()])
                .arg(&upload.folder)
                .arg(format!("s3://{BUCKET}/copy")),
            Self::Packcast | Self::Rclone => command
                .args(["copy", "--config", "/dev/null", "--s3-provider", "Other"])
                .args(["--s3-endpoint", &engine.url(), "--s3-env-auth"])
                .args(["--s3-region", REGION, "--s3-no-check-bucket"])
                .arg(&upload.folder)
                .arg(format!(":s3:{BUCKET}/copy")),
        };
        sign_in(&mut command);
        command
    }
}

/// Lets a command use the engine.
fn sign_in(command: &mut Command) {
    let credentials = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    command.envs(credentials.map(|name| (name, KEY)));
    command.env("AWS_DEFAULT_REGION", REGION);
    // Also on a machine with a configuration of its own.
    command.env("AWS_CONFIG_FILE", "/dev/null");
    // rclone refuses to start with it, and the engine has no TLS.
    command.env_remove("AWS_CA_BUNDLE");
}

fn packcast(
    world: &World,
    engine: &Engine,
    upload: &Upload,
    round: usize,
) -> io::Result<UploadSample> {
    let (name, size) = (format!("big-{round}"), FRAGMENT_BYTES.to_string());
    let publish = || {
        let mut command = world.command(&["publish", "--target=cloud", "--version=1"]);
        command.args(["--name", &name, "--fragment-size", &size]);
        command.args(["--action=launch", "--command=run.sh", "--format=json"]);
        command.arg(&upload.archive);
        sign_in(&mut command);
        command
    };
    let (ran, sample) = UploadSample::of(&mut publish(), engine)?;
    let output: PublishOutput = serde_json::from_str(&ran.stdout)?;
    let package = output.package;
    let manifest = ObjectKey::manifest(&package.folder, package.id);
    let folder = engine.bucket().join(manifest.path());
    let folder = folder.parent().expect("objects are in folders");
    check(upload, |number| {
        folder.join(format!("{}-{number}", package.id))
    })?;
    // A second run of the command uploads nothing.
    let (ran, _) = ProgramSample::of(&mut publish())?;
    let output: PublishOutput = serde_json::from_str(&ran.stdout)?;
    assert_eq!(output.kept.fragments as usize, upload.count);
    fs::remove_dir_all(folder)?;
    Ok(sample)
}

/// Expects that each object has the bytes of its fragment.
fn check(upload: &Upload, object: impl Fn(usize) -> PathBuf) -> io::Result<()> {
    let same = |object: &Path, fragment: &Path| -> io::Result<bool> {
        Ok(fs::read(object)? == fs::read(fragment)?)
    };
    for number in 1..=upload.count {
        let (object, fragment) = (object(number), upload.folder.join(number.to_string()));
        assert!(same(&object, &fragment)?, "{} is damaged", object.display());
    }
    Ok(())
}
