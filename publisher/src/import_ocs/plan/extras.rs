//! Schedules and restarts. An OCS server has them for each assignment, Packcast for each package.
//!
//! A package gets the schedule and the restart that most of its open assignments have. The others are
//! left out: no device deploys a package earlier or later than on the OCS server, or restarts.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use packcast_protocol::windows::{Afterwards, Schedule};
use packcast_protocol::{GroupName, UnixTime};

use super::assigned_rows::{AssignedRow, Carried, PackageRows};
use super::groups::{Devices, Groups};

/// Schedule and restart of a package.
pub(super) type Extras = (Option<Schedule>, Option<Afterwards>);

impl PackageRows {
    /// Returns the schedule and the restart that most open assignments have. Without an open
    /// assignment, there is neither.
    pub(super) fn common_extras(&self, now: UnixTime) -> Extras {
        let mut numbers: BTreeMap<_, (usize, Extras)> = BTreeMap::new();
        for (owner, row) in &self.assigned {
            if self.is_to_deploy(*owner, row)
                && let Ok(extras) = row.extras(now)
            {
                numbers.entry(key(extras)).or_insert((0, extras)).0 += 1;
            }
        }
        let numbers = numbers.into_iter();
        let most = numbers.max_by_key(|(key, (number, _))| (*number, Reverse(*key)));
        most.map_or((None, None), |(_, (_, extras))| extras)
    }

    /// Leaves out the open assignments with another schedule or restart than the package. Returns
    /// the reason for each, by the number of the computer or group.
    pub(super) fn leave_out_others(&mut self, extras: Extras, now: UnixTime) -> Vec<(i64, String)> {
        let mut reasons = Vec::new();
        for (owner, row) in &self.assigned {
            if !self.is_to_deploy(*owner, row) {
                continue;
            }
            match row.extras(now) {
                Ok(of_row) if of_row == extras => {}
                Ok(of_row) => reasons.push((*owner, other_extras(of_row, extras))),
                Err(reason) => reasons.push((*owner, reason)),
            }
        }
        for (owner, _) in &reasons {
            if let Some(row) = self.assigned.get_mut(owner) {
                row.carried = Carried::LeftOut;
            }
        }
        reasons
    }

    fn is_to_deploy(&self, owner: i64, row: &AssignedRow) -> bool {
        row.is_open && row.carried != Carried::ByGroup && !self.is_done(owner, row)
    }

    /// Marks the open rows of devices without a schedule and a restart whose group has the package:
    /// the server writes such a row when a member of the group checks in.
    pub(super) fn mark_traced(&mut self, devices: &Devices<'_>, groups: &Groups) {
        let open = self.assigned.iter().filter(|(_, row)| row.is_open);
        let with_package: BTreeMap<GroupName, bool> = open
            .filter_map(|(owner, row)| Some((groups.name(*owner)?.clone(), row.is_forced)))
            .collect();
        for (owner, row) in &mut self.assigned {
            let has_extras = row.schedule.is_some() || row.afterwards.is_some();
            if let Some(device) = devices.id(*owner).filter(|_| !has_extras) {
                let mut of_device = groups.of(device);
                let is_traced = of_device.any(|group| {
                    let forced = with_package.get(group);
                    forced.is_some_and(|forced| *forced || !row.is_forced)
                });
                if is_traced {
                    row.carried = Carried::ByGroup;
                }
            }
        }
    }
}

impl AssignedRow {
    /// Returns the schedule and the restart. A schedule whose time has come everywhere is none.
    fn extras(&self, now: UnixTime) -> Result<Extras, String> {
        let schedule = self.schedule.as_deref();
        let schedule = schedule
            .map(|text| text.parse::<Schedule>().map_err(|error| error.to_string()))
            .transpose()?;
        let afterwards = match self.afterwards.as_deref() {
            None => None,
            Some("REBOOT") => Some(Afterwards::Reboot),
            Some("SHUTDOWN") => Some(Afterwards::Shutdown),
            Some(other) => {
                let other: String = other.chars().take(80).collect();
                return Err(format!(
                    "the command {other:?} after the package is neither REBOOT nor SHUTDOWN"
                ));
            }
        };
        Ok((future(schedule, now), afterwards))
    }
}

/// Returns the schedule, unless its time has come everywhere.
pub(super) fn future(schedule: Option<Schedule>, now: UnixTime) -> Option<Schedule> {
    schedule.filter(|schedule| schedule.has_come_everywhere() > now)
}

fn key((schedule, afterwards): Extras) -> (Option<Schedule>, Option<&'static str>) {
    (schedule, afterwards.map(Afterwards::as_str))
}

fn other_extras(of_row: Extras, of_package: Extras) -> String {
    format!(
        "the assignment has {}, the package {}, and Packcast has one schedule and restart for a package: publish the package under another name for these devices, with --not-before or --afterwards",
        words(of_row),
        words(of_package)
    )
}

fn words((schedule, afterwards): Extras) -> String {
    let schedule = schedule.map(|schedule| format!("schedule {schedule}"));
    let afterwards = afterwards.map(|it| format!("{} afterwards", it.as_str()));
    let words: Vec<String> = schedule.into_iter().chain(afterwards).collect();
    if words.is_empty() {
        "no schedule and no restart".to_owned()
    } else {
        words.join(" and ")
    }
}
