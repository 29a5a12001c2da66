//! The state of one pass through the wizard: texts as they were typed, files, and work in the background.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_protocol::agent_build::BuildPlatform;
use packcast_protocol::manifest::Platform;
use packcast_protocol::{PackageId, with_causes};
use packcast_publisher::Failure;
use packcast_publisher::publish::agent_builds::AgentBuild;
use packcast_publisher::publish::inspect::Inspection;
use packcast_publisher::publish::source::Source;

use super::fields::{Field, Refusal, refused};
use super::gauge::Gauge;
use super::guess;
use super::installer::Installer;
use super::options::Options;
use super::programs::programs;
use super::task::{FileNeed, MAX_FILES, Task};
use super::uninstall::Installed;
use super::upload::Upload;
use super::upload_error::UploadError;

/// The field with the path of a file.
pub(crate) const PATH: Field = Field {
    name: "path",
    label: "Path on this machine",
};

/// One pass through the wizard. Nothing of it is on record before the publication.
#[derive(Clone, Debug)]
pub(crate) struct Wizard {
    pub(crate) system: Platform,
    /// `None` before the second step.
    pub(crate) task: Option<Task>,
    pub(crate) files: Vec<ChosenFile>,
    /// The text of the field with the path, if it could not be used.
    pub(crate) typed_path: String,
    pub(crate) command: CommandTexts,
    pub(crate) options: Options,
    /// The unfinished upload.
    pub(crate) upload: Option<Arc<Upload>>,
    /// The error of the last upload in one request, which the browser may not have shown.
    pub(crate) upload_failure: Option<Arc<Failure>>,
    pub(crate) check: Option<Check>,
    pub(crate) job: Job,
}

/// The texts of the step with the command, as they were typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandTexts {
    /// The program of LAUNCH, and its arguments.
    pub(crate) program: String,
    pub(crate) arguments: String,
    /// The command of EXECUTE.
    pub(crate) line: String,
    /// The reason for the command, if it is a guess that nobody has confirmed.
    pub(crate) guess: Option<&'static str>,
    /// The folder of STORE.
    pub(crate) folder: String,
    pub(crate) installed: Installed,
    pub(crate) to_uninstall: String,
}

/// A file of the package.
#[derive(Clone, Debug)]
pub(crate) enum ChosenFile {
    /// A file or a folder of this machine, with the platform of a build of the agent if it is named.
    Path(PathBuf, Option<BuildPlatform>),
    Uploaded(Arc<Upload>),
}

/// The reading of the files, in a thread.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) wanted: Wanted,
    pub(crate) gauge: Arc<Gauge>,
    /// `None` while the files are read.
    pub(crate) outcome: Option<Result<Arc<Checked>, Arc<Failure>>>,
}

/// The values that the reading of the files depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) platforms: Vec<Option<BuildPlatform>>,
    pub(crate) is_update: bool,
    pub(crate) system: Platform,
    pub(crate) fragment_size: Option<u64>,
    pub(crate) encoding: String,
}

/// Files that were read, and can be published.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) source: Source,
    pub(crate) inspection: Inspection,
    /// The system of the package: that of the builds for an update.
    pub(crate) system: Platform,
    pub(crate) installer: Installer,
}

/// The publication.
#[derive(Clone, Debug, Default)]
pub(crate) enum Job {
    #[default]
    None,
    Running(Arc<Gauge>),
    Failed(Arc<Failure>),
    Done(PackageId),
}

impl Wizard {
    pub(crate) fn new(system: Platform) -> Self {
        Self {
            system,
            task: None,
            files: Vec::new(),
            typed_path: String::new(),
            command: CommandTexts::default(),
            options: Options::default(),
            upload: None,
            upload_failure: None,
            check: None,
            job: Job::None,
        }
    }

    /// Returns the files that the task uses.
    pub(crate) fn used_files(&self) -> &[ChosenFile] {
        match self.task.map(Task::needs) {
            None | Some(FileNeed::None) => &[],
            Some(FileNeed::Optional | FileNeed::One) => &self.files[..self.files.len().min(1)],
            Some(FileNeed::Several) => &self.files,
        }
    }

    /// Refuses a file more than the task can have.
    pub(crate) fn check_room(&self) -> Result<(), UploadError> {
        let is_several = self.task.map(Task::needs) == Some(FileNeed::Several);
        if is_several && self.files.len() >= MAX_FILES {
            return Err(UploadError::TooMany);
        }
        Ok(())
    }

    /// Adds a file. A task with one file replaces the file before.
    pub(crate) fn add_file(&mut self, file: ChosenFile) -> Result<(), UploadError> {
        self.check_room()?;
        if self.task.map(Task::needs) != Some(FileNeed::Several) {
            self.files.clear();
            self.command.forget_guesses();
        }
        self.files.push(file);
        // The same path may have other bytes now.
        self.check = None;
        Ok(())
    }

    /// Returns the values that the reading of the files depends on; `None` without files.
    pub(crate) fn wanted(&self) -> Result<Option<Wanted>, Refusal> {
        let files = self.used_files();
        if files.is_empty() {
            return Ok(None);
        }
        let is_update = self.task == Some(Task::Update);
        let size = self.options.fragment_size()?;
        // The encoding is read again when the archive is.
        self.options.encoding()?;
        Ok(Some(Wanted {
            files: files.iter().map(ChosenFile::path).collect(),
            platforms: files.iter().map(ChosenFile::platform).collect(),
            is_update,
            system: self.system,
            fragment_size: size.map(u64::from).filter(|_| !is_update),
            encoding: self.options.encoding.clone(),
        }))
    }

    /// Returns the files that were read; `None` if there are none, or if they are not read yet.
    pub(crate) fn checked(&self) -> Option<&Arc<Checked>> {
        self.check.as_ref()?.outcome.as_ref()?.as_ref().ok()
    }

    /// Fills empty fields with guesses from the files.
    pub(crate) fn guess(&mut self) {
        let Some(checked) = self.checked().map(Arc::clone) else {
            return;
        };
        let contents = &checked.inspection.contents;
        let file = self.used_files().first().map(ChosenFile::name);
        if let (Some(file), false) = (&file, self.task == Some(Task::Update)) {
            self.options.guess_name(file);
        }
        match self.task {
            Some(Task::Launch) if self.command.program.is_empty() => {
                let found = programs(contents, self.system);
                if let Some(program) = found.into_iter().next() {
                    guess::arguments(&program, checked.installer)
                        .clone_into(&mut self.command.arguments);
                    self.command.program = program;
                }
            }
            Some(Task::Execute) if self.command.line.is_empty() => {
                if let Some(guess) = checked.command_guess() {
                    self.command.line = guess.command;
                    self.command.guess = Some(guess.about);
                    self.options.guess_reboot_codes(guess.reboot_codes);
                }
            }
            _ => {}
        }
    }

    /// Returns the builds of an update.
    pub(crate) fn builds(&self) -> Vec<AgentBuild> {
        let files = self.files.iter();
        let build = |file: &ChosenFile| AgentBuild {
            path: file.path(),
            platform: file.platform(),
        };
        files.map(build).collect()
    }
}

impl Checked {
    /// Returns the silent command of the first installer at the top of the archive.
    pub(crate) fn command_guess(&self) -> Option<guess::CommandGuess> {
        let files = self.inspection.contents.top_files.iter();
        let fits = |file: &&String| {
            let of_file = guess::system(file);
            self.system == Platform::Any || of_file.is_none_or(|system| system == self.system)
        };
        let mut guesses = files
            .filter(fits)
            .filter_map(|file| guess::command(file, self.installer));
        guesses.next()
    }
}

impl CommandTexts {
    /// Returns the whole command of LAUNCH.
    pub(crate) fn launch(&self) -> String {
        format!("{} {}", self.program, self.arguments)
            .trim()
            .to_owned()
    }

    /// Removes the command of another task.
    pub(crate) fn forget_line(&mut self) {
        self.line.clear();
        self.guess = None;
    }

    /// Removes texts that belong to another file.
    fn forget_guesses(&mut self) {
        self.program.clear();
        self.arguments.clear();
        if self.guess.take().is_some() {
            self.line.clear();
        }
    }
}

impl Options {
    /// Fills an empty name and an empty version from the name of a file.
    fn guess_name(&mut self, file: &str) {
        let (name, version) = guess::name_and_version(file);
        if self.name.is_empty() {
            self.name = name.map(|it| it.to_string()).unwrap_or_default();
        }
        if self.version.is_empty() {
            self.version = version.map(|it| it.to_string()).unwrap_or_default();
        }
    }

    fn guess_reboot_codes(&mut self, codes: &[i32]) {
        if self.reboot_codes.is_empty() {
            let codes = codes.iter().map(ToString::to_string);
            self.reboot_codes = codes.collect::<Vec<_>>().join(", ");
        }
    }
}

impl ChosenFile {
    /// Reads the path of a file on this machine. For an update of the agent, `PLATFORM=` may precede.
    pub(crate) fn of_text(text: &str, is_update: bool) -> Result<Self, Refusal> {
        let (platform, path) = match text.split_once('=') {
            Some((platform, path)) if is_update && !platform.contains(['/', '\\']) => {
                let platform = platform.parse::<BuildPlatform>();
                let platform = platform.map_err(|error| refused(PATH, with_causes(&error)))?;
                (Some(platform), Path::new(path))
            }
            _ => (None, Path::new(text)),
        };
        if !path.is_absolute() {
            let example = if cfg!(windows) {
                r"C:\packages\vlc.zip"
            } else {
                "/srv/packages/vlc.zip"
            };
            return Err(refused(
                PATH,
                format!("expected an absolute path such as {example}"),
            ));
        }
        Ok(Self::Path(path.to_owned(), platform))
    }

    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Path(path, _) => path.clone(),
            Self::Uploaded(upload) => upload.path(),
        }
    }

    fn platform(&self) -> Option<BuildPlatform> {
        match self {
            Self::Path(_, platform) => platform.clone(),
            Self::Uploaded(_) => None,
        }
    }

    /// Returns the name of the file without its folder.
    pub(crate) fn name(&self) -> String {
        let path = self.path();
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    }
}
