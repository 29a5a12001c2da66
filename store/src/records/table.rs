//! The table itself.

use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};

use super::item::{PK, SK};
use super::key::{INDEX, INDEX_PK, INDEX_SK};
use super::{Records, RecordsError};

const COMPLETE: &str = "every part of the definition is set";

impl Records {
    /// Creates the table, for embedded engines. A table that exists already stays as it is.
    pub async fn create_table(&self) -> Result<(), RecordsError> {
        let index = GlobalSecondaryIndex::builder()
            .index_name(INDEX)
            .set_key_schema(Some(keys(INDEX_PK, INDEX_SK)))
            .projection(
                Projection::builder()
                    .projection_type(ProjectionType::KeysOnly)
                    .build(),
            )
            .build()
            .expect(COMPLETE);
        let created = self
            .client
            .create_table()
            .table_name(self.table())
            .billing_mode(BillingMode::PayPerRequest)
            .set_key_schema(Some(keys(PK, SK)))
            .set_attribute_definitions(Some(
                [PK, SK, INDEX_PK, INDEX_SK].map(text_attribute).to_vec(),
            ))
            .global_secondary_indexes(index)
            .send()
            .await;
        match created {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(CreateTableError::ResourceInUseException(_)) => Ok(()),
                _ => Err(self.failed(error)),
            },
        }
    }
}

fn keys(partition: &str, sort: &str) -> Vec<KeySchemaElement> {
    let key = |name: &str, kind| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
            .expect(COMPLETE)
    };
    vec![key(partition, KeyType::Hash), key(sort, KeyType::Range)]
}

fn text_attribute(name: &str) -> AttributeDefinition {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S)
        .build()
        .expect(COMPLETE)
}
