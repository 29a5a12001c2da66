//! `packcast keys`: manages the key that signs packages and assignments, and the keys that agents
//! trust.

mod accept_head;
mod accept_trust;
mod list;
mod revoke;
mod rotate;
mod trust;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use packcast_publisher::signing::key_files::{self, KeyFiles};
use packcast_publisher::target::LOCAL;
use packcast_publisher::{Failure, Target};

use crate::Globals;
use crate::output;
use crate::places;
use crate::secrets::FromPerson;

/// Manage the signing key, and the keys that agents trust
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  packcast keys generate --target production
  packcast keys show --target production
  packcast keys list
  packcast keys rotate
  packcast keys trust RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")]
pub(crate) enum Args {
    /// Generate a signing key, and create the target
    ///
    /// Prints the public half and the trust line, which belong in the configuration of agents and
    /// of the check-in function. The trust line has the id of the target, which the command
    /// creates, and its root key. A target that this machine knows already keeps its trust line: to
    /// add a publisher, run 'packcast keys accept-trust' first. The secret half is encrypted with a
    /// passphrase: from the environment variable PACKCAST_KEY_PASSPHRASE, or from a prompt. The key
    /// never leaves this machine; keep a copy in a safe place. 'packcast local' generates its key
    /// itself.
    #[command(after_help = "\
Examples:
  packcast keys generate --target production
  packcast keys generate --key ~/keys/production.key")]
    Generate {
        /// Write the key to this file instead of the target's own key file
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Do not encrypt the key: anybody who can read the file can sign
        #[arg(long)]
        unencrypted: bool,
    },
    /// Show the signing key and the trust line of the target
    ///
    /// The trust line names the target and all its root keys, the key of the highest rank first. It
    /// belongs in the configuration of agents, and another administrator's machine needs it once.
    Show {
        /// Show the key in this file instead of the target's own key
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Let this machine know a target that another machine has created
    ///
    /// The trust line has the id and the root keys of the target. It is no secret, but must come
    /// from somebody that you trust: whoever changes it can pass off another target as this one.
    AcceptTrust(accept_trust::Args),
    /// Confirm the head of the target on a machine that does not know it
    ///
    /// The head is the newest commit: the signed state that devices follow. A machine remembers the
    /// commits that it has seen, and signs no change of an earlier state. A machine without this
    /// memory cannot see if somebody has put an earlier state back. So the command shows the head
    /// and asks. Compare the commit with another machine that changes this target.
    #[command(after_help = "\
Examples:
  packcast keys accept-head --target production")]
    AcceptHead(accept_head::Args),
    /// Replace the signing key with a new one
    ///
    /// Signs all assignments again with the new key. Agents trust the new key from their next
    /// check-in on. Agents keep trusting the old key, for the packages that this key has signed,
    /// until the old key is revoked. If the command is interrupted, run it again to complete the
    /// rotation.
    #[command(after_help = "\
Examples:
  packcast keys rotate --target production")]
    Rotate(rotate::Args),
    /// Let agents also trust the key of another publisher
    ///
    /// Agents accept packages and assignments from both publishers. Only your own signing key can
    /// change the list of trusted keys.
    #[command(after_help = "\
Examples:
  packcast keys trust RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")]
    Trust(trust::Args),
    /// Stop agents from trusting a key
    ///
    /// From their next check-in on, agents refuse packages and assignments signed by this key.
    #[command(after_help = "\
Examples:
  packcast keys revoke RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")]
    Revoke(revoke::Args),
    /// List the keys that agents trust
    List,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Generate { key, unencrypted } => {
                let memory = memory(key.as_deref(), globals)?;
                let file = new_file(key, globals)?;
                let files = key_files::generate(file, memory.as_deref(), unencrypted, &FromPerson)?;
                show(globals, &files);
            }
            Self::Show { key } => {
                let memory = memory(key.as_deref(), globals)?;
                let file = shown_file(key, globals)?;
                show(
                    globals,
                    &key_files::show(file, memory.as_deref(), &FromPerson)?,
                );
            }
            Self::AcceptTrust(args) => args.run(globals)?,
            Self::AcceptHead(args) => args.run(globals).await?,
            Self::Rotate(args) => args.run(globals).await?,
            Self::Trust(args) => args.run(globals).await?,
            Self::Revoke(args) => args.run(globals).await?,
            Self::List => list::run(globals).await?,
        }
        Ok(())
    }
}

/// Returns the file with the target id. `None` if the key is for no certain target: the person
/// names a key file and no target.
fn memory(named: Option<&Path>, globals: &Globals) -> Result<Option<PathBuf>, Failure> {
    if named.is_some() && globals.target == LOCAL {
        return Ok(None);
    }
    Ok(Some(places::find()?.state_memory(&globals.target)))
}

/// Returns the named key file, or the target's. The target need not be reachable.
fn shown_file(named: Option<PathBuf>, globals: &Globals) -> Result<PathBuf, Failure> {
    let config = globals.config.as_deref();
    match named {
        Some(file) => Ok(file),
        None => Target::key_file(&globals.target, config, &places::find()?),
    }
}

/// Returns the named file for a new key, or the target's file.
fn new_file(named: Option<PathBuf>, globals: &Globals) -> Result<PathBuf, Failure> {
    let config = globals.config.as_deref();
    match named {
        Some(file) => Ok(file),
        None => key_files::new_file(&globals.target, config, &places::find()?),
    }
}

fn show(globals: &Globals, key: &KeyFiles) {
    output::result(globals.format, key, text);
}

fn text(key: &KeyFiles) -> String {
    let trust = key.trust.as_ref();
    output::fields([
        ("public key", key.public_key.clone()),
        ("secret key file", key.secret_key_file.display().to_string()),
        ("public key file", key.public_key_file.display().to_string()),
        (
            "trust line",
            trust.map(ToString::to_string).unwrap_or_default(),
        ),
    ])
}

const FIRST_LIST: &str = "agents now trust only the keys in this list: \
if their configuration names the key of another publisher, add that key with 'packcast keys trust'";

/// Prints a note with the first key list, which replaces the keys in the agents' configuration.
fn note_first(is_first: bool) {
    if is_first {
        output::note(FIRST_LIST);
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::state::{AboutDocument, CommitId};
    use packcast_protocol::{Sha256Digest, UnixTime};
    use packcast_publisher::signing::key_files::AcceptedTrust;
    use packcast_publisher::signing::revoke::Revoked;
    use packcast_publisher::signing::rotate::Rotated;
    use packcast_publisher::signing::sign::SignResult;
    use packcast_publisher::signing::trust::Trusting;
    use packcast_publisher::signing::trusted_keys::{TrustedKey, TrustedKeys};
    use packcast_publisher::state::accept::ShownHead;

    use super::*;
    use crate::fixtures::{KEY, NOON, plain};

    #[test]
    fn a_key_is_shown_with_its_files() {
        let key = KeyFiles {
            public_key: KEY.to_owned(),
            secret_key_file: "/home/ada/.config/packcast/production.key".into(),
            public_key_file: "/home/ada/.config/packcast/production.pub".into(),
            trust: Some(format!("a4dqobyha4dqobyha4dqobyha4:{KEY}").parse().unwrap()),
        };
        assert_snapshot!(text(&key), @"
        public key       RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        secret key file  /home/ada/.config/packcast/production.key
        public key file  /home/ada/.config/packcast/production.pub
        trust line       a4dqobyha4dqobyha4dqobyha4:RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        ");
        assert_snapshot!(FIRST_LIST, @"agents now trust only the keys in this list: if their configuration names the key of another publisher, add that key with 'packcast keys trust'");
    }

    #[test]
    fn a_trust_line_of_another_machine_is_shown() {
        let accepted = AcceptedTrust {
            trust: format!("a4dqobyha4dqobyha4dqobyha4:{KEY}").parse().unwrap(),
        };
        assert_snapshot!(accept_trust::text(&accepted), @"trust line  a4dqobyha4dqobyha4dqobyha4:RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3");
        assert_snapshot!(accept_trust::next("packcast keys accept-head --target production"), @"confirm the head of the target before the first change: packcast keys accept-head --target production");
    }

    #[test]
    fn a_head_is_shown_before_it_is_accepted() {
        let head = ShownHead {
            commit: CommitId {
                number: 1_795_000_000,
                digest: Sha256Digest::of(b"commit"),
            },
            key: KEY.parse().unwrap(),
            issued: UnixTime(NOON),
            expires: UnixTime(NOON + 90 * 86_400),
            about: Some(AboutDocument::shortened(
                "ada",
                "laptop",
                "packcast assign vlc --group lab",
                "",
            )),
        };
        assert_snapshot!(accept_head::text(&head), @"
        commit       1795000000-9505cacb7c710ed17125fcc6cb3669e8ddca6c8cd8af6a31f6b3cd64604c3098
        signed with  RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        issued       2026-11-18 11:06:40 UTC
        expires      2027-02-16 11:06:40 UTC
        author       ada on laptop
        command      packcast assign vlc --group lab
        ");
        let lost = ShownHead {
            about: None,
            ..head
        };
        assert_snapshot!(accept_head::text(&lost), @"
        commit       1795000000-9505cacb7c710ed17125fcc6cb3669e8ddca6c8cd8af6a31f6b3cd64604c3098
        signed with  RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        issued       2026-11-18 11:06:40 UTC
        expires      2027-02-16 11:06:40 UTC
        ");
        assert_snapshot!(accept_head::QUESTION, @"Is this a commit of your administrators?");
        assert_snapshot!(accept_head::nobody_to_ask(&lost), @"
        cannot ask for a confirmation: there is no terminal
        hint: compare the commit with another machine, then run 'packcast keys accept-head 1795000000-9505cacb7c710ed17125fcc6cb3669e8ddca6c8cd8af6a31f6b3cd64604c3098'
        ");
    }

    #[test]
    fn trusted_keys_are_listed() {
        let key = |signs| TrustedKey {
            public_key: KEY.to_owned(),
            signs,
        };
        let trusted = TrustedKeys {
            keys: vec![key(true), key(false)],
            is_published: true,
        };
        assert_snapshot!(plain(&list::text(&trusted)), @"
        TRUSTED KEY                                               SIGNS
        RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3  yes
        RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        ");
        assert_snapshot!(list::NO_LIST, @"no key list is published: agents trust the keys that trusted_keys in their configuration names");
    }

    #[test]
    fn an_added_key_is_shown() {
        let trusting = Trusting {
            public_key: KEY.to_owned(),
            trusted: vec![KEY.to_owned()],
            is_first: true,
        };
        assert_snapshot!(trust::text(&trusting), @"
        added    RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        trusted  RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        ");
    }

    #[test]
    fn a_rotation_shows_the_files_of_both_keys() {
        let file = PathBuf::from("/home/ada/.config/packcast/production-next.key");
        assert_snapshot!(rotate::resumed(&file), @"resuming with the new key of an earlier run: /home/ada/.config/packcast/production-next.key");
        let mut signed = SignResult::default();
        signed.signed = 240;
        let rotated = Rotated {
            public_key: KEY.to_owned(),
            trust: format!("a4dqobyha4dqobyha4dqobyha4:{KEY}").parse().unwrap(),
            secret_key_file: "/home/ada/.config/packcast/production.key".into(),
            old_secret_key_file: "/home/ada/.config/packcast/production-was-Y7GFO3.key".into(),
            signed,
            resumed_from: None,
            is_first: false,
        };
        assert_snapshot!(rotate::text(&rotated), @"
        public key           RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        trust line           a4dqobyha4dqobyha4dqobyha4:RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        secret key file      /home/ada/.config/packcast/production.key
        old secret key file  /home/ada/.config/packcast/production-was-Y7GFO3.key
        signed again         240
        ");
        assert_snapshot!(rotate::NEXT_CHECK_IN, @"agents trust the new key from their next check-in on; configure new agents with the new trust line or public key");
    }

    #[test]
    fn a_revocation_names_the_packages_that_agents_refuse() {
        let revoked = Revoked {
            public_key: KEY.to_owned(),
            trusted: vec![KEY.to_owned()],
            refused: vec!["news@1".to_owned(), "vlc@3.0.21".to_owned()],
            is_first: false,
        };
        assert_snapshot!(revoke::text(&revoked), @"
        revoked           RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        trusted           RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        refused packages  news@1, vlc@3.0.21
        ");
        assert_snapshot!(revoke::REFUSED, @"agents refuse the packages above: publish each under another version, and assign that version");
        assert_snapshot!(revoke::NEXT_CHECK_IN, @"a device trusts the key until its next check-in; a device without a key list keeps trusting the key until the key is removed from trusted_keys in the device's configuration");
    }
}
