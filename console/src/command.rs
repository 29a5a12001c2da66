//! Command lines that show the same as a page.

/// Creates command lines for the target of the console.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    /// The options that name the target; empty for the default target.
    target_options: String,
}

/// A command line, ready to be pasted into a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine(String);

impl Commands {
    pub(crate) const fn new(target_options: String) -> Self {
        Self { target_options }
    }

    /// Returns a command of `packcast` with these words, each quoted if a shell could misread it.
    pub(crate) fn line<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> CommandLine {
        let words = words.into_iter().map(quoted);
        let words = words.collect::<Vec<_>>().join(" ");
        let line = format!("packcast {words} {}", self.target_options);
        CommandLine(line.trim_end().to_owned())
    }

    /// Returns the options that name the target.
    pub(crate) fn target_options(&self) -> &str {
        &self.target_options
    }
}

impl CommandLine {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the command with a filter after it, such as `grep`.
    pub(crate) fn piped(self, filter: &[&str]) -> Self {
        let words = filter.iter().map(|word| quoted(word));
        let words = words.collect::<Vec<_>>().join(" ");
        Self(format!("{} | {words}", self.0))
    }
}

/// Quotes a word for a POSIX shell, if it is necessary. Names of devices can contain any character.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@._+:-/%,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_the_target_and_quotes_its_words() {
        let local = Commands::new(String::new());
        let line = local.line(["show", "vlc@3.0.21"]);
        assert_eq!(line.as_str(), "packcast show vlc@3.0.21");
        let prod = Commands::new("--target prod".to_owned());
        let hostile = prod.line(["device", "show", "$(touch x); it's `me`"]);
        insta::assert_snapshot!(hostile.as_str(), @r"packcast device show '$(touch x); it'\''s `me`' --target prod");
        let piped = prod
            .line(["device", "list"])
            .piped(&["grep", "-i", "my pc"]);
        insta::assert_snapshot!(piped.as_str(), @"packcast device list --target prod | grep -i 'my pc'");
    }
}
