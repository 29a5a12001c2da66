//! A parser for the YAML of the template, with tags such as `!Ref` and `!GetAtt`.

use saphyr_parser::{Event, Parser, Tag};
use serde_json::{Map, Value, json};

/// A sequence or a mapping that has not ended yet.
enum OpenNode {
    Sequence(Vec<Value>),
    /// The entries so far, and the key whose value follows.
    Mapping(Map<String, Value>, Option<String>),
}

/// Parses a document.
///
/// Scalars stay text. A tag becomes the long form of its function: `!Ref Table` is
/// `{"Ref": "Table"}`, and `!GetAtt Table.Arn` is `{"Fn::GetAtt": "Table.Arn"}`.
pub(super) fn parse(text: &str) -> Value {
    let mut open: Vec<(OpenNode, Option<String>)> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.expect("the template is YAML");
        let node = match event {
            Event::Scalar(text, _, _, tag) => {
                called(function(tag.as_deref()), Value::String(text.into_owned()))
            }
            Event::SequenceStart(_, tag) => {
                open.push((OpenNode::Sequence(Vec::new()), function(tag.as_deref())));
                continue;
            }
            Event::MappingStart(_, tag) => {
                open.push((
                    OpenNode::Mapping(Map::new(), None),
                    function(tag.as_deref()),
                ));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => closed(open.pop()),
            Event::Alias(_) => panic!("CloudFormation has no aliases: {span:?}"),
            _ => continue,
        };
        match open.last_mut() {
            None => root = Some(node),
            Some((OpenNode::Sequence(items), _)) => items.push(node),
            Some((OpenNode::Mapping(_, key @ None), _)) => {
                let name = node.as_str().expect("keys are text");
                *key = Some(name.to_owned());
            }
            Some((OpenNode::Mapping(entries, key), _)) => {
                let name = key.take().expect("a value follows its key");
                let earlier = entries.insert(name, node);
                assert!(earlier.is_none(), "duplicate key before {span:?}");
            }
        }
    }
    root.expect("the template has a document")
}

fn closed(open: Option<(OpenNode, Option<String>)>) -> Value {
    let (open, function) = open.expect("a collection ends after it has begun");
    let node = match open {
        OpenNode::Sequence(items) => Value::Array(items),
        OpenNode::Mapping(entries, _) => Value::Object(entries),
    };
    called(function, node)
}

/// Returns the long name of the function that a tag calls.
fn function(tag: Option<&Tag>) -> Option<String> {
    let name = &tag.filter(|tag| tag.handle == "!")?.suffix;
    Some(match name.as_str() {
        "Ref" | "Condition" => name.clone(),
        _ => format!("Fn::{name}"),
    })
}

fn called(function: Option<String>, argument: Value) -> Value {
    match function {
        Some(name) => json!({ name: argument }),
        None => argument,
    }
}

#[test]
fn tags_are_parsed_as_functions() {
    let text =
        "a: !If [Has, !Ref B, !Sub \"${C}/*\"]\nb: !GetAtt D.Arn\nc:\n  - 25\n  - { e: 'f' }\n";
    assert_eq!(
        parse(text),
        json!({
            "a": {"Fn::If": ["Has", {"Ref": "B"}, {"Fn::Sub": "${C}/*"}]},
            "b": {"Fn::GetAtt": "D.Arn"},
            "c": ["25", {"e": "f"}],
        })
    );
}
