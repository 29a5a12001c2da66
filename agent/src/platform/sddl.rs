//! Who owns and may open a file, in the text that Windows has for it: the security descriptor
//! definition language.
//!
//! Source: "Security Descriptor String Format" and "ACE Strings" of Microsoft's reference.

/// Grants all to the system, to administrators and to the owner (S-1-3-4), and passes that on
/// to what is made inside; takes nothing over from the folder above.
#[cfg(windows)]
pub(super) const PRIVATE: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;S-1-3-4)";

/// Whether the system, administrators and `user` are the only ones with access.
///
/// The text has an owner and an access list, in this order. What it says in a way that is not
/// understood counts as access for others.
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

/// Whether whoever is so called may do what the agent does.
pub(super) fn is_trusted(sid: &str, user: &str) -> bool {
    // The system, administrators, and who owns the file or will own what is made in the folder.
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
    fn only_what_is_known_to_be_private_is() {
        let user = "S-1-5-21-1-2-3-1001";
        let check = |sddl: &str, expected| assert_eq!(is_private(sddl, user), expected, "{sddl}");
        check(
            "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)",
            true,
        );
        check("O:S-1-5-21-1-2-3-1001D:(A;;FA;;;S-1-5-21-1-2-3-1001)", true);
        check("O:SYD:P(D;;FA;;;WD)(A;OICIIO;FA;;;CO)", true);
        check("O:SYD:P", true);
        // As a folder in C:\ProgramData is made.
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
