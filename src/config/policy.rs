//! `[policy]`: policy files, and where local time is taken.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::tz::TimeZone;

use super::{
    reader::{Reader, quoted},
    remark::{Place, Remark},
    section::Section,
    target::Draft,
};
use crate::{
    domain::RoleName,
    policy::{Factor, Mistake, Policies, Rules, Source},
};

/// How policy files end.
const EXTENSION: &str = "cedar";

/// Bytes all policy files may have together.
const MOST_TEXT: usize = 16 * 1024 * 1024;

/// Everything that decides. `None`: something is wrong.
pub(super) fn policies(
    root: &Section<'_>,
    targets: &[Draft],
    factors: Option<Vec<Factor>>,
    conflicts: Option<&BTreeMap<RoleName, BTreeSet<RoleName>>>,
) -> Option<Arc<Policies>> {
    let section = root.child("policy");
    let (sources, zone) = (sources(&section), zone(&section));
    let rules = Rules {
        sources: sources?,
        zone: zone?,
        factors: factors?,
        targets: targets.iter().filter_map(Draft::facts).collect(),
        conflicts: conflicts?.clone(),
    };
    match Policies::new(rules) {
        Ok(policies) => {
            for doubt in policies.doubts() {
                root.reader.warn_elsewhere(remark(doubt));
            }
            Some(Arc::new(policies))
        }
        Err(mistakes) => {
            for mistake in &mistakes {
                root.reader.complain_elsewhere(remark(mistake));
            }
            None
        }
    }
}

fn remark(mistake: &Mistake) -> Remark {
    Remark {
        file: mistake.file.clone(),
        position: mistake.position,
        key: mistake.policy.clone().unwrap_or_default(),
        message: mistake.message.clone(),
        excerpt: None,
    }
}

fn zone(section: &Section<'_>) -> Option<TimeZone> {
    let name = section.text("time_zone")?;
    let zone = TimeZone::get(&name.value);
    zone.map_err(|_| {
        let wanted = quoted(&name.value);
        section.reader.complain(
            &name.at,
            format!("there is no time zone {wanted}: write it like \"Europe/Berlin\" or \"UTC\""),
        );
    })
    .ok()
}

/// The files named, then those of the directory in the order of their names.
fn sources(section: &Section<'_>) -> Option<Vec<Source>> {
    let (files, directory) = (section.texts("files"), section.path("directory"));
    let named = ["files", "directory", "time_zone"].iter().any(|word| section.written(word).is_some());
    if section.is_written() && !named {
        section.reader.warn(&section.at, "names no policy: write directory = \"…\" or files = [\"…\"]");
    }
    let mut paths: Vec<(PathBuf, Place)> =
        files?.into_iter().map(|file| (section.reader.directory.join(&file.value), file.at)).collect();
    if let Some(directory) = directory {
        let found = in_directory(section.reader, &directory.value, &directory.at)?;
        paths.extend(found.into_iter().map(|path| (path, directory.at.clone())));
    } else if section.written("directory").is_some() {
        return None;
    }
    let mut seen = BTreeSet::new();
    // Each is read before one that cannot be is given up on.
    let sources: Vec<Option<Source>> = paths
        .into_iter()
        .map(|(path, at)| {
            if !seen.insert(path.clone()) {
                let shown = quoted(&path.to_string_lossy());
                section.reader.complain(&at, format!("{shown} is read twice"));
                return None;
            }
            source(section.reader, &path, &at)
        })
        .collect();
    let sources: Vec<Source> = sources.into_iter().collect::<Option<_>>()?;
    if sources.iter().map(|source| source.text.len()).sum::<usize>() > MOST_TEXT {
        let message = format!("the policies are longer than {MOST_TEXT} bytes together");
        section.reader.complain(&section.at, message);
        return None;
    }
    Some(sources)
}

fn in_directory(reader: &Reader<'_>, directory: &Path, at: &Place) -> Option<Vec<PathBuf>> {
    let shown = quoted(&directory.to_string_lossy());
    let mut paths = match reader.environment.entries(directory) {
        Ok(paths) => paths,
        Err(error) => {
            reader.complain(at, format!("cannot read {shown}: {error}"));
            return None;
        }
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    paths.sort();
    if paths.is_empty() {
        reader.complain(at, format!("there is no file *.{EXTENSION} in {shown}"));
        return None;
    }
    Some(paths)
}

fn source(reader: &Reader<'_>, path: &Path, at: &Place) -> Option<Source> {
    let name = path.to_string_lossy().into_owned();
    match reader.environment.read(path) {
        Ok(text) => Some(Source { name, text: text.as_str().to_owned() }),
        Err(error) => {
            let why = match error.kind() {
                io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
                _ => error.to_string(),
            };
            reader.complain(at, format!("cannot read {}: {why}", quoted(&name)));
            None
        }
    }
}
