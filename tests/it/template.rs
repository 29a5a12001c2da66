//! Agreement between the template of the stack and the code.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use packcast_check_in::{
    COMMITS_ABOVE_HEAD, FULL_ROLLOUTS, FunctionSettings, HALTED_ROLLOUTS, METRIC_NAMESPACE,
    ORIGIN_HEADER, REFUSED_REQUESTS, REFUSED_STATES, REQUEST_LIMIT, STATE_DAYS_LEFT, TableSettings,
};
use packcast_protocol::ObjectPath;
use packcast_rollout::Pacing;
use packcast_store::key::package_folder;
use packcast_store::{Records, RecordsConfig};
use packcast_testing::commits::trust;
use packcast_testing::template::{STACK, default_of, properties, texts};
use serde_json::{Value, json};

const DEPLOY: &str = include_str!("../../infra/deploy");
const EDGE: &str = include_str!("../../infra/edge.py");
const GUIDE: &str = include_str!("../../docs/operate.md");
const FUNCTION: &str = include_str!("../../functions/check-in/Cargo.toml");

/// Returns the items of a list.
fn items(list: &Value) -> &[Value] {
    list.as_array().unwrap()
}

/// Returns the only item whose field has this value.
fn item<'a>(list: &'a Value, field: &str, value: &str) -> &'a Value {
    let mut found = items(list).iter().filter(|item| item[field] == value);
    let item = found.next().unwrap_or_else(|| panic!("{value} in {list}"));
    assert!(found.next().is_none(), "{value} in {list}");
    item
}

/// Returns the reference to the table: the restored one, or else the stack's own.
fn table_in_use() -> Value {
    json!({"Fn::If": ["HasRestoredTable", {"Ref": "RestoredTable"}, {"Ref": "Table"}]})
}

/// Returns the function's environment variables, with the parameter or resource behind each.
fn environment() -> BTreeMap<&'static str, &'static str> {
    let variables = &properties("CheckIn")["Environment"]["Variables"];
    let variables = variables.as_object().unwrap().iter();
    variables
        .map(|(name, value)| {
            let own = value["Fn::If"].get(2).unwrap_or(value);
            (name.as_str(), own["Ref"].as_str().unwrap())
        })
        .collect()
}

/// Reads the settings from the template's defaults, and returns the names of the variables read.
fn settings_by_default() -> (FunctionSettings, BTreeSet<String>) {
    let asked = RefCell::new(BTreeSet::new());
    let environment = environment();
    let variable = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        if name == "AWS_REGION" {
            return Some("eu-central-1".to_owned());
        }
        let parameter = *environment.get(name)?;
        if parameter == "Trust" {
            return Some(trust().to_string());
        }
        let digest = "1".repeat(64);
        Some(default_of(parameter).map_or(digest, str::to_owned))
    };
    let settings = FunctionSettings::from_environment(variable).unwrap();
    TableSettings::from_environment(variable).unwrap();
    (settings, asked.into_inner())
}

#[test]
fn the_template_has_every_setting_of_the_function_and_no_other() {
    let (settings, mut asked) = settings_by_default();
    assert_eq!(settings.pace, Pacing::default());
    assert_eq!(
        settings.check_in_interval_s,
        FunctionSettings::DEFAULT_INTERVAL_S
    );
    assert_eq!(settings.origin_secrets.len(), 1);
    assert_eq!(settings.path_tokens.len(), 1);
    // The template leaves it to its default.
    asked.remove("PACKCAST_GROUP_CACHE_S");
    // Set by Lambda, or used with engines only.
    for name in ["AWS_REGION", "AWS_ENDPOINT_URL", "PACKCAST_TABLE_ENDPOINT"] {
        asked.remove(name);
    }
    let given = environment().into_keys().map(str::to_owned).collect();
    assert_eq!(asked, given);
}

#[test]
fn the_function_answers_before_its_timeout() {
    let timeout = properties("CheckIn")["Timeout"].as_str();
    let timeout_s: u64 = timeout.unwrap().parse().unwrap();
    assert!(REQUEST_LIMIT.as_secs() < timeout_s && timeout_s < 30);
}

#[test]
fn the_deployed_program_is_the_function() {
    let manifest: toml::Table = FUNCTION.parse().unwrap();
    assert_eq!(
        manifest["package"]["name"].as_str(),
        Some("packcast-check-in")
    );
    assert!(DEPLOY.contains("--package packcast-check-in"));
    assert!(DEPLOY.contains("lambda/packcast-check-in/bootstrap"));
    assert_eq!(properties("CheckIn")["Handler"], "bootstrap");
}

#[test]
fn the_cdn_sends_its_secret_in_the_header_that_the_function_reads() {
    let cdn = &properties("Cdn")["DistributionConfig"];
    let function = cdn["DefaultCacheBehavior"]["TargetOriginId"].as_str();
    let origin = item(&cdn["Origins"], "Id", function.unwrap());
    let shown = json!({"HeaderName": ORIGIN_HEADER, "HeaderValue": {"Ref": "OriginSecret"}});
    assert_eq!(origin["OriginCustomHeaders"], json!([shown]));
    assert!(EDGE.contains(&format!("ORIGIN_HEADER = \"{ORIGIN_HEADER}\"")));
}

#[test]
fn published_objects_have_the_prefix_that_the_cdn_serves() {
    let prefix: ObjectPath = default_of("Prefix").unwrap().parse().unwrap();
    let folder = package_folder(&prefix, [1; 16]).unwrap();
    assert!(folder.to_string().starts_with(&format!("{prefix}/")));
    let behaviors = &properties("Cdn")["DistributionConfig"]["CacheBehaviors"];
    let objects = item(behaviors, "TargetOriginId", "objects");
    assert_eq!(objects["PathPattern"], json!({"Fn::Sub": "/${Prefix}/*"}));
    let policy = &properties("ObjectsPolicy")["PolicyDocument"]["Statement"];
    assert_eq!(
        item(policy, "Sid", "CdnReadsObjects")["Resource"],
        json!({"Fn::Sub": "${Objects.Arn}/${Prefix}/*"})
    );
}

/// Returns the names of the resources of a type.
fn resources(kind: &str) -> Vec<&'static str> {
    let resources = STACK["Resources"].as_object().unwrap().iter();
    let of_kind = resources.filter(|(_, resource)| resource["Type"] == kind);
    of_kind.map(|(name, _)| name.as_str()).collect()
}

#[test]
fn the_guide_describes_each_alarm() {
    let alarms = resources("AWS::CloudWatch::Alarm");
    assert!(alarms.len() > 4);
    for alarm in alarms {
        assert!(GUIDE.contains(&format!("| `{alarm}` |")), "{alarm}");
    }
}

#[test]
fn alarms_watch_the_function_its_log_the_table_and_the_index() {
    for alarm in resources("AWS::CloudWatch::Alarm") {
        let watched = properties(alarm);
        let expected = match watched["Namespace"].as_str() {
            Some("AWS/Lambda" | "Packcast") => {
                json!({"Name": "FunctionName", "Value": {"Ref": "CheckIn"}})
            }
            Some("AWS/Logs") => json!({"Name": "LogGroupName", "Value": {"Ref": "CheckInLog"}}),
            _ => json!({"Name": "TableName", "Value": table_in_use()}),
        };
        assert!(items(&watched["Dimensions"]).contains(&expected), "{alarm}");
    }
}

#[test]
fn each_metric_of_the_function_has_an_alarm() {
    let alarms = resources("AWS::CloudWatch::Alarm").into_iter();
    let own = alarms.filter(|alarm| properties(alarm)["Namespace"] == METRIC_NAMESPACE);
    let watched: BTreeMap<&str, &str> = own
        .map(|alarm| (properties(alarm)["MetricName"].as_str().unwrap(), alarm))
        .collect();
    let expected = [
        (REFUSED_REQUESTS, "CheckInsRefused"),
        (REFUSED_STATES, "StatesRefused"),
        (COMMITS_ABOVE_HEAD, "HeadBehindDevices"),
        (STATE_DAYS_LEFT, "StateExpires"),
        (HALTED_ROLLOUTS, "RolloutHalted"),
        (FULL_ROLLOUTS, "RolloutFull"),
    ];
    assert_eq!(watched, BTreeMap::from(expected));
    for (_, alarm) in &expected[4..] {
        let alarm = properties(alarm);
        // One rollout is enough, and no data is no rollout.
        assert_eq!(alarm["Threshold"].as_str(), Some("0"));
        assert_eq!(alarm["ComparisonOperator"], "GreaterThanThreshold");
        assert_eq!(alarm["TreatMissingData"], "notBreaching");
    }
}

#[test]
fn the_costs_of_an_hour_have_alarms_with_parameters() {
    let alarms = resources("AWS::CloudWatch::Alarm").into_iter();
    let of_an_hour = alarms.filter(|alarm| properties(alarm)["Period"] == "3600");
    let watched: BTreeSet<(&str, &str)> = of_an_hour
        .map(|alarm| {
            let alarm = properties(alarm);
            assert_eq!(alarm["Statistic"], "Sum");
            let threshold = alarm["Threshold"]["Ref"].as_str().unwrap();
            assert!(default_of(threshold).is_some(), "{threshold}");
            (alarm["MetricName"].as_str().unwrap(), threshold)
        })
        .collect();
    let expected = [
        ("ConsumedWriteCapacityUnits", "ManyWriteUnitsPerHour"),
        ("IncomingBytes", "ManyLogBytesPerHour"),
        ("Invocations", "ManyCheckInsPerHour"),
        ("RefusedRequests", "ManyRefusalsPerHour"),
        ("Url4xxCount", "ManyClientErrorsPerHour"),
    ];
    assert_eq!(watched, BTreeSet::from(expected));
    assert!(default_of("LogRetentionDays").is_some());
    let retention = &properties("CheckInLog")["RetentionInDays"];
    assert_eq!(*retention, json!({"Ref": "LogRetentionDays"}));
}

#[test]
fn the_bucket_refuses_uploads_that_could_replace_an_object() {
    let statements = &properties("ObjectsPolicy")["PolicyDocument"]["Statement"];
    assert_eq!(
        *item(statements, "Sid", "ObjectsNeverChange"),
        json!({
            "Sid": "ObjectsNeverChange",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": {"Fn::Sub": "${Objects.Arn}/*"},
            "Condition": {
                "Null": {"s3:if-none-match": "true"},
                "Bool": {"s3:ObjectCreationOperation": "true"},
            },
        })
    );
}

/// Returns the partitions of the table that a policy for people lets them read.
fn partitions(policy: &str) -> BTreeSet<String> {
    let statements = properties(policy)["PolicyDocument"]["Statement"].as_array();
    let reads = |statement: &&Value| texts(&statement["Action"]).contains(&"dynamodb:Query".into());
    let partitions = |statement: &Value| {
        let condition = &statement["Condition"]["ForAllValues:StringLike"];
        condition.get("dynamodb:LeadingKeys").map(texts)
    };
    let statements = statements.unwrap().iter().filter(reads);
    statements.filter_map(partitions).flatten().collect()
}

#[test]
fn readers_and_publishers_read_the_same_partitions() {
    let partitions = ["ReaderPolicy", "PublisherPolicy"].map(partitions);
    assert_eq!(partitions[0], partitions[1]);
    for partition in ["EVENT", "IMPORT"] {
        assert!(partitions[0].contains(partition), "{partitions:?}");
    }
}

#[test]
fn the_outputs_and_the_guide_name_each_policy_for_people() {
    let policies = resources("AWS::IAM::ManagedPolicy");
    assert_eq!(policies.len(), 3);
    for policy in policies {
        let output = &STACK["Outputs"][policy]["Value"];
        assert_eq!(*output, json!({"Ref": policy}));
        assert!(GUIDE.contains(&format!("| `{policy}` |")), "{policy}");
        // The stack attaches them to nobody.
        for attached in ["Users", "Groups", "Roles"] {
            assert!(properties(policy).get(attached).is_none(), "{policy}");
        }
    }
}

#[test]
fn the_guide_names_each_threshold() {
    let parameters = STACK["Parameters"].as_object().unwrap().keys();
    let thresholds: Vec<&String> = parameters.filter(|name| name.starts_with("Many")).collect();
    assert_eq!(thresholds.len(), 5);
    for threshold in thresholds {
        assert!(GUIDE.contains(&format!("`{threshold}`")), "{threshold}");
    }
}

/// Calls `visit` for a node and everything below it.
fn walk(node: &Value, visit: &mut impl FnMut(&Value)) {
    visit(node);
    match node {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(entries) => entries.values().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

fn count(is_one: impl Fn(&Value) -> bool) -> usize {
    let mut found = 0;
    walk(&STACK, &mut |node| found += usize::from(is_one(node)));
    found
}

#[test]
fn a_restored_table_replaces_the_stacks_own_everywhere() {
    let table = json!({"Ref": "Table"});
    let arn = json!({"Fn::GetAtt": "Table.Arn"});
    let (tables, arns) = (count(|node| *node == table), count(|node| *node == arn));
    assert!(tables > 1 && arns > 1);
    assert_eq!(tables, count(|node| *node == table_in_use()));
    let arn_in_use = |node: &Value| {
        let [condition, restored, own] = node["Fn::If"].as_array().map_or(&[][..], |all| all)
        else {
            return false;
        };
        let restored = restored["Fn::Sub"].as_str();
        condition == "HasRestoredTable"
            && restored.is_some_and(|arn| arn.ends_with("table/${RestoredTable}"))
            && *own == arn
    };
    assert_eq!(arns, count(arn_in_use));
    let in_text = |node: &Value| node.as_str().is_some_and(|text| text.contains("${Table"));
    assert_eq!(count(in_text), 0);
}

#[tokio::test]
async fn the_table_is_the_one_that_engines_are_given() {
    let (code, stack) = (table_of_code().await, properties("Table"));
    let attributes = |table: &Value| -> BTreeSet<String> {
        let definitions = items(&table["AttributeDefinitions"]).iter();
        definitions.map(Value::to_string).collect()
    };
    assert_eq!(attributes(stack), attributes(&code));
    assert_eq!(stack["KeySchema"], code["KeySchema"]);
    assert_eq!(
        stack["GlobalSecondaryIndexes"],
        code["GlobalSecondaryIndexes"]
    );
    let [index] = items(&code["GlobalSecondaryIndexes"]) else {
        panic!("one index: {code}");
    };
    let watched = json!({"Name": "GlobalSecondaryIndexName", "Value": index["IndexName"]});
    assert_eq!(count(|node| *node == watched), 1);
    assert_eq!(code["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(stack["BillingMode"], "PAY_PER_REQUEST");
}

/// Returns the table that the code requests from an engine.
async fn table_of_code() -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let engine = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut part = [0; 4096];
        loop {
            let length = stream.read(&mut part).unwrap();
            request.extend_from_slice(&part[..length]);
            let text = String::from_utf8_lossy(&request);
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
            if let Some(table) = body.and_then(|body| serde_json::from_str(&body).ok()) {
                // Refused with an error that the SDK does not retry.
                stream
                    .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}")
                    .unwrap();
                return table;
            }
        }
    });
    let records = Records::connect(RecordsConfig {
        table: "packcast".to_owned(),
        endpoint: Some(endpoint),
        ..RecordsConfig::default()
    });
    let refused = records.await.create_table().await;
    assert!(refused.is_err());
    engine.join().unwrap()
}
