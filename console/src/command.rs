//! Command lines that show the same as a page, and commands in texts.

use maud::{Markup, html};
use packcast_protocol::terminal;
use packcast_publisher::shell::Shell;
use packcast_publisher::text::for_options;

/// Creates command lines for the target of the console.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    /// The options that name the target; empty for the default target.
    target_options: String,
    shell: Shell,
}

/// A command line, ready to be pasted into a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommandLine {
    Paste(String),
    /// A word contains characters that a shell could misread even in quotes.
    Unsafe,
}

impl Commands {
    pub(crate) const fn new(target_options: String, shell: Shell) -> Self {
        Self {
            target_options,
            shell,
        }
    }

    /// Returns a command of `packcast` with these words, each quoted if a shell could misread it.
    pub(crate) fn line<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> CommandLine {
        let words: Vec<&str> = words.into_iter().collect();
        // Hidden characters could show another command than the one that is pasted.
        let is_safe = |word: &&str| self.shell.can_paste(word) && terminal::line(word) == **word;
        if !words.iter().all(is_safe) {
            return CommandLine::Unsafe;
        }
        let words = words.into_iter().map(|word| self.shell.quoted(word));
        CommandLine::Paste(self.with_options(&words.collect::<Vec<_>>().join(" ")))
    }

    /// Writes a command with placeholders, such as `publish FILE --name NAME`.
    pub(crate) fn example(&self, rest: &str) -> Markup {
        html! { code { (self.with_options(rest)) } }
    }

    /// Adds the options that name the target to each `'packcast …'` command of a text.
    pub(crate) fn in_text(&self, text: &str) -> String {
        for_options(text, &self.target_options)
    }

    fn with_options(&self, rest: &str) -> String {
        let line = format!("packcast {rest} {}", self.target_options);
        line.trim_end().to_owned()
    }
}

impl CommandLine {
    /// Returns the command with an option more. Neither text needs quotes.
    pub(crate) fn with(&self, option: &str, value: &str) -> Self {
        match self {
            Self::Paste(line) => Self::Paste(format!("{line} {option} {value}")),
            Self::Unsafe => Self::Unsafe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_the_target_and_quotes_its_words() {
        let line = |options: &str, shell, words: &[&str]| {
            let commands = Commands::new(options.to_owned(), shell);
            match commands.line(words.iter().copied()) {
                CommandLine::Paste(line) => line,
                CommandLine::Unsafe => "none".to_owned(),
            }
        };
        let local = line("", Shell::Posix, &["show", "vlc@3.0.21"]);
        assert_eq!(local, "packcast show vlc@3.0.21");
        let hostile = ["device", "show", "$(touch x); it's `me`"];
        insta::assert_snapshot!(line("--target prod", Shell::Posix, &hostile), @r"packcast device show '$(touch x); it'\''s `me`' --target prod");
        assert_eq!(line("--target prod", Shell::PowerShell, &hostile), "none");
        assert_eq!(line("", Shell::Posix, &["show", "a\nreboot"]), "none");
        assert_eq!(line("", Shell::Posix, &["show", "a\u{202E}b"]), "none");
    }

    #[test]
    fn commands_in_texts_name_the_target() {
        let prod = Commands::new("--target prod".to_owned(), Shell::Posix);
        let example = prod.example("group create NAME").into_string();
        insta::assert_snapshot!(example, @"<code>packcast group create NAME --target prod</code>");
        let text = prod.in_text("run 'packcast audit' to find the difference");
        insta::assert_snapshot!(text, @"run 'packcast --target prod audit' to find the difference");
    }
}
