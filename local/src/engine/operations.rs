//! The operations of the engine, by their names in DynamoDB's HTTP interface.

use dynoxide::{Database, DynoxideError};
use packcast_store::records::ServiceAnswer;
use serde::Serialize;
use serde::de::DeserializeOwned;

const BAD_REQUEST: u16 = 400;
const UNKNOWN_OPERATION: &str =
    r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#;

/// Operations that change nothing.
const READS: [&str; 9] = [
    "BatchGetItem",
    "DescribeTable",
    "DescribeTimeToLive",
    "GetItem",
    "ListTables",
    "ListTagsOfResource",
    "Query",
    "Scan",
    "TransactGetItems",
];

/// Returns true if an operation may change a table.
pub(super) fn changes(operation: &str) -> bool {
    !READS.contains(&operation)
}

/// Performs an operation. The call blocks until the engine has performed it.
pub(super) fn perform(database: &Database, operation: &str, body: &[u8]) -> ServiceAnswer {
    let answered = match operation {
        "BatchGetItem" => call(body, |it| database.batch_get_item(it)),
        "BatchWriteItem" => call(body, |it| database.batch_write_item(it)),
        "CreateTable" => call(body, |it| database.create_table(it)),
        "DeleteItem" => call(body, |it| database.delete_item(it)),
        "DeleteTable" => call(body, |it| database.delete_table(it)),
        "DescribeTable" => call(body, |it| database.describe_table(it)),
        "DescribeTimeToLive" => call(body, |it| database.describe_time_to_live(it)),
        "GetItem" => call(body, |it| database.get_item(it)),
        "ListTables" => call(body, |it| database.list_tables(it)),
        "ListTagsOfResource" => call(body, |it| database.list_tags_of_resource(it)),
        "PutItem" => call(body, |it| database.put_item(it)),
        "Query" => call(body, |it| database.query(it)),
        "Scan" => call(body, |it| database.scan(it)),
        "TagResource" => call(body, |it| database.tag_resource(it)),
        "TransactGetItems" => call(body, |it| database.transact_get_items(it)),
        "TransactWriteItems" => call(body, |it| database.transact_write_items(it)),
        "UntagResource" => call(body, |it| database.untag_resource(it)),
        "UpdateItem" => call(body, |it| database.update_item(it)),
        "UpdateTable" => call(body, |it| database.update_table(it)),
        "UpdateTimeToLive" => call(body, |it| database.update_time_to_live(it)),
        _ => return failed(BAD_REQUEST, UNKNOWN_OPERATION.to_owned()),
    };
    match answered {
        Ok(body) => ServiceAnswer { status: 200, body },
        Err(error) => failed(error.status_code(), error.to_json()),
    }
}

const fn failed(status: u16, body: String) -> ServiceAnswer {
    ServiceAnswer { status, body }
}

fn call<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    perform: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<String, DynoxideError> {
    let request = serde_json::from_slice(body)
        .map_err(|error| DynoxideError::SerializationException(error.to_string()))?;
    let answer = perform(request)?;
    serde_json::to_string(&answer)
        .map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ask(database: &Database, operation: &str, question: &Value) -> (u16, Value) {
        let answer = perform(database, operation, question.to_string().as_bytes());
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    /// Returns the type of an error.
    fn refusal(database: &Database, operation: &str, body: &[u8]) -> (u16, String) {
        let answer = perform(database, operation, body);
        let error: Value = serde_json::from_str(&answer.body).unwrap();
        let kind = error["__type"].as_str().unwrap();
        (answer.status, kind.rsplit('#').next().unwrap().to_owned())
    }

    #[test]
    fn items_are_written_and_read() {
        let database = Database::memory().unwrap();
        let table = json!({
            "TableName": "table",
            "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
            "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
            "BillingMode": "PAY_PER_REQUEST",
        });
        assert_eq!(ask(&database, "CreateTable", &table).0, 200);
        let item = json!({ "pk": { "S": "a" }, "n": { "N": "1" } });
        let put = json!({ "TableName": "table", "Item": item });
        assert_eq!(ask(&database, "PutItem", &put), (200, json!({})));
        let get = json!({ "TableName": "table", "Key": { "pk": { "S": "a" } } });
        let found = ask(&database, "GetItem", &get);
        assert_eq!(found, (200, json!({ "Item": item })));
        let absent = json!({
            "TableName": "table",
            "Item": item,
            "ConditionExpression": "attribute_not_exists(pk)",
        });
        let refused = refusal(&database, "PutItem", absent.to_string().as_bytes());
        assert_eq!(refused, (400, "ConditionalCheckFailedException".to_owned()));
    }

    #[test]
    fn hostile_requests_are_refused() {
        let database = Database::memory().unwrap();
        let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for body in [&b""[..], b"{", b"\xff", nested.as_bytes()] {
            let refused = refusal(&database, "Query", body);
            assert_eq!(refused, (400, "SerializationException".to_owned()));
        }
        for operation in ["", "Nothing", "query"] {
            let refused = refusal(&database, operation, b"{}");
            assert_eq!(refused, (400, "UnknownOperationException".to_owned()));
        }
        let missing = refusal(&database, "GetItem", br#"{"TableName":"none","Key":{}}"#);
        assert_eq!(missing.0, 400);
    }

    #[test]
    fn unknown_operations_count_as_changes() {
        assert!(!changes("Query") && !changes("BatchGetItem"));
        assert!(changes("TransactWriteItems") && changes("PutItem") && changes("Nothing"));
    }
}
