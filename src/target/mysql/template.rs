//! A role's own statements: rendered by type, run one by one, never split.

use jiff::Timestamp;

use super::{
    connect,
    errors::{self, Step},
    link::Link,
    quote,
};
use crate::{
    domain::{Account, LeaseId, Placeholder, Template},
    target::{LeasedAccount, Secret, TargetError, TargetErrorKind},
};

/// What placeholders stand for.
pub(super) struct Values<'a> {
    pub(super) account: &'a Account,
    pub(super) groups: &'a [String],
    pub(super) lease: LeaseId,
    pub(super) role: &'a str,
    pub(super) principal: &'a str,
    pub(super) secret: Option<&'a Secret>,
    pub(super) expires_at: Option<Timestamp>,
}

/// One rendered statement: which template it comes from, counted from 1, and whether an error may quote a secret of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    number: usize,
    secret: bool,
    text: String,
}

impl<'a> Values<'a> {
    /// For renewing (with the new expiry) and ending: an account that exists has no secret to give.
    pub(super) fn of_leased(leased: &LeasedAccount<'a>, expires_at: Option<Timestamp>) -> Self {
        Self {
            account: leased.account,
            groups: &leased.plan.member_of,
            lease: leased.lease,
            role: leased.role,
            principal: leased.principal.name.as_str(),
            secret: None,
            expires_at,
        }
    }

    /// Renders templates in order: `{{name}}` once per host, `{{group}}` once per group.
    pub(super) fn render(&self, templates: &[Template]) -> Result<Vec<Rendered>, TargetError> {
        let accounts = quote::accounts(self.account)?;
        let groups: Vec<String> =
            self.groups.iter().map(|group| quote::identifier(group)).collect::<Result<_, _>>()?;
        let mut rendered = Vec::new();
        for (index, template) in templates.iter().enumerate() {
            let secret = template.uses(Placeholder::Password) || template.uses(Placeholder::Verifier);
            for account in once_unless(template.uses(Placeholder::Name), &accounts) {
                for group in once_unless(template.uses(Placeholder::Group), &groups) {
                    let text = template.render(|placeholder| self.value(placeholder, account, group))?;
                    rendered.push(Rendered { number: index + 1, secret, text });
                }
            }
        }
        Ok(rendered)
    }

    fn value(&self, placeholder: Placeholder, account: &str, group: &str) -> Result<String, TargetError> {
        let absent = || {
            let message = format!("{{{{{}}}}} has no value at this step", placeholder.word());
            TargetError::new(TargetErrorKind::Refused, message)
        };
        match placeholder {
            Placeholder::Name => Ok(account.to_owned()),
            Placeholder::NameLiteral => quote::literal(self.account.name.as_str()),
            Placeholder::Group => Ok(group.to_owned()),
            Placeholder::Verifier => quote::literal(self.secret.ok_or_else(absent)?.verifier.as_str()),
            Placeholder::Password => quote::literal(self.secret.ok_or_else(absent)?.password.expose()),
            Placeholder::Expiration => self.expires_at.map(quote::timestamp).ok_or_else(absent),
            Placeholder::Lease => quote::literal(&self.lease.to_string()),
            Placeholder::Role => quote::literal(self.role),
            Placeholder::Principal => quote::literal(self.principal),
        }
    }

    /// Renders with the expiry on the server's clock, and runs. The session is made as good as new afterwards.
    pub(super) async fn run(&self, link: &mut Link<'_>, templates: &[Template]) -> Result<(), TargetError> {
        if templates.is_empty() {
            return Ok(());
        }
        let mut expires_at = self.expires_at;
        if let Some(at) = expires_at.as_mut()
            && templates.iter().any(|template| template.uses(Placeholder::Expiration))
        {
            let clock = link.clock();
            *at += connect::clock_offset(link.connection(), clock).await?.offset;
        }
        let statements = Values { expires_at, ..*self }.render(templates)?;
        for Rendered { number, secret, text } in statements {
            if let Err(failure) = link.run_foreign(&text).await {
                let failure = failure.during(Step::Template { number, secret });
                return Err(errors::explain(failure, link.server()));
            }
        }
        link.refresh().await;
        Ok(())
    }
}

/// The values to repeat a statement for; one empty value when it does not ask for any.
fn once_unless(repeats: bool, values: &[String]) -> Vec<&str> {
    if repeats { values.iter().map(String::as_str).collect() } else { vec![""] }
}
