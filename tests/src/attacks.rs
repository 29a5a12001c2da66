//! Attacks by an attacker who controls objects, table and function, but has no signing key.

pub mod attacked_system;
pub mod careless;
pub mod forged;
pub mod function;
pub mod objects;
pub mod owned;
pub mod records;
pub mod reply;
pub mod rollouts;
pub mod state;
pub mod table;

use self::attacked_system::{AttackResult, AttackedSystem};

/// An action that must not succeed.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    pub name: &'static str,
    /// A part of the answer of the agent or the publisher.
    pub answer: &'static str,
    pub act: fn(&AttackedSystem) -> AttackResult,
}

/// Passes every attack to a macro: its module, its name and a part of the answer.
#[macro_export]
macro_rules! every_attack {
    ($with:ident) => {
        $with! {
            objects manifest_changed_by_a_byte "ERR_BAD_MANIFEST",
            objects manifest_changed_and_announced "wrong manifest",
            objects own_manifest_announced "wrong manifest",
            objects manifest_of_an_earlier_publication "ERR_BAD_MANIFEST",
            objects manifest_and_signature_of_another_package "wrong manifest",
            objects manifest_signed_by_another_key "no signed manifest has the name tool@1",
            objects fragment_changed "ERR_BAD_DIGEST",
            objects fragment_truncated "ERR_BAD_DIGEST",
            objects fragment_from_another_position "ERR_BAD_DIGEST",
            objects fragment_of_another_package "ERR_BAD_DIGEST",
            objects signature_changed "no signed manifest has the name tool@1",
            objects signature_of_another_package "no signed manifest has the name tool@1",
            objects legacy_signature "no signed manifest has the name tool@1",
            objects commit_as_manifest "no signed manifest has the name tool@1",
            objects unintended_downgrade "a later package of the same name is deployed",
            objects intended_downgrade_repeated "used up every assignment",
            careless manifest_expired "ERR_EXPIRED",
            careless manifest_for_another_device "the package is for other devices",
            careless manifest_for_a_group_of_others "the package is for other devices",
            careless manifest_for_another_platform "ERR_WRONG_PLATFORM",
            careless climbing_archive "ERR_UNSAFE_ARCHIVE",
            careless climbing_zip "ERR_UNSAFE_ARCHIVE",
            careless absolute_archive "SUCCESS_0",
            careless link_out_of_the_archive "ERR_UNSAFE_ARCHIVE",
            careless file_through_a_link "ERR_UNSAFE_ARCHIVE",
            careless file_through_a_link_within "ERR_UNSAFE_ARCHIVE",
            careless hard_link_to_a_file_outside "ERR_UNSAFE_ARCHIVE",
            careless device_node "ERR_UNSAFE_ARCHIVE",
            careless bomb "ERR_UNSAFE_ARCHIVE",
            careless setuid_program "SUCCESS_0",
            careless windows_drive "SUCCESS_0",
            careless windows_backslashes "SUCCESS_0",
            careless name_of_a_windows_device "of the archive on Windows",
            careless stream_of_a_windows_file "of the archive on Windows",
            careless names_equal_on_windows "of the archive on Windows",
            careless two_files_of_one_name "SUCCESS_0",
            careless two_files_of_one_name_in_a_zip "ERR_UNSAFE_ARCHIVE",
            state task_without_an_entry "does not assign the package",
            state document_edited "the device lacks parts",
            state state_signed_by_another_key "cannot accept a commit",
            state state_of_another_target "cannot accept a commit",
            state state_of_another_device "waits",
            state state_of_a_group_that_the_device_is_not_in "waits",
            state state_expired "expired on",
            state state_put_back "the device has accepted the later commit",
            state old_state_after_the_state_was_lost "the device has accepted the later commit",
            state manifest_as_commit "cannot accept a commit",
            state commit_that_leaves_out_the_held_one "it leaves out commit",
            state equal_numbers "another commit with the same number",
            state removed_member_with_a_later_assignment "it belongs to another state",
            state group_name_used_again "does not assign the package",
            state joiner_with_the_old_state_of_the_group "it belongs to another state",
            state two_of_three_groups "the device lacks parts",
            state one_document_withheld "the device lacks parts",
            state absence_of_an_existing_leaf "it belongs to another state",
            state failed_package_after_a_new_membership "used up every assignment",
            state location_of_another_host "the device lacks parts",
            state location_that_is_not_signed "has no location evil",
            state key_list_signed_by_its_own_key "cannot follow a key list",
            state key_list_after_a_gap "cannot follow a key list",
            state key_list_of_an_older_serial "cannot accept a commit",
            state commit_of_a_removed_key "cannot accept a commit",
            state thief_with_a_late_number "SUCCESS_0",
            state rotation_after_a_leak "cannot accept a commit",
            state commit_never_stored "the device has accepted the later commit",
            state lost_withdrawal_shown_to_a_device "it leaves out commit",
            state list_without_its_commit "accepts commits from",
            state second_root_removes_the_first "cannot follow a key list",
            rollouts wave_opened_early "the device lacks parts",
            rollouts another_seed "the device lacks parts",
            rollouts calendar_of_an_older_state "the device has accepted the later commit",
            rollouts calendar_of_another_package "is not for this assignment",
            rollouts device_outside_the_pilot "it belongs to another state",
            reply task_announced_twice "SUCCESS_0",
            reply attempt_raised "used up every assignment",
            reply folder_that_climbs "not from a check-in function",
            reply objects_redirected_to_plain_http "a redirect leaves HTTPS",
            reply objects_redirected_to_another_host "a redirect leaves the host",
            reply check_in_redirected_to_another_host "not from a check-in function",
            reply reply_of_64_mib "not from a check-in function",
            reply reply_100_000_levels_deep "not from a check-in function",
            reply reply_that_is_not_json "not from a check-in function",
            reply next_check_in_in_a_hundred_years "next in 604800 s",
            table package_with_another_digest "wrong manifest",
            table package_at_another_location "SUCCESS_0",
            table membership_added "waits",
            table assignment_added "waits",
            table device_record_damaged "is unavailable",
            table tally_damaged "SUCCESS_0",
            records name_of_another_package "lists it as",
            records package_with_the_name_of_another "no signed manifest has the name tool@1",
            records package_with_the_id_of_another "is invalid",
            records package_signed_by_the_attacker "no signed manifest has the name tool@1",
            records group_with_the_name_of_all "is invalid",
            records head_put_back "leaves out commit",
            records head_put_back_before_a_machine_without_memory "does not know the head",
            records lists_put_back "the table has no key list",
            records page_under_another_hash "the table has no page",
            records draft_reserved_in_the_future "which contradicts the package id",
            records draft_of_another_name "lists it as",
        }
    };
}

macro_rules! list {
    ($($owned:ident $name:ident $answer:literal,)+) => {
        /// Every attack, in the order of the printed table.
        pub const ALL: &[Attack] = &[$(Attack {
            name: stringify!($name),
            answer: $answer,
            act: $owned::$name,
        }),+];
    };
}

every_attack!(list);

impl Attack {
    /// Carries the attack out on a system of its own.
    pub fn attempt(&self, program: &str) -> AttackResult {
        (self.act)(&AttackedSystem::new(program))
    }

    /// Returns whether the attack did no harm and was answered as expected.
    pub fn is_refused(&self, tried: &AttackResult) -> bool {
        tried.is_harmless() && tried.contains(self.answer)
    }

    /// Carries the attack out and expects that it is refused.
    ///
    /// # Panics
    /// If the attack succeeds.
    pub fn expect_refused(&self, program: &str) {
        let tried = self.attempt(program);
        assert!(self.is_refused(&tried), "{}: {tried:#?}", self.name);
    }
}
