//! What every store must do. Each behaviour is a function of a store without content; `conformance!` makes one test of
//! each for a way to open a store.

mod audit;
mod entries;
mod found;
mod leases;
mod limits;
mod listing;
mod retention;
mod secrets;
mod tally;
mod whole_store;

use std::{sync::Arc, time::Duration};

use mayfly::{
    domain::Lease,
    store::{LeaseFilter, PageRequest, Store},
};

pub(crate) use self::{
    audit::*, entries::*, found::*, leases::*, limits::*, listing::*, retention::*, secrets::*, tally::*,
    whole_store::*,
};

/// How long anything may take that is expected to happen.
const SOON: Duration = Duration::from_secs(10);

/// Tests every behaviour against what `$open` (an expression for a fixture with a method `store()`) opens.
macro_rules! conformance {
    ($open:expr) => {
        $crate::store::conformance::conformance! { $open;
            a_lease_reads_back_as_it_was_begun,
            a_lease_passes_through_its_life_and_the_log_tells_of_it,
            an_event_that_does_not_apply_changes_nothing,
            an_event_on_an_unknown_lease_changes_nothing,
            asking_an_ending_lease_to_end_changes_nothing,
            a_failed_attempt_may_go_without_a_record,
            the_same_key_and_terms_bring_back_the_same_lease,
            the_same_key_with_other_terms_is_refused,
            a_key_belongs_to_its_principal,
            one_principal_cannot_exceed_its_limit,
            all_principals_together_cannot_exceed_the_roles_limit,
            limits_hold_when_many_ask_at_once,
            an_ended_lease_frees_its_place,
            a_listing_is_complete_and_newest_first_whatever_the_page_size,
            a_listing_passes_exactly_what_its_filter_passes,
            a_listing_stays_complete_while_leases_change,
            due_leases_come_most_overdue_first_and_only_of_their_target,
            an_end_put_off_by_a_clock_that_was_wrong_is_due,
            live_leases_are_counted_by_target,
            live_leases_are_tallied_by_state_and_by_what_is_overdue,
            changes_are_told_after_they_are_durable_and_only_then,
            leases_are_found_by_their_identifiers,
            a_lease_found_again_after_its_end_is_live_again,
            a_failed_lease_found_again_leaves_its_key_to_whoever_has_it_by_now,
            an_orphan_is_adopted_once_and_counts,
            a_server_stays_known_until_another_is,
            a_sealed_password_reads_back_as_it_was_kept,
            a_sealed_password_is_replaced_only_by_who_knows_the_last_one,
            an_entry_reads_back_as_it_was_written,
            an_entry_changes_only_if_it_still_is_what_the_change_expects,
            a_removed_entry_is_gone_with_its_keys_and_may_come_again,
            entries_change_together_or_not_at_all,
            entries_are_listed_downwards_by_bytes_a_part_at_a_time,
            one_question_brings_back_no_more_entries_than_it_may,
            due_entries_come_the_earliest_first,
            changes_of_entries_are_told_after_they_are_durable,
            a_lease_begins_with_its_entries_or_not_at_all,
            no_change_is_lost_among_many_at_once,
            of_many_who_add_one_entry_one_does,
            an_entry_that_no_store_can_keep_is_refused_in_words,
            a_token_is_found_by_its_digest_and_by_no_other,
            tokens_are_listed_newest_first_in_parts,
            a_token_is_revoked_once,
            a_revocation_is_seen_by_whoever_looks_after_it,
            a_revocation_counts_even_if_nobody_waits_for_it,
            the_log_is_one_chain_whoever_writes,
            the_log_can_be_waited_for,
            a_refusal_is_recorded_by_itself,
            records_are_found_by_what_they_tell_and_when,
            a_part_of_a_chain_is_read_in_either_order,
            leases_that_ended_long_ago_are_removed_and_no_others,
            records_leave_only_as_far_as_they_are_archived,
            what_was_kept_long_enough_is_removed_by_the_day,
            old_records_move_to_an_archive_and_the_chain_goes_on,
            a_store_says_that_it_can_be_written,
            a_closed_store_refuses,
        }
    };
    ($open:expr; $($behaviour:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let fixture = $open;
                $crate::store::conformance::$behaviour(fixture.store()).await;
                fixture.store().close().await;
            }
        )*
    };
}
pub(crate) use conformance;

type Subject = Arc<dyn Store>;

async fn whole(store: &Subject, filter: &LeaseFilter, size: u32) -> Vec<Lease> {
    let (mut items, mut before) = (Vec::new(), None);
    loop {
        let page = store.list(filter, PageRequest { size, before }).await.unwrap();
        assert!(page.items.len() <= size as usize);
        items.extend(page.items);
        match page.next {
            None => return items,
            next => before = next,
        }
    }
}
