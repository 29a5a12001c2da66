//! Signing keys: minisign secret keys in files or the environment, never in arguments.

use std::env::VarError;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use minisign::{KeyPair, PublicKey as MinisignPublicKey, SecretKey, SecretKeyBox};
use packcast_protocol::signature::{PublicKey, PublicKeyError};

use crate::output::is_interactive;

/// The environment variable that holds a whole secret key file.
pub const KEY_VARIABLE: &str = "PACKCAST_SECRET_KEY";

/// The environment variable that holds the passphrase of the secret key.
pub const PASSPHRASE_VARIABLE: &str = "PACKCAST_KEY_PASSPHRASE";

/// A key that manifests are signed with.
pub struct SigningKey {
    secret: SecretKey,
    public: PublicKey,
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("there is no signing key at {}", path.display())]
    Missing { path: PathBuf },
    #[error("the signing key {} exists already; a key that has signed packages is not overwritten", path.display())]
    Exists { path: PathBuf },
    #[error(
        "{KEY_VARIABLE} holds a key, and --key names another, {}: unset the variable or leave the option out",
        path.display()
    )]
    TwoKeys { path: PathBuf },
    #[error("{variable} is not text in UTF-8")]
    NotText { variable: &'static str },
    #[error("{from} is not a minisign secret key")]
    Malformed { from: String },
    #[error("the passphrase of {from} is wrong")]
    WrongPassphrase { from: String },
    #[error(
        "{from} needs its passphrase, and there is no terminal to ask on: set {PASSPHRASE_VARIABLE}"
    )]
    NoPassphrase { from: String },
    #[error("the passphrases differ")]
    PassphrasesDiffer,
    #[error("the passphrase is empty; use --unencrypted if that is meant")]
    EmptyPassphrase,
    #[error("{} can be read by others: make it yours alone with chmod 600", path.display())]
    ReadByOthers { path: PathBuf },
    #[error("{} cannot be read or written", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the key cannot be made or used")]
    Minisign(#[source] minisign::PError),
    #[error("the key has no usable public half")]
    Public(#[from] PublicKeyError),
    #[error("the terminal cannot be read")]
    Terminal(#[from] inquire::InquireError),
}

impl SigningKey {
    /// Takes the key from the environment if it is there, else from the file that somebody
    /// `named`, else from `usual`.
    ///
    /// # Errors
    /// The environment has a key and a file is named: which of them is to sign is not known.
    pub fn load(named: Option<&Path>, usual: &Path) -> Result<Self, KeyError> {
        match (variable(KEY_VARIABLE)?, named) {
            (Some(_), Some(path)) => Err(KeyError::TwoKeys {
                path: path.to_owned(),
            }),
            (Some(text), None) => Self::open(&text, KEY_VARIABLE),
            (None, named) => Self::read(named.unwrap_or(usual)),
        }
    }

    /// Reads a key file, which only its owner may be able to read.
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(file).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => KeyError::Missing {
                path: file.to_owned(),
            },
            _ => KeyError::File {
                path: file.to_owned(),
                source,
            },
        })?;
        refuse_readable_by_others(file)?;
        Self::open(&text, &file.display().to_string())
    }

    fn open(text: &str, from: &str) -> Result<Self, KeyError> {
        let malformed = |_| KeyError::Malformed {
            from: from.to_owned(),
        };
        if let Some(secret) = without_checksum(text) {
            return Self::of(secret);
        }
        let boxed = SecretKeyBox::from_string(text).map_err(malformed)?;
        if !is_encrypted(text) {
            return Self::of(boxed.into_unencrypted_secret_key().map_err(malformed)?);
        }
        let secret = boxed.into_secret_key(Some(passphrase(from)?));
        Self::of(secret.map_err(|_| KeyError::WrongPassphrase {
            from: from.to_owned(),
        })?)
    }

    fn of(secret: SecretKey) -> Result<Self, KeyError> {
        let public = MinisignPublicKey::from_secret_key(&secret).map_err(KeyError::Minisign)?;
        Ok(Self {
            public: public.to_base64().parse()?,
            secret,
        })
    }

    /// Makes a key and writes it to a new file, with its public half beside it (`.pub`).
    ///
    /// Without a passphrase the file holds the key as it is: for machines that guard the
    /// file in another way, and for targets that live on one machine.
    pub fn generate(file: &Path, passphrase: Option<String>) -> Result<Self, KeyError> {
        let io = |source| KeyError::File {
            path: file.to_owned(),
            source,
        };
        for path in [file.to_owned(), public_file(file)] {
            if path.exists() {
                return Err(KeyError::Exists { path });
            }
        }
        let pair = match &passphrase {
            Some(passphrase) => KeyPair::generate_encrypted_keypair(Some(passphrase.clone())),
            None => KeyPair::generate_unencrypted_keypair(),
        }
        .map_err(KeyError::Minisign)?;
        let boxed = pair
            .sk
            .to_box(Some("packcast secret key"))
            .map_err(KeyError::Minisign)?;
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(io)?;
        // Temporary files are readable by their owner only.
        let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
        temporary
            .write_all(boxed.to_string().as_bytes())
            .map_err(io)?;
        temporary.as_file().sync_all().map_err(io)?;
        temporary
            .persist_noclobber(file)
            .map_err(|error| match error.error.kind() {
                std::io::ErrorKind::AlreadyExists => KeyError::Exists {
                    path: file.to_owned(),
                },
                _ => io(error.error),
            })?;
        let public = pair.pk.to_base64().parse()?;
        write_public(file, &public)?;
        // The half of an encrypted pair is encrypted in memory, too.
        let secret = match passphrase {
            Some(_) => boxed.into_secret_key(passphrase),
            None => Ok(pair.sk),
        };
        Self::of(secret.map_err(KeyError::Minisign)?)
    }

    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a document, each time differently: a part of every signature is random.
    pub fn sign(&self, document: &[u8], comment: &str) -> Result<String, KeyError> {
        minisign::sign(
            None,
            &self.secret,
            Cursor::new(document),
            Some(comment),
            Some("signed by packcast"),
        )
        .map(minisign::SignatureBox::into_string)
        .map_err(KeyError::Minisign)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public)
    }
}

/// Tells whether the base64 in a key file says Ed25519 encrypted with scrypt, as minisign writes it.
fn is_encrypted(text: &str) -> bool {
    let key = text.lines().nth(1).unwrap_or_default();
    key.starts_with("RWRTY0Iy")
}

/// Reads a key that the standard tool made without a passphrase (`minisign -G -W`): where others
/// write a checksum, which is the last part, it leaves zeros, and the library refuses them.
fn without_checksum(text: &str) -> Option<SecretKey> {
    const CHECKSUM: [u8; 32] = [0; 32];
    let key = BASE64.decode(text.lines().nth(1)?.as_bytes()).ok()?;
    if is_encrypted(text) || !key.ends_with(&CHECKSUM) {
        return None;
    }
    SecretKey::from_bytes(&key).ok()
}

/// Returns where the public half of a key file is: `packcast.pub` of `packcast.key`, and
/// `NAME.pub` of any other name, so that no two keys share one.
pub fn public_file(file: &Path) -> PathBuf {
    if file.extension().is_some_and(|extension| extension == "key") {
        return file.with_extension("pub");
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Writes the public half of a key beside it.
pub(crate) fn write_public(file: &Path, key: &PublicKey) -> Result<(), KeyError> {
    let path = public_file(file);
    let boxed = MinisignPublicKey::from_base64(&key.to_string()).and_then(|key| key.to_box());
    let text = boxed.map_err(KeyError::Minisign)?.into_string();
    std::fs::write(&path, text).map_err(|source| KeyError::File { path, source })
}

/// Returns the public half of the key that signs: of the environment's, or of the one in a
/// file, beside which it is written again if it was lost.
pub(crate) fn public_half(file: &Path) -> Result<PublicKey, KeyError> {
    if variable(KEY_VARIABLE)?.is_some() {
        return Ok(SigningKey::load(None, file)?.public().clone());
    }
    if public_file(file).exists() || !file.exists() {
        return read_public(file);
    }
    let key = SigningKey::read(file)?;
    write_public(file, key.public())?;
    Ok(key.public().clone())
}

/// Tells whether a key file is encrypted with a passphrase.
pub(crate) fn is_encrypted_file(file: &Path) -> Result<bool, KeyError> {
    let text = std::fs::read_to_string(file).map_err(|source| KeyError::File {
        path: file.to_owned(),
        source,
    })?;
    Ok(is_encrypted(&text))
}

/// Reads the public half of a key from the file beside it.
pub fn read_public(file: &Path) -> Result<PublicKey, KeyError> {
    let path = public_file(file);
    let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => KeyError::Missing { path: path.clone() },
        _ => KeyError::File {
            path: path.clone(),
            source,
        },
    })?;
    let key = text
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or_default();
    Ok(key.parse()?)
}

/// Asks for a new passphrase twice, or takes it from the environment.
pub fn new_passphrase() -> Result<String, KeyError> {
    if let Some(passphrase) = variable(PASSPHRASE_VARIABLE)? {
        return if passphrase.is_empty() {
            Err(KeyError::EmptyPassphrase)
        } else {
            Ok(passphrase)
        };
    }
    if !is_interactive() {
        return Err(KeyError::NoPassphrase {
            from: "the new key".to_owned(),
        });
    }
    let ask = |question| {
        inquire::Password::new(question)
            .without_confirmation()
            .prompt()
    };
    let passphrase = ask("Passphrase for the new key:")?;
    if passphrase.is_empty() {
        return Err(KeyError::EmptyPassphrase);
    }
    if ask("The same again:")? == passphrase {
        Ok(passphrase)
    } else {
        Err(KeyError::PassphrasesDiffer)
    }
}

fn passphrase(from: &str) -> Result<String, KeyError> {
    if let Some(passphrase) = variable(PASSPHRASE_VARIABLE)? {
        return Ok(passphrase);
    }
    if !is_interactive() {
        return Err(KeyError::NoPassphrase {
            from: from.to_owned(),
        });
    }
    let question = format!("Passphrase of {from}:");
    Ok(inquire::Password::new(&question)
        .without_confirmation()
        .prompt()?)
}

fn variable(variable: &'static str) -> Result<Option<String>, KeyError> {
    match std::env::var(variable) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(KeyError::NotText { variable }),
    }
}

#[cfg(unix)]
fn refuse_readable_by_others(file: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt as _;

    let metadata = std::fs::metadata(file).map_err(|source| KeyError::File {
        path: file.to_owned(),
        source,
    })?;
    if metadata.permissions().mode() & 0o077 == 0 {
        Ok(())
    } else {
        Err(KeyError::ReadByOthers {
            path: file.to_owned(),
        })
    }
}

#[cfg(not(unix))]
fn refuse_readable_by_others(_file: &Path) -> Result<(), KeyError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use packcast_protocol::signature::verify;

    use super::*;

    #[test]
    fn what_a_key_signs_verifies_with_its_public_half() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packcast.key");
        let made = SigningKey::generate(&file, None).unwrap();
        let read = SigningKey::read(&file).unwrap();
        let public = [read_public(&file).unwrap()];
        for key in [made, read] {
            let signature = key.sign(b"document", "comment").unwrap();
            assert_eq!(verify(b"document", &signature, &public), Ok(()));
        }
    }

    #[test]
    fn a_key_made_with_a_passphrase_signs_and_is_encrypted_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packcast.key");
        let made = SigningKey::generate(&file, Some("correct horse".to_owned())).unwrap();
        let signature = made.sign(b"document", "comment").unwrap();
        let public = [read_public(&file).unwrap()];
        assert_eq!(verify(b"document", &signature, &public), Ok(()));
        assert_eq!(made.public().to_string(), public[0].to_string());
        assert!(is_encrypted(&std::fs::read_to_string(&file).unwrap()));
    }

    #[test]
    fn a_key_that_is_shown_for_debugging_keeps_its_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packcast.key");
        let key = SigningKey::generate(&file, None).unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public()));
    }

    #[test]
    fn a_key_is_not_overwritten_and_not_read_when_others_can() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packcast.key");
        SigningKey::generate(&file, None).unwrap();
        assert!(matches!(
            SigningKey::generate(&file, None),
            Err(KeyError::Exists { .. })
        ));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(
                SigningKey::read(&file),
                Err(KeyError::ReadByOthers { .. })
            ));
        }
        assert!(matches!(
            SigningKey::read(&folder.path().join("none")),
            Err(KeyError::Missing { .. })
        ));
    }
}
