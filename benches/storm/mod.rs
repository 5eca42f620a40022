//! Nothing is measured here yet.

use super::frame::{Options, Outcome, Report};

/// Measures it.
#[expect(clippy::unused_async, reason = "what it will measure waits for servers")]
pub(crate) async fn measure(_options: &Options, _report: &mut Report) -> Outcome<()> {
    Ok(())
}
