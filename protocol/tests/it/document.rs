//! Any XML document as a map from places to values, so that order and layout are ignored.

use std::collections::BTreeMap;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Maps `ROOT/CHILD` to its text and `ROOT/CHILD@NAME` to an attribute's value.
///
/// Elements with a `TYPE` are distinguished by it and by their `ID`, as in `PARAM[PACK
/// 1795327754]`.
pub(crate) fn places(xml: &str) -> BTreeMap<String, String> {
    let mut reader = Reader::from_str(xml);
    let mut places = BTreeMap::new();
    let mut path = Vec::new();
    loop {
        match reader
            .read_event()
            .expect("recorded and written documents are well-formed")
        {
            Event::Start(element) => {
                path.push(label(&element));
                attributes(&path.join("/"), &element, &mut places);
            }
            Event::Empty(element) => {
                let place = [path.join("/"), label(&element)].join("/");
                attributes(place.trim_start_matches('/'), &element, &mut places);
            }
            Event::Text(text) if !text.trim().is_empty() => {
                keep(&mut places, &path.join("/"), &text);
            }
            Event::End(_) => drop(path.pop()),
            Event::Eof => return places,
            Event::Decl(_) | Event::Text(_) => {}
            other => panic!("{other:?} cannot be compared"),
        }
    }
}

fn label(element: &BytesStart<'_>) -> String {
    let name = element.name().as_ref().to_owned();
    match (attribute(element, "TYPE"), attribute(element, "ID")) {
        (Some(kind), Some(id)) => format!("{name}[{kind} {id}]"),
        (Some(kind), None) => format!("{name}[{kind}]"),
        _ => name,
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element
        .try_get_attribute(name)
        .expect("attributes are well-formed")?;
    Some(
        attribute
            .normalized_value(XmlVersion::Explicit1_0)
            .expect("values are escaped")
            .into_owned(),
    )
}

fn attributes(place: &str, element: &BytesStart<'_>, places: &mut BTreeMap<String, String>) {
    for found in element.attributes() {
        let name = found
            .expect("attributes are well-formed")
            .key
            .as_ref()
            .to_owned();
        let value = attribute(element, &name).expect("the attribute was just found");
        keep(places, &format!("{place}@{name}"), &value);
    }
}

fn keep(places: &mut BTreeMap<String, String>, place: &str, value: &str) {
    let earlier = places.insert(place.to_owned(), value.to_owned());
    assert_eq!(earlier, None, "{place} occurs twice");
}
