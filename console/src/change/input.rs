//! The fields of a form, as a person has typed them.

use std::fmt::Display;
use std::str::FromStr;

use packcast_publisher::{Failure, NameKind, RefusedName};
use zeroize::Zeroizing;

/// The names of the fields that belong to the console and not to a change.
const FORM: &str = "form";
const STEP: &str = "step";
const TICKET: &str = "ticket";
const PASSPHRASE: &str = "passphrase";

/// The beginning of the messages that refuse a field.
const REFUSED: &str = "cannot read the field ";

/// The step that a person has chosen by a button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Shows the form with the fields as they were typed.
    Edit,
    /// Shows the effect.
    Plan,
    /// Makes the change whose effect was shown.
    Perform,
}

/// A passphrase. Nothing shows it, and its memory is wiped at the end.
pub(crate) struct Passphrase(Zeroizing<String>);

/// A form as it was sent.
#[derive(Debug)]
pub(crate) struct Received {
    /// The token of the session.
    pub(crate) form: String,
    pub(crate) step: Step,
    /// The ticket of the effect that was shown.
    pub(crate) ticket: String,
    /// `None` if the field was absent or empty.
    pub(crate) passphrase: Option<Passphrase>,
    pub(crate) input: Input,
}

/// The fields of a change. A name may occur several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Input {
    fields: Vec<(String, String)>,
    refused: Option<RefusedField>,
}

/// The field that the last attempt has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RefusedField {
    /// The field with this label cannot be read.
    Label(String),
    /// The field with this name contains the name of a thing that cannot be used.
    Name(&'static str),
}

impl Passphrase {
    /// Returns a passphrase; `None` if the field is empty.
    pub(crate) fn typed(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned().into()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl Received {
    /// Separates the fields of the console from those of the change.
    pub(crate) fn of(fields: Vec<(String, String)>) -> Self {
        let mut received = Self {
            form: String::new(),
            step: Step::Plan,
            ticket: String::new(),
            passphrase: None,
            input: Input::default(),
        };
        for (name, value) in fields {
            if name == PASSPHRASE {
                let typed = Zeroizing::new(value);
                received.passphrase = Passphrase::typed(&typed);
                continue;
            }
            // Browsers send and keep line breaks in two forms.
            let value = value.replace("\r\n", "\n");
            match name.as_str() {
                FORM => received.form = value,
                TICKET => received.ticket = value,
                STEP => {
                    received.step = match value.as_str() {
                        "edit" => Step::Edit,
                        "perform" => Step::Perform,
                        _ => Step::Plan,
                    }
                }
                _ => received.input.fields.push((name, value)),
            }
        }
        received
    }
}

impl Input {
    /// Returns the fields of an address, which fill a form before a person has typed anything.
    pub(crate) fn of_query(fields: Vec<(String, String)>) -> Self {
        Received::of(fields).input
    }

    /// Returns all fields.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.fields.iter();
        fields.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns other fields, with the mark of the same field.
    pub(crate) fn with_fields(&self, fields: Vec<(String, String)>) -> Self {
        Self {
            fields,
            refused: self.refused.clone(),
        }
    }

    /// Returns the same fields, with a mark of the field that a failure refuses.
    pub(crate) fn refused(&self, failure: &Failure) -> Self {
        Self {
            fields: self.fields.clone(),
            refused: self.refused_by(failure),
        }
    }

    /// Returns the field that a failure refuses; `None` if the failure is about several fields, or about
    /// none.
    fn refused_by(&self, failure: &Failure) -> Option<RefusedField> {
        let message = failure.message();
        let label = message
            .strip_prefix(REFUSED)
            .and_then(|rest| rest.split_once(':'));
        if let Some((label, _)) = label {
            return Some(RefusedField::Label(label.to_owned()));
        }
        let field_with = |refused: &RefusedName| {
            let mut fields = fields_of(refused.kind).iter();
            fields.find(|field| self.names(field, &refused.name))
        };
        let field = failure.refused_names().iter().find_map(field_with);
        field.map(|field| RefusedField::Name(field))
    }

    /// Returns true if the last attempt has refused the field with this name and label.
    pub(crate) fn is_refused(&self, name: &str, label: &str) -> bool {
        match &self.refused {
            Some(RefusedField::Label(refused)) => refused == label,
            Some(RefusedField::Name(refused)) => *refused == name,
            None => false,
        }
    }

    /// Returns true if one of the names in a field is this one.
    fn names(&self, field: &str, name: &str) -> bool {
        self.lines(field)
            .any(|line| line == name || line.split(',').any(|part| part.trim() == name))
    }

    /// Returns the text of a field without spaces around it; empty if there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        let mut values = self.fields().filter(|(it, _)| *it == name);
        values.next().map_or("", |(_, value)| value.trim())
    }

    /// Returns true if a field has a text, or if a box is checked.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// Returns true if one of the values of a field is this one.
    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.fields().any(|field| field == (name, value))
    }

    /// Returns each line of all fields with this name that has a text.
    pub(crate) fn lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let values = self.fields().filter(move |(it, _)| *it == name);
        values
            .flat_map(|(_, value)| value.lines())
            .map(str::trim)
            .filter(|line| !line.is_empty())
    }

    /// Reads a field that must not be empty. `label` is its name on the page.
    pub(crate) fn required<T: FromStr<Err: Display>>(
        &self,
        name: &str,
        label: &str,
    ) -> Result<T, Failure> {
        self.optional(name, label)?
            .ok_or_else(|| refused(label, "it is empty"))
    }

    /// Reads a field. An empty field counts as absent.
    pub(crate) fn optional<T: FromStr<Err: Display>>(
        &self,
        name: &str,
        label: &str,
    ) -> Result<Option<T>, Failure> {
        match self.text(name) {
            "" => Ok(None),
            text => read(text, label).map(Some),
        }
    }

    /// Reads each line of a field. Commas separate values, too, so values must not contain commas.
    pub(crate) fn list<T: FromStr<Err: Display>>(
        &self,
        name: &str,
        label: &str,
    ) -> Result<Vec<T>, Failure> {
        let texts = self.lines(name).flat_map(|line| line.split(','));
        let texts = texts.map(str::trim).filter(|text| !text.is_empty());
        texts.map(|text| read(text, label)).collect()
    }
}

/// Returns the fields with names of a kind, in all forms.
const fn fields_of(kind: NameKind) -> &'static [&'static str] {
    match kind {
        NameKind::Package => &["package", "has", "lacks"],
        NameKind::Group => &["group", "pilots", "to"],
        NameKind::Device => &["device", "names"],
        NameKind::Location => &["location"],
        NameKind::Commit => &["commit"],
    }
}

/// Reads a text. `label` is the name of its field on the page.
pub(crate) fn read<T: FromStr<Err: Display>>(text: &str, label: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|error| refused(label, format_args!("{text:?}: {error}")))
}

/// Refuses a field. Its form marks the field by this message.
pub(crate) fn refused(label: &str, reason: impl Display) -> Failure {
    Failure::usage(format!("{REFUSED}{label}: {reason}"))
}

#[cfg(test)]
mod tests {
    use packcast_protocol::GroupName;

    use super::*;

    fn received(fields: &[(&str, &str)]) -> Received {
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Received::of(fields.collect())
    }

    #[test]
    fn the_passphrase_is_no_field_and_is_not_shown() {
        let received = received(&[
            ("form", "token"),
            ("passphrase", "correct horse"),
            ("step", "perform"),
            ("group", "lab"),
        ]);
        assert_eq!(received.step, Step::Perform);
        assert_eq!(
            received.input.fields().collect::<Vec<_>>(),
            [("group", "lab")]
        );
        assert!(!format!("{received:?}").contains("horse"));
        let passphrase = received.passphrase.unwrap();
        assert_eq!(passphrase.reveal(), "correct horse");
    }

    #[test]
    fn lists_are_read_line_by_line() {
        let Received { input, .. } = received(&[
            ("group", "lab"),
            ("group", " office\r\n\n desk \nshop"),
            ("force", "on"),
        ]);
        let lines: Vec<&str> = input.lines("group").collect();
        assert_eq!(lines, ["lab", "office", "desk", "shop"]);
        assert!(input.has("force") && !input.has("yes") && input.is("group", "lab"));
        let groups: Vec<GroupName> = input.list("group", "Groups").unwrap();
        assert_eq!(groups.len(), 4);
        let Received { input, .. } = received(&[("group", "lab, office\ndesk,")]);
        let groups: Vec<GroupName> = input.list("group", "Groups").unwrap();
        assert_eq!(groups.len(), 3);
    }

    #[test]
    fn a_field_that_cannot_be_read_is_named() {
        let Received { input, .. } = received(&[("number", "x")]);
        let errors = [
            input.required::<u64>("number", "Commit").unwrap_err(),
            input.required::<u64>("other", "Commit").unwrap_err(),
        ];
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(texts.join("\n"), @r#"
        cannot read the field Commit: "x": invalid digit found in string
        cannot read the field Commit: it is empty
        "#);
        assert_eq!(input.optional::<u64>("other", "Commit").unwrap(), None);
        let refused = input.refused(&errors[0]);
        assert!(refused.is_refused("number", "Commit") && !refused.is_refused("number", "Comm"));
        assert!(!input.is_refused("number", "Commit"));
    }
}
