//! Security descriptors of Windows as text: the owner of a file, and the users with access.
//!
//! Source: "Security Descriptor String Format" and "ACE Strings" in Microsoft's reference.

/// Full access for the system, administrators and the owner (S-1-3-4).
///
/// New files inside inherit the access, and nothing is inherited from the folder above.
#[cfg(windows)]
pub(super) const PRIVATE: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;S-1-3-4)";

/// Full access to a pipe for the system, administrators and the owner.
#[cfg(windows)]
pub(super) const PIPE: &str = "D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;S-1-3-4)";

/// Returns `true` if only the system, administrators and `user` have access.
///
/// The text has an owner and an access list, in this order. Unknown parts count as access for
/// others.
pub(super) fn is_private(sddl: &str, user: &str) -> bool {
    let parts = sddl
        .strip_prefix("O:")
        .and_then(|rest| rest.split_once("D:"));
    let Some((owner, list)) = parts else {
        return false;
    };
    let (flags, entries) = list.split_at(list.find('(').unwrap_or(list.len()));
    is_trusted(owner, user)
        && !flags.contains("NO_ACCESS_CONTROL")
        && entries
            .split_terminator(')')
            .all(|entry| grants_nothing_to_others(entry, user))
}

/// Returns `true` if the account may do everything that the agent may.
pub(super) fn is_trusted(sid: &str, user: &str) -> bool {
    // The system, administrators, and the owner of the file or of new files in the folder.
    ["SY", "BA", "OW", "CO", "S-1-3-4"].contains(&sid) || sid == user
}

/// Reads `(type;flags;rights;object;inherited object;account`.
fn grants_nothing_to_others(entry: &str, user: &str) -> bool {
    let fields: Vec<&str> = entry.split(';').collect();
    match fields[..] {
        ["(D", _, _, _, _, _] => true,
        ["(A", _, _, _, _, sid] => is_trusted(sid, user),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_private_access_lists_are_private() {
        let user = "S-1-5-21-1-2-3-1001";
        let check = |sddl: &str, expected| assert_eq!(is_private(sddl, user), expected, "{sddl}");
        check(
            "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)",
            true,
        );
        check("O:S-1-5-21-1-2-3-1001D:(A;;FA;;;S-1-5-21-1-2-3-1001)", true);
        check("O:SYD:P(D;;FA;;;WD)(A;OICIIO;FA;;;CO)", true);
        check("O:SYD:P", true);
        // The access list of a new folder in C:\ProgramData.
        check(
            "O:BAD:AI(A;OICIID;FA;;;SY)(A;OICIID;0x1200a9;;;BU)(A;CIID;DCLCRPCR;;;BU)",
            false,
        );
        check("O:S-1-5-21-1-2-3-1002D:P(A;;FA;;;SY)", false);
        check("O:SYD:P(A;;FR;;;S-1-5-21-1-2-3-1002)", false);
        check("O:SYD:NO_ACCESS_CONTROL", false);
        check("O:SY", false);
        check("O:SYD:P(XA;;FA;;;WD;(Member_of {SID(BA)}))", false);
        check(
            "O:SYD:P(OA;;FA;00000000-0000-0000-0000-000000000000;;SY)",
            false,
        );
        check("", false);
    }
}
