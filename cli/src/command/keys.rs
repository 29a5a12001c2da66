//! `packcast keys`: manages the key that signs packages and changes of the target, and the keys of
//! other publishers.

pub(super) mod accept_head;
mod accept_trust;
mod list;
mod replace;
mod revoke;
mod rotate;
mod trust;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use packcast_publisher::signing::key_files::{self, KeyFiles, NewKeys};
use packcast_publisher::target::LOCAL;
use packcast_publisher::{Failure, Target};

use crate::Globals;
use crate::output;
use crate::places;
use crate::secrets::FromPerson;

/// Manage the signing key, and the keys of other publishers
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
    ///
    /// Pass the file with --key if packcast.toml does not have the target yet: 'infra/deploy' writes
    /// its section, and needs the trust line before.
    #[command(after_help = "\
Examples:
  packcast keys generate --target production --key ~/keys/production.key
  packcast keys generate --target production --root /media/usb/root.key
  packcast keys generate --target production")]
    Generate {
        /// Write the key to this file instead of the target's own key file
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Also generate a root key of the new target in this file, to be kept offline
        ///
        /// Only the root key signs key lists, and the other key signs all changes. Then run 'packcast
        /// sign --root-key FILE' once a month.
        #[arg(long, value_name = "FILE")]
        root: Option<PathBuf>,
        /// Do not encrypt the keys: anybody who can read a file can sign
        #[arg(long)]
        unencrypted: bool,
    },
    /// Show the signing key and the trust line of the target
    ///
    /// The trust line names the target and its present root keys, the key of the highest rank first.
    /// It belongs in the configuration of agents, and another administrator's machine needs it once.
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
    /// The new key takes the place of the old one in the key list of the target. The command prints
    /// a trust line for new agents; the old line stays valid. Agents follow the new key at their
    /// next check-in. The old key signs no further changes. If the command is interrupted, run it
    /// again to complete the rotation.
    #[command(after_help = "\
Examples:
  packcast keys rotate --target production")]
    Rotate(rotate::Args),
    /// Remove a key that has leaked, and undo the changes of the thief
    ///
    /// Shows the changes that this machine does not know, and asks. Then the key is removed from the
    /// key list, and one commit brings back the state of the commit that you name, or keeps the
    /// present state. Your own changes and those of other publishers since then are lost, too, unless
    /// they have removed something: make them again. If the key of this machine has leaked, a new key
    /// takes its place.
    /// Only a root key can sign the new key list. If the command is interrupted, run it again.
    #[command(after_help = "\
Examples:
  packcast log
  packcast keys replace --compromised --revert-to 1795327754
  packcast keys replace --compromised --keep")]
    Replace(replace::Args),
    /// Let another publisher sign changes of the target
    ///
    /// Adds the key to the key list. Only a root key of the target can sign the list. The other
    /// publisher needs the trust line: see 'packcast keys accept-trust'.
    #[command(after_help = "\
Examples:
  packcast keys trust RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")]
    Trust(trust::Args),
    /// Let a publisher sign no further changes of the target
    ///
    /// From their next check-in on, devices accept no change that this key signs. Its earlier changes
    /// stay: packages that it has assigned stay assigned. If the key has leaked, run 'packcast keys
    /// replace --compromised' instead. Only a root key of the target can sign the new key list.
    #[command(after_help = "\
Examples:
  packcast keys revoke RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")]
    Revoke(revoke::Args),
    /// List the keys that may sign changes of the target
    List,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Generate {
                key,
                root,
                unencrypted,
            } => {
                let memory = memory(key.as_deref(), globals)?;
                let new = NewKeys {
                    file: new_file(key, globals)?,
                    memory,
                    root,
                    unencrypted,
                };
                show(globals, &key_files::generate(new, &FromPerson::default())?);
            }
            Self::Show { key } => {
                let memory = memory(key.as_deref(), globals)?;
                let file = shown_file(key, globals)?;
                show(
                    globals,
                    &key_files::show(file, memory.as_deref(), &FromPerson::default())?,
                );
            }
            Self::AcceptTrust(args) => args.run(globals)?,
            Self::AcceptHead(args) => args.run(globals).await?,
            Self::Rotate(args) => args.run(globals).await?,
            Self::Replace(args) => args.run(globals).await?,
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
    let (trust, root) = (key.trust.as_ref(), key.root_key_file.as_ref());
    output::fields([
        ("public key", key.public_key.clone()),
        ("secret key file", key.secret_key_file.display().to_string()),
        ("public key file", key.public_key_file.display().to_string()),
        (
            "root key file",
            root.map(|file| file.display().to_string())
                .unwrap_or_default(),
        ),
        (
            "trust line",
            trust.map(ToString::to_string).unwrap_or_default(),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::state::{AboutDocument, CommitId};
    use packcast_protocol::{Sha256Digest, UnixTime};
    use packcast_publisher::signing::key_files::AcceptedTrust;
    use packcast_publisher::signing::publisher_keys::{ChangedKeys, TrustedKey, TrustedKeys};
    use packcast_publisher::signing::replace::ReplacedKey;
    use packcast_publisher::signing::rotate::Rotated;
    use packcast_publisher::state::accept::ShownHead;

    use super::*;
    use crate::command::owned_commits::samples::owned_commits;
    use crate::fixtures::{KEY, NOON, plain};
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn a_key_is_shown_with_its_files() {
        let key = KeyFiles {
            public_key: KEY.to_owned(),
            secret_key_file: "/home/ada/.config/packcast/production.key".into(),
            public_key_file: "/home/ada/.config/packcast/production.pub".into(),
            root_key_file: None,
            trust: Some(format!("a4dqobyha4dqobyha4dqobyha4:{KEY}").parse().unwrap()),
        };
        assert_snapshot!(text(&key), @"
        public key       RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        secret key file  /home/ada/.config/packcast/production.key
        public key file  /home/ada/.config/packcast/production.pub
        trust line       a4dqobyha4dqobyha4dqobyha4:RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        ");
        let apart = KeyFiles {
            root_key_file: Some("/media/usb/root.key".into()),
            trust: None,
            ..key
        };
        assert_snapshot!(text(&apart), @"
        public key       RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        secret key file  /home/ada/.config/packcast/production.key
        public key file  /home/ada/.config/packcast/production.pub
        root key file    /media/usb/root.key
        ");
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
    fn publisher_keys_are_listed() {
        let key = |signs, root, retired| TrustedKey {
            public_key: KEY.to_owned(),
            signs,
            root,
            retired,
        };
        let trusted = TrustedKeys {
            keys: vec![key(true, true, false), key(false, false, true)],
        };
        assert_snapshot!(on_terminals(|| list::text(&trusted)), @"
        80:
        PUBLISHER KEY                                             YOURS  ROOT  RETIRED
        RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3  yes    yes
        RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3               yes

        140:
        PUBLISHER KEY                                             YOURS  ROOT  RETIRED
        RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3  yes    yes
        RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3               yes
        ");
        assert_snapshot!(plain(&list::text(&trusted)), @"
        PUBLISHER KEY                                             YOURS  ROOT  RETIRED
        RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3  yes    yes
        RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3               yes
        ");
        assert_snapshot!(list::NO_LIST, @"the target has no key list yet: its first change stores the list");
    }

    #[test]
    fn changed_keys_are_shown() {
        let changed = ChangedKeys {
            public_key: KEY.to_owned(),
            trusted: vec![KEY.to_owned()],
        };
        assert_snapshot!(trust::text(&changed), @"
        added         RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        signing keys  RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        ");
        assert_snapshot!(revoke::text(&changed), @"
        revoked       RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        signing keys  RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        ");
        assert_snapshot!(revoke::NEXT_CHECK_IN, @"a device accepts changes that this key signs until its next check-in");
    }

    #[test]
    fn a_replacement_shows_what_the_thief_has_changed() {
        assert_snapshot!(replace::question(1_795_000_000), @"Remove the key, and continue with the state of commit 1795000000?");
        assert_snapshot!(replace::nobody_to_ask(), @"
        cannot ask for a confirmation: there is no terminal
        hint: read the commits and packages above, then pass --yes
        ");
        let packages = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            replace::packages(&names)
        };
        assert_snapshot!([packages(&[]), packages(&["news@1", "own@1"])].join("\n"), @"
        the key has signed none of the packages that stay assigned
        packages that stay assigned and that the key has signed: news@1, own@1
        ");
        assert_snapshot!(replace::commits(&[]), @"this machine knows all commits, and none is undone");
        assert_snapshot!(replace::commits(&owned_commits()), @"
        commits that this machine does not know:
        1795000001
          group lab: assigned wipe@1

        commits of other machines that are undone: only removals by other keys stay:
        1795000000
          problem: the table has no commit

        commits of this machine that are undone, except for their removals:
        1795000002
          group lab: unassigned vlc@3.0.21
        ");
        let replaced = ReplacedKey {
            lost: KEY.to_owned(),
            public_key: KEY.to_owned(),
            trust: format!("a4dqobyha4dqobyha4dqobyha4:{KEY}").parse().unwrap(),
            commit: CommitId {
                number: 1_795_000_000,
                digest: Sha256Digest::of(b"commit"),
            },
            secret_key_file: "/home/ada/.config/packcast/production.key".into(),
            old_secret_key_file: Some(
                "/home/ada/.config/packcast/production-was-Y7GFO3.key".into(),
            ),
        };
        assert_snapshot!(replace::text(&replaced), @"
        removed key          RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        public key           RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        trust line           a4dqobyha4dqobyha4dqobyha4:RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        commit               1795000000
        secret key file      /home/ada/.config/packcast/production.key
        old secret key file  /home/ada/.config/packcast/production-was-Y7GFO3.key
        ");
        assert_snapshot!([replace::CACHED, replace::NEXT_CHECK_IN].join("\n"), @"
        for up to 60 seconds, functions send the state from before the replacement
        devices follow the new key list from their next check-in on; set up new devices with this trust line: the thief of a root key may send other key lists to devices with the old line
        ");
    }

    #[test]
    fn a_rotation_shows_the_files_of_both_keys() {
        let file = PathBuf::from("/home/ada/.config/packcast/production-next.key");
        assert_snapshot!(rotate::resumed(&file), @"resuming with the new key of an earlier run: /home/ada/.config/packcast/production-next.key");
        let rotated = Rotated {
            public_key: KEY.to_owned(),
            trust: format!("a4dqobyha4dqobyha4dqobyha4:{KEY}").parse().unwrap(),
            secret_key_file: "/home/ada/.config/packcast/production.key".into(),
            old_secret_key_file: "/home/ada/.config/packcast/production-was-Y7GFO3.key".into(),
            resumed_from: None,
        };
        assert_snapshot!(rotate::text(&rotated), @"
        public key           RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        trust line           a4dqobyha4dqobyha4dqobyha4:RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        secret key file      /home/ada/.config/packcast/production.key
        old secret key file  /home/ada/.config/packcast/production-was-Y7GFO3.key
        ");
        assert_snapshot!(rotate::NEXT_CHECK_IN, @"agents trust the new key from their next check-in on; configure new agents with this trust line");
    }
}
