//! Mail, through a server of the operator's.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message as Letter, Tokio1Executor,
    message::{
        Mailbox,
        header::{ContentType, Header, HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};

use super::{
    Encryption, MailSettings, Message, Transport, Undelivered,
    clean::{Place, one_line},
    trust,
};

/// Characters of a subject.
const SUBJECT: usize = 200;

/// Sends mail.
pub(super) struct Mail {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Address>,
    to_principal: bool,
    timeout: Duration,
}

impl Mail {
    pub(super) fn open(
        settings: &MailSettings,
        ca_file: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let tls = match settings.encryption {
            Encryption::None => Tls::None,
            Encryption::StartTls => Tls::Required(parameters(&settings.host, ca_file)?),
            Encryption::Tls => Tls::Wrapper(parameters(&settings.host, ca_file)?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .timeout(Some(timeout))
            .tls(tls);
        if let Some((user, password)) = &settings.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        let address =
            |text: &String| text.parse::<Address>().map_err(|_| format!("{text:?} is no mail address"));
        Ok(Self {
            server: builder.build(),
            from: Mailbox::new(Some("Mayfly".to_owned()), address(&settings.from)?),
            to: settings.to.iter().map(address).collect::<Result<_, _>>()?,
            to_principal: settings.to_principal,
            timeout,
        })
    }

    fn letter(&self, message: &Message<'_>) -> Result<Option<Letter>, Undelivered> {
        let text = message.text(Place::Plain);
        let (subject, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let subject: String = one_line(subject).chars().take(SUBJECT).collect();
        let domain = self.from.email.domain();
        let mut builder = Letter::builder()
            .from(self.from.clone())
            .subject(subject)
            .message_id(Some(format!("<{}@{domain}>", message.id)))
            .date(message.now.into())
            .header(ContentType::TEXT_PLAIN)
            .header(AutoSubmitted);
        let also = message.event.mail.as_deref().filter(|_| self.to_principal);
        // What an identity provider says is an address may be anything.
        let also = also.and_then(|text| text.parse::<Address>().ok());
        let mut to = self.to.clone();
        to.extend(also.filter(|one| !self.to.contains(one)));
        if to.is_empty() {
            return Ok(None);
        }
        for address in to {
            builder = builder.to(Mailbox::new(None, address));
        }
        let body = if rest.is_empty() { text.clone() } else { rest.to_owned() };
        let letter = builder.body(body).map_err(|_| Undelivered::because("the mail cannot be written"))?;
        Ok(Some(letter))
    }
}

fn parameters(host: &str, ca_file: Option<&Path>) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(file) = ca_file {
        builder = builder.certificate_store(CertificateStore::None);
        for authority in trust::authorities(file)? {
            let authority = Certificate::from_der(authority.to_vec())
                .map_err(|_| format!("{} has a certificate that cannot be used", file.display()))?;
            builder = builder.add_root_certificate(authority);
        }
    }
    builder.build_rustls().map_err(|_| "TLS cannot be set up".to_owned())
}

/// Says that a program wrote it, so that no other program answers (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[async_trait]
impl Transport for Mail {
    async fn deliver(&self, message: &Message<'_>) -> Result<(), Undelivered> {
        // Without anybody to write to there is nothing to do.
        let Some(letter) = self.letter(message)? else { return Ok(()) };
        // The driver's bound is for each step of the conversation.
        match tokio::time::timeout(self.timeout, self.server.send(letter)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Undelivered::because(words(&error))),
            Err(_) => Err(Undelivered::because("the mail server did not answer in time")),
        }
    }
}

/// What went wrong, without what the server said: that may repeat what it was sent.
fn words(error: &lettre::transport::smtp::Error) -> String {
    if let Some(code) = error.status() {
        return format!("the mail server answered {code}");
    }
    if error.is_timeout() {
        return "the mail server did not answer in time".to_owned();
    }
    if let Some(why) = trust::distrusted(error) {
        return format!("the mail server's certificate is not trusted: {why}");
    }
    "the mail server cannot be reached, or does not speak as it should".to_owned()
}
