//! The ids of this machine, by which the agent notices that its state was copied to another one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// SMBIOS UUIDs that many machines share, because their vendors did not set one.
const NOT_SET: [&str; 3] = [
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
];

/// The kinds of ids. The first kind that two machines share decides whether they are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MachineIdKind {
    /// The UUID of the hardware, or of the virtual machine.
    Hardware,
    /// The id of the installed system: `/etc/machine-id`, or `MachineGuid` on Windows.
    System,
}

/// The ids that the system shows for a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MachineIds(BTreeMap<MachineIdKind, String>);

impl MachineIds {
    /// Reads the ids of this machine. Only root can read some of them.
    pub(crate) fn here() -> Self {
        Self::from_found([
            (MachineIdKind::Hardware, super::hardware_id()),
            (MachineIdKind::System, super::system_id()),
        ])
    }

    fn from_found(found: [(MachineIdKind, Option<String>); 2]) -> Self {
        let ids = found.into_iter().filter_map(|(kind, id)| {
            let id = id?.trim().to_ascii_lowercase();
            is_set(&id).then_some((kind, id))
        });
        Self(ids.collect())
    }

    /// Returns ids for tests: the id of the hardware, then the id of the system.
    #[cfg(test)]
    pub(crate) fn of(ids: &[&str]) -> Self {
        let kinds = [MachineIdKind::Hardware, MachineIdKind::System];
        let found = kinds.into_iter().zip(ids).filter(|(_, id)| !id.is_empty());
        Self(found.map(|(kind, id)| (kind, (*id).to_owned())).collect())
    }

    /// Returns the first id with its kind, for requests.
    pub(crate) fn first(&self) -> Option<String> {
        let (kind, id) = self.0.first_key_value()?;
        Some(match kind {
            MachineIdKind::Hardware => format!("hardware:{id}"),
            MachineIdKind::System => format!("system:{id}"),
        })
    }

    /// Compares two machines. Returns `None` if they have no kind of id in common.
    pub(crate) fn is_same(&self, other: &Self) -> Option<bool> {
        let mut common = self
            .0
            .iter()
            .filter_map(|(kind, id)| Some(other.0.get(kind)? == id));
        common.next()
    }
}

/// Returns `true` if an id distinguishes one machine from others.
fn is_set(id: &str) -> bool {
    let digits = || id.bytes().filter(u8::is_ascii_hexdigit);
    let first = digits().next();
    let varies = digits().any(|digit| Some(digit) != first);
    varies && digits().count() >= 32 && !NOT_SET.contains(&id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_many_machines_share_do_not_count() {
        let check = |id: &str, expected: Option<&str>| {
            let found = MachineIds::from_found([
                (MachineIdKind::Hardware, Some(id.to_owned())),
                (MachineIdKind::System, None),
            ]);
            let found = found.0.get(&MachineIdKind::Hardware).map(String::as_str);
            assert_eq!(found, expected, "{id}");
        };
        let uuid = "4c4c4544-0042-3510-8051-b4c04f4b3732";
        check(&format!("{}\n", uuid.to_uppercase()), Some(uuid));
        let machine = "bc541fda11cb41ee9dfa15bc7fee0e2c";
        check(machine, Some(machine));
        check("00000000-0000-0000-0000-000000000000", None);
        check("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", None);
        check("03000200-0400-0500-0006-000700080009", None);
        check("uninitialized", None);
        check("To be filled by O.E.M.", None);
        check("", None);
    }

    #[test]
    fn requests_have_the_first_id() {
        let first = |ids: &[&str]| MachineIds::of(ids).first();
        assert_eq!(first(&["1", "2"]).as_deref(), Some("hardware:1"));
        assert_eq!(first(&["", "2"]).as_deref(), Some("system:2"));
        assert_eq!(first(&[]), None);
    }
}
