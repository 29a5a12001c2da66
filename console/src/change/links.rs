//! Links from other pages to the forms of changes.

use maud::{Markup, html};

use crate::visit::Visit;
use crate::words::encoded;

/// A link to the form of a change.
#[derive(Clone, Debug)]
pub(crate) struct ChangeLink<'a> {
    pub(crate) path: &'a str,
    pub(crate) name: &'a str,
    /// The fields that the form begins with.
    pub(crate) fields: Vec<(&'a str, &'a str)>,
}

impl<'a> ChangeLink<'a> {
    pub(crate) fn new(path: &'a str, name: &'a str, fields: &[(&'a str, &'a str)]) -> Self {
        let fields = fields.to_vec();
        Self { path, name, fields }
    }

    fn address(&self) -> String {
        let fields = self.fields.iter();
        let fields: Vec<String> = fields
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        if fields.is_empty() {
            return self.path.to_owned();
        }
        format!("{}?{}", self.path, fields.join("&"))
    }
}

/// Writes links to changes. A read-only console has none.
pub(crate) fn actions(visit: &Visit, links: &[ChangeLink<'_>]) -> Markup {
    html! {
        @if !visit.app.is_read_only() && !links.is_empty() {
            nav.actions aria-label="Changes" {
                ul {
                    @for link in links {
                        li { a.button.quiet href=(link.address()) { (link.name) } }
                    }
                }
            }
        }
    }
}

/// Writes a link to a change within a text. A read-only console has none.
pub(crate) fn action(visit: &Visit, link: &ChangeLink<'_>, label: &str) -> Markup {
    html! {
        @if !visit.app.is_read_only() {
            a href=(link.address()) aria-label=(label) { (link.name) }
        }
    }
}
