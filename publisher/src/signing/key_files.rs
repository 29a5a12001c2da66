//! The files of a signing key.

use std::path::{Path, PathBuf};

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::{TargetId, TrustedRoots};
use serde::Serialize;

use super::key::{SigningKey, public_file, public_half};
use super::memory_file::MemoryFile;
use super::secrets::Secrets;
use crate::failure::Failure;
use crate::target::{LOCAL, Places, Target};

/// A signing key and its files.
#[derive(Debug, Serialize)]
pub struct KeyFiles {
    pub public_key: String,
    pub secret_key_file: PathBuf,
    pub public_key_file: PathBuf,
    /// The file of a new offline root key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_key_file: Option<PathBuf>,
    /// Target id and present root keys of the target. `None` if this machine does not know them, or if the
    /// key is not for a certain target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<TrustedRoots>,
}

/// Returns the file for a new key of a target. The target need not be reachable.
///
/// # Errors
/// The target `local` is refused, because `packcast local` generates its key itself.
pub fn new_file(target: &str, config: Option<&Path>, places: &Places) -> Result<PathBuf, Failure> {
    if target == LOCAL {
        let why = "cannot generate a key for target local: 'packcast local' generates its own key";
        return Err(Failure::usage(why)
            .hint("pass the target of the key with --target, or a file with --key"));
    }
    Target::key_file(target, config, places)
}

/// The files of new keys.
#[derive(Debug)]
pub struct NewKeys {
    /// The file of the signing key.
    pub file: PathBuf,
    /// The file with the target id. `None` for a key of no certain target.
    pub memory: Option<PathBuf>,
    /// The file of the root key of a new target. `None` if the signing key is the root key.
    pub root: Option<PathBuf>,
    /// The keys are not encrypted.
    pub unencrypted: bool,
}

/// Generates keys in new files. They are encrypted with the new passphrase of `secrets`, unless
/// `unencrypted` is set.
///
/// If there is no file with the target id, the function creates the target id. The root key of the
/// target is then the offline root key, or else the key itself. Of a new target, the function keeps
/// keys that exist.
pub fn generate(new: NewKeys, secrets: &dyn Secrets) -> Result<KeyFiles, Failure> {
    let known = new.memory.as_deref().map(MemoryFile::trust).transpose()?;
    let is_new_target = known == Some(None);
    if let Some(root) = &new.root
        && !is_new_target
    {
        return Err(root_of_known_target(root));
    }
    let key = |file: &Path| -> Result<PublicKey, Failure> {
        if is_new_target && file.exists() {
            return Ok(public_half(file, secrets)?);
        }
        let passphrase = if new.unencrypted {
            None
        } else {
            Some(secrets.new_passphrase()?)
        };
        Ok(SigningKey::generate(file, passphrase)?.public().clone())
    };
    let root = new.root.as_deref().map(key).transpose()?;
    let public = key(&new.file)?;
    let files = KeyFiles {
        root_key_file: new.root,
        ..KeyFiles::new(new.file, &public)
    };
    match &new.memory {
        None => Ok(files),
        Some(memory) => files.of_target(memory, &root.unwrap_or(public)),
    }
}

fn root_of_known_target(root: &Path) -> Failure {
    Failure::usage(format!(
        "cannot generate root key {}: only a new target gets a root key of its own",
        root.display()
    ))
    .hint("pass the name of a new target with --target")
}

/// Returns the public key of the key in `secrets`, or of the key in a file, and the target id and
/// root keys in the file `memory`.
pub fn show(
    file: PathBuf,
    memory: Option<&Path>,
    secrets: &dyn Secrets,
) -> Result<KeyFiles, Failure> {
    let public = public_half(&file, secrets)?;
    let trust = memory.map(MemoryFile::present_trust).transpose()?;
    let trust = trust.flatten();
    Ok(KeyFiles {
        trust,
        ..KeyFiles::new(file, &public)
    })
}

/// Target id and root keys of a target, as this machine knows them from now on.
#[derive(Debug, Serialize)]
pub struct AcceptedTrust {
    pub trust: TrustedRoots,
}

/// Stores the target id and the root keys of a target that another machine has created.
pub fn accept_trust(memory: &Path, trust: TrustedRoots) -> Result<AcceptedTrust, Failure> {
    MemoryFile::accept(memory, &trust)?;
    Ok(AcceptedTrust { trust })
}

/// Returns target id and root keys in the file `memory`. If there is no such file, the function
/// creates a target with this root key.
pub(crate) fn known_or_new(memory: &Path, root: &PublicKey) -> Result<TrustedRoots, Failure> {
    if let Some(known) = MemoryFile::trust(memory)? {
        return Ok(known);
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(Failure::failed)?;
    let new = TrustedRoots::new(TargetId::from_bytes(random), vec![root.clone()]);
    let new = new.map_err(Failure::failed)?;
    if MemoryFile::found(memory, &new)? {
        return Ok(new);
    }
    // Another command was faster.
    Ok(MemoryFile::trust(memory)?.unwrap_or(new))
}

impl KeyFiles {
    fn new(file: PathBuf, public: &PublicKey) -> Self {
        Self {
            public_key: public.to_string(),
            public_key_file: public_file(&file),
            secret_key_file: file,
            root_key_file: None,
            trust: None,
        }
    }

    fn of_target(self, memory: &Path, root: &PublicKey) -> Result<Self, Failure> {
        let trust = Some(known_or_new(memory, root)?);
        Ok(Self { trust, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;
    use crate::signing::NoSecrets;

    #[test]
    fn the_first_key_of_a_target_is_its_root_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let memory = path("state/commits.jsonl");
        let generate = |name: &str, memory: Option<&PathBuf>| {
            let new = NewKeys {
                file: path(name),
                memory: memory.cloned(),
                root: None,
                unencrypted: true,
            };
            generate(new, &NoSecrets)
        };
        assert_eq!(generate("other.key", None).unwrap().trust, None);
        let first = generate("first.key", Some(&memory)).unwrap();
        let trust = first.trust.unwrap();
        assert_eq!(trust.roots()[0].to_string(), first.public_key);
        let second = generate("second.key", Some(&memory)).unwrap();
        assert_eq!(second.trust.as_ref(), Some(&trust));
        let shown = show(path("second.key"), Some(&memory), &NoSecrets).unwrap();
        assert_eq!(shown.public_key, second.public_key);
        assert_eq!(shown.trust, second.trust);
        // A key that is older than its target stays.
        let new = path("new/commits.jsonl");
        let kept = generate("first.key", Some(&new)).unwrap();
        assert_eq!(kept.public_key, first.public_key);
        assert_ne!(kept.trust, Some(trust));
        assert!(generate("first.key", Some(&memory)).is_err());
    }

    #[test]
    fn a_root_key_apart_is_the_only_root_key_of_a_new_target() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let new = |memory: Option<PathBuf>| NewKeys {
            file: path("prod.key"),
            memory,
            root: Some(path("root.key")),
            unencrypted: true,
        };
        let memory = path("state/commits.jsonl");
        let files = generate(new(Some(memory.clone())), &NoSecrets).unwrap();
        assert_eq!(files.root_key_file, Some(path("root.key")));
        let root = public_half(&path("root.key"), &NoSecrets).unwrap();
        assert_eq!(files.trust.unwrap().roots(), std::slice::from_ref(&root));
        assert_ne!(files.public_key, root.to_string());
        // The command was interrupted before it created the target.
        std::fs::remove_file(&memory).unwrap();
        let again = generate(new(Some(memory.clone())), &NoSecrets).unwrap();
        assert_eq!(again.trust.unwrap().roots(), [root]);
        assert_eq!(again.public_key, files.public_key);
        let refused = [Some(memory), None].map(|memory| {
            let refused = generate(new(memory), &NoSecrets).unwrap_err();
            refused
                .to_string()
                .replace(folder.path().to_str().unwrap(), "")
        });
        assert_eq!(refused[0], refused[1]);
        insta::assert_snapshot!(refused[0], @"
        cannot generate root key /root.key: only a new target gets a root key of its own
        hint: pass the name of a new target with --target
        ");
    }

    #[test]
    fn the_local_target_generates_its_own_key() {
        let places = Places {
            config: "/c".into(),
            state: "/s".into(),
        };
        let refused = new_file(LOCAL, None, &places).unwrap_err();
        insta::assert_snapshot!(failures([refused]), @r"
        Usage: cannot generate a key for target local: 'packcast local' generates its own key
        hint: pass the target of the key with --target, or a file with --key
        ");
    }
}
