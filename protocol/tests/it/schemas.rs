//! The JSON Schemas in `protocol/schemas/`: the wire types, for other readers.
//!
//! They describe the documents that a reader accepts. `just schemas` writes them.

use std::fs;
use std::path::{Path, PathBuf};

use packcast_protocol::api::{
    BeginReply, BeginRequest, CheckInReply, CheckInRequest, Problem, ReportReply, ReportRequest,
};
use packcast_protocol::{Manifest, state};
use schemars::{Schema, SchemaGenerator};

fn generated() -> [(&'static str, Schema); 17] {
    let generator = SchemaGenerator::default;
    [
        (
            "check-in-request",
            generator().into_root_schema_for::<CheckInRequest>(),
        ),
        (
            "check-in-reply",
            generator().into_root_schema_for::<CheckInReply>(),
        ),
        (
            "report-request",
            generator().into_root_schema_for::<ReportRequest>(),
        ),
        (
            "report-reply",
            generator().into_root_schema_for::<ReportReply>(),
        ),
        (
            "begin-request",
            generator().into_root_schema_for::<BeginRequest>(),
        ),
        (
            "begin-reply",
            generator().into_root_schema_for::<BeginReply>(),
        ),
        ("problem", generator().into_root_schema_for::<Problem>()),
        ("manifest", generator().into_root_schema_for::<Manifest>()),
        (
            "commit",
            generator().into_root_schema_for::<state::Commit>(),
        ),
        (
            "key-list",
            generator().into_root_schema_for::<state::KeyList>(),
        ),
        (
            "group-document",
            generator().into_root_schema_for::<state::GroupDocument>(),
        ),
        (
            "device-document",
            generator().into_root_schema_for::<state::DeviceDocument>(),
        ),
        (
            "location-document",
            generator().into_root_schema_for::<state::LocationDocument>(),
        ),
        (
            "rollout-document",
            generator().into_root_schema_for::<state::RolloutDocument>(),
        ),
        (
            "about-document",
            generator().into_root_schema_for::<state::AboutDocument>(),
        ),
        (
            "held-state",
            generator().into_root_schema_for::<state::HeldState>(),
        ),
        (
            "state-reply",
            generator().into_root_schema_for::<state::StateReply>(),
        ),
    ]
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn path(name: &str) -> PathBuf {
    directory().join(format!("{name}.schema.json"))
}

#[test]
fn the_schemas_match_the_types() {
    for (name, schema) in generated() {
        let path = path(name);
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
            fs::write(&path, text).expect("the directory is part of the repository");
        }
        let kept = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let kept: Schema = serde_json::from_slice(&kept).expect("a schema is JSON");
        assert!(
            kept == schema,
            "{name}.schema.json differs from the types: run `just schemas`, then read the difference"
        );
    }
}

#[test]
fn every_schema_belongs_to_a_document() {
    let names: Vec<PathBuf> = generated().iter().map(|(name, _)| path(name)).collect();
    for entry in fs::read_dir(directory()).expect("the directory is part of the repository") {
        let found = entry.expect("the directory can be listed").path();
        assert!(
            names.contains(&found),
            "{} belongs to no document",
            found.display()
        );
    }
}

/// Readers of a schema cannot follow Rustdoc's links.
#[test]
fn descriptions_have_no_links_into_the_code() {
    for (name, schema) in generated() {
        let text = serde_json::to_string(&schema).expect("a schema is JSON");
        for sign in ["[`", "::", "packcast_"] {
            assert!(!text.contains(sign), "{name}.schema.json: {sign}");
        }
    }
}
