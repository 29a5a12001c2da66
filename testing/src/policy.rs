//! The policies in the stack's template, enforced before requests reach an engine.
//!
//! No engine on a developer's machine enforces policies. Without this module, a missing permission
//! would show only in the cloud.

mod request;
mod statement;

use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpConnector as _, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Value, json};

use self::request::permissions;
use self::statement::{Effect, Statement};
use crate::layer::{Layer, layered};
use crate::template::{chosen, properties};
use crate::wire;

pub use self::request::{Permission, PolicyRequest};

/// The statements that decide about the requests of one principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    statements: Arc<[Statement]>,
}

impl Policy {
    /// Returns the policy of the check-in function.
    pub fn of_function() -> Self {
        let policies = properties("CheckInRole")["Policies"].as_array();
        let documents = policies.into_iter().flatten();
        Self::new(documents.map(|policy| &policy["PolicyDocument"]))
    }

    /// Returns the policy of people who publish and assign packages.
    pub fn of_publisher() -> Self {
        Self::of_person("PublisherPolicy")
    }

    /// Returns the policy of people who read, and change nothing.
    pub fn of_reader() -> Self {
        Self::of_person("ReaderPolicy")
    }

    /// Returns the policy of people who create enrolment tokens.
    pub fn of_key_holder() -> Self {
        Self::of_person("KeyHolderPolicy")
    }

    /// Returns the policy of the bucket, and otherwise all permissions.
    pub fn of_bucket_owner() -> Self {
        let everything = json!({
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        });
        Self::new([&everything, &properties("ObjectsPolicy")["PolicyDocument"]])
    }

    /// AWS evaluates the policy of a person together with the policy of the bucket.
    fn of_person(resource: &str) -> Self {
        Self::new([
            &properties(resource)["PolicyDocument"],
            &properties("ObjectsPolicy")["PolicyDocument"],
        ])
    }

    fn new<'a>(documents: impl IntoIterator<Item = &'a Value>) -> Self {
        let statements = documents
            .into_iter()
            .flat_map(|document| document["Statement"].as_array().into_iter().flatten())
            .filter_map(chosen)
            // A service, such as the CDN, is another principal.
            .filter(|statement| statement["Principal"]["Service"].is_null())
            .map(Statement::read);
        Self {
            statements: statements.collect(),
        }
    }

    /// Returns a client that refuses forbidden requests as the service does.
    pub fn before(&self, client: SharedHttpClient) -> SharedHttpClient {
        layered(self.clone(), client)
    }

    /// Returns true if a statement allows the permission, and none denies it.
    pub fn allows(&self, permission: &Permission) -> bool {
        let has = |effect| {
            let mut statements = self.statements.iter();
            statements.any(|statement| statement.applies(effect, permission))
        };
        has(Effect::Allow) && !has(Effect::Deny)
    }

    /// Returns the status and the body of the answer to a forbidden request; `None` if the request
    /// is allowed.
    pub fn refusal(&self, request: &PolicyRequest<'_>) -> Option<(u16, String)> {
        let needed = permissions(request);
        let forbidden = needed.into_iter().find(|needed| !self.allows(needed))?;
        let message = format!("the template does not allow {forbidden:?}");
        Some(if request.target.is_some() {
            let kind = "com.amazon.coral.service#AccessDeniedException";
            (400, json!({"__type": kind, "Message": message}).to_string())
        } else {
            let message = message.replace(['<', '&'], " ");
            let error =
                format!("<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>");
            (403, error)
        })
    }
}

impl Layer for Policy {
    async fn answer(
        self,
        request: HttpRequest,
        inner: SharedHttpConnector,
    ) -> Result<HttpResponse, ConnectorError> {
        match self.refusal(&PolicyRequest::of_client(&request)) {
            Some((status, body)) => Ok(wire::answer(status, body)),
            None => inner.call(request).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "${Table.Arn}";
    const FUNCTION: &str = "${CheckIn.Arn}";

    fn on_partition(action: &str, partition: &str) -> Permission {
        Permission::new(action, TABLE).with("dynamodb:LeadingKeys", partition)
    }

    fn put(creates: bool) -> Permission {
        Permission::new("s3:PutObject", "${Objects.Arn}/d/segment/1-1")
            .with("s3:ObjectCreationOperation", &creates.to_string())
    }

    #[test]
    fn the_function_cannot_write_packages_and_groups() {
        let function = Policy::of_function();
        for (action, partition) in [
            ("dynamodb:Query", "DEVICE#ocs:pc1"),
            ("dynamodb:ConditionCheckItem", "PACKAGE#1795327754"),
            ("dynamodb:UpdateItem", "TALLY#1795327754#63"),
            ("dynamodb:ConditionCheckItem", "GROUP#all#63"),
        ] {
            let permission = on_partition(action, partition);
            assert!(function.allows(&permission), "{permission:?}");
        }
        for (action, partition) in [
            ("dynamodb:UpdateItem", "PACKAGE#1795327754"),
            ("dynamodb:PutItem", "GROUP#all"),
            ("dynamodb:UpdateItem", "GROUP#all#63"),
            ("dynamodb:PutItem", "CATALOG"),
            ("dynamodb:PutItem", "KEYS"),
            ("dynamodb:PutItem", "HEAD"),
            ("dynamodb:PutItem", "COMMIT"),
            ("dynamodb:PutItem", "EVENT"),
            ("dynamodb:Query", "EVENT"),
            ("dynamodb:PutItem", "PAGE#00"),
            ("dynamodb:PutItem", "DOC#00"),
            ("dynamodb:Scan", "DEVICE#ocs:pc1"),
        ] {
            let permission = on_partition(action, partition);
            assert!(!function.allows(&permission), "{permission:?}");
        }
    }

    #[test]
    fn a_reader_writes_nothing() {
        let reader = Policy::of_reader();
        assert!(reader.allows(&on_partition("dynamodb:Query", "PACKAGE#1795327754")));
        for action in ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"] {
            let permission = on_partition(&format!("dynamodb:{action}"), "PACKAGE#1795327754");
            assert!(!reader.allows(&permission), "{permission:?}");
        }
        let conditional = put(true).with("s3:if-none-match", "*");
        assert!(!reader.allows(&conditional));
        assert!(Policy::of_publisher().allows(&conditional));
        let delete = Permission::new("s3:DeleteObject", "${Objects.Arn}/d/segment/1-1");
        assert!(!reader.allows(&delete));
    }

    #[test]
    fn a_publisher_adds_events_and_deletes_none() {
        let publisher = Policy::of_publisher();
        for action in ["PutItem", "Query"] {
            let permission = on_partition(&format!("dynamodb:{action}"), "EVENT");
            assert!(publisher.allows(&permission), "{permission:?}");
        }
        for action in ["DeleteItem", "UpdateItem", "BatchWriteItem"] {
            let on = |partition| on_partition(&format!("dynamodb:{action}"), partition);
            assert!(publisher.allows(&on("CATALOG")), "{action}");
            assert!(!publisher.allows(&on("EVENT")), "{action}");
        }
    }

    #[test]
    fn only_a_key_holder_reads_the_pass_key() {
        let read = Permission::new("lambda:GetFunctionConfiguration", FUNCTION);
        assert!(Policy::of_key_holder().allows(&read));
        for person in [Policy::of_reader(), Policy::of_publisher()] {
            for action in [
                "lambda:GetFunctionConfiguration",
                "lambda:GetFunction",
                "lambda:UpdateFunctionConfiguration",
                "lambda:UpdateFunctionCode",
                "lambda:InvokeFunction",
            ] {
                assert!(
                    !person.allows(&Permission::new(action, FUNCTION)),
                    "{action}"
                );
            }
        }
    }

    #[test]
    fn a_key_holder_changes_neither_function_nor_packages() {
        let key_holder = Policy::of_key_holder();
        for permission in [
            Permission::new("lambda:UpdateFunctionConfiguration", FUNCTION),
            Permission::new("lambda:UpdateFunctionCode", FUNCTION),
            on_partition("dynamodb:PutItem", "PACKAGE#1795327754"),
            put(true).with("s3:if-none-match", "*"),
        ] {
            assert!(!key_holder.allows(&permission), "{permission:?}");
        }
    }

    #[test]
    fn nobody_writes_an_object_without_the_condition_that_it_is_absent() {
        let owner = Policy::of_bucket_owner();
        assert!(owner.allows(&put(true).with("s3:if-none-match", "*")));
        assert!(owner.allows(&put(false)), "a part of an upload");
        assert!(!owner.allows(&put(true)));
    }

    #[test]
    fn nobody_uses_the_bucket_over_plain_http() {
        let read = Permission::new("s3:GetObject", "${Objects.Arn}/d/segment/1-1");
        let owner = Policy::of_bucket_owner();
        assert!(owner.allows(&read));
        assert!(!owner.allows(&read.without_tls()));
    }
}
