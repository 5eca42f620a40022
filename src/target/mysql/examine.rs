//! What `mayfly doctor` is told: everything roles will need, looked at without changing anything.

use jiff::SignedDuration;

use super::{
    Mysql, connect,
    create::several_groups,
    existing,
    flavour::Flavour,
    found,
    grants::Grants,
    handing,
    link::{Link, within},
    privileges::{self, Privilege},
    quote, switch,
};
use crate::{
    domain::{Access, OwnedObjects, Role},
    target::{
        AuthPlugin, Examination, Finding, NOTABLE_OFFSET, ServerVersion, TargetError, TargetErrorKind,
        TlsMode,
    },
};

/// Examines a server.
pub(super) async fn examine(target: &Mysql, roles: &[&Role]) -> Examination {
    let mut examination = Examination { server: None, clock_offset: None, findings: Vec::new() };
    let mut link = match target.issuing.acquire().await {
        Ok(link) => link,
        Err(error) => {
            examination.findings.push(problem(&error));
            if error.kind != TargetErrorKind::Replaced {
                return examination;
            }
            // It may be looked at all the same: whoever is to agree to it wants to know what it is.
            match target.issuing.acquire_to_look().await {
                Ok(link) => link,
                Err(_) => return examination,
            }
        }
    };
    let version = link.server().version.clone();
    let words = format!("{} {version} answers and lets {} in", target.flavour.title(), target.settings.user);
    examination.findings.push(Finding::fine(words));
    examination.server = Some(ServerVersion { engine: target.settings.engine, version });
    let outcome = within(target.settings.pool.statement, look(target, &mut link, roles, &mut examination));
    let outcome = outcome.await;
    if let Err(error) = link.release(outcome) {
        examination.findings.push(problem(&error));
    }
    examination
}

fn problem(error: &TargetError) -> Finding {
    let finding = Finding::problem(error.to_string());
    match &error.remedy {
        Some(remedy) => finding.mended_by(remedy.clone()),
        None => finding,
    }
}

async fn look(
    target: &Mysql,
    link: &mut Link<'_>,
    roles: &[&Role],
    examination: &mut Examination,
) -> Result<(), TargetError> {
    let clock = link.clock();
    let offset = connect::clock_offset(link.connection(), clock).await?.offset;
    examination.clock_offset = Some(offset);
    let findings = &mut examination.findings;
    findings.push(clock_finding(offset));
    let grants = own_grants(link).await?;
    if grants.has("ALL PRIVILEGES", None) || grants.has("SUPER", None) {
        let words = "the administration account may do everything on this server; it needs far less";
        findings.push(Finding::warning(words));
    }
    let basic = Privilege::basic(target.flavour);
    findings.extend(basic.iter().map(|needed| held(needed, &grants, link)));
    findings.extend(server_findings(target, link, (&grants, roles)).await?);
    let mut needed: Vec<Privilege> = Vec::new();
    for role in roles {
        findings.extend(role_findings(link, role, &grants).await?);
        findings.extend(existing::findings(link, role).await?);
        for privilege in of_objects(link, role, &grants).await? {
            if !needed.contains(&privilege) {
                needed.push(privilege);
            }
        }
    }
    findings.extend(needed.iter().map(|needed| held(needed, &grants, link)));
    Ok(())
}

fn clock_finding(offset: SignedDuration) -> Finding {
    if offset.abs() > NOTABLE_OFFSET {
        Finding::warning(format!(
            "the server's clock and this machine's are {:.0} s apart",
            offset.as_secs_f64()
        ))
    } else {
        Finding::fine("the clocks agree")
    }
}

pub(super) fn held(needed: &Privilege, grants: &Grants, link: &Link<'_>) -> Finding {
    let purpose = needed.purpose();
    if needed.is_held(grants, link.server().flavour) {
        Finding::fine(format!("the administration account can {purpose}"))
    } else {
        Finding::problem(format!("the administration account cannot {purpose}"))
            .mended_by(needed.grant(link.server()))
    }
}

/// What the administration account has, its active roles included.
async fn own_grants(link: &mut Link<'_>) -> Result<Grants, TargetError> {
    let question = match link.server().flavour {
        Flavour::Mariadb => "SHOW GRANTS".to_owned(),
        Flavour::Mysql => {
            let roles: Vec<String> = link.ask("its own roles", "SELECT CURRENT_ROLE()").await?;
            // The server's own quoted list, or the word NONE.
            match roles.first().map(String::as_str) {
                None | Some("NONE") => "SHOW GRANTS".to_owned(),
                Some(roles) => format!("SHOW GRANTS FOR CURRENT_USER() USING {roles}"),
            }
        }
    };
    Ok(Grants::read(&link.ask("its own privileges", &question).await?))
}

/// Settings of the server that matter whatever the roles.
async fn server_findings(
    target: &Mysql,
    link: &mut Link<'_>,
    needs: (&Grants, &[&Role]),
) -> Result<Vec<Finding>, TargetError> {
    let mut findings = switch::findings(target, link, needs).await?;
    findings.extend(tls_finding(target, link).await?);
    if target.flavour == Flavour::Mariadb {
        findings.extend(plugin_findings(target.settings.auth_plugin, link).await?);
    }
    Ok(findings)
}

async fn tls_finding(target: &Mysql, link: &mut Link<'_>) -> Result<Option<Finding>, TargetError> {
    if target.settings.tls.mode == TlsMode::Disable {
        let words = "Mayfly talks to this server in clear text; verifiers can be seen on the way";
        return Ok(Some(Finding::warning(words).mended_by("-- in Mayfly's configuration: tls.mode")));
    }
    let status: Vec<(String, String)> = link.ask("TLS", "SHOW SESSION STATUS LIKE 'Ssl_version'").await?;
    let version = status.first().map_or("", |(_, version)| version.as_str());
    Ok((!version.is_empty()).then(|| Finding::fine(format!("the connection is encrypted ({version})"))))
}

/// MariaDB: what verifiers need of plugins.
async fn plugin_findings(plugin: AuthPlugin, link: &mut Link<'_>) -> Result<Vec<Finding>, TargetError> {
    let active: Vec<(String, String)> = link
        .ask(
            "its plugins",
            "SELECT PLUGIN_NAME, PLUGIN_TYPE FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE'",
        )
        .await?;
    let mut findings = Vec::new();
    if plugin == AuthPlugin::Ed25519 && !active.iter().any(|(name, _)| name == "ed25519") {
        let words = "the server does not have the plugin ed25519, which accounts are to log in with";
        findings.push(Finding::problem(words).mended_by("INSTALL SONAME 'auth_ed25519';"));
    }
    let validates = active.iter().any(|(_, kind)| kind == "PASSWORD VALIDATION");
    let strict: Vec<u8> = link.ask("its settings", "SELECT @@GLOBAL.strict_password_validation").await?;
    if validates && strict.first() == Some(&1) {
        let words = "a plugin validates passwords, and the server refuses verifiers for its sake";
        findings.push(Finding::problem(words).mended_by("SET GLOBAL strict_password_validation = OFF;"));
    }
    Ok(findings)
}

/// Groups exist and can be handed on; hosts can match; the role objects are reassigned to is fit for it.
async fn role_findings(
    link: &mut Link<'_>,
    role: &Role,
    grants: &Grants,
) -> Result<Vec<Finding>, TargetError> {
    let flavour = link.server().flavour;
    let mut findings = Vec::new();
    if flavour == Flavour::Mariadb && role.member_of.len() > 1 && role.access == Access::Ephemeral {
        let error = several_groups(&role.member_of);
        findings.push(Finding::problem(format!("role {}: {error}", role.name)));
        findings.extend(error.remedy.map(|remedy| Finding::problem("one group for all").mended_by(remedy)));
    }
    for group in &role.member_of {
        if exists(link, group).await? {
            findings.push(held(&Privilege::Hand(group.clone()), grants, link));
            if Privilege::SeeStanding.is_held(grants, flavour) {
                findings.extend(handing::findings(link, role.name.as_str(), group).await?);
            }
        } else {
            let words = format!("role {}: there is no group role {group} on the server", role.name);
            let create = format!("CREATE ROLE {};", quote::identifier(group)?);
            findings.push(Finding::problem(words).mended_by(create));
        }
    }
    findings.extend(host_finding(link, role).await?);
    if let OwnedObjects::Reassign(owner) = &role.owned_objects {
        findings.push(owner_finding(link, role, owner, grants).await?);
    }
    Ok(findings)
}

async fn exists(link: &mut Link<'_>, group: &str) -> Result<bool, TargetError> {
    let group = quote::literal(group)?;
    let question = match link.server().flavour {
        Flavour::Mysql => {
            format!("SELECT COUNT(*) FROM mysql.user WHERE User = {group} AND Host = '%'")
        }
        Flavour::Mariadb => {
            format!("SELECT COUNT(*) FROM mysql.user WHERE User = {group} AND is_role = 'Y'")
        }
    };
    let found: Vec<u64> = link.ask(super::end::ACCOUNTS, &question).await?;
    Ok(found.first().is_some_and(|&count| count > 0))
}

async fn host_finding(link: &mut Link<'_>, role: &Role) -> Result<Option<Finding>, TargetError> {
    let skips: Vec<u8> = link.ask("its settings", "SELECT @@GLOBAL.skip_name_resolve").await?;
    let by_name = role.hosts.iter().find(|host| {
        let text = host.as_str();
        !text.contains(':') && text.chars().any(|c| c.is_ascii_alphabetic())
    });
    Ok(by_name.filter(|_| skips.first() == Some(&1)).map(|host| {
        Finding::problem(format!(
            "role {}: the server does not resolve names (skip_name_resolve), so nobody connects from {}",
            role.name,
            host.as_str()
        ))
    }))
}

/// A role that cannot log in: on MariaDB every role, on MySQL a locked account.
async fn owner_finding(
    link: &mut Link<'_>,
    role: &Role,
    owner: &str,
    grants: &Grants,
) -> Result<Finding, TargetError> {
    if !exists(link, owner).await? {
        let words = format!("role {}: there is no role {owner} to hand objects to", role.name);
        return Ok(Finding::problem(words).mended_by(format!("CREATE ROLE {};", quote::identifier(owner)?)));
    }
    if link.server().flavour == Flavour::Mysql {
        if !Privilege::SeeLocks.is_held(grants, Flavour::Mysql) {
            return Ok(held(&Privilege::SeeLocks, grants, link));
        }
        let question = format!(
            "SELECT account_locked FROM mysql.user WHERE User = {} AND Host = '%'",
            quote::literal(owner)?
        );
        let locked: Vec<String> = link.ask(super::end::ACCOUNTS, &question).await?;
        if locked.first().is_none_or(|locked| locked != "Y") {
            let words = format!("role {}: {owner}, to which objects are handed, can log in", role.name);
            let lock = format!("ALTER USER {} ACCOUNT LOCK;", quote::identifier(owner)?);
            return Ok(Finding::problem(words).mended_by(lock));
        }
    }
    if has_privileges(link, owner, grants).await? {
        let words = "has privileges of its own, with which what it is handed would run";
        let revoke = format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {};", quote::identifier(owner)?);
        return Ok(Finding::problem(format!("role {}: {owner} {words}", role.name)).mended_by(revoke));
    }
    Ok(Finding::fine(format!("objects can be handed to {owner}")))
}

/// Whether a role may do anything by itself; on MySQL, anything everywhere or on a database.
async fn has_privileges(link: &mut Link<'_>, owner: &str, grants: &Grants) -> Result<bool, TargetError> {
    match link.server().flavour {
        Flavour::Mysql if !Privilege::SeeStanding.is_held(grants, Flavour::Mysql) => Ok(false),
        Flavour::Mysql => Ok(!found::of_group(link, owner).await?.0.is_empty()),
        Flavour::Mariadb => {
            let question = format!("SHOW GRANTS FOR {}", quote::identifier(owner)?);
            let granted = Grants::read(&link.ask("a role's privileges", &question).await?);
            Ok(granted.privileges().iter().any(|granted| !granted.names("USAGE")))
        }
    }
}

/// What the role's rule for objects needs, where its groups let accounts define any.
async fn of_objects(link: &mut Link<'_>, role: &Role, own: &Grants) -> Result<Vec<Privilege>, TargetError> {
    let server = link.server().clone();
    let mut needed = Vec::new();
    for group in &role.member_of {
        let visible = match server.flavour {
            Flavour::Mysql => own.hands(group) || own.includes(group),
            Flavour::Mariadb => Privilege::SeeAccounts.is_held(own, server.flavour),
        };
        if !visible || !exists(link, group).await? {
            continue;
        }
        let group = quote::identifier(group)?;
        let question = match server.flavour {
            Flavour::Mysql => format!("SHOW GRANTS FOR CURRENT_USER() USING {group}"),
            Flavour::Mariadb => format!("SHOW GRANTS FOR {group}"),
        };
        let grants = Grants::read(&link.ask("a group's privileges", &question).await?);
        needed.extend(privileges::for_objects(&grants, &role.owned_objects, &server));
    }
    Ok(needed)
}
