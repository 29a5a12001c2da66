//! The private file that hands the one-time token to a browser.
//!
//! Other users of a machine can read the arguments of its programs, so the browser gets the name of a
//! file that only its owner can read.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use maud::{DOCTYPE, html};
use tempfile::NamedTempFile;

use crate::access::SIGN_IN;
use crate::token::Token;

/// A file with a page that posts the token. It is removed when the value is dropped.
#[derive(Debug)]
pub struct Handoff(NamedTempFile);

/// Errors from writing the file.
#[derive(Debug, thiserror::Error)]
#[error("cannot write a file for the browser into {}", folder.display())]
pub struct HandoffError {
    folder: PathBuf,
    source: io::Error,
}

impl Handoff {
    pub(crate) fn write(folder: &Path, origin: &str, token: &Token) -> Result<Self, HandoffError> {
        let written = || -> io::Result<NamedTempFile> {
            create_private(folder)?;
            // Temporary files are readable by their owner only.
            let mut file = tempfile::Builder::new()
                .prefix("console-")
                .suffix(".html")
                .tempfile_in(folder)?;
            file.write_all(page(origin, token).as_bytes())?;
            file.flush()?;
            Ok(file)
        };
        written().map(Self).map_err(|source| HandoffError {
            folder: folder.to_owned(),
            source,
        })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Creates a folder that only its owner can read, or makes it so.
fn create_private(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn page(origin: &str, token: &Token) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Packcast" }
            }
            body {
                form id="sign-in" method="post" action={ (origin) (SIGN_IN) } {
                    input type="hidden" name="token" value=(token.reveal());
                    button { "Open the console" }
                }
                // The page of a file is outside the console, and has no other content.
                script { "document.getElementById('sign-in').submit()" }
            }
        }
    };
    page.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConsoleError;

    #[test]
    fn error_messages() {
        let handoff = HandoffError {
            folder: "/home/ada/.local/state/packcast".into(),
            source: io::ErrorKind::PermissionDenied.into(),
        };
        let source = getrandom::Error::UNSUPPORTED;
        let random = ConsoleError::Random { source };
        insta::assert_snapshot!(format!("{handoff}\n{random}"), @r"
        cannot write a file for the browser into /home/ada/.local/state/packcast
        cannot create a token: the system has no random numbers
        ");
    }
}
