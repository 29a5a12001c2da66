use super::*;
use crate::import_ocs::info::read_info;
use crate::import_ocs::rows::{AssignmentKind, ComputerRow, MemberRow, PackageRow, UnreadRow};
use crate::import_ocs::samples::{
    activation, assigned, computer, database, execute, extra, files, group, history, id,
};

/// Writes a plan in lines.
fn lines(plan: &ImportPlan) -> String {
    let mut lines = Vec::new();
    for it in &plan.packages {
        let active = if it.active { ", active" } else { "" };
        let (name, version) = (&it.name, &it.version);
        lines.push(format!(
            "package {name}@{version} ({}){active}",
            it.ocs_name
        ));
        lines.extend(it.repairs.iter().map(|repair| format!("  {repair}")));
    }
    for it in &plan.groups {
        let dynamic = if it.query.is_some() { ", dynamic" } else { "" };
        let members = it.members.len();
        lines.push(format!("group {}: {members} devices{dynamic}", it.group));
    }
    for it in &plan.devices {
        lines.push(format!("device {}: {:?}", it.host_name, it.moves));
    }
    for it in &plan.assignments {
        let force = if it.force { ", forced" } else { "" };
        lines.push(format!("assign {} to {:?}{force}", it.package, it.to));
    }
    for it in &plan.results {
        let (device, package) = (&it.device, it.package);
        lines.push(format!("{device} {package}: {} {:?}", it.code, it.outcome));
    }
    for it in &plan.left_out {
        let rows = if it.rows > 0 {
            format!(" ({} rows)", it.rows)
        } else {
            String::new()
        };
        lines.push(format!("{:?} {}: {}{rows}", it.kind, it.name, it.reason));
    }
    lines.join("\n")
}

fn planned(database: &OcsDatabase) -> ImportPlan {
    let count = u32::try_from(database.packages.len()).unwrap();
    plan(ImportSource {
        database,
        files: &files(count),
        names: &ChosenNames::default(),
        existing: &[],
    })
}

#[test]
fn open_done_and_failed_packages() {
    let mut database = database(3, 4);
    database.assignments = vec![
        // The whole group has the first package: no member is assigned it itself.
        assigned(1_001, 1, None),
        assigned(1, 1, None),
        assigned(2, 1, Some("ERR_BAD_DIGEST")),
        assigned(3, 1, Some("NOTIFIED")),
        assigned(3, 2, Some("SUCCESS_0")),
        assigned(4, 2, Some("SUCCESS_3")),
        extra(4, 3, AssignmentKind::Force, "1"),
        assigned(4, 3, None),
        assigned(1, 3, None),
    ];
    database.history = vec![history(1, 3), history(4, 3), history(2, 2)];
    insta::assert_snapshot!(lines(&planned(&database)), @r#"
    package Toola@1.1 (Toola 1.1), active
    package Toolb@1.2 (Toolb 1.2), active
    package Toolc@1.3 (Toolc 1.3), active
    group lab-pcs: 2 devices
    device pc1: Unix
    device pc2: Unix
    device pc3: Unix
    device pc4: Unix
    assign 1700000001 to Group(GroupName("lab-pcs"))
    assign 1700000001 to Device(Ocs(OcsDeviceId("pc3-2026-03-04-05-06-07")))
    assign 1700000003 to Device(Ocs(OcsDeviceId("pc4-2026-03-04-05-06-07"))), forced
    ocs:pc1-2026-03-04-05-06-07 1700000003: SUCCESS_ALREADY_IN_HISTORY Succeeded
    ocs:pc2-2026-03-04-05-06-07 1700000001: ERR_BAD_DIGEST Failed
    ocs:pc2-2026-03-04-05-06-07 1700000002: SUCCESS_ALREADY_IN_HISTORY Succeeded
    ocs:pc3-2026-03-04-05-06-07 1700000002: SUCCESS_0 Succeeded
    ocs:pc4-2026-03-04-05-06-07 1700000002: SUCCESS_3 Failed
    "#);
}

#[test]
fn a_dynamic_group_is_a_snapshot_of_its_members() {
    let mut database = database(0, 3);
    let query = "SELECT ID FROM hardware WHERE OSNAME LIKE 'Debian%'";
    database.groups.push(group(1_002, "Debian 12", Some(query)));
    database.members.push(MemberRow {
        group: 1_002,
        computer: 3,
    });
    let plan = planned(&database);
    insta::assert_snapshot!(lines(&plan), @"
    group lab-pcs: 2 devices
    group debian-12: 1 devices, dynamic
    device pc1: Unix
    device pc2: Unix
    device pc3: Unix
    ");
    assert_eq!(plan.groups[1].query.as_deref(), Some(query));
}

#[test]
fn rows_that_cannot_be_carried_over_have_reasons() {
    let mut database = database(5, 2);
    database.unread.push(UnreadRow {
        table: "download_history",
        reason: "cannot read table download_history".to_owned(),
    });
    "Tool A 1.1".clone_into(&mut database.packages[0].name);
    "Tool-A 1.1".clone_into(&mut database.packages[1].name);
    "17".clone_into(&mut database.packages[2].file_id);
    database.packages.push(PackageRow {
        is_deleted: true,
        file_id: "1700000009".to_owned(),
        ..database.packages[0].clone()
    });
    database.groups.push(group(1_002, "lab-pcs", None));
    database.members.push(MemberRow {
        group: 1_001,
        computer: 7,
    });
    // A second row of the first computer.
    database.computers.push(ComputerRow {
        id: 7,
        ..computer(1)
    });
    database.computers.push(ComputerRow {
        id: 8,
        device_id: "pc8".to_owned(),
        ..computer(8)
    });
    database.assignments = vec![
        assigned(1, 2, None),
        assigned(1, 5, None),
        assigned(2, 5, None),
        extra(1, 5, AssignmentKind::Schedule, "2026/12/01 22:00"),
    ];
    let mut files = files(6);
    files.insert(id(4), Err("fragment 2 of 3 is missing".to_owned()));
    let plan = plan(ImportSource {
        database: &database,
        files: &files,
        names: &ChosenNames::default(),
        existing: &[],
    });
    insta::assert_snapshot!(lines(&plan), @r#"
    package Tool-A@1.1 (Tool A 1.1), active
    package Toole@1.5 (Toole 1.5), active
    group lab-pcs: 2 devices
    device pc1: Unix
    device pc2: Unix
    assign 1700000005 to Device(Ocs(OcsDeviceId("pc1-2026-03-04-05-06-07")))
    assign 1700000005 to Device(Ocs(OcsDeviceId("pc2-2026-03-04-05-06-07")))
    Table download_history: cannot read table download_history
    Package Toolc 1.3 (17): "17" is not a package id: ten digits from 1000000000 to 2147483647
    Package Tool-A 1.1 (1700000002): package "Tool A 1.1" has the same name Tool-A@1.1 here: choose another with --names (1 rows)
    Package Toold 1.4 (1700000004): fragment 2 of 3 is missing
    Schedule Toole 1.5 (1700000005): its assignments have different schedules or restarts: Packcast has them for the whole package
    Device pc8 (8): "pc8" is not an OCS DEVICEID: a host name, then -YYYY-MM-DD-HH-MM-SS, at most 200 bytes
    Group lab-pcs (1002): group "Lab PCs" has the same name lab-pcs here: choose another with --names
    Membership ocs:pc1-2026-03-04-05-06-07 in Lab PCs: the group has two rows of the device: it joins once
    "#);
}

#[test]
fn a_schedule_and_a_restart_of_all_assignments_are_those_of_the_package() {
    let mut database = database(1, 2);
    for owner in [1, 2] {
        database.assignments.extend([
            assigned(owner, 1, None),
            extra(owner, 1, AssignmentKind::Schedule, "2026/12/01 22:00"),
            extra(owner, 1, AssignmentKind::Afterwards, "REBOOT"),
        ]);
    }
    let plan = planned(&database);
    assert_eq!(plan.left_out.len(), 0);
    let terms = &plan.packages[0].plan.as_ref().unwrap().terms;
    assert_eq!(
        terms.windows.schedule.unwrap().to_string(),
        "2026/12/01 22:00"
    );
    assert!(terms.windows.afterwards.is_some());
}

#[test]
fn commands_that_agents_would_run_differently_are_left_out() {
    let database = database(2, 0);
    let mut files = files(1);
    let commands = [(1, "a && b"), (2, "echo 'a")];
    for (number, command) in commands {
        let info = read_info(&execute(id(number), command)).unwrap();
        let inspection = None;
        files.insert(id(number), Ok(PackageFiles { info, inspection }));
    }
    let plan = plan(ImportSource {
        database: &database,
        files: &files,
        names: &ChosenNames::default(),
        existing: &[],
    });
    insta::assert_snapshot!(lines(&plan), @"
    package Toola@1.1 (Toola 1.1), active
      COMMAND: '&' was not escaped
    group lab-pcs: 0 devices
    Package Toolb 1.2 (1700000002): a quotation mark ' is not closed in the command
    ");
}

#[test]
fn the_script_for_a_move_follows_from_the_agent() {
    let agents = [
        "OCS-NG_unified_unix_agent_v2.10.0",
        "OCS-NG_WINDOWS_AGENT_v2.10.1.0",
        "OCS-NG_Android_agent_v2.7",
        "",
    ];
    assert_eq!(
        agents.map(Move::of),
        [Move::Unix, Move::Windows, Move::ByHand, Move::ByHand]
    );
    assert_eq!(activation(1), 101);
}
