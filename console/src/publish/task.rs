//! The tasks of a package, in the words of the OCS console.

use packcast_protocol::manifest::Platform;
use packcast_publisher::publish::plan::ActionName;

/// The maximum number of programs of an update of the agent.
pub(crate) const MAX_FILES: usize = 16;

/// The task of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Launch,
    Execute,
    Store,
    /// A command that uninstalls a program, from a template.
    Uninstall,
    /// An update of the Packcast agent.
    Update,
}

/// The need of a task for files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileNeed {
    None,
    Optional,
    One,
    /// One file for each platform.
    Several,
}

impl Task {
    pub(crate) const ALL: [Self; 5] = [
        Self::Launch,
        Self::Execute,
        Self::Store,
        Self::Uninstall,
        Self::Update,
    ];

    /// Returns the value of the field in the form.
    pub(crate) const fn value(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Execute => "execute",
            Self::Store => "store",
            Self::Uninstall => "uninstall",
            Self::Update => "update",
        }
    }

    /// Reads the value of the field.
    pub(crate) fn of_value(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.value() == value)
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Launch => "Launch: run a program of the archive",
            Self::Execute => "Execute: run a command",
            Self::Store => "Store: put files into a folder",
            Self::Uninstall => "Uninstall a program",
            Self::Update => "Update the Packcast agent",
        }
    }

    /// Explains the task as the documents of OCS Inventory do.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Launch => {
                "The archive is unpacked into a temporary folder, and a program at its top is started \
                 there. The exit code is the result."
            }
            Self::Execute => {
                "A command for the shell of the device, such as a call of Windows Installer, dpkg or \
                 rpm, with the files of an archive or without any."
            }
            Self::Store => "The archive is unpacked into a folder of the device. Nothing is run.",
            Self::Uninstall => {
                "A command that removes a program, from a template. No files are needed."
            }
            Self::Update => {
                "Programs of a newer agent, one for each platform. The package is the same as that \
                 of 'packcast publish-agent'. OCS agents never get it."
            }
        }
    }

    pub(crate) const fn action(self) -> ActionName {
        match self {
            Self::Launch => ActionName::Launch,
            Self::Execute | Self::Uninstall => ActionName::Execute,
            Self::Store => ActionName::Store,
            Self::Update => ActionName::Update,
        }
    }

    pub(crate) const fn needs(self) -> FileNeed {
        match self {
            Self::Launch | Self::Store => FileNeed::One,
            Self::Execute => FileNeed::Optional,
            Self::Uninstall => FileNeed::None,
            Self::Update => FileNeed::Several,
        }
    }
}

/// The systems in the order of the page, with the values of the field and the words of the OCS console.
pub(crate) const SYSTEMS: [(Platform, &str, &str); 4] = [
    (Platform::Windows, "windows", "Windows"),
    (Platform::Linux, "linux", "Linux"),
    (Platform::Macos, "macos", "macOS"),
    (Platform::Any, "any", "Any system"),
];

/// Returns the value of a system in forms and command lines.
pub(crate) const fn system_value(platform: Platform) -> &'static str {
    match platform {
        Platform::Windows => "windows",
        Platform::Linux => "linux",
        Platform::Macos => "macos",
        Platform::Any => "any",
    }
}

/// Reads the value of a system.
pub(crate) fn system_of(value: &str) -> Option<Platform> {
    let mut systems = SYSTEMS.iter();
    let found = systems.find(|(_, name, _)| *name == value);
    found.map(|(platform, ..)| *platform)
}
