//! Options of commands that the console does not have. A page names the command to run in a terminal.

use crate::command::CommandLine;

/// An option that only commands have.
struct TerminalOption {
    option: &'static str,
    /// The placeholder for its value.
    value: &'static str,
    /// The words of a hint that ask for the option, and those for a page.
    hint: &'static str,
    on_page: &'static str,
}

const OPTIONS: [TerminalOption; 3] = [
    TerminalOption {
        option: "--key",
        value: "FILE",
        hint: "pass another file with --key",
        on_page: "run the command below in a terminal, with --key and another file",
    },
    TerminalOption {
        option: "--key",
        value: "FILE",
        hint: "use --key to pass the key that the publication was begun with",
        on_page: "run the command below in a terminal, with --key and the file of the key that the publication was begun with",
    },
    TerminalOption {
        option: "--accept-key",
        value: "PUBLIC_KEY",
        hint: "pass the public key of that publisher with --accept-key",
        on_page: "run the command below in a terminal, with --accept-key and the public key of that publisher",
    },
];

/// Returns a text that asks for the command below instead of an option that the console does not have.
pub(crate) fn for_page(text: &str) -> String {
    OPTIONS.iter().fold(text.to_owned(), |text, option| {
        text.replace(option.hint, option.on_page)
    })
}

/// Returns the command with each option for which hints ask, and a placeholder for its value.
pub(crate) fn command_lines(hints: &[String], command: &CommandLine) -> Vec<CommandLine> {
    let asked = |option: &&TerminalOption| hints.iter().any(|hint| hint.contains(option.hint));
    let asked = OPTIONS.iter().filter(asked);
    asked
        .map(|option| command.with(option.option, option.value))
        .collect()
}

#[cfg(test)]
mod tests {
    use packcast_publisher::Failure;
    use packcast_publisher::shell::Shell;
    use packcast_publisher::signing::KeyError;

    use super::*;
    use crate::command::Commands;

    #[test]
    fn a_hint_for_an_option_names_the_command_to_run() {
        let commands = Commands::new("--target prod".to_owned(), Shell::Posix);
        let command = commands.line(["assign", "tool@1", "--all"]);
        let missing = Failure::from(KeyError::Missing {
            path: "/x.key".into(),
        });
        let [hint] = missing.hints() else {
            panic!("{missing:?}");
        };
        insta::assert_snapshot!(for_page(hint), @"run 'packcast keys generate' to create a key, run the command below in a terminal, with --key and another file, or set PACKCAST_SECRET_KEY");
        let [CommandLine::Paste(line)] = &command_lines(missing.hints(), &command)[..] else {
            panic!("{missing:?} asks for no option");
        };
        insta::assert_snapshot!(line, @"packcast assign tool@1 --all --target prod --key FILE");
        assert_eq!(command_lines(&["wait".to_owned()], &command), []);
        let unsafe_line = command_lines(missing.hints(), &CommandLine::Unsafe);
        assert_eq!(unsafe_line, [CommandLine::Unsafe]);
    }
}
