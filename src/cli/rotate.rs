//! `mayfly target rotate` and `mayfly store reseal`: passwords of administration accounts.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{CliError, Context, Exit, error::printable, view};
use crate::api::proto;

/// Arguments of `mayfly target rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The target: its name, or targets/NAME
    #[arg(value_name = "TARGET")]
    pub target: String,
}

/// Gives a target's administration account a new password, which nobody is shown.
///
/// # Errors
/// What the server refuses.
pub(super) async fn rotate(args: RotateArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        name: String,
        rotate_time: Option<Timestamp>,
        resumed: bool,
    }
    let connection = context.connect()?;
    let spinner = context.output.spinner("rotating");
    let message = proto::RotateTargetRequest { name: view::qualified("targets", &args.target) };
    let reply = connection.targets().rotate_target(connection.call(message)).await;
    drop(spinner);
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    let rotate_time = view::moment(reply.rotate_time);
    if context.output.is_json() {
        context.output.json(&Reply { name: reply.name, rotate_time, resumed: reply.resumed })?;
    } else {
        let what = if reply.resumed { "a rotation that had begun earlier is complete" } else { "rotated" };
        context.output.data(&format!("{}: {what}", printable(view::bare(&reply.name))))?;
    }
    Ok(Exit::Ok)
}

/// Arguments of `mayfly store reseal`.
#[derive(Debug, Args)]
pub struct ResealArgs {}

/// Has the server seal everything anew with its first key.
///
/// # Errors
/// What the server refuses.
pub(super) async fn reseal(_: ResealArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        resealed_count: u32,
        unchanged_count: u32,
    }
    let connection = context.connect()?;
    let reply = connection.targets().reseal_secrets(connection.call(proto::ResealSecretsRequest {})).await;
    let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
    let (resealed_count, unchanged_count) = (reply.resealed_count, reply.unchanged_count);
    if context.output.is_json() {
        context.output.json(&Reply { resealed_count, unchanged_count })?;
    } else {
        let text =
            format!("{resealed_count} sealed anew, {unchanged_count} were sealed with the first key already");
        context.output.data(&text)?;
    }
    Ok(Exit::Ok)
}
