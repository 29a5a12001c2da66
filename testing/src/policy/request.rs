//! Permissions that requests to table and bucket need.

use std::collections::BTreeMap;

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::Value;

use crate::wire;

const TABLE: &str = "${Table.Arn}";
const BUCKET: &str = "${Objects.Arn}";

/// An action on a resource, with the context on which conditions depend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    pub(super) action: String,
    /// The resource in the form of the template, such as `${Table.Arn}`.
    pub(super) resource: String,
    pub(super) context: BTreeMap<&'static str, String>,
}

/// The parts of a request to a service that decide which permissions the request needs.
#[derive(Clone, Copy, Debug)]
pub struct PolicyRequest<'a> {
    pub method: &'a str,
    /// The path, with the query if there is one.
    pub path: &'a str,
    /// The header `x-amz-target`, which requests to the table have.
    pub target: Option<&'a str>,
    /// The header `if-none-match`.
    pub if_none_match: Option<&'a str>,
    pub body: &'a [u8],
}

impl Permission {
    /// Returns a permission for a request over TLS.
    pub fn new(action: &str, resource: &str) -> Self {
        Self {
            action: action.to_owned(),
            resource: resource.to_owned(),
            context: BTreeMap::from([("aws:SecureTransport", "true".to_owned())]),
        }
    }

    /// Adds a key to the context.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: &str) -> Self {
        self.context.insert(key, value.to_owned());
        self
    }

    /// Returns the permission for the same request over plain HTTP.
    #[must_use]
    pub fn without_tls(self) -> Self {
        self.with("aws:SecureTransport", "false")
    }
}

impl<'a> PolicyRequest<'a> {
    pub(super) fn of_client(request: &'a HttpRequest) -> Self {
        let (headers, uri) = (request.headers(), request.uri());
        Self {
            method: request.method(),
            // After the scheme and the address, which contain no other slash.
            path: uri.splitn(4, '/').nth(3).unwrap_or_default(),
            target: headers.get("x-amz-target"),
            if_none_match: headers.get("if-none-match"),
            body: request.body().bytes().unwrap_or_default(),
        }
    }
}

/// Returns the permissions that a request needs.
pub(super) fn permissions(request: &PolicyRequest<'_>) -> Vec<Permission> {
    match request.target {
        Some(target) => {
            let operation = target.rsplit('.').next().unwrap_or_default();
            of_table(operation, &wire::parsed(request.body))
        }
        None => of_bucket(request),
    }
}

/// Returns the permissions that an operation on the table needs.
fn of_table(operation: &str, body: &Value) -> Vec<Permission> {
    let key = |item: &Value| item["pk"]["S"].as_str().map(str::to_owned);
    let on_item = |operation: &str, partition: Option<String>| {
        let permission = Permission::new(&format!("dynamodb:{operation}"), TABLE);
        match partition {
            Some(partition) => permission.with("dynamodb:LeadingKeys", &partition),
            None => permission,
        }
    };
    match operation {
        "Query" => {
            let values = &body["ExpressionAttributeValues"];
            match body["IndexName"].as_str() {
                Some(index) => {
                    let partition = values[":ipk"]["S"].as_str().unwrap_or_default();
                    let permission =
                        Permission::new("dynamodb:Query", &format!("{TABLE}/index/{index}"));
                    vec![permission.with("dynamodb:LeadingKeys", partition)]
                }
                None => vec![on_item(
                    operation,
                    values[":pk"]["S"].as_str().map(str::to_owned),
                )],
            }
        }
        "BatchGetItem" => members(&body["RequestItems"])
            .flat_map(|table| table["Keys"].as_array().into_iter().flatten())
            .map(|item| on_item(operation, key(item)))
            .collect(),
        "BatchWriteItem" => members(&body["RequestItems"])
            .flat_map(|writes| writes.as_array().into_iter().flatten())
            .flat_map(members)
            .map(|write| {
                on_item(
                    operation,
                    key(&write["Item"]).or_else(|| key(&write["Key"])),
                )
            })
            .collect(),
        "TransactGetItems" => items(&body["TransactItems"])
            .map(|get| on_item("GetItem", key(&get["Get"]["Key"])))
            .collect(),
        "TransactWriteItems" => items(&body["TransactItems"])
            .filter_map(Value::as_object)
            .flatten()
            .map(|(kind, write)| {
                let operation = match kind.as_str() {
                    "ConditionCheck" => "ConditionCheckItem".to_owned(),
                    kind => format!("{kind}Item"),
                };
                on_item(
                    &operation,
                    key(&write["Key"]).or_else(|| key(&write["Item"])),
                )
            })
            .collect(),
        _ => vec![on_item(
            operation,
            key(&body["Key"]).or_else(|| key(&body["Item"])),
        )],
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn members(object: &Value) -> impl Iterator<Item = &Value> {
    object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, value)| value)
}

/// Returns the permissions that a request to the bucket needs. The path begins with its name.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
fn of_bucket(request: &PolicyRequest<'_>) -> Vec<Permission> {
    let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
    let path = path.trim_start_matches('/');
    let key = path.split_once('/').map_or("", |(_, key)| key);
    let has = |name: &str| {
        let mut names = query.split('&').map(|pair| pair.split('=').next());
        names.any(|found| found == Some(name))
    };
    let on_object = |action: &str, key: &str| Permission::new(action, &format!("{BUCKET}/{key}"));
    // Only the request that makes an object visible creates it: PutObject, or the completion of a
    // multipart upload.
    let write = |creates: bool| {
        let write =
            on_object("s3:PutObject", key).with("s3:ObjectCreationOperation", &creates.to_string());
        match request.if_none_match {
            Some(condition) => write.with("s3:if-none-match", condition),
            None => write,
        }
    };
    vec![match (request.method, key) {
        ("GET" | "HEAD", "") if has("uploads") => {
            Permission::new("s3:ListBucketMultipartUploads", BUCKET)
        }
        ("GET" | "HEAD", "") => Permission::new("s3:ListBucket", BUCKET),
        ("POST", "") if has("delete") => {
            let body = String::from_utf8_lossy(request.body);
            let keys = body.split("<Key>").skip(1);
            let keys = keys.filter_map(|rest| rest.split("</Key>").next());
            return keys.map(|key| on_object("s3:DeleteObject", key)).collect();
        }
        ("GET" | "HEAD", key) => on_object("s3:GetObject", key),
        ("PUT", "") => Permission::new("s3:CreateBucket", BUCKET),
        ("PUT", _) => write(!has("uploadId")),
        ("POST", _) => write(!has("uploads")),
        ("DELETE", key) if has("uploadId") => on_object("s3:AbortMultipartUpload", key),
        (method, key) => on_object(&format!("{method} of the bucket"), key),
    }]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(permissions: &[Permission]) -> String {
        let lines = permissions.iter().map(|permission| {
            let Permission {
                action,
                resource,
                context,
            } = permission;
            let context = context
                .iter()
                .filter(|(key, _)| **key != "aws:SecureTransport");
            let context: Vec<_> = context
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!("{action} {resource} {}", context.join(" "))
                .trim_end()
                .to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn operations_on_the_table_need_permissions_on_each_partition() {
        let query = json!({"ExpressionAttributeValues": {":pk": {"S": "CATALOG"}}});
        assert_eq!(
            shown(&of_table("Query", &query)),
            "dynamodb:Query ${Table.Arn} dynamodb:LeadingKeys=CATALOG"
        );
        let index = json!({
            "IndexName": "by-package",
            "ExpressionAttributeValues": {":ipk": {"S": "PACKAGE#1#00"}},
        });
        assert_eq!(
            shown(&of_table("Query", &index)),
            "dynamodb:Query ${Table.Arn}/index/by-package dynamodb:LeadingKeys=PACKAGE#1#00"
        );
        let writes = json!({"TransactItems": [
            {"Put": {"Item": {"pk": {"S": "DEVICE#a"}}}},
            {"ConditionCheck": {"Key": {"pk": {"S": "PACKAGE#b"}}}},
        ]});
        let expected = [
            "dynamodb:PutItem ${Table.Arn} dynamodb:LeadingKeys=DEVICE#a",
            "dynamodb:ConditionCheckItem ${Table.Arn} dynamodb:LeadingKeys=PACKAGE#b",
        ];
        assert_eq!(
            shown(&of_table("TransactWriteItems", &writes)),
            expected.join("\n")
        );
    }

    #[test]
    fn requests_to_the_bucket_need_permissions_on_the_object() {
        let check = |method, path, if_none_match, body: &str, expected: &str| {
            let request = PolicyRequest {
                method,
                path,
                target: None,
                if_none_match,
                body: body.as_bytes(),
            };
            assert_eq!(shown(&of_bucket(&request)), expected, "{method} {path}");
        };
        let creates = "s3:PutObject ${Objects.Arn}/d/x s3:ObjectCreationOperation=true";
        let conditional = format!("{creates} s3:if-none-match=*");
        let part = "s3:PutObject ${Objects.Arn}/d/x s3:ObjectCreationOperation=false";
        check("PUT", "/b/d/x?x-id=PutObject", Some("*"), "", &conditional);
        check("PUT", "/b/d/x", None, "", creates);
        check("POST", "/b/d/x?uploads", None, "", part);
        check("PUT", "/b/d/x?partNumber=1&uploadId=u", None, "", part);
        check("POST", "/b/d/x?uploadId=u", Some("*"), "", &conditional);
        check("POST", "/b/d/x?uploadId=u", None, "", creates);
        let given_up = "s3:AbortMultipartUpload ${Objects.Arn}/d/x";
        check("DELETE", "/b/d/x?uploadId=u", None, "", given_up);
        check(
            "HEAD",
            "/b/d/x",
            None,
            "",
            "s3:GetObject ${Objects.Arn}/d/x",
        );
        check(
            "GET",
            "/b/?list-type=2",
            None,
            "",
            "s3:ListBucket ${Objects.Arn}",
        );
        let unfinished = "s3:ListBucketMultipartUploads ${Objects.Arn}";
        check("GET", "/b?uploads", None, "", unfinished);
        let keys = "<Delete><Object><Key>d/x</Key></Object></Delete>";
        check(
            "POST",
            "/b?delete",
            None,
            keys,
            "s3:DeleteObject ${Objects.Arn}/d/x",
        );
    }
}
