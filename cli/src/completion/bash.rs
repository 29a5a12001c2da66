//! The script for bash. Bash breaks words at `@` and `:`. The script of `clap_complete` does not
//! join such words, and inserts candidates without quotation marks.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use clap_complete::engine::complete;
use clap_complete::env::EnvCompleter;

/// Completion in bash from version 3.2 on.
pub(super) struct Bash;

const SCRIPT: &str = r#"_NAME() {
    local line="${COMP_LINE:0:COMP_POINT}" candidate
    local -a words
    read -ra words <<< "$line"
    if [[ "$line" == *[[:space:]] ]]; then words+=(''); fi
    # Bash replaces only the part of a word after the last '@' or ':'.
    local word="${words[${#words[@]} - 1]}"
    local before="${word%"$2"}"
    COMPREPLY=()
    while IFS= read -r candidate; do
        printf -v candidate %q "${candidate#"$before"}"
        COMPREPLY+=("$candidate")
    done < <(VARIABLE=bash COMPLETER -- "${words[@]}" 2> /dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == */ ]]; then
        compopt -o nospace 2> /dev/null
    fi
}
complete -F _NAME NAME"#;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == self.name()
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        _bin: &str,
        completer: &str,
        script: &mut dyn Write,
    ) -> io::Result<()> {
        let text = SCRIPT.replace("NAME", name);
        let text = text.replace("COMPLETER", completer);
        writeln!(script, "{}", text.replace("VARIABLE", variable))
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        words: Vec<OsString>,
        folder: Option<&Path>,
        answer: &mut dyn Write,
    ) -> io::Result<()> {
        let last = words.len().saturating_sub(1);
        for candidate in complete(command, words, last, folder)? {
            writeln!(answer, "{}", candidate.get_value().to_string_lossy())?;
        }
        Ok(())
    }
}
