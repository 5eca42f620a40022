//! Who takes part in an approval: people with accounts of their own, a job of a CI system, somebody from outside.

use std::time::Duration;

use super::{
    client::Client,
    stage::Stage,
    transcript::{Setback, Told},
};
use crate::{
    api::proto,
    cli::{CliError, Connection, Credential, Exit, trial, view},
    domain::Password,
    identity::people::TotpSecret,
    random::SystemRandom,
    target::generate_password,
};

/// A person who is signed in.
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) line: Connection,
    password: Password,
}

impl Stage<'_> {
    /// Makes an account for a person, who sets a password by the code that the administrator passes on, and signs in.
    pub(super) async fn person(&mut self, name: &'static str, groups: &[&str]) -> Result<Person, CliError> {
        let administrator = &self.administrator;
        let message = proto::CreateUserRequest {
            user: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Default::default()
        };
        let made = administrator.users().create_user(administrator.call(message)).await;
        let code = made.map_err(|status| administrator.explain(&status))?.into_inner().code;
        let password = generate_password(&SystemRandom);
        let nobody = trial::stranger(self.installation.listen())?;
        let message =
            proto::EnrolUserRequest { user: name.to_owned(), code, password: password.expose().to_owned() };
        let enrolled = nobody.users().enrol_user(nobody.call(message)).await;
        enrolled.map_err(|status| nobody.explain(&status))?;
        let message = proto::SignInRequest {
            user: name.to_owned(),
            password: password.expose().to_owned(),
            code: String::new(),
        };
        let signed_in = nobody.sessions().sign_in(nobody.call(message)).await;
        let secret = signed_in.map_err(|status| nobody.explain(&status))?.into_inner().secret;
        let line = self.line(name, &secret)?;
        self.passwords.push(password.clone());
        Ok(Person { name, line, password })
    }

    /// A line for whoever holds a secret: of a session, or a JWT.
    pub(super) fn line(&self, name: &str, secret: &str) -> Result<Connection, CliError> {
        let file = self.installation.write_private(&format!("{name}.session"), secret);
        trial::connect(self.installation.listen(), &file.map_err(|error| trial::failed(&error))?)
    }

    /// A second factor for a person: offered, and confirmed by its first code. Whoever confirms it has given it just now.
    pub(super) async fn second_factor(&self, person: &Person) -> Told<()> {
        let line = &person.line;
        let password = person.password.expose().to_owned();
        let message = proto::OfferSecondFactorRequest { password };
        let offered = line.users().offer_second_factor(line.call(message)).await;
        let secret = offered.map_err(|status| line.explain(&status))?.into_inner().secret;
        // What the application on her telephone does from here on.
        let secret = TotpSecret::read(&Password::new(secret), person.name)
            .map_err(|error| Setback::unexpected("a second factor's secret", error.to_string()))?;
        let message = proto::ConfirmSecondFactorRequest { code: secret.code(self.clock.now()) };
        let confirmed = line.users().confirm_second_factor(line.call(message)).await;
        let codes = confirmed.map_err(|status| line.explain(&status))?.into_inner().recovery_codes;
        Ok(((), format!("confirmed by a code of the application; {} recovery codes", codes.len())))
    }

    /// Something that can log in with a credential that was handed out.
    pub(super) fn client(&mut self, credential: Option<proto::Credential>) -> Result<Client, CliError> {
        let incomplete = || CliError::new(Exit::Internal, "the server's reply is incomplete");
        let credential = Credential::from_proto(credential.ok_or_else(incomplete)?)?;
        self.passwords.push(credential.password.clone());
        Client::new(credential, self.installation)
    }
}

/// A role asked for, for a time, with a reason.
pub(super) fn wish(role: &str, ttl: Duration, reason: &str) -> proto::CreateRequestRequest {
    proto::CreateRequestRequest {
        role: role.to_owned(),
        ttl: Some(view::to_proto(ttl)),
        justification: reason.to_owned(),
        ..Default::default()
    }
}

/// What the server says against a call that must not succeed.
pub(super) fn refusal<T>(
    line: &Connection,
    answer: Result<tonic::Response<T>, tonic::Status>,
    expected: &str,
) -> Result<String, Setback> {
    match answer {
        Err(status) => Ok(line.explain(&status).to_string()),
        Ok(_) => Err(Setback::unexpected(expected, "it was done")),
    }
}
