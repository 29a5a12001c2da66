//! Conversion between records and items.
//!
//! A reader ignores unknown attributes, so that a newer writer can add some.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::RecordsError;

pub(super) type Item = HashMap<String, AttributeValue>;

/// The attributes of an item's key.
pub(super) const PK: &str = "pk";
pub(super) const SK: &str = "sk";

/// Returns the attributes of a value. A field that is `None` has no attribute.
pub(super) fn attributes<T: Serialize>(value: &T) -> Item {
    let mut item: Item = serde_dynamo::to_item(value).expect("records are maps of attributes");
    item.retain(|_, value| !value.is_null());
    item
}

/// Returns a value as an attribute of an item.
pub(super) fn attribute<T: Serialize>(value: &T) -> AttributeValue {
    serde_dynamo::to_attribute_value(value).expect("values have the forms of attributes")
}

pub(super) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number(number: &impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Returns the value that an item stores.
pub(super) fn read<T: DeserializeOwned>(mut item: Item) -> Result<T, RecordsError> {
    // No value contains the attributes of its key. They are kept for the error.
    let key = [PK, SK].map(|name| item.remove_entry(name));
    serde_dynamo::from_item(item).map_err(|source| RecordsError::Corrupt {
        key: place(&key.into_iter().flatten().collect()),
        source: source.into(),
    })
}

/// Returns the value that an item stores, if the key of the item belongs to the value.
///
/// Otherwise anyone who can write to the table could pass one record off as another.
pub(super) fn read_at<T: DeserializeOwned, K: fmt::Display>(
    item: Item,
    key: impl Fn(&T) -> K,
) -> Result<T, RecordsError> {
    let found = place(&item);
    let value = read(item)?;
    let expected = key(&value).to_string();
    if found == expected {
        return Ok(value);
    }
    let source = format!("its content belongs to record {expected}").into();
    Err(RecordsError::Corrupt { key: found, source })
}

/// Returns the key of an item as text.
fn place(item: &Item) -> String {
    let part = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    match (part(PK), part(SK)) {
        (Some(pk), Some(sk)) => format!("{pk} {sk}"),
        _ => "without a key".to_owned(),
    }
}
