//! Values of fields that have a parser of their own, and defaults of fields.

use std::fmt::Display;

use packcast_protocol::GroupName;
use packcast_publisher::Failure;

use super::input::{Input, read, refused};

/// Reads a field. An empty field counts as absent. `label` is its name on the page.
pub(super) fn optional<T, E: Display>(
    input: &Input,
    (name, label): (&str, &str),
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, Failure> {
    match input.text(name) {
        "" => Ok(None),
        text => parse(text)
            .map(Some)
            .map_err(|error| refused(label, format_args!("{text:?}: {error}"))),
    }
}

/// Reads names of groups between commas or line ends. No name of a group contains a comma.
pub(super) fn groups(
    input: &Input,
    (name, label): (&str, &str),
) -> Result<Vec<GroupName>, Failure> {
    let names = input.text(name).split([',', '\n']).map(str::trim);
    let names = names.filter(|name| !name.is_empty());
    names.map(|text| read(text, label)).collect()
}

/// Returns the fields, with defaults for those that are absent. A field that is there and empty stays
/// empty.
pub(super) fn or_defaults<'a>(
    input: &Input,
    defaults: impl IntoIterator<Item = (&'a str, String)>,
) -> Input {
    let is_absent = |name: &str| input.fields().all(|(it, _)| it != name);
    let missing = defaults.into_iter().filter(|(name, _)| is_absent(name));
    let missing = missing.map(|(name, value)| (name.to_owned(), value));
    let typed = input.fields();
    let typed = typed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    input.with_fields(typed.chain(missing).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(fields: &[(&str, &str)]) -> Input {
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Input::of_query(fields.collect())
    }

    #[test]
    fn defaults_do_not_replace_an_emptied_field() {
        let typed = input(&[("days", ""), ("wait", "2d")]);
        let defaults = ["days", "wait", "settle"].map(|name| (name, "default".to_owned()));
        let filled = or_defaults(&typed, defaults);
        let texts = ["days", "wait", "settle"].map(|name| filled.text(name).to_owned());
        assert_eq!(texts, ["", "2d", "default"]);
    }

    #[test]
    fn a_value_that_cannot_be_read_is_named() {
        let number_of = |text: &str| {
            let number = |text: &str| text.parse::<u32>();
            optional(&input(&[("halt", text)]), ("halt", "Halts after"), number)
        };
        assert_eq!(number_of(" ").unwrap(), None);
        assert_eq!(number_of(" 3 ").unwrap(), Some(3));
        insta::assert_snapshot!(number_of("x").unwrap_err(), @r#"cannot read the field Halts after: "x": invalid digit found in string"#);
    }
}
