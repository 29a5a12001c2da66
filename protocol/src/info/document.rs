//! The XML of `info`: one empty element, and nothing else.

use quick_xml::events::{BytesDecl, BytesStart, Event};
use quick_xml::{Reader, Writer, XmlVersion};

use super::attributes::Attributes;
use super::{InfoError, MAX_INFO_BYTES};

const ROOT: &str = "DOWNLOAD";

/// Returns the document of these attributes.
pub(super) fn write(attributes: &[(&str, String)]) -> String {
    let attributes = attributes
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let element = BytesStart::new(ROOT).with_attributes(attributes);
    let declaration = BytesDecl::new("1.0", Some("UTF-8"), None);
    let mut xml = Vec::new();
    let mut writer = Writer::new_with_indent(&mut xml, b' ', 2);
    writer
        .write_event(Event::Decl(declaration))
        .and_then(|()| writer.write_event(Event::Empty(element)))
        .expect("writing to memory cannot fail");
    xml.push(b'\n');
    String::from_utf8(xml).expect("the writer was given strings only")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    BeforeRoot,
    InRoot,
    AfterRoot,
}

/// Returns the unescaped attributes of the root element; a repeated attribute is an error.
pub(super) fn read(bytes: &[u8]) -> Result<Attributes, InfoError> {
    if bytes.len() > MAX_INFO_BYTES {
        return Err(InfoError::TooLarge { bytes: bytes.len() });
    }
    let mut reader = Reader::from_str(std::str::from_utf8(bytes).map_err(InfoError::NotUtf8)?);
    let mut attributes = Attributes::new();
    let mut place = Place::Start;
    loop {
        let event = reader.read_event().map_err(InfoError::Malformed)?;
        place = match (place, &event) {
            (Place::Start, Event::Decl(declaration)) => declared(declaration)?,
            (Place::Start | Place::BeforeRoot, Event::Start(root)) => {
                attributes = root_attributes(root)?;
                Place::InRoot
            }
            (Place::Start | Place::BeforeRoot, Event::Empty(root)) => {
                attributes = root_attributes(root)?;
                Place::AfterRoot
            }
            (Place::InRoot, Event::End(_)) => Place::AfterRoot,
            // A declaration is valid at the very start only, so white space rules it out.
            (Place::Start, Event::Text(text)) if is_blank(text) => Place::BeforeRoot,
            (_, Event::Text(text)) if is_blank(text) => place,
            (Place::AfterRoot, Event::Eof) => return Ok(attributes),
            _ => {
                return Err(InfoError::Construct {
                    found: construct(&event),
                });
            }
        };
    }
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_whitespace())
}

fn declared(declaration: &BytesDecl<'_>) -> Result<Place, InfoError> {
    let version = declaration.xml_version().map_err(InfoError::Malformed)?;
    let encoding = declaration
        .encoding()
        .transpose()
        .map_err(|error| InfoError::Malformed(error.into()))?;
    if version != XmlVersion::Explicit1_0 {
        return Err(InfoError::Construct {
            found: "another version of XML",
        });
    }
    if !encoding.is_none_or(|encoding| encoding.eq_ignore_ascii_case("UTF-8")) {
        return Err(InfoError::Construct {
            found: "another encoding",
        });
    }
    Ok(Place::BeforeRoot)
}

fn root_attributes(root: &BytesStart<'_>) -> Result<Attributes, InfoError> {
    if root.name().as_ref() != ROOT {
        return Err(InfoError::Construct {
            found: "another root element",
        });
    }
    root.attributes()
        .map(|attribute| {
            let attribute = attribute.map_err(|error| InfoError::Malformed(error.into()))?;
            if attribute.value.contains('<') {
                return Err(InfoError::Construct {
                    found: "an unescaped '<' in an attribute",
                });
            }
            let value = attribute
                .normalized_value(XmlVersion::Explicit1_0)
                .map_err(InfoError::Malformed)?;
            Ok((attribute.key.as_ref().to_owned(), value.into_owned()))
        })
        .collect()
}

const fn construct(event: &Event<'_>) -> &'static str {
    match event {
        Event::DocType(_) => "a DOCTYPE",
        Event::PI(_) => "a processing instruction",
        Event::Comment(_) => "a comment",
        Event::Decl(_) => "a declaration that is not at the start",
        Event::Eof => "the end of the document inside the element",
        Event::Start(_) | Event::Empty(_) | Event::End(_) => "another element",
        Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => "text",
    }
}
