//! The fields of a form of the wizard.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use packcast_protocol::with_causes;
use packcast_publisher::Failure;
use serde::Deserialize;

use super::upload_error::UploadError;
use crate::token::Token;

/// The fields of a form. A field that is missing counts as empty. One of them may be a passphrase, so
/// nothing shows them.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Returns true if the form is from a page of this session.
    pub(crate) fn is_from(&self, form: &Token) -> bool {
        form.is(self.get("form"))
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Returns a field without spaces around it.
    pub(crate) fn text(&self, name: &str) -> String {
        self.get(name).trim().to_owned()
    }

    /// Returns a field of several lines, with the line ends of Unix.
    pub(crate) fn lines(&self, name: &str) -> String {
        self.get(name).replace("\r\n", "\n").trim().to_owned()
    }

    /// Returns true if a box was checked, or a button was used.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// A field of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// The name in the form.
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
}

/// The failure of a form, with the field that caused it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) failure: Failure,
    /// `None` if no field of the page is the cause.
    pub(crate) field: Option<Field>,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            field: None,
        }
    }
}

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        Failure::from(error).into()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        refusal.failure
    }
}

/// Returns the error for a field that cannot be read.
pub(crate) fn refused(field: Field, reason: impl Display) -> Refusal {
    let text = format!("cannot use the field {}: {reason}", field.label);
    Refusal {
        failure: Failure::usage(text),
        field: Some(field),
    }
}

/// Reads a field with the parser of its value.
pub(crate) fn read<T>(field: Field, text: &str) -> Result<T, Refusal>
where
    T: FromStr<Err: std::error::Error>,
{
    text.parse()
        .map_err(|error| refused(field, with_causes(&error)))
}
