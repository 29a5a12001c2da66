//! How records are kept as items: a value becomes the attributes of an item, and back.
//!
//! A reader ignores attributes it does not know, so that a newer writer can add some.

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

/// Returns the attributes of a value; a field that is `None` has no attribute.
pub(super) fn attributes<T: Serialize>(value: &T) -> Item {
    let mut item: Item = serde_dynamo::to_item(value).expect("our records are maps of attributes");
    item.retain(|_, value| !value.is_null());
    item
}

/// Returns a value as the attribute it has in an item.
pub(super) fn attribute<T: Serialize>(value: &T) -> AttributeValue {
    serde_dynamo::to_attribute_value(value).expect("our values have the forms of attributes")
}

pub(super) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number(number: &impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Reads a value back from its item.
pub(super) fn read<T: DeserializeOwned>(item: Item) -> Result<T, RecordsError> {
    let key = place(&item);
    serde_dynamo::from_item(item).map_err(|source| RecordsError::Corrupt {
        key,
        source: source.into(),
    })
}

/// Reads a value back that has to lie where its own name says: who can write to the table could
/// let one record speak for another.
pub(super) fn read_at<T: DeserializeOwned, K: fmt::Display>(
    item: Item,
    key: impl Fn(&T) -> K,
) -> Result<T, RecordsError> {
    let found = place(&item);
    let value = read(item)?;
    let own = key(&value).to_string();
    if found == own {
        return Ok(value);
    }
    let source = format!("it says that it is {own}").into();
    Err(RecordsError::Corrupt { key: found, source })
}

/// Names where an item lies.
fn place(item: &Item) -> String {
    let part = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    match (part(PK), part(SK)) {
        (Some(pk), Some(sk)) => format!("{pk} {sk}"),
        _ => "without a key".to_owned(),
    }
}
