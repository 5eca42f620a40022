//! What the doctor is told of the switch.

use super::{
    KINDS, MARKS, look,
    look::{Registry, Switch, install},
};
use crate::{
    domain::{Access, Role},
    target::{
        Expiry, Finding, TargetError,
        mysql::{
            Mysql, connect::Server, examine::held, grants::Grants, identity, link::Link,
            privileges::Privilege,
        },
    },
};

/// Whether accounts expire on this server with nobody there.
pub(in crate::target::mysql) async fn findings(
    target: &Mysql,
    link: &mut Link<'_>,
    (grants, roles): (&Grants, &[&Role]),
) -> Result<Vec<Finding>, TargetError> {
    let seen = look(link).await?;
    let mut findings = Vec::new();
    match seen.trouble(link, &target.settings.name, MARKS) {
        None => {
            let definer = seen.definer().unwrap_or_default();
            let words = "accounts expire with nobody there: the dead-man's switch runs with the rights of";
            findings.push(Finding::fine(format!("{words} {definer}")));
        }
        Some(trouble) if target.settings.expiry == Expiry::Issuer => {
            let words =
                format!("while Mayfly is down, accounts do not expire on this server: {}", trouble.words);
            findings.push(Finding::warning(words).mended_by(trouble.remedy));
        }
        Some(trouble) => {
            let words = format!("nothing is issued, as accounts would not expire: {}", trouble.words);
            findings.push(Finding::problem(words).mended_by(trouble.remedy));
        }
    }
    let Some(definer) = seen.definer() else { return Ok(findings) };
    findings.push(held(&Privilege::Expiries, grants, link));
    findings.extend(definer_findings(link, definer, roles).await?);
    findings.extend(old_finding(target, link, &seen, roles));
    if seen.is_newer() {
        findings.push(Finding::warning("the dead-man's switch is of a later version than this Mayfly knows"));
    }
    if seen.is_altered() {
        let words = "the event of the dead-man's switch does not do what it does in this version";
        let remedy = format!("-- mayfly doctor --config FILE --install {}", target.settings.name);
        findings.push(Finding::problem(words).mended_by(remedy));
    }
    if identity::drawn(link.connection()).await?.is_none() {
        let words = "the server has no identity that its replicas share, so a failover to one looks like another server";
        let remedy = format!("-- mayfly doctor --config FILE --install {}", target.settings.name);
        findings.push(Finding::problem(words).mended_by(remedy));
    }
    findings.extend(overdue_finding(link, &seen).await?);
    findings.extend(overdue_elevations(link, &seen).await);
    Ok(findings)
}

/// That an older version is there, which serves accounts that Mayfly makes and no others.
fn old_finding(target: &Mysql, link: &Link<'_>, seen: &Switch, roles: &[&Role]) -> Option<Finding> {
    let version = seen.old_version()?;
    if seen.trouble(link, &target.settings.name, MARKS).is_some() {
        return None;
    }
    let hands_out = roles.iter().any(|role| {
        matches!(role.access, Access::Checkout { .. } | Access::Elevation { ends_by_itself: true, .. })
    });
    let finding = match (seen.trouble(link, &target.settings.name, KINDS), target.settings.expiry) {
        (Some(trouble), Expiry::Server) if hands_out => Finding::problem(format!(
            "no existing account is handed out or elevated, as that would not expire: {}",
            trouble.words
        )),
        (Some(trouble), Expiry::Issuer) if hands_out => Finding::warning(format!(
            "while Mayfly is down, existing accounts stay handed out or elevated: {}",
            trouble.words
        )),
        _ => Finding::warning(format!(
            "the dead-man's switch is of version {version}, which does not serve existing accounts"
        )),
    };
    Some(finding.mended_by(install(&target.settings.name)))
}

/// What the definer of the switch lacks, where it is not the administration account and its rights can be seen.
async fn definer_findings(
    link: &mut Link<'_>,
    definer: &str,
    roles: &[&Role],
) -> Result<Vec<Finding>, TargetError> {
    if definer == link.server().administrator {
        return Ok(Vec::new());
    }
    let Ok(sets) = link.batch(&[format!("SHOW GRANTS FOR {definer}")]).await else { return Ok(Vec::new()) };
    let lines = sets.into_iter().flatten().filter_map(|row| row.get_opt::<String, _>(0)?.ok());
    let grants = Grants::read(&lines.collect::<Vec<_>>());
    let server = Server { administrator: definer.to_owned(), ..link.server().clone() };
    let flavour = link.server().flavour;
    let mut runs_with = vec![
        Privilege::CreateUser,
        Privilege::SeeSessions,
        Privilege::EndSessions,
        Privilege::watching("EVENT"),
        Privilege::watching("SELECT"),
        Privilege::watching("UPDATE"),
        Privilege::watching("DELETE"),
    ];
    for role in roles.iter().filter(|role| matches!(role.access, Access::Elevation { .. })) {
        let hands = role.member_of.iter().map(|group| Privilege::Hand(group.clone()));
        runs_with.extend(hands.filter(|hands| !runs_with.contains(hands)).collect::<Vec<_>>());
    }
    let lacking = runs_with.iter().filter(|needed| !needed.is_held(&grants, flavour));
    let grants: Vec<String> = lacking.map(|needed| needed.grant(&server)).collect();
    if grants.is_empty() {
        return Ok(Vec::new());
    }
    let words = format!("{definer}, with whose rights the dead-man's switch runs, lacks some of them");
    Ok(vec![Finding::problem(words).mended_by(grants.join("\n"))])
}

/// Accounts the switch ought to have locked by now.
async fn overdue_finding(link: &mut Link<'_>, seen: &Switch) -> Result<Option<Finding>, TargetError> {
    let ours = match seen.registry() {
        Registry::Whole => "(LEFT(user, 3) = 'mf_' OR kind = 'checkout')",
        _ => "LEFT(user, 3) = 'mf_'",
    };
    let question = format!(
        "SELECT COUNT(*), MAX(trouble) FROM mayfly.accounts \
         WHERE expires_at < UTC_TIMESTAMP(6) - INTERVAL 10 SECOND AND locked_at IS NULL AND {ours}"
    );
    let Ok(sets) = link.batch(&[question]).await else {
        let words = "the table of the dead-man's switch cannot be read";
        return Ok(Some(Finding::problem(words).mended_by(Privilege::Expiries.grant(link.server()))));
    };
    let row = sets.into_iter().flatten().next();
    let overdue: u64 = row.as_ref().and_then(|row| row.get_opt(0)?.ok()).unwrap_or_default();
    let trouble: Option<String> = row.and_then(|row| row.get_opt::<Option<String>, _>(1)?.ok()).flatten();
    let trouble = trouble.map_or(String::new(), |trouble| format!(" ({trouble})"));
    Ok((overdue > 0).then(|| {
        Finding::problem(format!("the dead-man's switch has not locked {overdue} expired accounts{trouble}"))
    }))
}

/// Elevations the switch ought to have ended by now.
async fn overdue_elevations(link: &mut Link<'_>, seen: &Switch) -> Option<Finding> {
    if seen.registry() != Registry::Whole {
        return None;
    }
    let question = "SELECT COUNT(*), MAX(role), MAX(trouble) FROM mayfly.elevations e \
         WHERE expires_at < UTC_TIMESTAMP(6) - INTERVAL 10 SECOND AND revoked_at IS NULL AND NOT EXISTS \
         (SELECT 1 FROM mayfly.elevations o WHERE o.user = e.user AND o.host = e.host AND o.role = e.role \
          AND o.revoked_at IS NULL AND o.expires_at > UTC_TIMESTAMP(6))";
    let rows = link.batch(&[question.to_owned()]).await.ok()?;
    let row = rows.into_iter().flatten().next()?;
    let overdue: u64 = row.get_opt(0)?.ok()?;
    if overdue == 0 {
        return None;
    }
    let text = |column| row.get_opt::<Option<String>, usize>(column)?.ok()?;
    let trouble = text(2).map_or(String::new(), |trouble| format!(" ({trouble})"));
    let words = format!(
        "the dead-man's switch has not taken back {overdue} roles that were given for a while{trouble}"
    );
    let definer = Server { administrator: seen.definer()?.to_owned(), ..link.server().clone() };
    Some(Finding::problem(words).mended_by(Privilege::Hand(text(1)?).grant(&definer)))
}
