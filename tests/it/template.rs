//! What the template of the stack names, and the code does.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use packcast_check_in::{ORIGIN_HEADER, REQUEST_LIMIT, Settings, TableSettings};
use packcast_protocol::ObjectPath;
use packcast_rollout::Pace;
use packcast_store::key::package_folder;
use packcast_store::{Records, RecordsConfig};
use packcast_testing::policy::TEMPLATE;
use serde_json::Value;

const DEPLOY: &str = include_str!("../../infra/deploy");
const EDGE: &str = include_str!("../../infra/edge.py");
const GUIDE: &str = include_str!("../../docs/operate.md");
const FUNCTION: &str = include_str!("../../functions/check-in/Cargo.toml");

/// Returns the lines between two, neither included.
fn between(first: &str, last: &str) -> &'static str {
    let (_, from) = TEMPLATE.split_once(first).unwrap();
    from.split_once(last).unwrap().0
}

/// Returns the function's environment: the parameter or resource behind each name.
fn environment() -> BTreeMap<&'static str, &'static str> {
    between("        Variables:\n", "      Tags:")
        .lines()
        .map(|line| {
            let (name, value) = line.trim().split_once(": ").unwrap();
            let (_, behind) = value.rsplit_once("!Ref ").unwrap();
            (name, behind.trim_end_matches(']'))
        })
        .collect()
}

/// Returns the default of a parameter, if it has one.
fn default_of(parameter: &str) -> Option<&'static str> {
    let (_, from) = TEMPLATE.split_once(&format!("\n  {parameter}:\n"))?;
    let lines = from.lines().take_while(|line| line.starts_with("    "));
    let default = lines.filter_map(|line| line.trim().strip_prefix("Default: "));
    default.map(|value| value.trim_matches('"')).next()
}

/// Reads settings from the template's defaults, and returns the names that were asked for.
fn settings_by_default() -> (Settings, BTreeSet<String>) {
    let asked = RefCell::new(BTreeSet::new());
    let environment = environment();
    let variable = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        if name == "AWS_REGION" {
            return Some("eu-central-1".to_owned());
        }
        let parameter = environment.get(name)?;
        let digest = "0".repeat(64);
        Some(default_of(parameter).map_or(digest, str::to_owned))
    };
    let settings = Settings::from_environment(variable).unwrap();
    TableSettings::from_environment(variable).unwrap();
    (settings, asked.into_inner())
}

#[test]
fn the_function_has_every_setting_and_no_other() {
    let (settings, mut asked) = settings_by_default();
    assert_eq!(settings.pace, Pace::default());
    assert_eq!(settings.check_in_interval_s, Settings::DEFAULT_INTERVAL_S);
    assert_eq!(settings.origin_secrets.len(), 1);
    assert!(settings.path_tokens.len() == 1 && settings.basic_credentials.is_empty());
    // Its default is what the design promises.
    asked.remove("PACKCAST_GROUP_CACHE_S");
    // Lambda's own, and those of engines.
    for name in ["AWS_REGION", "AWS_ENDPOINT_URL", "PACKCAST_TABLE_ENDPOINT"] {
        asked.remove(name);
    }
    let given = environment().into_keys().map(str::to_owned).collect();
    assert_eq!(asked, given);
}

#[test]
fn the_function_answers_before_it_is_ended() {
    let (_, from) = TEMPLATE.split_once("\n      Timeout: ").unwrap();
    let timeout_s: u64 = from.split_once('\n').unwrap().0.parse().unwrap();
    assert!(REQUEST_LIMIT.as_secs() < timeout_s && timeout_s < 30);
}

#[test]
fn what_is_built_is_the_function() {
    assert!(FUNCTION.contains("\nname = \"packcast-check-in\"\n"));
    assert!(DEPLOY.contains("--package packcast-check-in"));
    assert!(DEPLOY.contains("lambda/packcast-check-in/bootstrap"));
    assert!(TEMPLATE.contains("Handler: bootstrap"));
}

#[test]
fn the_cdn_shows_its_secret_where_the_function_looks() {
    let header = format!("HeaderName: {ORIGIN_HEADER}, HeaderValue: !Ref OriginSecret ");
    assert!(TEMPLATE.contains(&header));
    assert!(EDGE.contains(&format!("ORIGIN_HEADER = \"{ORIGIN_HEADER}\"")));
}

#[test]
fn objects_lie_where_the_cdn_looks() {
    let prefix: ObjectPath = default_of("Prefix").unwrap().parse().unwrap();
    let folder = package_folder(&prefix, [1; 16]).unwrap();
    assert!(folder.to_string().starts_with(&format!("{prefix}/")));
    assert!(TEMPLATE.contains("PathPattern: !Sub \"/${Prefix}/*\""));
    assert!(TEMPLATE.contains("Resource: !Sub \"${Objects.Arn}/${Prefix}/*\""));
}

/// Returns the names of the resources of a type.
fn resources(kind: &str) -> Vec<&'static str> {
    let lines: Vec<&str> = TEMPLATE.lines().collect();
    let of_kind = lines
        .windows(2)
        .filter(|lines| lines[1].trim() == format!("Type: {kind}"));
    of_kind
        .map(|lines| lines[0].trim().trim_end_matches(':'))
        .collect()
}

#[test]
fn the_guide_says_what_to_do_at_each_alarm() {
    let alarms = resources("AWS::CloudWatch::Alarm");
    assert!(alarms.len() > 4);
    for alarm in alarms {
        assert!(GUIDE.contains(&format!("| `{alarm}` |")), "{alarm}");
    }
}

#[test]
fn alarms_watch_the_function_the_table_and_the_index() {
    for alarm in resources("AWS::CloudWatch::Alarm") {
        let watched = between(&format!("\n  {alarm}:\n"), "      TreatMissingData:");
        let of_function = "      Namespace: AWS/Lambda\n";
        let names = if watched.contains(of_function) {
            "{ Name: FunctionName, Value: !Ref CheckIn }"
        } else {
            "{ Name: TableName, Value: !If [HasRestoredTable, !Ref RestoredTable, !Ref Table] }"
        };
        assert!(watched.contains(names), "{alarm}");
    }
}

#[test]
fn a_restored_table_is_in_the_place_of_the_stacks_own_everywhere() {
    let count = |part| TEMPLATE.matches(part).count();
    assert!(count("!Ref Table") > 1 && count("!GetAtt Table.Arn") > 1);
    assert_eq!(
        count("!Ref Table"),
        count("!If [HasRestoredTable, !Ref RestoredTable, !Ref Table]")
    );
    assert_eq!(
        count("!GetAtt Table.Arn"),
        count("table/${RestoredTable}\"\n                  - !GetAtt Table.Arn")
    );
}

#[tokio::test]
async fn the_table_is_the_one_that_engines_are_given() {
    let table = table_of_code().await;
    let keys = |schema: &Value, indent: &str| -> String {
        let key = |key: &Value| {
            let (name, kind) = (&key["AttributeName"], &key["KeyType"]);
            format!("{indent}- {{ AttributeName: {name}, KeyType: {kind} }}\n").replace('"', "")
        };
        schema.as_array().unwrap().iter().map(key).collect()
    };
    let attributes: BTreeSet<String> = table["AttributeDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attribute| {
            let (name, kind) = (&attribute["AttributeName"], &attribute["AttributeType"]);
            format!("- {{ AttributeName: {name}, AttributeType: {kind} }}").replace('"', "")
        })
        .collect();
    let definitions = between(
        "      AttributeDefinitions:\n",
        "      GlobalSecondaryIndexes:",
    );
    assert_eq!(
        definitions
            .lines()
            .map(|line| line.trim().to_owned())
            .collect::<BTreeSet<_>>(),
        attributes
    );
    assert_eq!(
        between("      KeySchema:\n", "      AttributeDefinitions:"),
        keys(&table["KeySchema"], "        ")
    );
    let [index] = &table["GlobalSecondaryIndexes"].as_array().unwrap()[..] else {
        panic!("one index: {table}");
    };
    let expected = format!(
        "        - IndexName: {}\n          KeySchema:\n{}          Projection: {{ ProjectionType: {} }}\n",
        index["IndexName"].as_str().unwrap(),
        keys(&index["KeySchema"], "            "),
        index["Projection"]["ProjectionType"].as_str().unwrap(),
    );
    assert_eq!(
        between(
            "      GlobalSecondaryIndexes:\n",
            "      PointInTimeRecoverySpecification:"
        ),
        expected
    );
    let alarm = format!("GlobalSecondaryIndexName, Value: {} ", index["IndexName"]);
    assert!(TEMPLATE.contains(&alarm.replace('"', "")));
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
    assert!(TEMPLATE.contains("BillingMode: PAY_PER_REQUEST"));
}

/// Returns what the code asks of an engine when it creates the table.
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
                // Refused, so that nobody asks again.
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
