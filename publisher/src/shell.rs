//! Words of command lines, quoted for the shell of this machine.

use std::borrow::Cow;

/// A shell into which people paste command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// The shells of Unix systems.
    Posix,
    /// PowerShell, and as far as possible the older shell of Windows.
    PowerShell,
}

impl Shell {
    /// Returns the shell of the system for which this program was built.
    pub const fn of_system() -> Self {
        if cfg!(windows) {
            Self::PowerShell
        } else {
            Self::Posix
        }
    }

    /// Quotes a word, if the shell could misread it.
    pub fn quoted(self, word: &str) -> Cow<'_, str> {
        if self.is_plain(word) {
            return Cow::Borrowed(word);
        }
        match self {
            Self::Posix => Cow::Owned(format!("'{}'", word.replace('\'', r"'\''"))),
            Self::PowerShell => {
                // PowerShell reads typographic quotes as quotes, too.
                let quotes = ['\'', '\u{2018}', '\u{2019}', '\u{201A}', '\u{201B}'];
                let doubled = word.chars().flat_map(|c| {
                    let again = quotes.contains(&c).then_some(c);
                    std::iter::once(c).chain(again)
                });
                Cow::Owned(format!("'{}'", doubled.collect::<String>()))
            }
        }
    }

    /// Returns true if nothing unexpected happens when a quoted word is pasted.
    ///
    /// A control character can end the paste. The older shell of Windows knows no single quotes, and
    /// Windows has no fixed rule for double quotes in arguments.
    pub fn can_paste(self, word: &str) -> bool {
        match self {
            Self::Posix => !word.chars().any(char::is_control),
            Self::PowerShell => {
                let is_safe = |c: char| c.is_alphanumeric() || " @._+:-/=\\,()".contains(c);
                word.chars().all(is_safe) && !(word.ends_with('\\') && word.contains(' '))
            }
        }
    }

    fn is_plain(self, word: &str) -> bool {
        let has_only = |others: &str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
            !word.is_empty() && word.chars().all(is_plain)
        };
        match self {
            Self::Posix => has_only("@._+:-/%,="),
            // PowerShell splits an unquoted option such as `--os=10.0` at the dot. An `@` begins a
            // special word, and a comma makes a list.
            Self::PowerShell if word.starts_with('-') => has_only("-"),
            Self::PowerShell if word.starts_with('@') => false,
            Self::PowerShell => has_only("@._+:-/=\\"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "$(touch x); it's `me` & \u{2019}calc";

    #[test]
    fn words_are_quoted_for_each_shell() {
        let quoted = |shell: Shell| {
            let words = ["vlc@3.0.21", "--os=10.0", "", "C:\\my file", HOSTILE];
            words.map(|word| shell.quoted(word).into_owned()).join("\n")
        };
        insta::assert_snapshot!(quoted(Shell::Posix), @r"
        vlc@3.0.21
        --os=10.0
        ''
        'C:\my file'
        '$(touch x); it'\''s `me` & ’calc'
        ");
        insta::assert_snapshot!(quoted(Shell::PowerShell), @r"
        vlc@3.0.21
        '--os=10.0'
        ''
        'C:\my file'
        '$(touch x); it''s `me` & ’’calc'
        ");
    }

    #[test]
    fn a_word_that_may_do_something_else_is_not_for_pasting() {
        assert!(Shell::Posix.can_paste(HOSTILE));
        for word in ["a\nb", "\u{1b}[201~", "a\u{3}"] {
            assert!(!Shell::Posix.can_paste(word), "{word:?}");
            assert!(!Shell::PowerShell.can_paste(word), "{word:?}");
        }
        for word in [
            "a'b", "a;b", "a&b", "a|b", "%PATH%", "a\"b", "$x", "a`b", "a \\",
        ] {
            assert!(!Shell::PowerShell.can_paste(word), "{word}");
        }
        for word in [
            "vlc@3.0.21",
            "ocs:pc-2026-01-01-00-00-00",
            "Büro 7",
            "--os=10.0",
        ] {
            assert!(Shell::PowerShell.can_paste(word), "{word}");
        }
    }
}
