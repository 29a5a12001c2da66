//! Changes of the configuration's text that keep its other options and comments.

use std::path::Path;

use packcast_protocol::api::SiteLabel;
use packcast_protocol::state::TrustedRoots;

use super::Server;

/// The options that a command sets. `None` leaves an option as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GivenOptions<'a> {
    pub(crate) server: &'a Server,
    pub(crate) trust: &'a TrustedRoots,
    pub(crate) state_dir: Option<&'a Path>,
    pub(crate) token_file: Option<&'a Path>,
    pub(crate) ca_file: Option<&'a Path>,
    pub(crate) site: Option<&'a SiteLabel>,
}

/// Errors from changing the text of a configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    #[error("{}", .0.to_string().trim_end())]
    Toml(toml::de::Error),
    #[error(
        "it has other values of {}: pass --force to change them",
        options.join(", ")
    )]
    Different { options: Vec<&'static str> },
    #[error("cannot change {option}: write the option and its value on one line")]
    NotOneLine { option: &'static str },
    #[error("cannot set {option}: expected a path in UTF-8")]
    NotUtf8 { option: &'static str },
}

/// Sets the options in the text of a configuration, which is empty if there is none yet.
///
/// # Errors
/// An option has another value, and `force` is not set.
pub(crate) fn with_options(
    text: &str,
    given: &GivenOptions<'_>,
    default_state_dir: &str,
    force: bool,
) -> Result<String, EditError> {
    let before: toml::Table = text.parse().map_err(EditError::Toml)?;
    let options = given.values(&before, default_state_dir)?;
    let differs = |(option, value): &(&'static str, String)| {
        let found = before.get(*option);
        found.is_some_and(|found| found.as_str() != Some(value.as_str()))
    };
    let different = options.iter().filter(|option| differs(option));
    let different: Vec<_> = different.map(|(option, _)| *option).collect();
    if !different.is_empty() && !force {
        return Err(EditError::Different { options: different });
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut expected = before.clone();
    for (option, value) in options {
        if before.get(option).and_then(toml::Value::as_str) == Some(value.as_str()) {
            continue;
        }
        let line = format!("{option} = {}", toml::Value::from(value.clone()));
        match lines.iter_mut().find(|line| sets(line, option)) {
            Some(found) => *found = line,
            None => lines.push(line),
        }
        expected.insert(option.to_owned(), value.into());
        // The end of a value on several lines would remain.
        let after = lines.join("\n").parse::<toml::Table>();
        if after.as_ref() != Ok(&expected) {
            return Err(EditError::NotOneLine { option });
        }
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

impl GivenOptions<'_> {
    /// Returns the options with their values, in the order of a new file.
    fn values(
        &self,
        before: &toml::Table,
        default_state_dir: &str,
    ) -> Result<Vec<(&'static str, String)>, EditError> {
        let server = self.server.to_string();
        // The address may have been written in another form.
        let kept = before.get("server").and_then(toml::Value::as_str);
        let kept = kept.filter(|kept| {
            Server::try_from((*kept).to_owned()).is_ok_and(|kept| kept == *self.server)
        });
        let mut values = vec![
            ("server", kept.map_or(server, str::to_owned)),
            ("trust", self.trust.to_string()),
        ];
        let missing = !before.contains_key("state_dir");
        let state_dir = self.state_dir;
        let state_dir = state_dir.or_else(|| missing.then(|| Path::new(default_state_dir)));
        for (option, path) in [
            ("state_dir", state_dir),
            ("enrolment_token_file", self.token_file),
            ("ca_file", self.ca_file),
        ] {
            if let Some(path) = path {
                let path = path.to_str().ok_or(EditError::NotUtf8 { option })?;
                values.push((option, path.to_owned()));
            }
        }
        values.extend(self.site.map(|value| ("site", value.to_string())));
        Ok(values)
    }
}

/// Returns `true` if a line sets an option.
fn sets(line: &str, option: &str) -> bool {
    let rest = line.trim_start().strip_prefix(option);
    rest.is_some_and(|rest| rest.trim_start().starts_with('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    fn edit(
        text: &str,
        server: &str,
        token: Option<&str>,
        force: bool,
    ) -> Result<String, EditError> {
        let server = Server::try_from(server.to_owned()).unwrap();
        let trust = format!("{}:{KEY}", "a".repeat(26)).parse().unwrap();
        let given = GivenOptions {
            server: &server,
            trust: &trust,
            state_dir: None,
            token_file: token.map(Path::new),
            ca_file: None,
            site: None,
        };
        with_options(text, &given, "/var/lib/packcast-agent", force)
    }

    #[test]
    fn a_new_file_has_the_given_options() {
        let text = edit(
            "",
            "https://ocs.example:8443",
            Some("/etc/packcast/token"),
            false,
        );
        insta::assert_snapshot!(text.unwrap(), @r#"
        server = "https://ocs.example:8443"
        trust = "aaaaaaaaaaaaaaaaaaaaaaaaaa:RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
        state_dir = "/var/lib/packcast-agent"
        enrolment_token_file = "/etc/packcast/token"
        "#);
    }

    #[test]
    fn other_options_and_comments_stay() {
        let before = "# by Ansible\nserver = 'https://old.example' # old\n  parallel_downloads = 2\nserver_note = 1";
        let refused = edit(before, "https://new.example", None, false).unwrap_err();
        assert_eq!(
            refused,
            EditError::Different {
                options: vec!["server"]
            }
        );
        let text = edit(before, "https://new.example", None, true).unwrap();
        insta::assert_snapshot!(text, @r#"
        # by Ansible
        server = "https://new.example"
          parallel_downloads = 2
        server_note = 1
        trust = "aaaaaaaaaaaaaaaaaaaaaaaaaa:RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
        state_dir = "/var/lib/packcast-agent"
        "#);
    }

    #[test]
    fn the_same_options_change_nothing() {
        let server = "https://ocs.example";
        let text = edit("# a comment\n", server, Some("/token"), false).unwrap();
        assert_eq!(edit(&text, server, Some("/token"), false).unwrap(), text);
        assert_eq!(edit(&text, server, None, false).unwrap(), text);
        // The same address in another form.
        let text = text.replace(server, "https://OCS.example:443/");
        assert_eq!(edit(&text, server, None, false).unwrap(), text);
        let other = edit(&text, server, Some("/other"), false).unwrap_err();
        assert_eq!(
            other.to_string(),
            "it has other values of enrolment_token_file: pass --force to change them"
        );
    }

    #[test]
    fn a_text_that_cannot_be_changed_safely_is_refused() {
        let refused = |text| edit(text, "https://new.example", None, true).unwrap_err();
        let several = refused("server = '''\nhttps://old.example'''\n");
        assert_eq!(several, EditError::NotOneLine { option: "server" });
        let table = refused("[table]\nkey = 1\n");
        assert_eq!(table, EditError::NotOneLine { option: "server" });
        let hidden = refused("note = '''\nserver = 'x'\n'''\nserver = 'https://old.example'\n");
        assert_eq!(hidden, EditError::NotOneLine { option: "server" });
        assert!(matches!(refused("server ="), EditError::Toml(_)));
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_the_file_cannot_hold_is_refused() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt as _;

        let server = Server::try_from("https://ocs.example".to_owned()).unwrap();
        let trust = format!("{}:{KEY}", "a".repeat(26)).parse().unwrap();
        let given = GivenOptions {
            server: &server,
            trust: &trust,
            state_dir: Some(Path::new(OsStr::from_bytes(b"/var/lib/gr\xFCn"))),
            token_file: None,
            ca_file: None,
            site: None,
        };
        let refused = with_options("", &given, "/var/lib/packcast-agent", true);
        let option = "state_dir";
        assert_eq!(refused, Err(EditError::NotUtf8 { option }));
    }

    #[test]
    fn messages_name_the_options() {
        let errors = [
            EditError::Toml("server =".parse::<toml::Table>().unwrap_err()),
            EditError::Different {
                options: vec!["server", "trust"],
            },
            EditError::NotOneLine { option: "server" },
            EditError::NotUtf8 {
                option: "state_dir",
            },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @"
        TOML parse error at line 1, column 9
          |
        1 | server =
          |         ^
        string values must be quoted, expected literal string
        it has other values of server, trust: pass --force to change them
        cannot change server: write the option and its value on one line
        cannot set state_dir: expected a path in UTF-8
        ");
    }
}
