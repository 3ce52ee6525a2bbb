//! The service from outside: the HTTP front, the job store through crashes, and the pull worker against a scripted
//! platform. Everything on loopback, with the stub engine and short waits.
//!
//! Cases of the platform's protocol, as numbered in the tests' own comments (A addresses, B taking, C results, D streams and
//! progress, E pings, F stopping, G ends, H job API, I command line and log), and where each is tested; `conformance`
//! checks that this list is whole and true.
//!
//! | cases | test |
//! |---|---|
//! | A1, A4 | worker_takes::one_job_on_the_wire |
//! | A2, A3, A6 | worker_takes::hub_templates |
//! | A5, A7, A9 | src/worker/env.rs::odd_environments |
//! | A8 | worker_takes::an_address_of_another_shape |
//! | B1 | worker_takes::one_job_on_the_wire |
//! | B2 | worker_takes::batches |
//! | B3 | worker_takes::held_empty_answers_cost_no_pause |
//! | B4 | worker_takes::hasty_empty_answers_are_not_hammered |
//! | B5, B6, B7 | worker_takes::refusals_are_backed_off |
//! | B6 | worker_takes::retry_after_is_honoured |
//! | B8 | worker_takes::a_closed_port_is_waited_for |
//! | B9, B10, B12, B13 | worker_takes::nonsense_does_not_end_the_worker |
//! | B11, B14 | worker_takes::every_job_gets_an_answer |
//! | B15 | worker_takes::the_next_take_follows_at_once |
//! | B16 | worker_takes::duplicates_run_once |
//! | B17 | worker_takes::large_inputs |
//! | B18 | worker_process::the_process_ends_well |
//! | B19 | worker_takes::a_poll_held_too_long_is_asked_again |
//! | C1, C2, C3, C4, C5, C6, C7, C8, C9 | src/runpod/outcome.rs::posts_follow_the_official_worker |
//! | C10 | worker_posts::failures_carry_the_official_keys |
//! | C11, C12 | worker_takes::one_job_on_the_wire |
//! | C13, C15, C16 | worker_posts::results_survive_trouble |
//! | C14 | worker_posts::undelivered_jobs_stay_in_the_pings |
//! | C17 | worker_posts::refused_results_become_errors |
//! | C18 | worker_posts::a_job_that_is_gone_is_let_go |
//! | C19 | worker_posts::results_too_large_fail_clearly |
//! | C19 | buckets::large_results_of_the_worker_are_uploaded |
//! | C20 | src/runpod/outcome.rs::nan_becomes_null |
//! | C21 | worker_takes::large_inputs |
//! | C22 | worker_posts::slow_posts_do_not_block_others |
//! | D1, D5 | worker_posts::streams |
//! | D2 | worker_posts::aggregated_streams |
//! | D3, D4, D9 | worker_posts::streams_that_fail |
//! | D6, D8 | worker_posts::progress_is_ordered_and_rare |
//! | D7 | worker_posts::no_progress_after_the_result |
//! | E1, E2 | worker_life::pings_name_the_jobs |
//! | E3 | worker_life::a_blocked_engine_is_pinged_for |
//! | E4, E5 | worker_life::pings_go_on |
//! | E6, E7 | worker_posts::undelivered_jobs_stay_in_the_pings |
//! | F1, F2, F3 | worker_life::stopped_jobs_post_nothing |
//! | F3 | src/worker/stop.rs::only_text_ids_in_the_right_place_count |
//! | F4, F5 | worker_life::the_stop_channel_is_not_hammered |
//! | F6 | worker_life::a_stop_may_cross_a_result |
//! | G1, G2, G3 | worker_life::shutdown_finishes_what_runs |
//! | G2, G4 | worker_process::the_process_ends_well |
//! | G5, G6 | worker_life::refresh_ends_the_worker_before_another_take |
//! | G7 | worker_process::unfit_machines_report_and_end |
//! | G7 | worker_process::unfit_gpus_report_and_end |
//! | G8 | worker_process::load_failures_reach_one_caller |
//! | G9 | worker_process::a_killed_worker_is_silent |
//! | H1, H2, H3, H4, H5, H6, H7, H8, H10 | scripts/ci-clients.sh |
//! | H9 | scripts/ci-clients.sh |
//! | H1, H11 | jobs::a_job_goes_through_its_states_under_every_prefix |
//! | H2 | jobs::runsync_answers_with_the_result |
//! | H3, H4 | jobs::streams_are_read_once |
//! | H5 | jobs::cancel_queued_and_running |
//! | H6 | jobs::a_full_queue_is_refused_and_can_be_purged |
//! | H7 | operations::keys_guard_everything_but_probes_and_the_page |
//! | H12, H13 | jobs::bad_requests_are_told_in_json |
//! | H14 | webhooks::a_webhook_is_tried_again_and_signed |
//! | H15 | webhooks::failures_are_told_too_and_tries_end |
//! | H16 | jobs::an_execution_timeout_stops_the_engine |
//! | H17, H19 | jobs::records_expire |
//! | H18 | jobs::retry_runs_a_failed_job_again_under_its_id |
//! | H20 | jobs::runsync_returns_early_when_its_wait_is_over |
//! | H21 | jobs::bodies_over_the_limit_are_refused |
//! | H22 | jobs::jobs_run_in_order |
//! | I1, I2, I3, I6, I7 | worker_process::local_jobs |
//! | I4 | worker_process::the_process_ends_well |
//! | I5 | src/telemetry/runpod_format.rs::long_messages_lose_their_middle |
//! | I6 | src/worker/env.rs::log_levels |
#![allow(clippy::unwrap_used, unreachable_pub)]

mod ahead;
mod app;
mod bombs;
mod bounds;
mod bucket_limits;
mod buckets;
mod canary;
mod commands;
mod conformance;
mod connections;
mod crash;
mod description;
mod direct;
mod echo;
mod endurance;
mod evidence;
mod hardening;
mod jobs;
mod no_models;
mod operations;
mod packaging;
mod patience;
mod plane;
mod process;
#[path = "../common/s3.rs"]
mod s3;
mod sagemaker;
mod state;
mod traces;
mod webhooks;
mod worker_drain;
mod worker_life;
mod worker_posts;
mod worker_process;
mod worker_start;
mod worker_takes;
