//! A lease held while something runs: renewed before it expires, released at the end.
//!
//! All reckoning is in the server's time differences, counted from when its reply arrived here: the two clocks need not
//! agree.

use std::{cmp::min, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::{process::Command, sync::mpsc};

use super::{
    CliError, Connection, Context, Credential, Exit, Output,
    approval::{self, Standing, Waiting},
    child,
    creds::Wish,
    duration,
    error::printable,
    view,
};
use crate::{api::proto, clock::Clock};

/// How long the end of a command may be held up by releasing its lease. Expiry does it anyway.
const RELEASE_WITHIN: Duration = Duration::from_secs(10);

/// A renewal that would gain less than this is not worth a call.
const LEAST_GAIN: SignedDuration = SignedDuration::from_secs(2);

/// The pause after a failed renewal.
const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(5);

/// Notes waiting to be written while the child runs; more than ever arise.
const NOTES: usize = 16;

/// When to renew a lease, and for how long, in our clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Schedule {
    /// When it ends unless it is renewed.
    ends_at: Timestamp,
    /// When to renew; `None`: it reaches as far as it may.
    renew_at: Option<Timestamp>,
    /// No renewal reaches beyond this.
    final_end: Timestamp,
    /// The time to live to ask for again.
    ttl: SignedDuration,
}

impl Schedule {
    /// From a reply that arrived at `now`. Without times in it, nothing is renewed.
    fn of(lease: &proto::Lease, now: Timestamp) -> Option<Self> {
        let (expire, update) = (view::moment(lease.expire_time)?, view::moment(lease.update_time)?);
        let final_expire = view::moment(lease.renewable_until_time).unwrap_or(expire).max(expire);
        let left = expire.duration_since(update).max(SignedDuration::ZERO);
        let gain = final_expire.duration_since(expire);
        let ends_at = now.saturating_add(left).ok()?;
        let renew_at = now.saturating_add(left * 2 / 3).ok().filter(|_| gain >= LEAST_GAIN);
        let ttl = view::seconds(lease.ttl).map_or(left, SignedDuration::from_secs);
        Some(Self { ends_at, renew_at, final_end: ends_at.saturating_add(gain).ok()?, ttl })
    }

    /// What to ask for at `now`: the original time to live, or what is left until no renewal is possible. A second less
    /// than that, because the call arrives later than it is sent.
    fn ttl_to_ask(&self, now: Timestamp) -> Option<Duration> {
        let left = self.final_end.duration_since(now) - SignedDuration::from_secs(1);
        let ttl = min(self.ttl, left);
        (ttl >= SignedDuration::from_secs(1)).then(|| Duration::from_secs(ttl.unsigned_abs().as_secs()))
    }

    /// When to try again after a failure; `None`: too late.
    fn retry_at(&self, now: Timestamp) -> Option<Timestamp> {
        let left = self.ends_at.duration_since(now);
        let pause = min(RETRY_AFTER, left / 3).max(SignedDuration::from_millis(500));
        (left > SignedDuration::ZERO).then(|| now.saturating_add(pause).ok()).flatten()
    }
}

/// Renews a lease until it cannot be, then returns. Tells of trouble, not of success.
struct Keeper {
    connection: Connection,
    clock: Arc<dyn Clock>,
    name: String,
    notes: mpsc::Sender<String>,
}

impl Keeper {
    async fn keep(self, lease: proto::Lease) {
        let Some(mut schedule) = Schedule::of(&lease, self.clock.now()) else { return };
        let mut troubled = false;
        while let Some(renew_at) = schedule.renew_at {
            self.wait_for(renew_at).await;
            let now = self.clock.now();
            let Some(ttl) = schedule.ttl_to_ask(now) else { break };
            match self.renew(ttl).await {
                Ok(lease) => {
                    troubled = false;
                    match Schedule::of(&lease, self.clock.now()) {
                        Some(renewed) => schedule = renewed,
                        None => break,
                    }
                }
                Err(error) if matches!(error.exit(), Exit::Precondition | Exit::NotFound) => {
                    // Somebody ended it: there is nothing left to hold.
                    self.note(&format!("{} could not be renewed: {error}", self.name));
                    return;
                }
                Err(error) => {
                    let passing = matches!(error.exit(), Exit::Unavailable | Exit::Limit | Exit::Deadline);
                    let retry_at = schedule.retry_at(self.clock.now()).filter(|_| passing);
                    if !troubled || retry_at.is_none() {
                        self.tell_of_trouble(&error, &schedule, retry_at.is_some());
                    }
                    troubled = true;
                    schedule.renew_at = retry_at;
                }
            }
        }
        if !troubled {
            self.tell(&format!("{} cannot be renewed any further", self.name), &schedule);
        }
        self.wait_for(schedule.ends_at).await;
        self.note(&format!("{} has expired: the database ends its sessions and refuses new ones", self.name));
    }

    async fn wait_for(&self, deadline: Timestamp) {
        while self.clock.now() < deadline {
            self.clock.sleep_until(deadline).await;
        }
    }

    async fn renew(&self, ttl: Duration) -> Result<proto::Lease, CliError> {
        let message = proto::RenewLeaseRequest { name: self.name.clone(), ttl: Some(view::to_proto(ttl)) };
        let reply = self.connection.leases().renew_lease(self.connection.call(message)).await;
        let reply = reply.map_err(|status| self.connection.explain(&status))?;
        Ok(reply.into_inner().lease.unwrap_or_default())
    }

    fn tell_of_trouble(&self, error: &CliError, schedule: &Schedule, retrying: bool) {
        let again = if retrying { " (trying again)" } else { "" };
        self.tell(&format!("{} could not be renewed{again}: {error}", self.name), schedule);
    }

    fn tell(&self, what: &str, schedule: &Schedule) {
        let left = duration::relative(schedule.ends_at, self.clock.now());
        self.note(&format!("{what}; it ends {left}"));
    }

    fn note(&self, text: &str) {
        // Full: there is more than enough on the terminal already.
        let _ = self.notes.try_send(format!("mayfly: {}", printable(text)));
    }
}

/// Issues a credential, has a command prepared that uses it, and runs that while the lease is held. What `prepare` returns
/// beside the command (files it reads) is dropped when it has ended.
///
/// # Errors
/// What the server refuses; a command that cannot be prepared, started or waited for: its lease is released all the same.
pub(super) async fn with_credential(
    wish: &Wish,
    context: &mut Context,
    prepare: impl AsyncFnOnce(&Credential, &str) -> Result<(Command, Option<TempDir>), CliError>,
) -> Result<Exit, CliError> {
    let connection = context.connect()?;
    let mut signals = child::Signals::of_process()?;
    let mut standing = Standing::default();
    let obtained = {
        let Context { output, clock, .. } = &mut *context;
        let mut waiting =
            Waiting { connection: &connection, output, clock: &**clock, standing: &mut standing };
        tokio::select! {
            obtained = approval::obtain(wish, "", &mut waiting) => Ok(obtained?),
            signal = signals.next_to_end() => Err(Exit::of_signal(signal.as_raw())),
        }
    };
    let (lease, credential) = match obtained {
        Ok(obtained) => obtained,
        Err(exit) => {
            standing.tell(&mut context.output);
            return Ok(exit);
        }
    };
    // Until the lease is held, its release is our care.
    let (command, files) = match prepare(&credential, &lease.name).await {
        Ok(prepared) => prepared,
        Err(error) => {
            release(&lease.name, &connection, &mut context.output).await;
            return Err(error);
        }
    };
    let ended = run(command, lease, &connection, &mut signals, context).await;
    drop(files);
    ended
}

/// Runs a command while its lease is held, and releases the lease whatever becomes of the command.
async fn run(
    mut command: Command,
    lease: proto::Lease,
    connection: &Connection,
    signals: &mut child::Signals,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let name = lease.name.clone();
    let (notes, received) = mpsc::channel(NOTES);
    let clock = Arc::clone(&context.clock);
    let keeper = Keeper { connection: connection.clone(), clock, name: name.clone(), notes };
    let ended = attend(&mut command, keeper.keep(lease), received, signals, &mut context.output).await;
    release(&name, connection, &mut context.output).await;
    ended
}

async fn attend(
    command: &mut Command,
    keeping: impl Future<Output = ()>,
    mut notes: mpsc::Receiver<String>,
    signals: &mut child::Signals,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let mut child = command.spawn().map_err(|error| CliError::local("cannot start the command", &error))?;
    let mut keeping = std::pin::pin!(keeping);
    let mut kept = false;
    let mut waiting = std::pin::pin!(child::wait(&mut child, signals));
    loop {
        tokio::select! {
            status = &mut waiting => {
                let status = status.map_err(|error| CliError::local("cannot wait for the command", &error))?;
                return Ok(child::exit_of(status));
            }
            () = &mut keeping, if !kept => kept = true,
            Some(note) = notes.recv() => output.note(&note),
        }
    }
}

/// Releases a lease; that it fails is told, and left to its expiry.
pub(super) async fn release(name: &str, connection: &Connection, output: &mut Output) {
    let message = proto::ReleaseLeaseRequest { name: name.to_owned(), wait: false };
    let call = connection.call_within(message, RELEASE_WITHIN.min(connection.timeout()));
    if let Err(status) = connection.leases().release_lease(call).await {
        let error = connection.explain(&status);
        // It ended before the command did, and that was told when it happened.
        if error.exit() != Exit::Precondition {
            output.note(&format!(
                "mayfly: {} could not be released: {error}; it ends when it expires",
                printable(name)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::Signal;

    use super::{
        super::{
            OutputFormat,
            fake_server::{self, Fake},
            output::capture,
        },
        *,
    };
    use crate::clock::{ManualClock, SystemClock};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn lease(update: i64, expire: i64, renewable_until: i64) -> proto::Lease {
        let moment = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        proto::Lease {
            name: "leases/x".into(),
            update_time: moment(update),
            expire_time: moment(expire),
            renewable_until_time: moment(renewable_until),
            ttl: Some(prost_types::Duration { seconds: 900, nanos: 0 }),
            ..Default::default()
        }
    }

    #[test]
    fn renewal_comes_after_two_thirds_whatever_the_clocks_say() {
        // The server's clock is 1,000,000 s ahead of ours.
        let schedule = Schedule::of(&lease(1_001_000, 1_001_900, 1_004_600), at(1000)).unwrap();
        assert_eq!(schedule.renew_at, Some(at(1600)));
        assert_eq!(schedule.ends_at, at(1900));
        assert_eq!(schedule.final_end, at(4600));
        assert_eq!(schedule.ttl_to_ask(at(1600)), Some(Duration::from_secs(900)));
    }

    #[test]
    fn the_last_renewal_asks_only_for_what_is_left() {
        let schedule = Schedule::of(&lease(1000, 1900, 2000), at(1000)).unwrap();
        assert_eq!(schedule.renew_at, Some(at(1600)));
        assert_eq!(schedule.ttl_to_ask(at(1600)), Some(Duration::from_secs(399)));
        assert_eq!(Schedule::of(&lease(1000, 1900, 1901), at(1000)).unwrap().renew_at, None);
        assert_eq!(Schedule::of(&lease(1000, 1900, 1900), at(1000)).unwrap().renew_at, None);
    }

    #[test]
    fn a_failed_renewal_is_tried_again_until_the_end() {
        let schedule = Schedule::of(&lease(1000, 1900, 4600), at(1000)).unwrap();
        assert_eq!(schedule.retry_at(at(1600)), Some(at(1605)));
        assert_eq!(schedule.retry_at(at(1894)), Some(at(1896)));
        assert_eq!(schedule.retry_at(at(1900)), None);
    }

    #[test]
    fn a_reply_without_times_is_not_renewed() {
        assert_eq!(Schedule::of(&proto::Lease::default(), at(0)), None);
    }

    #[tokio::test]
    async fn notes_are_written_while_the_child_runs_and_its_code_is_kept() {
        let (mut output, _, err) = capture::output(OutputFormat::Text);
        let (notes, received) = mpsc::channel(1);
        let (signal, signals) = mpsc::channel(1);
        let keeping = async move {
            notes.send("mayfly: trouble".into()).await.unwrap();
            // Sent once the note was taken: the channel holds one.
            notes.send("mayfly: more".into()).await.unwrap();
            signal.send(Signal::TERM).await.unwrap();
        };
        let mut command = Command::new("sleep");
        command.arg("60");
        let mut signals = child::Signals::of_channel(signals);
        let exit = attend(&mut command, keeping, received, &mut signals, &mut output).await.unwrap();
        assert_eq!(exit, Exit::Child(143));
        assert!(err.text().starts_with("mayfly: trouble\n"), "{}", err.text());
    }

    #[tokio::test]
    async fn a_command_that_cannot_be_started_is_told() {
        let (mut output, ..) = capture::output(OutputFormat::Text);
        let (_notes, received) = mpsc::channel(1);
        let (_signal, signals) = mpsc::channel(1);
        let mut signals = child::Signals::of_channel(signals);
        let mut command = Command::new("/nonexistent/command");
        let ended = attend(&mut command, std::future::pending(), received, &mut signals, &mut output).await;
        assert!(ended.unwrap_err().to_string().starts_with("cannot start the command: "));
    }

    /// Runs a command under the fake server's lease; gives its exit, what was said, and the calls.
    async fn held(fake: &Fake, clock: Arc<dyn Clock>, program: &[&str]) -> (Result<Exit, CliError>, String) {
        let (_, mut context, _, err) = fake.command("creds r", clock);
        let connection = context.connect().unwrap();
        let (_signal, signals) = mpsc::channel(1);
        let mut command = Command::new(program[0]);
        command.args(&program[1..]);
        let mut signals = child::Signals::of_channel(signals);
        let ended = run(command, fake_server::lease(), &connection, &mut signals, &mut context).await;
        (ended, err.text())
    }

    #[tokio::test]
    async fn the_lease_is_released_whatever_becomes_of_the_child_and_a_failure_is_told() {
        for (program, code) in [
            (vec!["sh", "-c", "exit 7"], Some(7)),
            (vec!["sh", "-c", "kill -KILL $$"], Some(137)),
            (vec!["/nonexistent/command"], None),
        ] {
            let fake = Fake::start().await;
            let (ended, words) = held(&fake, Arc::new(SystemClock), &program).await;
            assert_eq!(ended.ok().map(Exit::code), code, "{program:?}");
            assert_eq!(fake.calls.so_far(), ["release leases/06dp4f2h9c8x1k3m7q0r"], "{program:?}");
            assert_eq!(
                words,
                "mayfly: leases/06dp4f2h9c8x1k3m7q0r could not be released: the store is gone; it ends when it expires\n"
            );
        }
    }

    #[tokio::test]
    async fn the_lease_is_renewed_while_the_child_runs() {
        let fake = Fake::start().await;
        let clock = Arc::new(ManualClock::new(at(0)));
        let gate = tempfile::tempdir().unwrap();
        let script = format!("until [ -e {}/go ]; do sleep 0.01; done", gate.path().display());
        let child = ["sh", "-c", &script];
        let story = async {
            // At two thirds of its 15 minutes. The keeper reckoned them when it was first polled, before this.
            clock.advance(SignedDuration::from_secs(600));
            fake.calls.until("renew").await;
            std::fs::write(gate.path().join("go"), "").unwrap();
        };
        let (held, ()) = tokio::join!(held(&fake, clock.clone(), &child), story);
        assert_eq!(held.0.unwrap(), Exit::Child(0));
        let calls = fake.calls.so_far();
        assert_eq!(calls.first().map(String::as_str), Some("renew 900"), "{calls:?}");
        assert!(calls.last().unwrap().starts_with("release "), "{calls:?}");
    }
}
