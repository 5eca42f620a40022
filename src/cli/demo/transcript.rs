//! What is told: numbered steps with what was seen, for people or as JSON lines.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    cli::{CliError, Exit, Output, error::printable, table::Paint},
    clock::Clock,
};

/// The column in which what was seen begins.
const TITLE_WIDTH: usize = 34;
/// Number, mark and title, with the space between them.
const MARGIN: usize = 9 + TITLE_WIDTH + 1;
/// Columns of a page; a terminal may have fewer.
const PAGE: usize = 120;
/// What was seen is not pressed into fewer columns than this.
const LEAST: usize = 30;

/// Why a step did not go as told.
#[derive(Debug)]
pub(super) enum Setback {
    /// It went otherwise.
    Unexpected { expected: String, seen: String },
    /// It could not be tried.
    Failed(CliError),
}

impl Setback {
    pub(super) fn unexpected(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Setback::Unexpected { expected: expected.into(), seen: seen.into() }
    }
}

impl From<CliError> for Setback {
    fn from(error: CliError) -> Self {
        Setback::Failed(error)
    }
}

/// What a step brings: something to go on with, and what was seen.
pub(super) type Told<T> = Result<(T, String), Setback>;

/// Tells the story.
pub(super) struct Transcript<'a> {
    output: &'a mut Output,
    clock: Arc<dyn Clock>,
    started: Timestamp,
    act: String,
    steps: u32,
}

#[derive(Serialize)]
struct StepView<'a> {
    step: u32,
    act: &'a str,
    title: &'a str,
    outcome: &'static str,
    seen: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a str>,
    milliseconds: i128,
}

#[derive(Serialize)]
struct EndView {
    demo: &'static str,
    steps: u32,
    milliseconds: i128,
}

impl<'a> Transcript<'a> {
    pub(super) fn new(output: &'a mut Output, clock: Arc<dyn Clock>) -> Self {
        let started = clock.now();
        Self { output, clock, started, act: String::new(), steps: 0 }
    }

    /// The steps that follow belong together.
    pub(super) fn act(&mut self, title: &str) -> Result<(), CliError> {
        title.clone_into(&mut self.act);
        if self.output.is_json() {
            return Ok(());
        }
        let break_before = if self.steps == 0 { "" } else { "\n" };
        self.output.data(&format!("{break_before}{title}"))
    }

    /// One step, tried and told.
    pub(super) async fn step<T>(
        &mut self,
        title: &str,
        work: impl Future<Output = Told<T>>,
    ) -> Result<T, CliError> {
        self.steps += 1;
        let began = self.clock.now();
        let spinner = self.output.spinner(title);
        let told = work.await;
        drop(spinner);
        let (outcome, expected, seen) = match &told {
            Ok((_, seen)) => ("ok", None, seen.clone()),
            Err(Setback::Unexpected { expected, seen }) => ("failed", Some(expected.clone()), seen.clone()),
            Err(Setback::Failed(error)) => ("failed", Some("an answer".to_owned()), error.to_string()),
        };
        if self.output.is_json() {
            let view = StepView {
                step: self.steps,
                act: &self.act,
                title,
                outcome,
                seen: &seen,
                expected: expected.as_deref(),
                milliseconds: self.milliseconds_since(began),
            };
            self.output.json(&view)?;
        } else {
            let text = line(self.steps, title, expected.as_deref(), &seen, self.output);
            self.output.data(&text)?;
        }
        match told {
            Ok((outcome, _)) => Ok(outcome),
            Err(setback) => Err(self.failure(title, setback)),
        }
    }

    /// The end, when every step went as told.
    pub(super) fn end(&mut self) -> Result<(), CliError> {
        let milliseconds = self.milliseconds_since(self.started);
        if self.output.is_json() {
            return self.output.json(&EndView { demo: "ok", steps: self.steps, milliseconds });
        }
        let seconds = milliseconds / 1000;
        self.output.data(&format!("\n{} steps in {seconds} s; everything is removed\ndemo: ok", self.steps))
    }

    fn milliseconds_since(&self, began: Timestamp) -> i128 {
        self.clock.now().duration_since(began).as_millis()
    }

    fn failure(&self, title: &str, setback: Setback) -> CliError {
        let step = self.steps;
        match setback {
            Setback::Unexpected { expected, seen } => CliError::new(
                Exit::Failure,
                format!(
                    "step {step} ({title}) did not go as told: expected {}, seen {}",
                    printable(&expected),
                    printable(&seen)
                ),
            ),
            // Its hints help; its exit code would be taken for the demo's own.
            Setback::Failed(CliError::Failed(failure)) => failure.hints.iter().fold(
                CliError::new(Exit::Failure, format!("step {step} ({title}) failed: {}", failure.message)),
                |error, hint| error.hint(hint.clone()),
            ),
            Setback::Failed(closed @ CliError::OutputClosed) => closed,
        }
    }
}

fn line(step: u32, title: &str, expected: Option<&str>, seen: &str, output: &Output) -> String {
    let colour = output.colour();
    let Some(expected) = expected else {
        let mark = Paint::Green.on("✓", colour);
        let page = output.width().map_or(PAGE, |width| width.min(PAGE));
        let lines = wrapped(&printable(seen), page.saturating_sub(MARGIN).max(LEAST));
        let painted: Vec<String> = lines.iter().map(|line| Paint::Dim.on(line, colour)).collect();
        let next_line = format!("\n{}", " ".repeat(MARGIN));
        return format!("{step:>4}  {mark}  {title:<TITLE_WIDTH$} {}", painted.join(&next_line));
    };
    let mark = Paint::Red.on("✗", colour);
    let (expected, seen) = (printable(expected), printable(seen));
    format!("{step:>4}  {mark}  {title}\n           expected  {expected}\n           seen      {seen}")
}

/// Lines of at most `width` characters, broken at spaces; a longer word is not broken.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{OutputFormat, output::capture},
        clock::ManualClock,
    };

    fn clock() -> Arc<dyn Clock> {
        Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH))
    }

    #[tokio::test]
    async fn steps_are_numbered_and_aligned() {
        let (mut output, out, _) = capture::output(OutputFormat::Text);
        let mut transcript = Transcript::new(&mut output, clock());
        transcript.act("First").unwrap();
        transcript.step("short", async { Ok(((), "a".to_owned())) }).await.unwrap();
        transcript.step("a longer title", async { Ok(((), "b\u{1b}".to_owned())) }).await.unwrap();
        transcript.end().unwrap();
        let expected = format!(
            "First\n   1  ✓  short{}a\n   2  ✓  a longer title{}b\n\n2 steps in 0 s; everything is removed\ndemo: ok\n",
            " ".repeat(30),
            " ".repeat(21)
        );
        assert_eq!(out.text(), expected);
    }

    #[test]
    fn long_words_of_others_are_wrapped_at_spaces() {
        assert_eq!(wrapped("a bc def gh", 6), ["a bc", "def gh"]);
        assert_eq!(wrapped("abcdefgh i", 3), ["abcdefgh", "i"]);
        assert!(wrapped("", 3).is_empty());
    }

    #[tokio::test]
    async fn a_failed_step_says_what_was_expected_and_seen() {
        let (mut output, out, _) = capture::output(OutputFormat::Text);
        let mut transcript = Transcript::new(&mut output, clock());
        let failing = async { Err::<((), String), _>(Setback::unexpected("a refusal", "a login")) };
        let error = transcript.step("login", failing).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Failure);
        assert_eq!(error.to_string(), "step 1 (login) did not go as told: expected a refusal, seen a login");
        assert_eq!(
            out.text(),
            "   1  ✗  login\n           expected  a refusal\n           seen      a login\n"
        );
    }

    #[tokio::test]
    async fn json_is_one_step_a_line() {
        let (mut output, out, _) = capture::output(OutputFormat::Json);
        let mut transcript = Transcript::new(&mut output, clock());
        transcript.act("First").unwrap();
        transcript.step("login", async { Ok(((), "in".to_owned())) }).await.unwrap();
        transcript.end().unwrap();
        assert_eq!(
            out.text(),
            "{\"step\":1,\"act\":\"First\",\"title\":\"login\",\"outcome\":\"ok\",\"seen\":\"in\",\"milliseconds\":0}\n\
             {\"demo\":\"ok\",\"steps\":1,\"milliseconds\":0}\n"
        );
    }
}
