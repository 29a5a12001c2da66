//! The permissions of the check-in function in the stack's template, enforced before requests
//! reach the table.
//!
//! No engine on a developer's machine enforces policies. Without this layer, a missing permission
//! would show only in the cloud.

use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpConnector as _, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::Value;

use crate::layer::{Layer, layered};
use crate::wire;

/// The template of the stack.
pub const TEMPLATE: &str = include_str!("../../infra/template.yaml");

/// The permissions of the function's role on the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    statements: Arc<[Statement]>,
}

/// Allowed actions on items whose partition keys have one of these prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    actions: Vec<String>,
    partitions: Vec<String>,
}

/// A required permission: the action, and the key of the partition it touches, if there is one.
type Need = (String, Option<String>);

impl Policy {
    /// Reads the policy "records" of the template.
    ///
    /// # Panics
    /// If the template does not spell the policy in lists of one line.
    pub fn of_template() -> Self {
        let (_, from) = TEMPLATE
            .split_once("PolicyName: records\n")
            .expect("the role has a policy for records");
        let (policy, _) = from
            .split_once("PolicyName:")
            .expect("another policy follows");
        let statements = policy.split("- Sid:").skip(1).map(|statement| Statement {
            actions: list(statement, "Action: "),
            partitions: list(statement, "dynamodb:LeadingKeys: "),
        });
        Self {
            statements: statements.collect(),
        }
    }

    /// Returns a client that refuses forbidden requests as the service does.
    pub fn before(&self, client: SharedHttpClient) -> SharedHttpClient {
        layered(self.clone(), client)
    }

    fn allows(&self, (action, partition): &Need) -> bool {
        let action = format!("dynamodb:{action}");
        self.statements.iter().any(|statement| {
            let begins = |start: &String| {
                let start = start.trim_end_matches('*');
                partition.as_ref().is_some_and(|key| key.starts_with(start))
            };
            statement.actions.contains(&action) && statement.partitions.iter().any(begins)
        })
    }

    fn refusal(&self, request: &HttpRequest) -> Option<HttpResponse> {
        let body = wire::parsed(request.body().bytes().unwrap_or_default());
        let needs = needs(&wire::operation(request), &body);
        let (action, partition) = needs.into_iter().find(|need| !self.allows(need))?;
        let refusal = serde_json::json!({
            "__type": "com.amazon.coral.service#AccessDeniedException",
            "Message": format!("the template does not allow dynamodb:{action} on {partition:?}"),
        });
        Some(wire::answer(400, refusal.to_string()))
    }
}

/// Reads a list such as `[a, "b"]` that follows a word on its line.
fn list(statement: &str, word: &str) -> Vec<String> {
    let line = statement.lines().find_map(|line| {
        let (_, list) = line.split_once(word)?;
        list.strip_prefix('[')?.strip_suffix(']')
    });
    line.unwrap_or_else(|| panic!("a list in one line follows {word:?} in {statement}"))
        .split(", ")
        .map(|entry| entry.trim_matches('"').to_owned())
        .collect()
}

/// Returns the permissions that an operation requires.
fn needs(operation: &str, body: &Value) -> Vec<Need> {
    let of_key = |item: &Value| item["pk"]["S"].as_str().map(str::to_owned);
    match operation {
        // Reading the index is a permission of its own; no statement gives it.
        "Query" if body.get("IndexName").is_some() => vec![("Query".to_owned(), None)],
        "Query" => {
            let value = &body["ExpressionAttributeValues"][":pk"]["S"];
            vec![(operation.to_owned(), value.as_str().map(str::to_owned))]
        }
        "BatchGetItem" => each(&body["RequestItems"])
            .flat_map(|table| table["Keys"].as_array().into_iter().flatten())
            .map(|key| (operation.to_owned(), of_key(key)))
            .collect(),
        "TransactWriteItems" => body["TransactItems"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .flatten()
            .map(|(kind, write)| {
                let action = match kind.as_str() {
                    "ConditionCheck" => "ConditionCheckItem".to_owned(),
                    kind => format!("{kind}Item"),
                };
                (
                    action,
                    of_key(&write["Key"]).or_else(|| of_key(&write["Item"])),
                )
            })
            .collect(),
        _ => {
            let key = of_key(&body["Key"]).or_else(|| of_key(&body["Item"]));
            vec![(operation.to_owned(), key)]
        }
    }
}

fn each(object: &Value) -> impl Iterator<Item = &Value> {
    object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, value)| value)
}

impl Layer for Policy {
    async fn answer(
        self,
        request: HttpRequest,
        inner: SharedHttpConnector,
    ) -> Result<HttpResponse, ConnectorError> {
        match self.refusal(&request) {
            Some(refusal) => Ok(refusal),
            None => inner.call(request).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(action: &str, partition: Option<&str>) -> bool {
        let need = (action.to_owned(), partition.map(str::to_owned));
        Policy::of_template().allows(&need)
    }

    #[test]
    fn the_function_cannot_write_packages_and_groups() {
        for (action, partition) in [
            ("Query", "DEVICE#ocs:pc1"),
            ("ConditionCheckItem", "PACKAGE#1795327754"),
            ("UpdateItem", "TALLY#1795327754#01"),
        ] {
            assert!(allows(action, Some(partition)), "{action} {partition}");
        }
        for (action, partition) in [
            ("UpdateItem", "PACKAGE#1795327754"),
            ("PutItem", "GROUP#all"),
            ("PutItem", "CATALOG"),
            ("Scan", "DEVICE#ocs:pc1"),
        ] {
            assert!(!allows(action, Some(partition)), "{action} {partition}");
        }
        assert!(!allows("Query", None));
    }

    #[test]
    fn a_transaction_needs_the_permissions_of_each_of_its_writes() {
        let body = serde_json::json!({"TransactItems": [
            {"Put": {"Item": {"pk": {"S": "DEVICE#a"}}}},
            {"ConditionCheck": {"Key": {"pk": {"S": "PACKAGE#b"}}}},
        ]});
        let need = |action: &str, key: &str| (action.to_owned(), Some(key.to_owned()));
        assert_eq!(
            needs("TransactWriteItems", &body),
            [
                need("PutItem", "DEVICE#a"),
                need("ConditionCheckItem", "PACKAGE#b")
            ]
        );
    }
}
