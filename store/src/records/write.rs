//! Single writes, and the writes of a transaction.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnConsumedCapacity, ReturnValue,
    TransactWriteItem, Update,
};

use super::item::Item;
use super::key::Key;
use super::{Records, RecordsError};

const COMPLETE: &str = "table and item are set";

/// Holds for an item that does not exist.
pub(super) const ABSENT: &str = "attribute_not_exists(pk)";
/// Holds for an item that exists.
pub(super) const PRESENT: &str = "attribute_exists(pk)";

/// Names and values for the placeholders of an expression.
///
/// Names of attributes may be reserved words, so an expression contains only placeholders.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Terms {
    /// Adds the placeholder `#<attribute>` for an attribute.
    pub(super) fn name(mut self, attribute: &str) -> Self {
        self.names
            .insert(format!("#{attribute}"), attribute.to_owned());
        self
    }

    /// Adds the placeholder `#<word>` for an attribute whose name is not known in advance.
    pub(super) fn named(mut self, word: &str, attribute: &str) -> Self {
        self.names.insert(format!("#{word}"), attribute.to_owned());
        self
    }

    /// Adds the placeholder `:<word>` for a value.
    pub(super) fn value(mut self, word: &str, value: AttributeValue) -> Self {
        self.values.insert(format!(":{word}"), value);
        self
    }

    pub(super) fn names(&self) -> Option<HashMap<String, String>> {
        (!self.names.is_empty()).then(|| self.names.clone())
    }

    pub(super) fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }
}

pub(super) fn put(table: &str, item: Item, condition: &str, terms: &Terms) -> TransactWriteItem {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression(condition)
        .set_expression_attribute_names(terms.names())
        .set_expression_attribute_values(terms.values());
    TransactWriteItem::builder()
        .put(put.build().expect(COMPLETE))
        .build()
}

pub(super) fn create(table: &str, item: Item) -> TransactWriteItem {
    put(table, item, ABSENT, &Terms::default())
}

/// Puts an item, and replaces an existing one.
pub(super) fn replace(table: &str, item: Item) -> TransactWriteItem {
    let put = Put::builder().table_name(table).set_item(Some(item));
    TransactWriteItem::builder()
        .put(put.build().expect(COMPLETE))
        .build()
}

/// Deletes an item, if it exists.
pub(super) fn remove(table: &str, key: &Key) -> TransactWriteItem {
    let delete = Delete::builder()
        .table_name(table)
        .set_key(Some(key.attributes()));
    TransactWriteItem::builder()
        .delete(delete.build().expect(COMPLETE))
        .build()
}

pub(super) fn update(
    table: &str,
    key: &Key,
    update: &str,
    condition: Option<&str>,
    terms: &Terms,
) -> TransactWriteItem {
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(key.attributes()))
        .update_expression(update)
        .set_condition_expression(condition.map(str::to_owned))
        .set_expression_attribute_names(terms.names())
        .set_expression_attribute_values(terms.values());
    TransactWriteItem::builder()
        .update(update.build().expect(COMPLETE))
        .build()
}

pub(super) fn delete(table: &str, key: &Key, condition: &str, terms: &Terms) -> TransactWriteItem {
    let delete = Delete::builder()
        .table_name(table)
        .set_key(Some(key.attributes()))
        .condition_expression(condition)
        .set_expression_attribute_names(terms.names())
        .set_expression_attribute_values(terms.values());
    TransactWriteItem::builder()
        .delete(delete.build().expect(COMPLETE))
        .build()
}

/// Writes nothing, but refuses the transaction if the condition does not hold.
pub(super) fn check(table: &str, key: &Key, condition: &str, terms: &Terms) -> TransactWriteItem {
    let check = ConditionCheck::builder()
        .table_name(table)
        .set_key(Some(key.attributes()))
        .condition_expression(condition)
        .set_expression_attribute_names(terms.names())
        .set_expression_attribute_values(terms.values());
    TransactWriteItem::builder()
        .condition_check(check.build().expect(COMPLETE))
        .build()
}

impl Records {
    /// Writes an item, and returns the item that it replaces, if there is one.
    pub(super) async fn put(&self, item: Item) -> Result<Option<Item>, RecordsError> {
        let item = &item;
        self.persevere(|| async move {
            self.client
                .put_item()
                .table_name(self.table())
                .set_item(Some(item.clone()))
                .return_values(ReturnValue::AllOld)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map(|output| output.attributes)
                .map_err(|error| self.failed(error))
        })
        .await
    }

    /// Changes one item, and returns the changed item. Returns `None` if the condition does not
    /// hold.
    pub(super) async fn change(
        &self,
        key: &Key,
        update: &str,
        condition: Option<&str>,
        terms: &Terms,
    ) -> Result<Option<Item>, RecordsError> {
        self.persevere(|| self.change_once(key, update, condition, terms))
            .await
    }

    /// Changes one item, as [`Records::change`] does, with one request.
    pub(super) async fn change_once(
        &self,
        key: &Key,
        update: &str,
        condition: Option<&str>,
        terms: &Terms,
    ) -> Result<Option<Item>, RecordsError> {
        let sent = self
            .client
            .update_item()
            .table_name(self.table())
            .set_key(Some(key.attributes()))
            .update_expression(update)
            .set_condition_expression(condition.map(str::to_owned))
            .set_expression_attribute_names(terms.names())
            .set_expression_attribute_values(terms.values())
            .return_values(ReturnValue::AllNew)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match sent {
            Ok(output) => Ok(Some(output.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
                _ => Err(self.failed(error)),
            },
        }
    }
}
