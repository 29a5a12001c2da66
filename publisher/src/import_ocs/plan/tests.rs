use super::*;
use crate::import_ocs::FilesOfPackages;
use crate::import_ocs::info::read_info;
use crate::import_ocs::rows::{AssignmentKind, ComputerRow, MemberRow, PackageRow, UnreadRow};
use crate::import_ocs::samples::{
    activation, assigned, computer, database, execute, extra, files, group, history, id,
};

const NOW: UnixTime = UnixTime(1_790_000_000);

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
    let left_out = plan.left_out.iter().map(|it| ("", it));
    let skipped = plan.skipped.iter().map(|it| ("skipped: ", it));
    for (label, it) in left_out.chain(skipped) {
        let rows = if it.rows > 0 {
            format!(" ({} rows)", it.rows)
        } else {
            String::new()
        };
        let (kind, name, reason) = (it.kind, &it.name, &it.reason);
        lines.push(format!("{label}{kind:?} {name}: {reason}{rows}"));
    }
    lines.join("\n")
}

fn planned(database: &OcsDatabase) -> ImportPlan {
    let count = u32::try_from(database.packages.len()).unwrap();
    planned_with(database, &files(count))
}

fn planned_with(database: &OcsDatabase, files: &FilesOfPackages) -> ImportPlan {
    plan(ImportSource {
        database,
        files,
        names: &ChosenNames::default(),
        existing: &[],
        now: NOW,
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
    ];
    let mut files = files(6);
    files.insert(id(4), Err("fragment 2 of 3 is missing".to_owned()));
    let plan = planned_with(&database, &files);
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
    Group lab-pcs (1002): group "Lab PCs" has the same name lab-pcs here: choose another with --names
    Device pc8 (8): "pc8" is not an OCS DEVICEID: a host name, then -YYYY-MM-DD-HH-MM-SS, at most 200 bytes
    Membership ocs:pc1-2026-03-04-05-06-07 in Lab PCs: the group has two rows of the device: it joins once
    skipped: Package Tool A 1.1 (1700000009): the package was deleted on the OCS server
    "#);
}

/// Returns a server whose first package is assigned to computers, each with these settings.
fn with_extras(os_name: &str, extras: &[(Option<&str>, Option<&str>)]) -> OcsDatabase {
    let mut database = database(1, i64::try_from(extras.len()).unwrap());
    os_name.clone_into(&mut database.packages[0].os_name);
    for (owner, (schedule, restart)) in (1..).zip(extras) {
        database.assignments.push(assigned(owner, 1, None));
        let settings = [
            (AssignmentKind::Schedule, schedule),
            (AssignmentKind::Afterwards, restart),
        ];
        let settings = settings
            .into_iter()
            .filter_map(|(kind, value)| Some((kind, (*value)?)));
        let rows = settings.map(|(kind, value)| extra(owner, 1, kind, value));
        database.assignments.extend(rows);
    }
    database
}

fn terms(plan: &ImportPlan) -> (String, String) {
    let windows = &plan.packages[0].plan.as_ref().unwrap().terms.windows;
    let schedule = windows.schedule.map(|it| it.to_string());
    let afterwards = windows.afterwards.map(|it| it.as_str().to_owned());
    (schedule.unwrap_or_default(), afterwards.unwrap_or_default())
}

#[test]
fn a_schedule_and_a_restart_of_all_assignments_are_those_of_the_package() {
    let extras = (Some("2026/12/01 22:00"), Some("REBOOT"));
    let plan = planned(&with_extras("WINDOWS", &[extras, extras]));
    assert_eq!(plan.left_out.len(), 0);
    let expected = ("2026/12/01 22:00".to_owned(), "REBOOT".to_owned());
    assert_eq!(terms(&plan), expected);
    assert_eq!(plan.assignments.len(), 2);
    // Agents on other systems know neither.
    let plan = planned(&with_extras("LINUX", &[extras, (None, None)]));
    assert_eq!((plan.left_out.len(), plan.assignments.len()), (0, 2));
    assert_eq!(terms(&plan), (String::new(), String::new()));
    // A time that has come everywhere is no schedule.
    let past = (Some("2020/01/01 00:00"), None);
    let plan = planned(&with_extras("WINDOWS", &[past, (None, None)]));
    assert_eq!((plan.left_out.len(), plan.assignments.len()), (0, 2));
}

#[test]
fn no_device_deploys_at_another_time_than_its_assignment_says() {
    let extras = [
        (Some("2026/12/01 22:00"), None),
        (Some("2026/12/01 22:00"), None),
        (None, None),
        (Some("tomorrow"), None),
        (None, Some("format c:")),
        (Some("2026/12/01 22:00"), Some("SHUTDOWN")),
    ];
    let plan = planned(&with_extras("WINDOWS", &extras));
    insta::assert_snapshot!(lines(&plan), @r#"
    package Toola@1.1 (Toola 1.1), active
    group lab-pcs: 2 devices
    device pc1: Unix
    device pc2: Unix
    assign 1700000001 to Device(Ocs(OcsDeviceId("pc1-2026-03-04-05-06-07")))
    assign 1700000001 to Device(Ocs(OcsDeviceId("pc2-2026-03-04-05-06-07")))
    Schedule Toola 1.1 to ocs:pc3-2026-03-04-05-06-07: the assignment has no schedule and no restart, the package schedule 2026/12/01 22:00, and Packcast has one schedule and restart for a package: publish the package under another name for these devices, with --not-before or --afterwards
    Schedule Toola 1.1 to ocs:pc4-2026-03-04-05-06-07: "tomorrow" is not a date and time such as 2026/12/01 22:00
    Schedule Toola 1.1 to ocs:pc5-2026-03-04-05-06-07: the command "format c:" after the package is neither REBOOT nor SHUTDOWN
    Schedule Toola 1.1 to ocs:pc6-2026-03-04-05-06-07: the assignment has schedule 2026/12/01 22:00 and SHUTDOWN afterwards, the package schedule 2026/12/01 22:00, and Packcast has one schedule and restart for a package: publish the package under another name for these devices, with --not-before or --afterwards
    "#);
}

#[test]
fn members_of_a_group_deploy_at_the_time_of_the_group() {
    // The server writes a row without a schedule for each member that checks in.
    let mut database = with_extras("WINDOWS", &[(None, None), (None, None)]);
    database.assignments.push(assigned(1_001, 1, None));
    let schedule = "2026/12/01 22:00";
    let of_group = extra(1_001, 1, AssignmentKind::Schedule, schedule);
    database.assignments.push(of_group);
    let plan = planned(&database);
    assert_eq!(terms(&plan).0, schedule);
    assert_eq!((plan.assignments.len(), plan.left_out.len()), (1, 0));
    assert_eq!(plan.included.len(), 2);
}

#[test]
fn a_forced_package_of_a_group_runs_again_on_devices_that_have_it() {
    let mut database = database(2, 2);
    database.assignments = vec![
        assigned(1_001, 1, None),
        extra(1_001, 1, AssignmentKind::Force, "1"),
        // The server has traced the package of the group for the first computer.
        assigned(1, 1, Some("NOTIFIED")),
        assigned(1_001, 2, None),
    ];
    database.history = vec![history(1, 1), history(2, 1), history(1, 2)];
    insta::assert_snapshot!(lines(&planned(&database)), @r#"
    package Toola@1.1 (Toola 1.1), active
    package Toolb@1.2 (Toolb 1.2), active
    group lab-pcs: 2 devices
    device pc1: Unix
    device pc2: Unix
    assign 1700000001 to Group(GroupName("lab-pcs")), forced
    assign 1700000002 to Group(GroupName("lab-pcs"))
    ocs:pc1-2026-03-04-05-06-07 1700000002: SUCCESS_ALREADY_IN_HISTORY Succeeded
    "#);
}

#[test]
fn a_package_that_was_in_the_history_is_done() {
    let mut database = database(1, 1);
    database.assignments = vec![assigned(1, 1, Some("ERR_ALREADY_IN_HISTORY"))];
    let result = &planned(&database).results[0];
    assert_eq!(result.code.to_string(), "SUCCESS_ALREADY_IN_HISTORY");
    assert_eq!(result.outcome, Outcome::Succeeded);
}

#[test]
fn a_damaged_package_takes_no_name() {
    let mut database = database(2, 0);
    let name = database.packages[0].name.clone();
    name.clone_into(&mut database.packages[1].name);
    let mut files = files(2);
    files.insert(id(1), Err("fragment 2 of 3 is missing".to_owned()));
    let plan = planned_with(&database, &files);
    let imported: Vec<PackageId> = plan.packages.iter().map(|it| it.id).collect();
    assert_eq!(imported, [id(2)]);
}

#[test]
fn names_of_the_console_are_unescaped() {
    let mut database = database(1, 0);
    "R&amp;D 2.0".clone_into(&mut database.packages[0].name);
    "Tom &amp; Eve".clone_into(&mut database.groups[0].name);
    insta::assert_snapshot!(lines(&planned(&database)), @"
    package R-D@2.0 (R&D 2.0), active
    group tom-eve: 0 devices
    ");
}

#[test]
fn every_row_that_is_not_imported_is_counted_and_named() {
    let mut database = database(3, 2);
    database.packages[1].is_deleted = true;
    "Lab".clone_into(&mut database.groups[0].name);
    database.groups.push(group(1_002, "LAB", None));
    database.groups.push(group(1_003, "ALL", None));
    let computer = |id, device_id: &str| ComputerRow {
        device_id: device_id.to_owned(),
        ..computer(id)
    };
    database.computers.push(computer(3, "tablet"));
    let member = |group, computer| MemberRow { group, computer };
    let members = [
        (1_001, 3),
        (1_002, 1),
        (1_002, 3),
        (1_003, 1),
        (1_001, 77),
        (1_099, 1),
    ];
    database
        .members
        .extend(members.map(|(group, computer)| member(group, computer)));
    database.assignments = vec![
        assigned(1, 2, None),
        assigned(3, 1, None),
        assigned(1_002, 1, None),
        assigned(88, 1, None),
        assigned(1, 9, None),
        extra(2, 3, AssignmentKind::Force, "1"),
    ];
    database.history = vec![history(1, 2), history(2, 5), history(3, 1), history(3, 3)];
    insta::assert_snapshot!(lines(&planned(&database)), @r#"
    package Toola@1.1 (Toola 1.1), active
    package Toolc@1.3 (Toolc 1.3), active
    group lab: 2 devices
    group ocs-1003: 1 devices
    device pc1: Unix
    device pc2: Unix
    Group LAB (1002): group "Lab" has the same name lab here: choose another with --names (3 rows)
    Device pc3 (3): "tablet" is not an OCS DEVICEID: a host name, then -YYYY-MM-DD-HH-MM-SS, at most 200 bytes (3 rows)
    skipped: Package Toolb 1.2 (1700000002): the package was deleted on the OCS server (1 rows)
    skipped: Package 1700000005: the OCS server has no package with this id (1 rows)
    skipped: Device number 77: the OCS server has no computer or group with this number (1 rows)
    skipped: Device number 88: the OCS server has no computer or group with this number (1 rows)
    skipped: Device number 1099: the OCS server has no computer or group with this number (1 rows)
    skipped: Assignment package 1700000003: the OCS server has settings for devices without the package (1 rows)
    skipped: Activation activation 109: the OCS server has no activation with this number (1 rows)
    "#);
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
    let plan = planned_with(&database, &files);
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
