//! The template of the stack, as infra/deploy deploys it to AWS.

mod yaml;

use std::sync::LazyLock;

use serde_json::Value;

/// The text of the template.
pub const TEMPLATE: &str = include_str!("../../infra/template.yaml");

/// The template as a tree; a function such as `!Ref Table` is `{"Ref": "Table"}`.
pub static STACK: LazyLock<Value> = LazyLock::new(|| yaml::parse(TEMPLATE));

/// Returns the properties of a resource.
///
/// # Panics
/// If the template has no such resource.
pub fn properties(resource: &str) -> &'static Value {
    let properties = &STACK["Resources"][resource]["Properties"];
    assert!(properties.is_object(), "the template has {resource}");
    properties
}

/// Returns the default of a parameter, if it has one.
pub fn default_of(parameter: &str) -> Option<&'static str> {
    STACK["Parameters"][parameter]["Default"].as_str()
}

/// Returns the value that a node has with the default parameters at AWS, or `None` if the node is
/// left out.
///
/// # Panics
/// If a condition is unknown.
pub fn chosen(node: &Value) -> Option<&Value> {
    let Some(choice) = node.get("Fn::If").and_then(Value::as_array) else {
        return Some(node).filter(|node| node["Ref"] != "AWS::NoValue");
    };
    let [condition, if_true, if_false] = &choice[..] else {
        panic!("Fn::If has three arguments: {node}");
    };
    match condition.as_str() {
        Some("AtAws") => chosen(if_true),
        Some("HasRestoredTable") => chosen(if_false),
        _ => panic!("unknown condition: {node}"),
    }
}

/// Returns the text of a node, with references in the form `${Table.Arn}` and the prefix of
/// objects by default.
///
/// # Panics
/// If the node is neither text nor a reference.
pub fn text(node: &Value) -> String {
    let node = chosen(node).unwrap_or(&Value::Null);
    if let Some(text) = node.as_str() {
        return text.to_owned();
    }
    if let Some(name) = node["Fn::GetAtt"].as_str().or(node["Ref"].as_str()) {
        return format!("${{{name}}}");
    }
    if let Some([separator, parts]) = node["Fn::Join"].as_array().map(Vec::as_slice) {
        return texts(parts).join(separator.as_str().unwrap_or_default());
    }
    let text = node["Fn::Sub"].as_str();
    let text = text.unwrap_or_else(|| panic!("neither text nor a reference: {node}"));
    text.replace("${Prefix}", default_of("Prefix").unwrap_or_default())
}

/// Returns the texts of a list, or of a single node.
pub fn texts(node: &Value) -> Vec<String> {
    match chosen(node).and_then(Value::as_array) {
        Some(list) => list.iter().map(text).collect(),
        None => vec![text(node)],
    }
}
