use std::collections::BTreeMap;

use insta::assert_snapshot;
use packcast_protocol::UnixTime;
use packcast_publisher::import_ocs::compare::Compared;
use packcast_publisher::import_ocs::info::read_info;
use packcast_publisher::import_ocs::names::ChosenNames;
use packcast_publisher::import_ocs::plan::{self, ImportSource, PackageFiles};
use packcast_publisher::import_ocs::rows::{
    ActivationRow, AssignmentKind, AssignmentRow, ComputerRow, GroupRow, MemberRow, OcsDatabase,
    PackageRow,
};

use super::*;
use crate::fixtures::plain;

fn package(file_id: &str, name: &str) -> PackageRow {
    PackageRow {
        file_id: file_id.to_owned(),
        name: name.to_owned(),
        os_name: "LINUX".to_owned(),
        comment: String::new(),
        is_deleted: false,
    }
}

fn computer(id: i64, agent: &str) -> ComputerRow {
    ComputerRow {
        id,
        device_id: format!("pc{id}-2026-03-04-05-06-07"),
        host_name: format!("pc{id}"),
        os_name: "Debian GNU/Linux 12".to_owned(),
        agent: agent.to_owned(),
        last_seen: Some(UnixTime(1_750_000_000)),
    }
}

fn group(id: i64, name: &str, query: Option<&str>) -> GroupRow {
    GroupRow {
        created: None,
        id,
        name: name.to_owned(),
        query: query.map(ToOwned::to_owned),
    }
}

fn assigned(owner: i64, activation: i64, value: Option<&str>) -> AssignmentRow {
    AssignmentRow {
        owner,
        activation,
        kind: AssignmentKind::Package,
        value: value.map(ToOwned::to_owned),
    }
}

fn planned() -> ImportPlan {
    let member = |group, computer| MemberRow { group, computer };
    let activation = |id: i64, file_id: &str| ActivationRow {
        id,
        file_id: file_id.to_owned(),
    };
    let database = OcsDatabase {
        packages: vec![
            package("1700000001", "Refresh 1.0"),
            package("1700000002", "Clean up"),
            package("1700000003", "VLC 3.0.21"),
        ],
        activations: vec![activation(1, "1700000001"), activation(2, "1700000003")],
        computers: vec![
            computer(1, "OCS-NG_unified_unix_agent_v2.10.0"),
            computer(2, "OCS-NG_WINDOWS_AGENT_v2.10.1.0"),
        ],
        groups: vec![
            group(10, "Lab PCs", None),
            group(11, "Debian", Some("SELECT")),
        ],
        members: vec![member(10, 1), member(10, 2), member(11, 1)],
        assignments: vec![
            assigned(10, 1, None),
            assigned(1, 1, Some("SUCCESS")),
            assigned(2, 1, Some("ERR_EXECUTE")),
            assigned(1, 2, None),
        ],
        ..OcsDatabase::default()
    };
    let info = |id: &str| {
        let text = format!(
            "<DOWNLOAD ID=\"{id}\" PRI=\"5\" ACT=\"EXECUTE\" FRAGS=\"0\" COMMAND=\"a & b\" />"
        );
        let files = PackageFiles {
            info: read_info(&text).unwrap(),
            inspection: None,
        };
        (id.parse().unwrap(), Ok(files))
    };
    let mut files: BTreeMap<_, _> = ["1700000001", "1700000002"].map(info).into();
    let missing = "cannot assemble package 1700000003: fragment 2 of 3 is missing";
    files.insert("1700000003".parse().unwrap(), Err(missing.to_owned()));
    plan::plan(ImportSource {
        database: &database,
        files: &files,
        names: &ChosenNames::default(),
        existing: &[],
        now: UnixTime(1_790_000_000),
    })
}

#[test]
fn a_plan_shows_all_that_an_import_would_do() {
    let planned = planned();
    assert_snapshot!(plain(&plan(&planned)), @"
    dry run      Imports from the OCS server
    packages     2 to publish, 0 published already
    groups       2 to create, 3 memberships
    devices      2 to add: 1 move by the script for Unix, 1 move by the script for Windows
    assignments  1 to groups, 0 to devices
    results      1 succeeded, 1 failed
    left out     1

    ID          OCS NAME     PACKAGE      STATE        ASSIGNED TO  RESULTS
    1700000001  Refresh 1.0  Refresh@1.0  new, active  lab-pcs      1 succeeded, 1 ERR_EXECUTE
    1700000002  Clean up     Clean-up@1   new

    ID  OCS NAME  GROUP    STATE  JOINING  NOTE
    10  Lab PCs   lab-pcs  new    2
    11  Debian    debian   new    1        snapshot of a dynamic group

    ID          REPAIR OF INFO
    1700000001  COMMAND: '&' was not escaped
    1700000002  COMMAND: '&' was not escaped

    LEFT OUT  NAME                     REASON
    package   VLC 3.0.21 (1700000003)  cannot assemble package 1700000003: fragment 2 of 3 is missing (with 1 row)
    ");
    assert_snapshot!(question(&planned).unwrap(), @"Imports from the OCS server: 2 packages, 2 groups, 2 devices. Continue?");
    assert_snapshot!(conclude(&planned.left_out).unwrap_err(), @"
    cannot import 1 row of the OCS server: see the reason above
    hint: correct the causes on the OCS server or with --names, and run the command again
    ");
    assert_eq!(question(&ImportPlan::default()), None);
    assert!(conclude(&[]).is_ok());
}

#[test]
fn a_comparison_shows_different_outcomes() {
    let row = |ocs: Standing, packcast: Standing, same| Compared {
        device: "ocs:pc1-2026-03-04-05-06-07".parse().unwrap(),
        host_name: "pc1".to_owned(),
        package: "1700000001".parse().unwrap(),
        name: "refresh@1.0".to_owned(),
        finished_here: ocs == Standing::Open && packcast != Standing::Open,
        same,
        ocs,
        packcast,
    };
    let code = |code: &str| code.to_owned();
    let rows = vec![
        row(Standing::Open, Standing::Succeeded(code("SUCCESS")), false),
        row(Standing::Failed(code("ERR_EXECUTE")), Standing::None, false),
        row(Standing::Other(code("CANCELLED")), Standing::Open, false),
        row(Standing::Open, Standing::Open, true),
    ];
    let comparison = Comparison {
        compared: rows,
        left_out: planned().left_out,
    };
    assert_snapshot!(plain(&compared(&comparison)), @"
    HOST  DEVICE                       PACKAGE      OCS                   PACKCAST
    pc1   ocs:pc1-2026-03-04-05-06-07  refresh@1.0  failed (ERR_EXECUTE)  not assigned
    pc1   ocs:pc1-2026-03-04-05-06-07  refresh@1.0  CANCELLED             open

    LEFT OUT  NAME                     REASON
    package   VLC 3.0.21 (1700000003)  cannot assemble package 1700000003: fragment 2 of 3 is missing (with 1 row)

    1 of 4 have the same outcome, 1 are open there and finished here
    ");
    assert_snapshot!(conclude_comparison(&comparison).unwrap_err(), @"
    found 2 packages with different outcomes, and 1 rows that cannot be compared
    hint: repeat the import if the OCS server has newer results; 'packcast explain' shows the state of a package on a device
    ");
    let moved = row(Standing::Open, Standing::Succeeded(code("SUCCESS")), false);
    let same = row(Standing::Open, Standing::Open, true);
    let comparison = Comparison {
        compared: vec![moved, same],
        left_out: Vec::new(),
    };
    assert_snapshot!(compared(&comparison), @"1 of 2 have the same outcome, 1 are open there and finished here");
    assert!(conclude_comparison(&comparison).is_ok());
}

#[test]
fn a_result_names_packages_and_counts_the_rest() {
    let result = Imported {
        packages: vec!["refresh@1.0".to_owned(), "clean-up@1".to_owned()],
        groups: 2,
        devices: 2,
        memberships: 3,
        assignments: 1,
        results: 2,
        activated: vec!["refresh@1.0".to_owned()],
        commit: Some(7),
        left_out: planned().left_out,
        skipped: Vec::new(),
    };
    assert_snapshot!(plain(&imported(&result)), @"
    published       refresh@1.0, clean-up@1
    groups created  2
    memberships     3
    devices added   2
    assignments     1
    results         2
    activated       refresh@1.0
    commit          7
    left out        1

    LEFT OUT  NAME                     REASON
    package   VLC 3.0.21 (1700000003)  cannot assemble package 1700000003: fragment 2 of 3 is missing (with 1 row)
    ");
}
