//! Guesses from the name of a file: the silent command of an installer, a package name and a version.
//!
//! A person sees each guess, marked as one, before it becomes a part of a package.

use packcast_protocol::manifest::Platform;
use packcast_protocol::{PackageName, PackageVersion};
use packcast_publisher::shell::Shell;

use super::installer::Installer;

/// A command that usually installs a file without questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandGuess {
    pub(crate) command: String,
    /// The reason for the switches, for the person who confirms them.
    pub(crate) about: &'static str,
    /// Exit codes that the installer uses for a success before a restart.
    pub(crate) reboot_codes: &'static [i32],
}

/// The shell that runs a command on the device.
#[derive(Clone, Copy)]
enum Quoting {
    Unix,
    Windows,
}

/// A row of the table: the text before and after the name of the file.
struct Row {
    ending: &'static str,
    before: &'static str,
    after: &'static str,
    quoting: Quoting,
    about: &'static str,
    reboot_codes: &'static [i32],
}

/// The ending of installers whose switches depend on the tool that has built them.
const EXE: &str = ".exe";

/// Exit codes of Windows Installer: success, and a restart is needed or has begun.
const RESTART: &[i32] = &[1641, 3010];

const ROWS: [Row; 8] = [
    Row {
        ending: ".msi",
        before: "msiexec /i ",
        after: " /qn /norestart",
        quoting: Quoting::Windows,
        about: "Windows Installer, without questions and without a restart",
        reboot_codes: RESTART,
    },
    Row {
        ending: ".msp",
        before: "msiexec /p ",
        after: " /qn /norestart",
        quoting: Quoting::Windows,
        about: "a patch for Windows Installer, without questions and without a restart",
        reboot_codes: RESTART,
    },
    Row {
        ending: ".msu",
        before: "wusa ",
        after: " /quiet /norestart",
        quoting: Quoting::Windows,
        about: "an update of Windows, without questions and without a restart",
        reboot_codes: RESTART,
    },
    Row {
        ending: ".ps1",
        before: "powershell -NoProfile -ExecutionPolicy Bypass -File ",
        after: "",
        quoting: Quoting::Windows,
        about: "a script for PowerShell",
        reboot_codes: &[],
    },
    Row {
        ending: ".deb",
        before: "DEBIAN_FRONTEND=noninteractive apt-get install -y ./",
        after: "",
        quoting: Quoting::Unix,
        about: "apt-get also installs the dependencies",
        reboot_codes: &[],
    },
    Row {
        ending: ".rpm",
        before: "rpm -U --replacepkgs ./",
        after: "",
        quoting: Quoting::Unix,
        about: "rpm installs or updates the package, and no dependencies",
        reboot_codes: &[],
    },
    Row {
        ending: ".run",
        before: "sh ./",
        after: "",
        quoting: Quoting::Unix,
        about: "an installer that is a shell script; its silent switch differs",
        reboot_codes: &[],
    },
    Row {
        ending: ".sh",
        before: "sh ./",
        after: "",
        quoting: Quoting::Unix,
        about: "a shell script",
        reboot_codes: &[],
    },
];

/// Returns the usual silent command of a file; `None` if its name tells nothing, or if a shell could
/// misread the name.
pub(crate) fn command(file: &str, installer: Installer) -> Option<CommandGuess> {
    let lower = file.to_ascii_lowercase();
    if lower.ends_with(EXE) {
        let (switches, about) = installer.silent();
        return Some(CommandGuess {
            command: format!("{} {switches}", quoted(file, Quoting::Windows)?),
            about,
            reboot_codes: installer.reboot_codes(),
        });
    }
    let row = ROWS.iter().find(|row| lower.ends_with(row.ending))?;
    let file = quoted(file, row.quoting)?;
    Some(CommandGuess {
        command: format!("{}{file}{}", row.before, row.after),
        about: row.about,
        reboot_codes: row.reboot_codes,
    })
}

/// Returns the silent switches of a program that LAUNCH starts; empty if the name tells nothing.
pub(crate) fn arguments(program: &str, installer: Installer) -> &'static str {
    if program.to_ascii_lowercase().ends_with(EXE) {
        installer.silent().0
    } else {
        ""
    }
}

/// Returns the system of a file that only one system can install; `None` if its name tells nothing.
pub(crate) fn system(file: &str) -> Option<Platform> {
    let lower = file.to_ascii_lowercase();
    let is = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    if is(&[".msi", ".msp", ".msu", ".exe", ".bat", ".cmd", ".ps1"]) {
        Some(Platform::Windows)
    } else if is(&[".deb", ".rpm"]) {
        Some(Platform::Linux)
    } else {
        None
    }
}

/// Quotes the name of a file for the shell of the device; `None` if the shell has no safe quotes for it.
fn quoted(file: &str, quoting: Quoting) -> Option<String> {
    match quoting {
        Quoting::Unix => {
            let is_safe = !file.chars().any(char::is_control);
            is_safe.then(|| Shell::Posix.quoted(file).into_owned())
        }
        Quoting::Windows => {
            let is_plain = |c: char| c.is_alphanumeric() || "._-+".contains(c);
            if file.chars().all(is_plain) {
                return Some(file.to_owned());
            }
            // The command prompt expands these characters even between quotes, or ends the quotes.
            let is_safe = |c: char| !c.is_control() && !"\"%^!&|<>".contains(c);
            file.chars().all(is_safe).then(|| format!("\"{file}\""))
        }
    }
}

/// The endings that belong to no name and no version.
const ENDINGS: [&str; 14] = [
    ".tar.gz", ".tgz", ".zip", ".msi", ".msp", ".msu", ".exe", ".rpm", ".deb", ".run", ".sh",
    ".ps1", ".bat", ".cmd",
];

/// Guesses a package name and a version from the name of a file, such as `vlc-3.0.21-win64.exe`.
pub(crate) fn name_and_version(file: &str) -> (Option<PackageName>, Option<PackageVersion>) {
    let lower = file.to_ascii_lowercase();
    let ending = ENDINGS.iter().find(|ending| lower.ends_with(**ending));
    let stem = ending.map_or(file, |ending| &file[..file.len() - ending.len()]);
    let (name, version) = split(stem, ending.copied().unwrap_or_default());
    (clean(name).parse().ok(), clean(version).parse().ok())
}

fn split<'a>(stem: &'a str, ending: &str) -> (&'a str, &'a str) {
    match ending {
        // name_version_architecture
        ".deb" => {
            let (name, rest) = stem.split_once('_').unwrap_or((stem, ""));
            (name, rest.split('_').next().unwrap_or_default())
        }
        // name-version-release.architecture
        ".rpm" => {
            let mut parts = stem.rsplitn(3, '-');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(_), Some(version), Some(name)) => (name, version),
                _ => (stem, ""),
            }
        }
        _ => split_at_version(stem),
    }
}

/// Splits a name at the first separator with a version behind it.
fn split_at_version(stem: &str) -> (&str, &str) {
    let is_separator = |c: char| matches!(c, '-' | '_' | ' ');
    for (place, _) in stem.match_indices(is_separator) {
        let rest = &stem[place + 1..];
        let version = rest.strip_prefix(['v', 'V']).unwrap_or(rest);
        if version.starts_with(|c: char| c.is_ascii_digit()) {
            let end = version.find(is_separator).unwrap_or(version.len());
            return (&stem[..place], &version[..end]);
        }
    }
    (stem, "")
}

/// Replaces characters that names of packages do not have.
fn clean(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._+-~:".contains(c);
    let text: String = text
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .take(64)
        .collect();
    text.trim_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installers_have_their_usual_silent_commands() {
        let line = |file: &str, installer| match command(file, installer) {
            Some(guess) => format!("{} {:?}", guess.command, guess.reboot_codes),
            None => "none".to_owned(),
        };
        let files = [
            "vlc.msi",
            "VLC Player.MSI",
            "fix.msp",
            "kb1.msu",
            "run me.ps1",
            "vlc_3.0_amd64.deb",
            "it's $(me).deb",
            "vlc-3.0-1.x86_64.rpm",
            "tool.run",
            "install.sh",
            "setup.exe",
            "100%.exe",
            "a&b.msi",
            "site.zip",
            "README",
        ];
        let lines = files.map(|file| line(file, Installer::Unknown));
        insta::assert_snapshot!(lines.join("\n"), @r#"
        msiexec /i vlc.msi /qn /norestart [1641, 3010]
        msiexec /i "VLC Player.MSI" /qn /norestart [1641, 3010]
        msiexec /p fix.msp /qn /norestart [1641, 3010]
        wusa kb1.msu /quiet /norestart [1641, 3010]
        powershell -NoProfile -ExecutionPolicy Bypass -File "run me.ps1" []
        DEBIAN_FRONTEND=noninteractive apt-get install -y ./vlc_3.0_amd64.deb []
        DEBIAN_FRONTEND=noninteractive apt-get install -y ./'it'\''s $(me).deb' []
        rpm -U --replacepkgs ./vlc-3.0-1.x86_64.rpm []
        sh ./tool.run []
        sh ./install.sh []
        setup.exe /S []
        none
        none
        none
        none
        "#);
        let installers = [
            Installer::Nullsoft,
            Installer::Inno,
            Installer::Burn,
            Installer::InstallShield,
        ];
        let lines = installers.map(|installer| line("my setup.exe", installer));
        insta::assert_snapshot!(lines.join("\n"), @r#"
        "my setup.exe" /S []
        "my setup.exe" /VERYSILENT /SUPPRESSMSGBOXES /NORESTART []
        "my setup.exe" /quiet /norestart [1641, 3010]
        "my setup.exe" /s /v"/qn /norestart" [1641, 3010]
        "#);
    }

    #[test]
    fn names_and_versions_are_read_from_files() {
        let line = |file: &str| {
            let (name, version) = name_and_version(file);
            let text = |it: Option<String>| it.unwrap_or_else(|| "?".to_owned());
            format!(
                "{} {}",
                text(name.map(|it| it.to_string())),
                text(version.map(|it| it.to_string()))
            )
        };
        let files = [
            "vlc-3.0.21-win64.exe",
            "vlc_3.0.21-4+b1_amd64.deb",
            "vlc-plugin-base-3.0.20-1.fc40.x86_64.rpm",
            "Firefox Setup 128.0.msi",
            "tool-v2.tar.gz",
            "site.zip",
            "\u{202E}..-9",
            "...",
            "ß.zip",
        ];
        insta::assert_snapshot!(files.map(line).join("\n"), @"
        vlc 3.0.21
        vlc 3.0.21-4+b1
        vlc-plugin-base 3.0.20
        Firefox-Setup 128.0
        tool 2
        site ?
        ? 9
        ? ?
        ? ?
        ");
    }

    #[test]
    fn some_files_are_for_one_system_only() {
        assert_eq!(system("A.MSI"), Some(Platform::Windows));
        assert_eq!(system("a.deb"), Some(Platform::Linux));
        assert_eq!(system("a.sh"), None);
        assert_eq!(
            arguments("setup.exe", Installer::Inno),
            "/VERYSILENT /SUPPRESSMSGBOXES /NORESTART"
        );
        assert_eq!(arguments("setup.sh", Installer::Unknown), "");
    }
}
