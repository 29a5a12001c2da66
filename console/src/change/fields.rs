//! The fields of forms. Each has a label, and keeps what a person has typed.

use maud::{Markup, html};

use super::input::Input;
use crate::words::text;

/// The id of the message that refuses a field.
pub(crate) const REFUSAL: &str = "refusal";

/// Writes a field of one line.
pub(crate) fn line(input: &Input, name: &str, label: &str, hint: &str) -> Markup {
    let refused = input.is_refused(name, label);
    html! {
        div.field {
            label for=(name) { (label) }
            input id=(name) name=(name) value=(input.text(name)) autocomplete="off"
                spellcheck="false" aria-invalid=[invalid(refused)] autofocus[refused]
                aria-describedby=[described(refused, name, hint)];
            (hint_of(name, hint))
        }
    }
}

/// Writes a field of several lines.
pub(crate) fn area(input: &Input, name: &str, label: &str, hint: &str) -> Markup {
    let lines: Vec<&str> = input.lines(name).collect();
    let refused = input.is_refused(name, label);
    html! {
        div.field {
            label for=(name) { (label) }
            // The first line break after the tag does not count.
            textarea id=(name) name=(name) rows="4" spellcheck="false"
                aria-invalid=[invalid(refused)] autofocus[refused]
                aria-describedby=[described(refused, name, hint)] { "\n" (lines.join("\n")) }
            (hint_of(name, hint))
        }
    }
}

/// Writes a box that can be checked.
pub(crate) fn check(input: &Input, name: &str, label: &str, hint: &str) -> Markup {
    let refused = input.is_refused(name, label);
    html! {
        div.field.check {
            input id=(name) name=(name) type="checkbox" value="on" checked[input.has(name)]
                aria-describedby=[described(refused, name, hint)];
            label for=(name) { (label) }
            (hint_of(name, hint))
        }
    }
}

/// Writes values of which exactly one is chosen; the first one if none is.
pub(crate) fn one_of(input: &Input, name: &str, label: &str, values: &[(&str, &str)]) -> Markup {
    let chosen = values.iter().position(|(value, _)| input.is(name, value));
    let refused = input.is_refused(name, label);
    html! {
        fieldset aria-describedby=[described(refused, name, "")] {
            legend { (label) }
            @for (place, (value, words)) in values.iter().enumerate() {
                div.check {
                    input id={ (name) "-" (value) } name=(name) type="radio" value=(value)
                        checked[chosen.unwrap_or_default() == place];
                    label for={ (name) "-" (value) } { (words) }
                }
            }
        }
    }
}

/// Writes values of which any number is chosen.
pub(crate) fn some_of(
    input: &Input,
    name: &str,
    label: &str,
    values: &[String],
    hint: &str,
) -> Markup {
    let refused = input.is_refused(name, label);
    html! {
        fieldset aria-describedby=[described(refused, name, hint)] {
            legend { (label) }
            div.choices {
                @for (place, value) in values.iter().enumerate() {
                    div.check {
                        input id={ (name) "-" (place) } name=(name) type="checkbox" value=(value)
                            checked[input.lines(name).any(|line| line == value)];
                        label for={ (name) "-" (place) } { (text(value)) }
                    }
                }
            }
            (hint_of(name, hint))
        }
    }
}

/// Writes all fields as hidden ones, so that they return with the next step.
pub(crate) fn hidden(input: &Input) -> Markup {
    html! {
        @for (name, value) in input.fields() {
            // Line breaks in the value of a hidden field are kept.
            input type="hidden" name=(name) value=(value);
        }
    }
}

/// Returns the mark of a field that the last attempt has refused.
pub(crate) fn invalid(refused: bool) -> Option<&'static str> {
    refused.then_some("true")
}

/// Returns the ids of the texts about the field with this id: the refusal, and the hint.
pub(crate) fn described(refused: bool, id: &str, hint: &str) -> Option<String> {
    let refusal = refused.then(|| REFUSAL.to_owned());
    let hint = (!hint.is_empty()).then(|| format!("{id}-hint"));
    let ids: Vec<String> = refusal.into_iter().chain(hint).collect();
    (!ids.is_empty()).then(|| ids.join(" "))
}

fn hint_of(name: &str, hint: &str) -> Markup {
    html! {
        @if !hint.is_empty() { p.soft id={ (name) "-hint" } { (hint) } }
    }
}
