//! Every crash point in turn: killed there, started again and killed there once more, then recovered.

use std::{os::unix::process::ExitStatusExt as _, panic::AssertUnwindSafe};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use mayfly::{crash::Point, domain::Engine};

use super::{
    place::{Place, allow_settling, apart},
    scenario::{Act, LOCK, LOCKED_FOR, LONG, ROTATE, Scenario, Story, scenario},
};
use crate::support::world::{Database, databases};

/// Cases at once. Most of their time they wait for a deadline.
const AT_ONCE: usize = 12;

/// One case: a point, and at which pass.
struct Case<'d> {
    database: &'d Database,
    point: Point,
    pass: u32,
    scenario: Scenario,
}

impl Case<'_> {
    fn name(&self) -> String {
        format!("{} {}:{}", self.database.engine, self.point.as_str(), self.pass)
    }

    async fn run(&self) {
        let settings = if let Act::Reconcile(deed) = self.scenario.act { deed.settings() } else { "" };
        // Whoever changes the administration account's password must not share it.
        let alone = self.scenario.act == Act::Command(ROTATE);
        let database = if alone { apart(self.database).await } else { self.database.clone() };
        let place = Place::on(database, settings);
        let mut story = Story::at(&place);
        let checks = AssertUnwindSafe(self.play(&mut story)).catch_unwind().await;
        let told = || format!("{:#?}\nits log ends:\n{}", story.held, place.last_words());
        assert!(checks.is_ok(), "{}: see above; it holds {}", self.name(), told());
    }

    async fn play(&self, story: &mut Story<'_>) {
        let charge = format!("{}:{}", self.point.as_str(), self.pass);
        if matches!(self.scenario.act, Act::Elevate | Act::CheckOut) {
            story.place.settle_existing().await;
        }
        if self.scenario.act == Act::Start {
            something_to_take_up(story).await;
        }
        // Twice: recovery, too, is interrupted there, or what led there is done again.
        for _ in 0..2 {
            let mut served = story.place.start(Some(&charge));
            story.until_dead(self.scenario.act, &mut served).await;
            let status = served.ended().await;
            assert_eq!(
                status.signal(),
                Some(9),
                "it was not killed at its crash point, but ended with {status}"
            );
            story.place.assert_store_sound();
        }
        if self.point == Point::RepeatRecorded {
            // What was on record only has changed nothing.
            for held in &story.held {
                held.log_in(self.database).await.unwrap_or_else(|error| panic!("{held:?}: {error}"));
            }
        }
        if self.scenario.act == Act::Command(LOCK) {
            // Nothing is issued before the last lock has lapsed.
            tokio::time::sleep(LOCKED_FOR).await;
        }
        story.assert_clean(self.scenario.reply_may_be_lost).await;
    }
}

/// Leaves one lease that lives, one that is ending and one that is overdue when the server is started next.
async fn something_to_take_up(story: &mut Story<'_>) {
    let mut served = story.place.start(None);
    let caller = served.caller().await.unwrap();
    story.play(Act::Renew, &caller).await.unwrap();
    let at = story.settled_in(&caller, LONG).await.unwrap();
    caller.release(&mut story.held[at], false).await.unwrap();
    served.kill().await;
}

/// The cases of every point on a database.
fn cases(database: &Database, keep: impl Fn(&Scenario) -> &'static [u32]) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    for &point in Point::ALL {
        let scenario = scenario(point);
        let passes = keep(&scenario).iter();
        cases.extend(passes.map(|&pass| Case { database, point, pass, scenario }));
    }
    cases
}

/// Runs a case; its name, if it failed.
async fn failed(case: Case<'_>) -> Option<String> {
    let outcome = AssertUnwindSafe(case.run()).catch_unwind().await;
    outcome.is_err().then(|| case.name())
}

/// Runs cases, several at once, and returns the names of those that failed.
async fn sweep(cases: Vec<Case<'_>>) -> (usize, Vec<String>) {
    let count = cases.len();
    let failures: Vec<Option<String>> =
        stream::iter(cases).map(failed).buffer_unordered(AT_ONCE).collect().await;
    (count, failures.into_iter().flatten().collect())
}

/// All points on PostgreSQL, and on the others those at which the engine makes a difference.
#[tokio::test]
async fn wherever_the_process_is_killed_the_next_start_leaves_a_clean_slate() {
    let databases = databases().await;
    let mut all = Vec::new();
    for database in &databases {
        allow_settling(database).await;
        let is_first = database.engine == Engine::Postgres || databases.len() == 1;
        all.extend(cases(database, |scenario| match scenario.passes {
            passes if passes.len() > 1 && is_first => &passes[2..8],
            passes if is_first || scenario.by_engine => passes,
            _ => &[],
        }));
    }
    let (_, failed) = sweep(all).await;
    assert_eq!(failed, Vec::<String>::new());
}

/// Where an elevation can be half-way, beside the points of its own.
const ELEVATED: &[Point] = &[
    Point::IssueBegun,
    Point::IssueCreating,
    Point::IssueCreated,
    Point::IssueActivated,
    Point::EndBegun,
    Point::EndDisabled,
    Point::EndRemoved,
    Point::EndRecorded,
];

/// Where a checkout can be half-way, beside the points of its own.
const HANDED_OUT: &[Point] = &[
    Point::IssueBegun,
    Point::IssueCreating,
    Point::IssueCreated,
    Point::IssueActivated,
    Point::IssueReplying,
    Point::RepeatRecorded,
    Point::RepeatReplaced,
    Point::RenewPlanned,
    Point::RenewMoved,
    Point::RenewStored,
    Point::EndBegun,
    Point::EndDisabled,
    Point::EndRemoved,
    Point::EndRecorded,
];

fn on_existing<'d>(
    database: &'d Database,
    points: &'static [Point],
    act: Act,
) -> impl Iterator<Item = Case<'d>> {
    points.iter().map(move |&point| Case {
        database,
        point,
        pass: 1,
        scenario: Scenario { act, reply_may_be_lost: true, ..scenario(point) },
    })
}

fn checkouts(database: &Database) -> impl Iterator<Item = Case<'_>> {
    on_existing(database, HANDED_OUT, Act::CheckOut)
}

fn elevations(database: &Database) -> impl Iterator<Item = Case<'_>> {
    on_existing(database, ELEVATED, Act::Elevate)
}

#[tokio::test]
async fn wherever_the_process_is_killed_an_elevation_is_finished_or_undone() {
    let databases = databases().await;
    let (_, failed) = sweep(databases.iter().flat_map(elevations).collect()).await;
    assert_eq!(failed, Vec::<String>::new());
}

#[tokio::test]
async fn wherever_the_process_is_killed_an_account_is_handed_out_to_one_or_locked_and_free() {
    let databases = databases().await;
    let (_, failed) = sweep(databases.iter().flat_map(checkouts).collect()).await;
    assert_eq!(failed, Vec::<String>::new());
}

/// What came of a whole sweep.
pub(super) struct Swept {
    pub(super) kills: usize,
    /// The names of the cases that failed; why has been told.
    pub(super) failed: Vec<String>,
}

/// All points, at all passes, on all engines.
pub(super) async fn everywhere() -> Swept {
    let databases = databases().await;
    let mut all = Vec::new();
    for database in &databases {
        allow_settling(database).await;
        all.extend(cases(database, |scenario| scenario.passes));
        all.extend(elevations(database));
        all.extend(checkouts(database));
    }
    let (cases, failed) = sweep(all).await;
    Swept { kills: 2 * cases, failed }
}
