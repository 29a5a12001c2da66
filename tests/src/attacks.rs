//! Attacks by an attacker who controls objects, table and function, but has no signing key.

pub mod attacked_system;
pub mod careless;
pub mod function;
pub mod objects;
pub mod owned;
pub mod records;
pub mod reply;
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
            objects manifest_changed_and_announced "ERR_BAD_MANIFEST",
            objects own_manifest_announced "ERR_BAD_MANIFEST",
            objects manifest_of_an_earlier_publication "ERR_BAD_MANIFEST",
            objects manifest_and_signature_of_another_package "ERR_BAD_MANIFEST",
            objects manifest_signed_by_another_key "ERR_BAD_SIGNATURE",
            objects fragment_changed "ERR_BAD_DIGEST",
            objects fragment_truncated "ERR_BAD_DIGEST",
            objects fragment_from_another_position "ERR_BAD_DIGEST",
            objects fragment_of_another_package "ERR_BAD_DIGEST",
            objects signature_changed "ERR_BAD_SIGNATURE",
            objects signature_of_another_package "ERR_BAD_SIGNATURE",
            objects legacy_signature "ERR_BAD_SIGNATURE",
            objects assignments_as_manifest "ERR_BAD_MANIFEST",
            objects unintended_downgrade "ERR_GOING_BACK",
            objects intended_downgrade_repeated "SUCCESS_ALREADY_SETUP",
            careless manifest_expired "ERR_EXPIRED",
            careless manifest_for_another_device "ERR_WRONG_AUDIENCE",
            careless manifest_for_a_group_of_others "ERR_WRONG_AUDIENCE",
            careless manifest_for_another_platform "ERR_WRONG_PLATFORM",
            careless climbing_archive "ERR_UNSAFE_ARCHIVE",
            careless climbing_zip "ERR_UNSAFE_ARCHIVE",
            careless absolute_archive "ERR_UNSAFE_ARCHIVE",
            careless link_out_of_the_archive "ERR_UNSAFE_ARCHIVE",
            careless file_through_a_link "ERR_UNSAFE_ARCHIVE",
            careless file_through_a_link_within "ERR_UNSAFE_ARCHIVE",
            careless hard_link_to_a_file_outside "ERR_UNSAFE_ARCHIVE",
            careless device_node "ERR_UNSAFE_ARCHIVE",
            careless bomb "ERR_UNSAFE_ARCHIVE",
            careless setuid_program "SUCCESS_0",
            careless windows_drive "ERR_UNSAFE_ARCHIVE",
            careless windows_backslashes "ERR_UNSAFE_ARCHIVE",
            careless name_of_a_windows_device "of the archive on Windows",
            careless stream_of_a_windows_file "of the archive on Windows",
            careless names_equal_on_windows "of the archive on Windows",
            careless two_files_of_one_name "ERR_UNSAFE_ARCHIVE",
            reply task_in_no_document "ERR_NOT_ASSIGNED",
            reply document_edited "ERR_NOT_ASSIGNED",
            reply document_signed_by_another_key "ERR_NOT_ASSIGNED",
            reply document_of_another_device "ERR_NOT_ASSIGNED",
            reply document_of_a_group_that_the_device_is_not_in "ERR_NOT_ASSIGNED",
            reply document_expired "ERR_ASSIGNMENT_EXPIRED",
            reply document_of_an_older_revision "ERR_NOT_ASSIGNED",
            reply manifest_as_document "ERR_NOT_ASSIGNED",
            reply task_announced_twice "SUCCESS_0",
            reply attempt_raised "SUCCESS_ALREADY_SETUP",
            reply force_added_to_a_task "SUCCESS_ALREADY_SETUP",
            reply locations_of_another_host "ERR_BAD_MANIFEST",
            reply location_of_plain_http "not from a check-in function",
            reply location_of_a_file "not from a check-in function",
            reply location_that_climbs "not from a check-in function",
            reply objects_redirected_to_plain_http "a redirect leaves HTTPS",
            reply objects_redirected_to_another_host "ERR_BAD_MANIFEST",
            reply check_in_redirected_to_another_host "not from a check-in function",
            reply reply_of_64_mib "not from a check-in function",
            reply reply_100_000_levels_deep "not from a check-in function",
            reply reply_that_is_not_json "not from a check-in function",
            reply next_check_in_in_a_hundred_years "next in 604800 s",
            reply key_list_signed_by_its_own_key "ERR_NOT_ASSIGNED",
            reply key_list_after_a_gap "ERR_NOT_ASSIGNED",
            reply key_list_of_an_older_serial "ERR_NOT_ASSIGNED",
            reply package_of_a_revoked_key "ERR_BAD_SIGNATURE",
            reply assignments_of_a_revoked_key "ERR_NOT_ASSIGNED",
            table package_with_another_digest "ERR_BAD_MANIFEST",
            table package_at_another_location "waits",
            table membership_added "ERR_NOT_ASSIGNED",
            table assignment_added "ERR_NOT_ASSIGNED",
            table device_record_damaged "is unavailable",
            table tally_damaged "SUCCESS_0",
            records name_of_another_package "lists it as",
            records package_with_the_name_of_another "no signed manifest has the name tool@1",
            records package_with_the_id_of_another "is invalid",
            records package_signed_by_the_attacker "no signed manifest has the name tool@1",
            records group_with_the_name_of_all "is invalid",
            records group_state_rolled_back "someone put the earlier state back",
            records device_assignments_rolled_back "someone put the earlier state back",
            records key_lists_rolled_back "someone put the earlier list back",
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
