//! Commands that agents would understand in different ways, or not at all.
//!
//! The agents run a command as follows (protocol reference §5.3):
//!
//! | agent | LAUNCH | EXECUTE |
//! |---|---|---|
//! | OCS, Unix | the whole line, through `sh` | the whole line, through `sh` |
//! | OCS, Windows | the program; all the rest are its arguments | the first line, through `cmd` |
//! | Packcast, Unix | the program in place of `sh`, which reads the arguments | the whole line, through `sh` |
//! | Packcast, Windows | the first line, through `cmd` | the first line, through `cmd` |
//!
//! So LAUNCH with an operator of a shell means something else to each of them, and only EXECUTE runs
//! a whole line everywhere.

use std::path::Path;

use packcast_protocol::manifest::Platform;

/// Errors in a command that would not run on the devices as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error(
        "launch runs one program with its arguments, and {operator:?} is an operator of the shell: use --action execute with --command {execute:?}, or put {operator:?} into quotes"
    )]
    Operator { operator: char, execute: String },
    #[error(
        "the command has a line break: put the lines into a script inside the archive, or join them with '&&'"
    )]
    LineBreak,
    #[error(
        "the command has several lines, and Windows runs only the first: join them with '&&', or choose --platform linux or --platform macos"
    )]
    Lines,
    #[error("a quotation mark {quote} is not closed in the command")]
    OpenQuote { quote: char },
}

/// Checks the command of LAUNCH: a program with its arguments.
pub(super) fn check_launch(command: &str, platform: Platform) -> Result<(), CommandError> {
    if command.trim().contains(['\n', '\r']) {
        return Err(CommandError::LineBreak);
    }
    match first_operator(command, platform)? {
        None => Ok(()),
        Some(operator) => Err(CommandError::Operator {
            operator,
            execute: as_execute(command.trim(), platform),
        }),
    }
}

/// Checks the command of EXECUTE: a line for the shell, or several lines on Unix.
pub(super) fn check_execute(command: &str, platform: Platform) -> Result<(), CommandError> {
    // Shells of Unix take a carriage return for a part of the word before it.
    if command.contains('\r') {
        return Err(CommandError::LineBreak);
    }
    let may_have_lines = matches!(platform, Platform::Linux | Platform::Macos);
    if command.trim().contains('\n') && !may_have_lines {
        return Err(CommandError::Lines);
    }
    first_operator(command, platform).map(drop)
}

/// Returns the first operator outside of quotes. A package for any platform is read as on Unix,
/// where more characters have a meaning.
fn first_operator(command: &str, platform: Platform) -> Result<Option<char>, CommandError> {
    if platform == Platform::Windows {
        first_of_windows(command)
    } else {
        first_of_unix(command)
    }
}

/// Reads a command as POSIX shells do.
fn first_of_unix(command: &str) -> Result<Option<char>, CommandError> {
    let mut quote = None;
    let mut operator = None;
    let mut characters = command.chars().peekable();
    let mut is_word_start = true;
    while let Some(character) = characters.next() {
        let substitutes = character == '`' || (character == '$' && characters.peek() == Some(&'('));
        match (quote, character) {
            (None | Some('"'), '\\') => {
                characters.next();
            }
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            // The rest of the line is a comment, in which quotes do not matter.
            (None, '#') if is_word_start => while characters.next_if(|it| *it != '\n').is_some() {},
            (None, '&' | '|' | ';' | '<' | '>' | '(' | ')') => {
                operator = operator.or(Some(character));
            }
            (None | Some('"'), _) if substitutes => operator = operator.or(Some(character)),
            _ => {}
        }
        is_word_start = quote.is_none() && character.is_whitespace();
    }
    match quote {
        // The text of a here-document may have any quotes.
        Some(_) if command.contains("<<") => Ok(operator),
        Some(quote) => Err(CommandError::OpenQuote { quote }),
        None => Ok(operator),
    }
}

/// Reads a command as the command prompt of Windows does.
fn first_of_windows(command: &str) -> Result<Option<char>, CommandError> {
    let mut is_quoted = false;
    let mut operator = None;
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => is_quoted = !is_quoted,
            '^' if !is_quoted => {
                characters.next();
            }
            '&' | '|' | '<' | '>' if !is_quoted => operator = operator.or(Some(character)),
            _ => {}
        }
    }
    if is_quoted {
        return Err(CommandError::OpenQuote { quote: '"' });
    }
    Ok(operator)
}

/// Returns the command of EXECUTE that runs the whole line. The shell does not look for programs in
/// the folder of the archive, and a script may lack the permission to run.
fn as_execute(command: &str, platform: Platform) -> String {
    if platform == Platform::Windows {
        return command.to_owned();
    }
    let program = command.split_whitespace().next().unwrap_or_default();
    if Path::new(program).extension().is_some_and(|it| it == "sh") {
        format!("sh ./{command}")
    } else {
        format!("./{command}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::messages;

    const ANY: Platform = Platform::Any;

    fn operator(command: &str, platform: Platform) -> Option<char> {
        match check_launch(command, platform) {
            Err(CommandError::Operator { operator, .. }) => Some(operator),
            Err(error) => panic!("{command}: {error}"),
            Ok(()) => None,
        }
    }

    #[test]
    fn launch_with_an_operator_of_the_shell_is_refused() {
        assert_eq!(operator("setup.sh && touch x", ANY), Some('&'));
        assert_eq!(operator("setup.sh || exit 0", Platform::Linux), Some('|'));
        assert_eq!(operator("setup.sh > log", Platform::Macos), Some('>'));
        assert_eq!(operator("setup.sh;reboot", ANY), Some(';'));
        assert_eq!(operator("setup.sh \"$(date)\"", ANY), Some('$'));
        assert_eq!(operator("setup.sh `date`", ANY), Some('`'));
        assert_eq!(
            operator("setup.exe /S & del x", Platform::Windows),
            Some('&')
        );
    }

    #[test]
    fn arguments_are_not_operators() {
        for command in [
            "setup.sh --all 'a && b' \"c | d\" e\\;f $HOME it\\'s",
            "setup.sh # begins && ends",
            "setup.exe /S",
        ] {
            assert_eq!(operator(command, ANY), None, "{command}");
        }
        for command in [
            "setup.exe /D=C:\\Program Files (x86)\\O'Brien; /L=\"a & b\"",
            "setup.exe a^&b",
        ] {
            assert_eq!(operator(command, Platform::Windows), None, "{command}");
        }
    }

    #[test]
    fn an_open_quote_is_refused() {
        let open = |quote| Err(CommandError::OpenQuote { quote });
        for platform in [ANY, Platform::Linux, Platform::Macos] {
            assert_eq!(check_launch("setup.sh 'a", platform), open('\''));
            assert_eq!(check_execute("echo \"a", platform), open('"'));
            assert_eq!(check_execute("echo 'it\\'s'", platform), open('\''));
        }
        assert_eq!(check_launch("setup.exe \"a", Platform::Windows), open('"'));
        assert_eq!(check_execute("echo it's", Platform::Windows), Ok(()));
        assert_eq!(check_execute("true # it's", ANY), Ok(()));
    }

    #[test]
    fn a_line_break_is_refused_where_it_changes_the_meaning() {
        let lines = "one\ntwo";
        for platform in [ANY, Platform::Linux, Platform::Windows] {
            let broken = Err(CommandError::LineBreak);
            assert_eq!(check_launch("setup.sh a\nb", platform), broken);
            assert_eq!(check_execute("one\r\ntwo", platform), broken);
            assert_eq!(check_execute("one\r", platform), broken);
            assert_eq!(
                check_execute("one && two || three > x; (four)\n", platform),
                Ok(())
            );
        }
        assert_eq!(check_execute(lines, ANY), Err(CommandError::Lines));
        assert_eq!(
            check_execute(lines, Platform::Windows),
            Err(CommandError::Lines)
        );
        assert_eq!(check_execute(lines, Platform::Linux), Ok(()));
        assert_eq!(check_execute(lines, Platform::Macos), Ok(()));
        let text = "cat > x << END\nit's\nEND";
        assert_eq!(check_execute(text, Platform::Linux), Ok(()));
    }

    #[test]
    fn refusals_of_commands_show_the_way_out() {
        let refused = [
            check_launch("setup.sh && touch x", ANY),
            check_launch("setup > log", Platform::Linux),
            check_launch("setup.cmd & del x", Platform::Windows),
            check_launch("setup.sh a\nb", ANY),
            check_execute("one\ntwo", ANY),
            check_execute("echo \"a", ANY),
        ];
        insta::assert_snapshot!(messages(refused.map(Result::unwrap_err)), @r#"
        launch runs one program with its arguments, and '&' is an operator of the shell: use --action execute with --command "sh ./setup.sh && touch x", or put '&' into quotes
        launch runs one program with its arguments, and '>' is an operator of the shell: use --action execute with --command "./setup > log", or put '>' into quotes
        launch runs one program with its arguments, and '&' is an operator of the shell: use --action execute with --command "setup.cmd & del x", or put '&' into quotes
        the command has a line break: put the lines into a script inside the archive, or join them with '&&'
        the command has several lines, and Windows runs only the first: join them with '&&', or choose --platform linux or --platform macos
        a quotation mark " is not closed in the command
        "#);
    }
}
