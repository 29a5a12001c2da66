//! The command line that publishes the same package.

use packcast_protocol::manifest::Platform;

use super::options::{COUNTDOWN, Options, SUCCESS, TIMEOUT, codes, field};
use super::plan::has_windows;
use super::task::{Task, system_value};
use super::wizard::{ChosenFile, Wizard};
use crate::command::{CommandLine, Commands};

/// Returns the command with the options that were chosen until now. The command asks for others.
pub(crate) fn lines(wizard: &Wizard, commands: &Commands) -> Vec<CommandLine> {
    let words = words(wizard);
    vec![commands.line(words.iter().map(String::as_str))]
}

fn words(wizard: &Wizard) -> Vec<String> {
    let files = wizard.used_files().iter().map(file);
    if wizard.task == Some(Task::Update) {
        let mut words = vec!["publish-agent".to_owned()];
        words.extend(files);
        words.extend(option("version", &wizard.options.version, ""));
        words.extend(option(
            "priority",
            &wizard.options.priority,
            DEFAULT_PRIORITY,
        ));
        return words;
    }
    let mut words = vec!["publish".to_owned()];
    words.extend(files);
    let options = wizard.options.for_system(wizard.system);
    words.extend(option("name", &options.name, ""));
    words.extend(option("version", &options.version, ""));
    words.extend(of_task(wizard));
    if wizard.system != Platform::Any {
        words.extend(option("platform", system_value(wizard.system), ""));
    }
    words.extend(of_options(&options));
    if has_windows(wizard.system) {
        words.extend(of_windows(&options));
    }
    words
}

const DEFAULT_PRIORITY: &str = "5";

/// Returns a file as an argument. The path of an uploaded file is that in the browser, which only the
/// person knows.
fn file(file: &ChosenFile) -> String {
    match file {
        ChosenFile::Path(path, Some(platform)) => format!("{platform}={}", path.display()),
        ChosenFile::Path(path, None) => path.display().to_string(),
        ChosenFile::Uploaded(upload) => {
            let name = upload.name().as_str();
            if name.starts_with('-') {
                format!("./{name}")
            } else {
                name.to_owned()
            }
        }
    }
}

/// Returns an option, unless its value is the default.
fn option(name: &str, value: &str, default: &str) -> Option<String> {
    (value != default).then(|| format!("--{name}={value}"))
}

fn flag(name: &str, is_set: bool) -> Option<String> {
    is_set.then(|| format!("--{name}"))
}

fn of_task(wizard: &Wizard) -> Vec<String> {
    let command = &wizard.command;
    let (action, rest) = match wizard.task {
        None | Some(Task::Update) => return Vec::new(),
        Some(Task::Launch) => ("launch", option("command", &command.launch(), "")),
        Some(Task::Execute | Task::Uninstall) => ("execute", option("command", &command.line, "")),
        Some(Task::Store) => ("store", option("path", &command.folder, "")),
    };
    option("action", action, "")
        .into_iter()
        .chain(rest)
        .collect()
}

fn of_options(options: &Options) -> Vec<String> {
    let mut words: Vec<String> = [
        option("priority", &options.priority, DEFAULT_PRIORITY),
        option("fragment-size", &options.fragment_size, ""),
        option("name-encoding", &options.encoding, ""),
        option("timeout", &options.timeout, TIMEOUT),
        option("expires-in", &options.expires_in, ""),
        flag("rerun-after-interruption", options.rerun),
    ]
    .into_iter()
    .flatten()
    .collect();
    for (name, field, text, default) in [
        (
            "success-code",
            field::SUCCESS,
            &options.success_codes,
            SUCCESS,
        ),
        ("reboot-code", field::REBOOT, &options.reboot_codes, ""),
    ] {
        if text == default {
            continue;
        }
        let codes = codes(field, text).unwrap_or_default();
        words.extend(codes.into_iter().map(|code| format!("--{name}={code}")));
    }
    words
}

fn of_windows(options: &Options) -> Vec<String> {
    let mut words = Vec::new();
    if !options.notify.is_empty() {
        words.extend(option("notify", &options.notify, ""));
        words.extend(option("notify-countdown", &options.countdown, COUNTDOWN));
        words.extend(flag("may-abort", options.may_abort));
        words.extend(flag("may-delay", options.may_delay));
    }
    words.extend(option("notify-done", &options.notify_done, ""));
    words.extend(option("not-before", &options.not_before, ""));
    words.extend(option("afterwards", &options.afterwards, ""));
    words
}

#[cfg(test)]
mod tests {
    use packcast_protocol::Priority;
    use packcast_publisher::shell::Shell;

    use super::*;

    fn line(wizard: &Wizard) -> String {
        let commands = Commands::new("--target prod".to_owned(), Shell::Posix);
        match lines(wizard, &commands).remove(0) {
            CommandLine::Paste(line) => line,
            CommandLine::Unsafe => "none".to_owned(),
        }
    }

    #[test]
    fn the_command_has_what_was_chosen() {
        assert_eq!(Priority::DEFAULT.to_string(), DEFAULT_PRIORITY);
        let mut wizard = Wizard::new(Platform::Any);
        let mut lines = vec![line(&wizard)];
        wizard.system = Platform::Windows;
        wizard.task = Some(Task::Launch);
        let path = ChosenFile::of_text("/srv/my vlc.zip", false).unwrap();
        wizard.add_file(path).unwrap();
        wizard.command.program = "setup.exe".to_owned();
        wizard.command.arguments = "/S".to_owned();
        lines.push(line(&wizard));
        wizard.options = Options {
            name: "vlc".to_owned(),
            version: "3.0.21".to_owned(),
            priority: "0".to_owned(),
            fragment_size: "1MiB".to_owned(),
            encoding: "gbk".to_owned(),
            timeout: "30min".to_owned(),
            success_codes: "0, 2".to_owned(),
            reboot_codes: "3010".to_owned(),
            expires_in: "90d".to_owned(),
            rerun: true,
            notify: "It's time".to_owned(),
            countdown: "30s".to_owned(),
            may_abort: true,
            may_delay: true,
            notify_done: "Done".to_owned(),
            not_before: "2026-12-01".to_owned(),
            afterwards: "reboot".to_owned(),
        };
        lines.push(line(&wizard));
        // Other systems show no texts, and the command has none.
        wizard.system = Platform::Linux;
        wizard.options.success_codes = SUCCESS.to_owned();
        wizard.task = Some(Task::Store);
        wizard.command.folder = "/opt/vlc".to_owned();
        lines.push(line(&wizard));
        wizard.task = Some(Task::Uninstall);
        wizard.command.line = "rpm -e vlc".to_owned();
        lines.push(line(&wizard));
        wizard.task = Some(Task::Update);
        lines.push(line(&wizard));
        insta::assert_snapshot!(lines.join("\n"), @r"
        packcast publish --target prod
        packcast publish '/srv/my vlc.zip' --action=launch '--command=setup.exe /S' --platform=windows --target prod
        packcast publish '/srv/my vlc.zip' --name=vlc --version=3.0.21 --action=launch '--command=setup.exe /S' --platform=windows --priority=0 --fragment-size=1MiB --name-encoding=gbk --timeout=30min --expires-in=90d --rerun-after-interruption --success-code=0 --success-code=2 --reboot-code=3010 '--notify=It'\''s time' --notify-countdown=30s --may-abort --may-delay --notify-done=Done --not-before=2026-12-01 --afterwards=reboot --target prod
        packcast publish '/srv/my vlc.zip' --name=vlc --version=3.0.21 --action=store --path=/opt/vlc --platform=linux --priority=0 --fragment-size=1MiB --name-encoding=gbk --timeout=30min --expires-in=90d --rerun-after-interruption --reboot-code=3010 --target prod
        packcast publish --name=vlc --version=3.0.21 --action=execute '--command=rpm -e vlc' --platform=linux --priority=0 --fragment-size=1MiB --name-encoding=gbk --timeout=30min --expires-in=90d --rerun-after-interruption --reboot-code=3010 --target prod
        packcast publish-agent '/srv/my vlc.zip' --version=3.0.21 --priority=0 --target prod
        ");
    }
}
