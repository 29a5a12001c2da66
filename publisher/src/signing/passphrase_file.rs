//! The file with the passphrase of a signing key, for jobs without a terminal.

use std::path::Path;

use super::key::others_can_read;
use super::key_error::KeyError;
use crate::text_file;

/// Reads the passphrase in the first line of a file. A file that other users can read is refused.
pub fn read(file: &Path) -> Result<String, KeyError> {
    let text = text_file::read(file).map_err(|source| KeyError::File {
        path: file.to_owned(),
        source,
    })?;
    if others_can_read(file)? {
        return Err(KeyError::PassphraseReadByOthers {
            path: file.to_owned(),
        });
    }
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(KeyError::NoPassphraseInFile {
            path: file.to_owned(),
        });
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_file;

    fn passphrase(content: &str) -> Result<String, KeyError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passphrase");
        private_file::create(&file, content.as_bytes()).unwrap();
        read(&file)
    }

    #[test]
    fn the_passphrase_is_the_first_line() {
        for content in [
            "my pass ",
            "my pass \n",
            "my pass \r\nmore\n",
            "\u{FEFF}my pass ",
        ] {
            assert_eq!(passphrase(content).unwrap(), "my pass ", "{content:?}");
        }
        for content in ["", "\n", "\r\nmy pass\n"] {
            let refused = passphrase(content).unwrap_err();
            assert!(matches!(refused, KeyError::NoPassphraseInFile { .. }));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passphrase");
        assert!(matches!(read(&file), Err(KeyError::File { .. })));
        private_file::create(&file, b"my pass").unwrap();
        for (mode, is_read) in [(0o600, true), (0o640, false), (0o604, false), (0o400, true)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&file).is_ok(), is_read, "{mode:o}");
        }
    }
}
