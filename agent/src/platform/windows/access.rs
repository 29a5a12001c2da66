//! Access to files.

use std::io;
use std::os::windows::io::AsRawHandle;
use std::path::Path;

use windows_permissions::constants::{SeObjectType, SecurityInformation};
use windows_permissions::utilities::current_process_sid;
use windows_permissions::wrappers::{
    ConvertSecurityDescriptorToStringSecurityDescriptor as to_text, GetNamedSecurityInfo,
    GetSecurityInfo, SetNamedSecurityInfo,
};
use windows_permissions::{LocalBox, SecurityDescriptor};

use crate::platform::sddl;

/// The command that makes a file private, for messages.
pub(crate) const KEEP_PRIVATE: &str =
    "icacls FILE /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F";

/// Keeps other users out of an existing folder.
///
/// # Errors
/// The folder, or a file in it, belongs to another user, who may have prepared its content.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    set_access(folder, sddl::PRIVATE)?;
    let user = user()?;
    // From here on, other users cannot add files.
    expect_own(folder, &user)?;
    for entry in std::fs::read_dir(folder)? {
        expect_own(&entry?.path(), &user)?;
    }
    Ok(())
}

/// Lets only the system and the present user read or write a file.
pub(crate) fn make_file_private(path: &Path) -> io::Result<()> {
    set_access(path, &format!("D:P(A;;FA;;;SY)(A;;FA;;;{})", user()?))
}

/// Replaces the access list of a file or folder, and inherits nothing from the folder above.
fn set_access(path: &Path, sddl: &str) -> io::Result<()> {
    let private: LocalBox<SecurityDescriptor> = sddl.parse()?;
    SetNamedSecurityInfo(
        path,
        SeObjectType::SE_FILE_OBJECT,
        SecurityInformation::Dacl | SecurityInformation::ProtectedDacl,
        None,
        None,
        private.dacl(),
        None,
    )
}

/// Returns `true` if users other than the system, administrators and the agent's user have access.
///
/// An owner counts, too, because owners can give themselves access.
pub(crate) fn others_can_read(path: &Path) -> io::Result<bool> {
    let parts = SecurityInformation::Owner | SecurityInformation::Dacl;
    Ok(!sddl::is_private(&describe(path, parts)?, &user()?))
}

/// Checks that an open pipe belongs to the system, to administrators or to the user of the agent.
pub(super) fn expect_trusted_owner(pipe: &impl AsRawHandle) -> io::Result<()> {
    let part = SecurityInformation::Owner;
    let descriptor = GetSecurityInfo(pipe, SeObjectType::SE_KERNEL_OBJECT, part)?;
    let text = text(&descriptor, part)?;
    let owner = text.strip_prefix("O:").unwrap_or_default();
    if sddl::is_trusted(owner, &user()?) {
        return Ok(());
    }
    let reason = format!("the pipe belongs to another user, {owner}");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

fn expect_own(path: &Path, user: &str) -> io::Result<()> {
    let text = describe(path, SecurityInformation::Owner)?;
    let owner = text.strip_prefix("O:").unwrap_or_default();
    if sddl::is_trusted(owner, user) {
        return Ok(());
    }
    let reason = format!("{} belongs to another user, {owner}", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

fn describe(path: &Path, parts: SecurityInformation) -> io::Result<String> {
    let descriptor = GetNamedSecurityInfo(path, SeObjectType::SE_FILE_OBJECT, parts)?;
    text(&descriptor, parts)
}

/// Returns the user of the agent as descriptors name it.
pub(super) fn user() -> io::Result<String> {
    let own: LocalBox<SecurityDescriptor> = format!("O:{}", current_process_sid()?).parse()?;
    let text = text(&own, SecurityInformation::Owner)?;
    Ok(text.trim_start_matches("O:").to_owned())
}

fn text(descriptor: &SecurityDescriptor, parts: SecurityInformation) -> io::Result<String> {
    let text = to_text(descriptor, parts)?;
    Ok(text.to_string_lossy().into_owned())
}
