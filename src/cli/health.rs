//! `mayfly health`: whether the server serves, for supervisors and container health checks.

use clap::Args;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use super::{CliError, Connection, Context, Exit};

const EXAMPLES: &str = "Examples:
  mayfly health
  MAYFLY_ADDRESS=https://mayfly.internal:7440 mayfly health

Needs no token. Ends with 0 when the server serves, and with 8 when it does not or cannot be reached.";

/// Arguments of `mayfly health`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct HealthArgs {}

/// Runs `mayfly health`.
///
/// # Errors
/// When the server cannot be reached.
pub async fn run(_: HealthArgs, context: &mut Context) -> Result<Exit, CliError> {
    let connection = Connection::open_without_token(&context.global.connection)?;
    let question = connection.call(HealthCheckRequest { service: String::new() });
    let reply = connection.health().check(question).await;
    let status = reply.map_err(|status| connection.explain(&status))?.into_inner().status();
    let (word, exit) = match status {
        ServingStatus::Serving => ("serving", Exit::Ok),
        _ => ("not serving", Exit::Unavailable),
    };
    if context.output.is_json() {
        context.output.json(&serde_json::json!({ "status": word }))?;
    } else {
        context.output.data(word)?;
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use clap::Parser as _;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::transport::Server;

    use super::{
        super::{Cli, output::capture},
        *,
    };
    use crate::clock::SystemClock;

    async fn ask(address: SocketAddr) -> (Result<Exit, CliError>, String) {
        let cli =
            Cli::try_parse_from(["mayfly", "--address", &format!("http://{address}"), "health"]).unwrap();
        let (output, out, _) = capture::output(cli.global.output);
        let mut context = Context { global: cli.global, output, clock: Arc::new(SystemClock) };
        (run(HealthArgs {}, &mut context).await, out.text())
    }

    #[tokio::test]
    async fn tells_a_server_that_serves_from_one_that_does_not_and_one_that_is_not_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reporter, service) = tonic_health::server::health_reporter();
        let server =
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(server);

        let (exit, out) = ask(address).await;
        assert_eq!((exit.unwrap(), out.trim()), (Exit::Ok, "serving"));
        reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        let (exit, out) = ask(address).await;
        assert_eq!((exit.unwrap(), out.trim()), (Exit::Unavailable, "not serving"));

        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        let (exit, _) = ask(address).await;
        assert_eq!(exit.unwrap_err().exit(), Exit::Unavailable);
    }
}
