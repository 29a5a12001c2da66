//! Fields of a request, picked out of the XML in one pass, without a tree.

use std::collections::BTreeSet;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::package::PackageId;

use super::{Inventory, RequestError};

/// Largest depth of elements.
pub(super) const MAX_DEPTH: usize = 64;
/// Largest number of attributes of an element.
pub(super) const MAX_ATTRIBUTES: usize = 256;

/// Length at which a field is cut. Longer fields are cut or refused later on.
const MAX_FIELD_BYTES: usize = 4096;

/// The fields of a request, before its purpose is known.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) device: Option<String>,
    pub(super) content_device: Option<String>,
    pub(super) query: Option<String>,
    pub(super) package: Option<String>,
    pub(super) code: Option<String>,
    pub(super) history: BTreeSet<PackageId>,
    pub(super) host_name: Option<String>,
    pub(super) os_name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Device,
    ContentDevice,
    Query,
    Package,
    Code,
    History,
    HostName,
    OsName,
}

/// Place of an element in a request; attributes have the same places as child elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Document,
    Request,
    Content,
    Download,
    History,
    Package,
    Hardware,
    Field(Field),
    Elsewhere,
}

impl Place {
    fn child(self, name: &str) -> Self {
        match (self, name) {
            (Self::Document, "REQUEST") => Self::Request,
            (Self::Request, "DEVICEID") => Self::Field(Field::Device),
            (Self::Request, "QUERY") => Self::Field(Field::Query),
            (Self::Request, "ID") => Self::Field(Field::Package),
            (Self::Request, "ERR") => Self::Field(Field::Code),
            (Self::Request, "CONTENT") => Self::Content,
            (Self::Content, "DEVICEID") => Self::Field(Field::ContentDevice),
            (Self::Content, "DOWNLOAD") => Self::Download,
            (Self::Download, "HISTORY") => Self::History,
            (Self::History, "PACKAGE") => Self::Package,
            (Self::Package, "ID") => Self::Field(Field::History),
            (Self::Content, "HARDWARE") => Self::Hardware,
            (Self::Hardware, "NAME") => Self::Field(Field::HostName),
            (Self::Hardware, "OSNAME") => Self::Field(Field::OsName),
            _ => Self::Elsewhere,
        }
    }
}

impl Fields {
    pub(super) fn read(xml: &str) -> Result<Self, RequestError> {
        let mut reader = Reader::from_str(xml);
        let mut walk = Walk::default();
        loop {
            match reader.read_event().map_err(RequestError::Malformed)? {
                Event::Start(element) => walk.open(&element)?,
                Event::Empty(element) => {
                    walk.open(&element)?;
                    walk.close()?;
                }
                Event::End(_) => walk.close()?,
                Event::Text(text) => walk.text(&text.xml10_content())?,
                Event::CData(text) => walk.text(&text.xml10_content())?,
                Event::GeneralRef(reference) => walk.reference(&reference)?,
                // A DOCTYPE could define entities, which expand to any size.
                Event::DocType(_) => return Err(RequestError::Doctype),
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
                Event::Eof => return walk.finish(),
            }
        }
    }

    fn keep(&mut self, field: Field, value: &str) -> Result<(), RequestError> {
        let value = value.trim();
        match field {
            Field::Device => once(&mut self.device, "DEVICEID", value)?,
            Field::ContentDevice => once(&mut self.content_device, "CONTENT/DEVICEID", value)?,
            Field::Query => once(&mut self.query, "QUERY", value)?,
            Field::Package => once(&mut self.package, "ID", value)?,
            Field::Code => once(&mut self.code, "ERR", value)?,
            Field::History => self.keep_history(value),
            Field::HostName => self.host_name = name(value),
            Field::OsName => self.os_name = name(value),
        }
        Ok(())
    }

    fn keep_history(&mut self, value: &str) {
        self.history.extend(value.parse::<PackageId>());
        if self.history.len() > Inventory::MAX_HISTORY {
            // Ids grow with time: the first id is the oldest package.
            self.history.pop_first();
        }
    }
}

fn once(slot: &mut Option<String>, field: &'static str, value: &str) -> Result<(), RequestError> {
    match slot.replace(cut(value, MAX_FIELD_BYTES).to_owned()) {
        Some(_) => Err(RequestError::Repeated { field }),
        None => Ok(()),
    }
}

fn name(value: &str) -> Option<String> {
    Some(plain(value, 255)).filter(|name| !name.is_empty())
}

/// Returns at most `max_bytes` of a text, with control characters replaced.
pub(super) fn plain(text: &str, max_bytes: usize) -> String {
    let replaced = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    let mut text: String = cut(text, max_bytes).chars().map(replaced).collect();
    // A replacement character may be longer than the character that it replaces.
    text.truncate(text.floor_char_boundary(max_bytes));
    text
}

fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

#[derive(Debug, Default)]
struct Walk {
    fields: Fields,
    open: Vec<Place>,
    has_root: bool,
    /// Text of the innermost element, as long as the element has no child.
    text: Option<String>,
}

impl Walk {
    fn place(&self) -> Place {
        self.open.last().copied().unwrap_or(Place::Document)
    }

    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), RequestError> {
        let place = self.place().child(element.name().as_ref());
        if self.open.is_empty() && (self.has_root || place != Place::Request) {
            return Err(RequestError::Root);
        }
        if self.open.len() == MAX_DEPTH {
            return Err(RequestError::Deep);
        }
        self.has_root = true;
        self.open.push(place);
        self.text = matches!(place, Place::Field(_)).then(String::new);
        self.attributes(place, element)
    }

    fn attributes(&mut self, place: Place, element: &BytesStart<'_>) -> Result<(), RequestError> {
        for (index, attribute) in element.attributes().enumerate() {
            if index == MAX_ATTRIBUTES {
                return Err(RequestError::ManyAttributes);
            }
            let attribute = attribute.map_err(|error| RequestError::Malformed(error.into()))?;
            if let Place::Field(field) = place.child(attribute.key.as_ref()) {
                let value = attribute
                    .normalized_value(XmlVersion::Explicit1_0)
                    .map_err(RequestError::Malformed)?;
                self.fields.keep(field, &value)?;
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), RequestError> {
        let text = self.text.take();
        match (self.open.pop(), text) {
            (Some(Place::Field(field)), Some(text)) => self.fields.keep(field, &text),
            _ => Ok(()),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), RequestError> {
        if self.open.is_empty() && !text.trim_ascii().is_empty() {
            return Err(RequestError::Root);
        }
        if let Some(kept) = &mut self.text {
            kept.push_str(cut(text, MAX_FIELD_BYTES.saturating_sub(kept.len())));
        }
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), RequestError> {
        if let Some(character) = reference
            .resolve_char_ref()
            .map_err(RequestError::Malformed)?
        {
            return self.text(character.encode_utf8(&mut [0; 4]));
        }
        let unknown = || RequestError::Entity {
            name: plain(reference, 64),
        };
        self.text(resolve_predefined_entity(reference).ok_or_else(unknown)?)
    }

    fn finish(self) -> Result<Fields, RequestError> {
        match (self.has_root, self.open.is_empty()) {
            (false, _) => Err(RequestError::Root),
            (true, false) => Err(RequestError::Unfinished),
            (true, true) => Ok(self.fields),
        }
    }
}
