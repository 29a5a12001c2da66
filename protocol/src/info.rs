//! `info`: the XML document that describes a package to OCS agents (protocol reference §4.1).
//!
//! Packcast writes the form [`Info`], and reads only this form back. [`OcsInfo`] is the form of any
//! OCS console.

mod attributes;
mod document;

use std::num::NonZeroU32;

use crate::action::Action;
use crate::digest::{Md5Digest, Sha256Digest};
use crate::location::Location;
use crate::package::PackageId;
use crate::priority::Priority;
use crate::windows::{Dialogue, DialogueText, Notice};

use attributes::{Attributes, action, dialogue, parsed, shown, text, unsupported};

/// Largest `info`, in bytes.
///
/// A Unix agent parses the `info` of every queued package again in each period.
pub const MAX_INFO_BYTES: usize = 16 * 1024;

/// Description of an archive in `info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoArchive {
    pub fragments: NonZeroU32,
    pub md5: Md5Digest,
}

/// Scheme by which an OCS agent fetches fragments; `info` itself always comes over HTTPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentScheme {
    Http,
    Https,
}

/// The part of any OCS console's `info` that deployment needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcsInfo {
    pub id: PackageId,
    pub priority: Priority,
    pub action: Action<InfoArchive>,
    pub scheme: FragmentScheme,
}

/// The `info` of a package that Packcast has published, for one location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub id: PackageId,
    pub priority: Priority,
    pub action: Action<InfoArchive>,
    /// Location of the fragments. On Unix agents, it overrides the announced location (protocol
    /// reference §0 rule 12).
    pub pack_loc: Location,
    /// Messages that Windows agents show to the person at the device.
    pub dialogue: Dialogue,
    /// SHA-256 of the package's manifest; OCS agents ignore it.
    pub manifest: Sha256Digest,
}

/// Errors from reading or writing `info`.
#[derive(Debug, thiserror::Error)]
pub enum InfoError {
    #[error(
        "info has {bytes} bytes, at most {MAX_INFO_BYTES} are allowed: put long commands in a script inside the archive"
    )]
    TooLarge { bytes: usize },
    #[error("info is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    #[error("info is not well-formed XML")]
    Malformed(#[source] quick_xml::Error),
    #[error(
        "expected info to be one empty DOWNLOAD element after an optional XML 1.0 declaration in UTF-8, found {found}"
    )]
    Construct { found: &'static str },
    #[error("info has no attribute {attribute}")]
    Missing { attribute: &'static str },
    #[error("attribute {attribute} of info is invalid")]
    Invalid {
        attribute: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("attribute {attribute} of info has the unsupported value {given:?}")]
    Unsupported { attribute: String, given: String },
    #[error("unexpected attribute {attribute} in info")]
    Unknown { attribute: String },
    #[error("info has FRAGS=\"0\", but {action} needs an archive")]
    NoArchive { action: &'static str },
}

impl Info {
    /// Returns the document, with every attribute that some agent expects.
    ///
    /// The attributes have the same order as in the example of the protocol reference, because
    /// Android agents search for `ID` and `DIGEST` as substrings.
    ///
    /// # Errors
    /// [`InfoError::TooLarge`] if the document is longer than [`MAX_INFO_BYTES`], for example
    /// because it has many escaped characters.
    pub fn to_xml(&self) -> Result<String, InfoError> {
        let xml = document::write(&self.attributes());
        if xml.len() > MAX_INFO_BYTES {
            return Err(InfoError::TooLarge { bytes: xml.len() });
        }
        Ok(xml)
    }

    /// Parses a document of exactly the form that [`Info::to_xml`] writes.
    ///
    /// Only the order of the attributes and the space between them may differ.
    pub fn parse(bytes: &[u8]) -> Result<Self, InfoError> {
        let attributes = document::read(bytes)?;
        let OcsInfo {
            id,
            priority,
            action,
            ..
        } = OcsInfo::from_attributes(&attributes)?;
        let pack_loc = parsed(&attributes, "PACK_LOC")?;
        let dialogue = dialogue(&attributes)?;
        let manifest = parsed(&attributes, "PACKCAST_MANIFEST")?;
        let info = Self {
            id,
            priority,
            action,
            pack_loc,
            dialogue,
            manifest,
        };
        info.check_written_form(attributes)?;
        Ok(info)
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        let archive = self.action.archive();
        let fragments = archive.map_or(0, |archive| archive.fragments.get());
        let digest = archive.map(|archive| archive.md5.to_string());
        let [command, name, path] = command_name_path(&self.action);
        let mut attributes = vec![
            ("ID", self.id.to_string()),
            ("PRI", self.priority.to_string()),
            ("ACT", self.action.name().to_owned()),
            ("DIGEST", digest.unwrap_or_default()),
            ("PROTO", "HTTPS".to_owned()),
            ("FRAGS", fragments.to_string()),
            ("DIGEST_ALGO", "MD5".to_owned()),
            ("DIGEST_ENCODE", "Hexa".to_owned()),
            ("COMMAND", command),
            ("NAME", name),
            ("PATH", path),
            ("PACK_LOC", self.pack_loc.to_string()),
        ];
        attributes.extend(notice_attributes(self.dialogue.notice.as_ref()));
        attributes.extend(closing_attributes(self.dialogue.closing.as_ref()));
        attributes.extend([
            ("GARDEFOU", "rien".to_owned()),
            ("PACKCAST_MANIFEST", self.manifest.to_string()),
        ]);
        attributes
    }

    fn check_written_form(&self, mut found: Attributes) -> Result<(), InfoError> {
        // The comparison with the written form also checks every constant attribute.
        for (attribute, expected) in self.attributes() {
            let given = found
                .remove(attribute)
                .ok_or(InfoError::Missing { attribute })?;
            if given != expected {
                return Err(InfoError::Unsupported {
                    attribute: attribute.to_owned(),
                    given: shown(&given),
                });
            }
        }
        match found.pop_first() {
            Some((attribute, _)) => Err(InfoError::Unknown {
                attribute: shown(&attribute),
            }),
            None => Ok(()),
        }
    }
}

fn command_name_path(action: &Action<InfoArchive>) -> [String; 3] {
    let none = String::new;
    match action {
        Action::Execute { command, .. } => [command.to_string(), none(), none()],
        Action::Launch { command, .. } => [none(), command.to_string(), none()],
        Action::Store { folder, .. } => [none(), none(), folder.to_string()],
        // Every package has an `info`, but no OCS agent hears of this one.
        Action::Update { .. } => [none(), none(), none()],
    }
}

fn notice_attributes(notice: Option<&Notice>) -> [(&'static str, String); 5] {
    let text = notice.map(|notice| notice.message.to_string());
    let countdown = notice.map(|notice| notice.countdown_s.to_string());
    [
        ("NOTIFY_USER", flag(notice.is_some())),
        ("NOTIFY_TEXT", text.unwrap_or_default()),
        ("NOTIFY_COUNTDOWN", countdown.unwrap_or_default()),
        (
            "NOTIFY_CAN_ABORT",
            flag(notice.is_some_and(|notice| notice.may_abort)),
        ),
        (
            "NOTIFY_CAN_DELAY",
            flag(notice.is_some_and(|notice| notice.may_delay)),
        ),
    ]
}

fn closing_attributes(closing: Option<&DialogueText>) -> [(&'static str, String); 2] {
    let text = closing.map(DialogueText::to_string);
    [
        ("NEED_DONE_ACTION", flag(closing.is_some())),
        ("NEED_DONE_ACTION_TEXT", text.unwrap_or_default()),
    ]
}

fn flag(set: bool) -> String {
    u8::from(set).to_string()
}

impl OcsInfo {
    /// Parses the `info` of any OCS console, and ignores unused attributes.
    ///
    /// # Errors
    /// The function also refuses every digest that is not MD5 in hexadecimal. Old consoles could
    /// write other digests, which agents read differently (protocol reference §0 rule 11).
    pub fn parse(bytes: &[u8]) -> Result<Self, InfoError> {
        Self::from_attributes(&document::read(bytes)?)
    }

    fn from_attributes(attributes: &Attributes) -> Result<Self, InfoError> {
        Ok(Self {
            id: parsed(attributes, "ID")?,
            priority: parsed(attributes, "PRI")?,
            action: action(attributes)?,
            scheme: match text(attributes, "PROTO")? {
                proto if proto.eq_ignore_ascii_case("HTTPS") => FragmentScheme::Https,
                proto if proto.eq_ignore_ascii_case("HTTP") => FragmentScheme::Http,
                other => return Err(unsupported("PROTO", other)),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    const LAUNCH: &str = include_str!("../tests/golden/info-launch.xml");

    fn refused(bytes: &[u8]) -> InfoError {
        Info::parse(bytes).unwrap_err()
    }

    fn changed(from: &str, to: &str) -> InfoError {
        assert!(LAUNCH.contains(from), "{from}");
        refused(LAUNCH.replacen(from, to, 1).as_bytes())
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!(messages([
            refused(" ".repeat(MAX_INFO_BYTES + 1).as_bytes()),
            refused(b"\xFF"),
            changed("/>", ""),
            changed("/>", "/>text"),
            changed("ID=\"1770000002\" ", ""),
            changed("PRI=\"5\"", "PRI=\"11\""),
            changed("\"MD5\"", "\"SHA1\""),
            changed("GARDEFOU", "POSTCMD=\"REBOOT\" GARDEFOU"),
            changed("FRAGS=\"3\"", "FRAGS=\"0\""),
        ]), @r#"
        info has 16385 bytes, at most 16384 are allowed: put long commands in a script inside the archive
        info is not UTF-8: invalid utf-8 sequence of 1 bytes from index 0
        info is not well-formed XML: syntax error: tag not closed: `>` not found before end of input
        expected info to be one empty DOWNLOAD element after an optional XML 1.0 declaration in UTF-8, found text
        info has no attribute ID
        attribute PRI of info is invalid: priority "11" is not a whole number from 0 (first) to 10 (last)
        attribute DIGEST_ALGO of info has the unsupported value "SHA1"
        unexpected attribute POSTCMD in info
        info has FRAGS="0", but LAUNCH needs an archive
        "#);
    }
}
