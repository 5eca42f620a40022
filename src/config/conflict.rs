//! `roles.NAME.conflicts_with`: separation of duties.

use std::collections::{BTreeMap, BTreeSet};

use super::{keys, reader::quoted, section::Section};
use crate::domain::RoleName;

/// Pairs of roles that nobody may hold at once, both ways. `None`: something is wrong.
pub(super) fn conflicts(root: &Section<'_>) -> Option<BTreeMap<RoleName, BTreeSet<RoleName>>> {
    let (roles, mut conflicts) = (root.child("roles").children(), BTreeMap::<_, BTreeSet<_>>::new());
    let known: Vec<&str> = roles.iter().map(|(name, _)| name.value.as_str()).collect();
    let mut sound = true;
    for (name, section) in &roles {
        for other in section.texts("conflicts_with").unwrap_or_default() {
            let message = if other.value == name.value {
                "a role does not conflict with itself; to allow one lease at a time, set leases_per_principal = 1".to_owned()
            } else if known.contains(&other.value.as_str()) {
                // A name that is none was told where the role is read.
                if let (Ok(one), Ok(two)) = (name.value.parse::<RoleName>(), other.value.parse::<RoleName>())
                {
                    conflicts.entry(one.clone()).or_default().insert(two.clone());
                    conflicts.entry(two).or_default().insert(one);
                }
                continue;
            } else {
                let near = keys::nearest(&other.value, known.iter().copied());
                let hint = near.map_or_else(String::new, |near| format!("; did you mean {}?", quoted(near)));
                format!("there is no role {}{hint}", quoted(&other.value))
            };
            root.reader.complain(&other.at, message);
            sound = false;
        }
    }
    sound.then_some(conflicts)
}
