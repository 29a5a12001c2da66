//! Values of the attributes of `info`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::str::FromStr;

use crate::action::Action;
use crate::windows::{Dialogue, Notice};

use super::{InfoArchive, InfoError};

/// The attributes of the element by name, unescaped.
pub(super) type Attributes = BTreeMap<String, String>;

/// Returns the messages that are shown.
///
/// The attributes of hidden messages are left to [`super::Info::must_write`].
pub(super) fn dialogue(attributes: &Attributes) -> Result<Dialogue, InfoError> {
    let is_set = |attribute| text(attributes, attribute).map(|value| value == "1");
    let notice = if is_set("NOTIFY_USER")? {
        Some(Notice {
            message: parsed(attributes, "NOTIFY_TEXT")?,
            countdown_s: parsed(attributes, "NOTIFY_COUNTDOWN")?,
            may_abort: is_set("NOTIFY_CAN_ABORT")?,
            may_delay: is_set("NOTIFY_CAN_DELAY")?,
        })
    } else {
        None
    };
    let closing = if is_set("NEED_DONE_ACTION")? {
        Some(parsed(attributes, "NEED_DONE_ACTION_TEXT")?)
    } else {
        None
    };
    Ok(Dialogue { notice, closing })
}

pub(super) fn action(attributes: &Attributes) -> Result<Action<InfoArchive>, InfoError> {
    let archive = archive(attributes)?;
    let needed = |action| archive.ok_or(InfoError::NoArchive { action });
    Ok(match text(attributes, "ACT")? {
        "LAUNCH" => Action::Launch {
            archive: needed("LAUNCH")?,
            command: parsed(attributes, "NAME")?,
        },
        "EXECUTE" => Action::Execute {
            archive,
            command: parsed(attributes, "COMMAND")?,
        },
        "STORE" => Action::Store {
            archive: needed("STORE")?,
            folder: parsed(attributes, "PATH")?,
        },
        "UPDATE" => Action::Update {
            archive: needed("UPDATE")?,
        },
        other => return Err(unsupported("ACT", other)),
    })
}

fn archive(attributes: &Attributes) -> Result<Option<InfoArchive>, InfoError> {
    let Some(fragments) = NonZeroU32::new(fragment_count(attributes)?) else {
        return Ok(None);
    };
    let algorithm = text(attributes, "DIGEST_ALGO")?;
    if algorithm != "MD5" {
        return Err(unsupported("DIGEST_ALGO", algorithm));
    }
    let encoding = text(attributes, "DIGEST_ENCODE")?;
    if !encoding.eq_ignore_ascii_case("Hexa") {
        return Err(unsupported("DIGEST_ENCODE", encoding));
    }
    Ok(Some(InfoArchive {
        fragments,
        md5: parsed(attributes, "DIGEST")?,
    }))
}

fn fragment_count(attributes: &Attributes) -> Result<u32, InfoError> {
    let count = text(attributes, "FRAGS")?;
    // The number parser accepts a plus sign, which is not part of the wire form.
    if count.starts_with('+') {
        return Err(unsupported("FRAGS", count));
    }
    parsed(attributes, "FRAGS")
}

pub(super) fn text<'a>(
    attributes: &'a Attributes,
    attribute: &'static str,
) -> Result<&'a str, InfoError> {
    attributes
        .get(attribute)
        .map(String::as_str)
        .ok_or(InfoError::Missing { attribute })
}

pub(super) fn parsed<T>(attributes: &Attributes, attribute: &'static str) -> Result<T, InfoError>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text(attributes, attribute)?
        .parse()
        .map_err(|error: T::Err| InfoError::Invalid {
            attribute,
            source: error.into(),
        })
}

pub(super) fn unsupported(attribute: &str, given: &str) -> InfoError {
    InfoError::Unsupported {
        attribute: attribute.to_owned(),
        given: shown(given),
    }
}

pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
