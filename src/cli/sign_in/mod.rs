//! Signing in at an identity provider: in the browser of this machine, or with any other device.

mod browser;
mod device;
mod landing;

use tonic::Code;
use zeroize::Zeroizing;

use super::{CliError, Connection, Context, Exit, error::printable};
use crate::{api::proto, identity::assertion::is_trustworthy};

/// Where and how somebody wants to sign in.
#[derive(Debug)]
pub(super) struct Wanted {
    /// At which provider.
    pub(super) provider: proto::SignInProvider,
    /// With another device.
    pub(super) device: bool,
    /// The provider is to ask again.
    pub(super) fresh: bool,
}

/// A session that has begun, with its token.
pub(super) struct Begun {
    pub(super) session: proto::SignInSession,
    pub(super) secret: Zeroizing<String>,
}

/// The providers there are. A server that knows of none, because it is older, has none.
///
/// # Errors
/// When the server cannot be asked.
pub(super) async fn providers(connection: &Connection) -> Result<Vec<proto::SignInProvider>, CliError> {
    let call = connection.call(proto::ListSignInProvidersRequest {});
    match connection.sessions().list_sign_in_providers(call).await {
        Ok(reply) => Ok(reply.into_inner().providers),
        Err(status) if matches!(status.code(), Code::Unimplemented | Code::Unauthenticated) => Ok(Vec::new()),
        Err(status) => Err(connection.explain(&status)),
    }
}

/// The provider of a name, or, without one, the only one there is; `None`: there is none, and none was named.
///
/// # Errors
/// When there is none of that name, or several and none was named.
pub(super) fn choose(
    providers: Vec<proto::SignInProvider>,
    named: Option<&str>,
) -> Result<Option<proto::SignInProvider>, CliError> {
    let names: Vec<String> = providers.iter().map(|provider| printable(bare(provider))).collect();
    let known = names.join(", ");
    let Some(named) = named else {
        if providers.len() > 1 {
            let error = CliError::usage("there are several identity providers to sign in at");
            let error = error.hint(format!("--provider names one of them: {known}"));
            return Err(error.hint("or --user NAME, with a local account"));
        }
        return Ok(providers.into_iter().next());
    };
    let found = providers.into_iter().find(|provider| bare(provider) == named);
    if found.is_none() {
        let error = CliError::new(Exit::NotFound, format!("nobody signs in at {} here", printable(named)));
        return Err(if known.is_empty() {
            error.hint(
                "no identity provider is configured for people; --user NAME signs in with a local account",
            )
        } else {
            error.hint(format!("known are {known}"))
        });
    }
    Ok(found)
}

/// The provider's name without its collection.
pub(super) fn bare(provider: &proto::SignInProvider) -> &str {
    provider.name.strip_prefix("providers/").unwrap_or(&provider.name)
}

/// Signs somebody in at a provider.
///
/// # Errors
/// What the server or the provider refuses; when nobody signs in in time.
pub(super) async fn sign_in(
    connection: &Connection,
    wanted: &Wanted,
    context: &mut Context,
) -> Result<Begun, CliError> {
    let reply = if wanted.device {
        device::sign_in(connection, wanted, context).await?
    } else {
        in_browser(connection, wanted, context).await?
    };
    let secret = Zeroizing::new(reply.secret);
    let session = reply.session.filter(|_| !secret.is_empty());
    let session = session.ok_or_else(|| CliError::new(Exit::Internal, "the server's reply is incomplete"))?;
    Ok(Begun { session, secret })
}

async fn in_browser(
    connection: &Connection,
    wanted: &Wanted,
    context: &mut Context,
) -> Result<proto::CompleteSignInResponse, CliError> {
    let port = u16::try_from(wanted.provider.redirect_port).ok().filter(|port| *port != 0);
    let landing = landing::Landing::open(port).await?;
    let begun = begin(connection, wanted, landing.port()).await?;
    let url = addressed(&begun.authorization_uri)?;
    let provider = printable(bare(&wanted.provider));
    if browser::open(url, |name| std::env::var(name).ok()) {
        context.output.note(&format!("signing in at {provider} in the browser; if it does not open, go to"));
        context.output.note(&format!("  {url}"));
    } else {
        context.output.note(&format!("to sign in at {provider}, open this in a browser on this machine:"));
        context.output.note(&format!("  {url}"));
        context.output.note("without one: mayfly login --device");
    }
    let back = {
        let _spinner = context.output.spinner("waiting for the browser");
        let left = left(&begun, context);
        let late = || {
            CliError::new(Exit::Unauthenticated, "nobody signed in in time")
                .hint("begin again; without a browser on this machine: mayfly login --device")
        };
        tokio::time::timeout(left, landing.wait(&begun.state)).await.map_err(|_| late())??
    };
    let message = proto::CompleteSignInRequest {
        name: begun.name,
        secret: begun.secret,
        code: back.code,
        state: begun.state,
        issuer: back.issuer,
        error: back.error,
    };
    let reply = connection.sessions().complete_sign_in(connection.call(message)).await;
    reply.map(tonic::Response::into_inner).map_err(|status| connection.explain(&status))
}

async fn begin(
    connection: &Connection,
    wanted: &Wanted,
    port: u16,
) -> Result<proto::BeginSignInResponse, CliError> {
    let message = proto::BeginSignInRequest {
        provider: wanted.provider.name.clone(),
        redirect_port: port.into(),
        device: wanted.device,
        fresh: wanted.fresh,
    };
    let reply = connection.sessions().begin_sign_in(connection.call(message)).await;
    reply.map(tonic::Response::into_inner).map_err(|status| connection.explain(&status))
}

/// How long there is to complete a sign-in, by this machine's clock.
fn left(begun: &proto::BeginSignInResponse, context: &Context) -> std::time::Duration {
    let until = super::view::moment(begun.expire_time);
    let left = until.map(|until| until.duration_since(context.clock.now()));
    left.and_then(|left| left.try_into().ok()).unwrap_or_default()
}

/// An address that a browser may be sent to and a terminal may show. Whoever answers for the server does not open anything else.
fn addressed(url: &str) -> Result<&str, CliError> {
    if is_trustworthy(url) && url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(url);
    }
    Err(CliError::new(Exit::Internal, "the server names no address that a browser may be sent to"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(names: &[&str]) -> Vec<proto::SignInProvider> {
        let provider =
            |name: &&str| proto::SignInProvider { name: format!("providers/{name}"), redirect_port: 0 };
        names.iter().map(provider).collect()
    }

    fn chosen(names: &[&str], named: Option<&str>) -> Result<Option<String>, CliError> {
        choose(some(names), named).map(|found| found.map(|found| bare(&found).to_owned()))
    }

    #[test]
    fn the_only_provider_is_meant_unless_one_is_named() {
        assert_eq!(chosen(&[], None).unwrap(), None);
        assert_eq!(chosen(&["okta"], None).unwrap().as_deref(), Some("okta"));
        assert_eq!(chosen(&["okta", "entra"], Some("entra")).unwrap().as_deref(), Some("entra"));
        let several = chosen(&["okta", "entra"], None).unwrap_err();
        assert_eq!(several.exit(), Exit::Usage);
        for names in [&[][..], &["entra"]] {
            assert_eq!(chosen(names, Some("okta")).unwrap_err().exit(), Exit::NotFound);
        }
    }

    #[test]
    fn a_browser_is_sent_nowhere_odd() {
        assert!(addressed("https://id.example/auth?a=b").is_ok());
        for odd in [
            "",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "http://id.example/",
            "https://id.example/\u{1b}",
        ] {
            assert!(addressed(odd).is_err(), "{odd:?}");
        }
    }
}
