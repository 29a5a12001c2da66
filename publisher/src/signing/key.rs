//! Signing keys: minisign secret keys from files or from [`Secrets`], never from arguments.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use minisign::{KeyPair, PublicKey as MinisignPublicKey, SecretKey, SecretKeyBox};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::{UnixTime, text_input};

use super::key_error::{KEY_VARIABLE, KeyError};
use super::secrets::Secrets;
use super::unlocked::UnlockedKey;
use crate::private_file;
use crate::text_file;

/// A key that signs manifests, assignments and key lists.
pub struct SigningKey {
    secret: SecretKey,
    public: PublicKey,
}

impl SigningKey {
    /// Loads the key from `secrets` if they have a key, otherwise from the `named` file, otherwise
    /// from the `usual` file. An unlocked key needs no passphrase.
    ///
    /// # Errors
    /// [`KeyError::TwoKeys`] if `secrets` have a key and a file is named.
    pub fn load(
        named: Option<&Path>,
        usual: &Path,
        secrets: &dyn Secrets,
    ) -> Result<Self, KeyError> {
        match (secrets.key()?, named) {
            (Some(_), Some(path)) => Err(KeyError::TwoKeys {
                path: path.to_owned(),
            }),
            (Some(text), None) => Self::open(&text, KEY_VARIABLE, secrets),
            (None, named) => {
                let file = named.unwrap_or(usual);
                let text = key_text(file)?;
                let unlocked = if is_encrypted(&text) {
                    secrets.unlocked(file)
                } else {
                    None
                };
                match unlocked.and_then(|unlocked| Self::of_unlocked(&unlocked, &text)) {
                    Some(key) => Ok(key),
                    None => Self::open(&text, &file.display().to_string(), secrets),
                }
            }
        }
    }

    /// Reads a key file, and never an unlocked key. A file that other users can read is refused.
    pub fn read(file: &Path, secrets: &dyn Secrets) -> Result<Self, KeyError> {
        Self::open(&key_text(file)?, &file.display().to_string(), secrets)
    }

    fn open(text: &str, from: &str, secrets: &dyn Secrets) -> Result<Self, KeyError> {
        let malformed = |_| KeyError::Malformed {
            from: from.to_owned(),
        };
        // The text of an environment variable may come from a file with a byte order mark.
        let text = text_input::without_mark(text);
        if let Some(secret) = without_checksum(text) {
            return Self::of(secret);
        }
        let boxed = SecretKeyBox::from_string(text).map_err(malformed)?;
        if !is_encrypted(text) {
            return Self::of(boxed.into_unencrypted_secret_key().map_err(malformed)?);
        }
        let mut boxed = boxed;
        loop {
            if let Ok(secret) = boxed.into_secret_key(Some(secrets.passphrase(from)?)) {
                return Self::of(secret);
            }
            if !secrets.asks_again() {
                return Err(KeyError::WrongPassphrase {
                    from: from.to_owned(),
                });
            }
            boxed = SecretKeyBox::from_string(text).map_err(malformed)?;
        }
    }

    fn of(secret: SecretKey) -> Result<Self, KeyError> {
        let public = MinisignPublicKey::from_secret_key(&secret).map_err(KeyError::Minisign)?;
        Ok(Self {
            public: public.to_base64().parse()?,
            secret,
        })
    }

    /// Decrypts the key in a file, to keep it for a while. `None` if the file is not encrypted.
    pub fn unlock(
        file: &Path,
        until: UnixTime,
        secrets: &dyn Secrets,
    ) -> Result<Option<UnlockedKey>, KeyError> {
        let text = key_text(file)?;
        if !is_encrypted(&text) {
            return Ok(None);
        }
        let key = Self::open(&text, &file.display().to_string(), secrets)?;
        Ok(Some(UnlockedKey::new(until, &text, key.secret.to_bytes())))
    }

    /// Returns an unlocked key whose file has this text. `None` if it is another file, or if the key
    /// is damaged.
    fn of_unlocked(unlocked: &UnlockedKey, text: &str) -> Option<Self> {
        let secret = SecretKey::from_bytes(unlocked.key_of(text)?).ok()?;
        // The library reports a key with a wrong checksum as encrypted.
        if secret.is_encrypted() {
            return None;
        }
        Self::of(secret).ok()
    }

    /// Generates a key, and writes it to a new file, with the public key in a file beside it
    /// (`.pub`).
    ///
    /// Without a passphrase, the key in the file is not encrypted. This is for machines that protect
    /// the file in another way, and for targets on a single machine.
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
        private_file::create(file, boxed.to_string().as_bytes()).map_err(|error| {
            match error.kind() {
                std::io::ErrorKind::AlreadyExists => KeyError::Exists {
                    path: file.to_owned(),
                },
                _ => io(error),
            }
        })?;
        let public = pair.pk.to_base64().parse()?;
        write_public(file, &public)?;
        // The secret key of an encrypted pair is encrypted in memory, too.
        let secret = match passphrase {
            Some(_) => boxed.into_secret_key(passphrase),
            None => Ok(pair.sk),
        };
        Self::of(secret.map_err(KeyError::Minisign)?)
    }

    /// Returns the public key.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a document. Each signature is different, because a part of it is random.
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

/// Reads the text of a key file. A file that other users can read is refused.
fn key_text(file: &Path) -> Result<String, KeyError> {
    let text = text_file::read(file).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => KeyError::Missing {
            path: file.to_owned(),
        },
        _ => KeyError::File {
            path: file.to_owned(),
            source,
        },
    })?;
    if others_can_read(file)? {
        return Err(KeyError::ReadByOthers {
            path: file.to_owned(),
        });
    }
    Ok(text)
}

/// Returns true if the base64 text of a key file begins like an Ed25519 key that minisign encrypted
/// with scrypt.
fn is_encrypted(text: &str) -> bool {
    let key = text.lines().nth(1).unwrap_or_default();
    key.starts_with("RWRTY0Iy")
}

/// Reads a key that the `minisign` program created without a passphrase (`minisign -G -W`).
///
/// The program writes zeros in place of the checksum at the end of the key, and the library refuses
/// such a key.
fn without_checksum(text: &str) -> Option<SecretKey> {
    const CHECKSUM: [u8; 32] = [0; 32];
    let key = BASE64.decode(text.lines().nth(1)?.as_bytes()).ok()?;
    if is_encrypted(text) || !key.ends_with(&CHECKSUM) {
        return None;
    }
    SecretKey::from_bytes(&key).ok()
}

/// Returns the path of the public key file: `packcast.pub` for `packcast.key`, and `NAME.pub` for
/// any other `NAME`, so that no two keys share a public key file.
pub fn public_file(file: &Path) -> PathBuf {
    if file.extension().is_some_and(|extension| extension == "key") {
        return file.with_extension("pub");
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Writes the public key into the file beside the secret key file.
pub fn write_public(file: &Path, key: &PublicKey) -> Result<(), KeyError> {
    let path = public_file(file);
    let boxed = MinisignPublicKey::from_base64(&key.to_string()).and_then(|key| key.to_box());
    let text = boxed.map_err(KeyError::Minisign)?.into_string();
    std::fs::write(&path, text).map_err(|source| KeyError::File { path, source })
}

/// Returns the public key of the signing key in `secrets`, or of the signing key in `file`.
///
/// If the public key file is missing, the function writes it again from the secret key.
pub fn public_half(file: &Path, secrets: &dyn Secrets) -> Result<PublicKey, KeyError> {
    if secrets.key()?.is_some() {
        return Ok(SigningKey::load(None, file, secrets)?.public().clone());
    }
    if public_file(file).exists() || !file.exists() {
        return read_public(file);
    }
    let key = SigningKey::read(file, secrets)?;
    write_public(file, key.public())?;
    Ok(key.public().clone())
}

/// Returns true if a key file is encrypted with a passphrase.
pub fn is_encrypted_file(file: &Path) -> Result<bool, KeyError> {
    Ok(is_encrypted(&key_text(file)?))
}

/// Reads the public key from the file beside the secret key file.
pub fn read_public(file: &Path) -> Result<PublicKey, KeyError> {
    let path = public_file(file);
    let text = text_file::read(&path).map_err(|source| match source.kind() {
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

/// Returns true if users other than the owner can read or write a file with a secret.
#[cfg(unix)]
pub(super) fn others_can_read(file: &Path) -> Result<bool, KeyError> {
    use std::os::unix::fs::PermissionsExt as _;

    let metadata = std::fs::metadata(file).map_err(|source| KeyError::File {
        path: file.to_owned(),
        source,
    })?;
    Ok(metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
pub(super) fn others_can_read(_file: &Path) -> Result<bool, KeyError> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use packcast_protocol::signature::verify;

    use super::*;
    use crate::signing::NoSecrets;

    #[test]
    fn a_signature_verifies_with_the_public_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packcast.key");
        let made = SigningKey::generate(&file, None).unwrap();
        let read = SigningKey::read(&file, &NoSecrets).unwrap();
        let public = [read_public(&file).unwrap()];
        for key in [made, read] {
            let signature = key.sign(b"document", "comment").unwrap();
            assert_eq!(verify(b"document", &signature, &public), Ok(()));
        }
    }

    #[test]
    fn a_key_with_a_passphrase_signs_and_is_encrypted_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packcast.key");
        let made = SigningKey::generate(&file, Some("correct horse".to_owned())).unwrap();
        let signature = made.sign(b"document", "comment").unwrap();
        let public = [read_public(&file).unwrap()];
        assert_eq!(verify(b"document", &signature, &public), Ok(()));
        assert_eq!(made.public().to_string(), public[0].to_string());
        assert!(is_encrypted(&std::fs::read_to_string(&file).unwrap()));
    }

    /// A person who mistypes the passphrase once.
    #[derive(Debug, Default)]
    struct Mistyping(std::sync::atomic::AtomicU32);

    impl Secrets for Mistyping {
        fn key(&self) -> Result<Option<String>, KeyError> {
            Ok(None)
        }

        fn passphrase(&self, _: &str) -> Result<String, KeyError> {
            let times = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let typed = ["correct hrose", "correct horse"];
            Ok(typed[usize::try_from(times.min(1)).unwrap()].to_owned())
        }

        fn new_passphrase(&self) -> Result<String, KeyError> {
            Err(KeyError::EmptyPassphrase)
        }

        fn asks_again(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_person_can_correct_a_mistyped_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packcast.key");
        let made = SigningKey::generate(&file, Some("correct horse".to_owned())).unwrap();
        let person = Mistyping::default();
        let read = SigningKey::read(&file, &person).unwrap();
        assert_eq!(read.public(), made.public());
        assert_eq!(person.0.into_inner(), 2);
    }

    #[test]
    fn a_key_may_begin_with_a_byte_order_mark() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packcast.key");
        let made = SigningKey::generate(&file, None).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let marked = format!("\u{FEFF}{text}");
        let opened = SigningKey::open(&marked, KEY_VARIABLE, &NoSecrets).unwrap();
        assert_eq!(opened.public(), made.public());
        for path in [file.clone(), public_file(&file)] {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, format!("\u{FEFF}{text}")).unwrap();
        }
        let read = SigningKey::read(&file, &NoSecrets).unwrap();
        assert_eq!(read.public(), made.public());
        assert_eq!(&read_public(&file).unwrap(), made.public());
    }

    #[test]
    fn debug_output_of_a_key_has_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packcast.key");
        let key = SigningKey::generate(&file, None).unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public()));
    }

    #[test]
    fn a_key_is_not_overwritten_and_not_read_if_others_can_read_it() {
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
                SigningKey::read(&file, &NoSecrets),
                Err(KeyError::ReadByOthers { .. })
            ));
        }
        assert!(matches!(
            SigningKey::read(&folder.path().join("none"), &NoSecrets),
            Err(KeyError::Missing { .. })
        ));
    }

    /// A person who knows the passphrase, and a keyring.
    #[derive(Debug, Default)]
    struct Keyring {
        stored: Mutex<Option<Vec<u8>>>,
        knows_passphrase: bool,
    }

    impl Secrets for Keyring {
        fn key(&self) -> Result<Option<String>, KeyError> {
            Ok(None)
        }

        fn unlocked(&self, _: &Path) -> Option<UnlockedKey> {
            UnlockedKey::from_bytes(self.stored.lock().unwrap().as_ref()?)
        }

        fn passphrase(&self, from: &str) -> Result<String, KeyError> {
            if self.knows_passphrase {
                return Ok("correct horse".to_owned());
            }
            NoSecrets.passphrase(from)
        }

        fn new_passphrase(&self) -> Result<String, KeyError> {
            NoSecrets.new_passphrase()
        }
    }

    const UNTIL: UnixTime = UnixTime(1_795_000_000);

    fn unlock(file: &Path, knows_passphrase: bool) -> Result<Option<UnlockedKey>, KeyError> {
        let person = Keyring {
            knows_passphrase,
            ..Keyring::default()
        };
        SigningKey::unlock(file, UNTIL, &person)
    }

    #[test]
    fn an_unlocked_key_signs_without_its_passphrase_until_its_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let [file, other] = ["packcast.key", "other.key"].map(|name| folder.path().join(name));
        let passphrase = || Some("correct horse".to_owned());
        let key = SigningKey::generate(&file, passphrase()).unwrap();
        SigningKey::generate(&other, passphrase()).unwrap();
        assert!(matches!(
            unlock(&file, false),
            Err(KeyError::NoPassphrase { .. })
        ));
        let unlocked = unlock(&file, true).unwrap().unwrap();
        assert_eq!(unlocked.until(), UNTIL);
        let keyring = Keyring {
            stored: Mutex::new(Some(unlocked.to_bytes())),
            knows_passphrase: false,
        };
        let load = |file: &Path| SigningKey::load(None, file, &keyring);
        assert_eq!(load(&file).unwrap().public(), key.public());
        // Root keys are read in this way, which never uses the keyring.
        assert!(matches!(
            SigningKey::read(&file, &keyring),
            Err(KeyError::NoPassphrase { .. })
        ));
        assert!(matches!(load(&other), Err(KeyError::NoPassphrase { .. })));
        std::fs::rename(&other, &file).unwrap();
        assert!(matches!(load(&file), Err(KeyError::NoPassphrase { .. })));
    }

    #[test]
    fn a_damaged_entry_and_a_key_without_passphrase_unlock_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packcast.key");
        SigningKey::generate(&file, Some("correct horse".to_owned())).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let stored = unlock(&file, true).unwrap().unwrap().to_bytes();
        let is_key = |bytes: &[u8]| {
            let unlocked = UnlockedKey::from_bytes(bytes);
            unlocked.is_some_and(|unlocked| SigningKey::of_unlocked(&unlocked, &text).is_some())
        };
        assert!(is_key(&stored));
        for length in 0..stored.len() {
            assert!(!is_key(&stored[..length]), "{length}");
        }
        let mut changed = stored;
        *changed.last_mut().unwrap() ^= 1;
        assert!(!is_key(&changed));
        let open = folder.path().join("open.key");
        SigningKey::generate(&open, None).unwrap();
        assert!(unlock(&open, true).unwrap().is_none());
    }
}
