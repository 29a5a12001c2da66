//! Templates of commands that uninstall a program.

use packcast_protocol::manifest::Platform;

/// The way in which a program was installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Installed {
    #[default]
    Deb,
    Rpm,
    Msi,
    Exe,
}

/// Errors in the name of a program to uninstall.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UninstallError {
    #[error(
        "cannot uninstall {given:?}: expected the name of a package, such as vlc or python3-dev"
    )]
    Package { given: String },
    #[error(
        "cannot uninstall {given:?}: expected a product code such as {{23170F69-40C1-2702-2408-000001000000}}"
    )]
    ProductCode { given: String },
    #[error(
        r"cannot uninstall {given:?}: expected the path of the uninstaller, such as C:\Program Files\VideoLAN\VLC\uninstall.exe"
    )]
    Path { given: String },
}

impl Installed {
    pub(crate) const ALL: [Self; 4] = [Self::Deb, Self::Rpm, Self::Msi, Self::Exe];

    /// Returns the value of the field in the form.
    pub(crate) const fn value(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
            Self::Msi => "msi",
            Self::Exe => "exe",
        }
    }

    /// Reads the value of the field.
    pub(crate) fn of_value(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.value() == value)
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Deb => "A package of Debian or Ubuntu, by its name",
            Self::Rpm => "A package of Red Hat, Fedora or SUSE, by its name",
            Self::Msi => "A program of Windows Installer, by its product code",
            Self::Exe => "A program with an uninstaller for Windows, by its path",
        }
    }

    /// Returns true if devices with a system can have such a program.
    pub(crate) const fn fits(self, system: Platform) -> bool {
        match system {
            Platform::Any => true,
            Platform::Windows => matches!(self, Self::Msi | Self::Exe),
            Platform::Linux => matches!(self, Self::Deb | Self::Rpm),
            Platform::Macos => false,
        }
    }

    /// Returns the command that removes a program.
    pub(crate) fn command(self, name: &str) -> Result<String, UninstallError> {
        let name = name.trim();
        let given = || name.chars().take(200).collect::<String>();
        match self {
            Self::Deb if is_package(name) => Ok(format!(
                "DEBIAN_FRONTEND=noninteractive apt-get remove -y {name}"
            )),
            Self::Rpm if is_package(name) => Ok(format!("rpm -e {name}")),
            Self::Deb | Self::Rpm => Err(UninstallError::Package { given: given() }),
            Self::Msi => match product_code(name) {
                Some(code) => Ok(format!("msiexec /x {code} /qn /norestart")),
                None => Err(UninstallError::ProductCode { given: given() }),
            },
            Self::Exe if is_uninstaller(name) => Ok(format!("\"{name}\" /S")),
            Self::Exe => Err(UninstallError::Path { given: given() }),
        }
    }
}

fn is_package(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= 128
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-._:".contains(c))
}

/// Returns a product code between braces.
fn product_code(name: &str) -> Option<String> {
    let code = name.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
    let code = code.unwrap_or(name);
    let parts: Vec<usize> = code.split('-').map(str::len).collect();
    let has_digits = code.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    (has_digits && parts == [8, 4, 4, 4, 12]).then(|| format!("{{{}}}", code.to_ascii_uppercase()))
}

/// Returns true for the whole path of a program that the command prompt reads between quotes as it is.
fn is_uninstaller(path: &str) -> bool {
    let mut characters = path.chars();
    let has_drive = characters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && characters.next() == Some(':')
        && characters.next() == Some('\\');
    has_drive
        && path.to_ascii_lowercase().ends_with(".exe")
        && !path
            .chars()
            .any(|c| c.is_control() || "\"%^!&|<>".contains(c))
}

#[cfg(test)]
mod tests {
    use packcast_protocol::with_causes;

    use super::*;

    #[test]
    fn templates_remove_a_program_without_questions() {
        let line = |installed: Installed, name| match installed.command(name) {
            Ok(command) => command,
            Err(error) => with_causes(&error),
        };
        let lines = [
            line(Installed::Deb, " python3-dev "),
            line(Installed::Rpm, "vlc"),
            line(Installed::Msi, "23170f69-40C1-2702-2408-000001000000"),
            line(Installed::Msi, "{23170F69-40C1-2702-2408-000001000000}"),
            line(Installed::Exe, r"C:\Program Files\VLC\uninstall.exe"),
            line(Installed::Deb, "vlc; reboot"),
            line(Installed::Rpm, "-e"),
            line(Installed::Msi, "{vlc}"),
            line(Installed::Exe, "uninstall.exe"),
            line(Installed::Exe, r#"C:\a" & calc.exe"#),
            line(Installed::Deb, ""),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r#"
        DEBIAN_FRONTEND=noninteractive apt-get remove -y python3-dev
        rpm -e vlc
        msiexec /x {23170F69-40C1-2702-2408-000001000000} /qn /norestart
        msiexec /x {23170F69-40C1-2702-2408-000001000000} /qn /norestart
        "C:\Program Files\VLC\uninstall.exe" /S
        cannot uninstall "vlc; reboot": expected the name of a package, such as vlc or python3-dev
        cannot uninstall "-e": expected the name of a package, such as vlc or python3-dev
        cannot uninstall "{vlc}": expected a product code such as {23170F69-40C1-2702-2408-000001000000}
        cannot uninstall "uninstall.exe": expected the path of the uninstaller, such as C:\Program Files\VideoLAN\VLC\uninstall.exe
        cannot uninstall "C:\\a\" & calc.exe": expected the path of the uninstaller, such as C:\Program Files\VideoLAN\VLC\uninstall.exe
        cannot uninstall "": expected the name of a package, such as vlc or python3-dev
        "#);
    }
}
