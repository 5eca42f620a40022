//! One look at everything: what was recorded, and what is looked up just now.

use std::sync::Arc;

use crate::{
    audit::Progress,
    clock::Clock,
    domain::TargetName,
    issuer::{CatalogueHandle, Issuer},
    metrics::{Format, Metrics, Page, family},
    store::{Store, Tally},
    target::{CircuitState, HealthBoard, PoolUse},
};

/// Where numbers come from.
#[derive(Clone)]
pub struct Scrape {
    /// The time, for the age of what is overdue.
    pub clock: Arc<dyn Clock>,
    /// What was recorded.
    pub metrics: Arc<Metrics>,
    /// Leases, commits, the audit log.
    pub store: Arc<dyn Store>,
    /// The targets that are configured.
    pub catalogue: Arc<CatalogueHandle>,
    /// How they fare.
    pub health: Arc<HealthBoard>,
    /// Who issues, and who waits for it.
    pub issuer: Arc<Issuer>,
    /// How far the audit file is, where there is one.
    pub audit_file: Option<Progress>,
}

impl Scrape {
    /// Whether callers can be served: the store can be read.
    pub async fn is_ready(&self) -> bool {
        self.store.live_by_target().await.is_ok()
    }

    /// Every number there is. What the store cannot say right now is left out; no target is asked anything.
    pub async fn page(&self, format: Format) -> String {
        let mut page = Page::new(format);
        page.samples(&family::BUILD, [(vec![env!("CARGO_PKG_VERSION")], 1)]);
        match self.store.tally(self.clock.now()).await {
            Ok(tallies) => self.leases(&mut page, &tallies),
            Err(error) => tracing::debug!(%error, "leases cannot be counted"),
        }
        self.metrics.write(&mut page);
        self.targets(&mut page);
        if let Some(commits) = self.store.commits() {
            commits.write(&mut page);
        }
        self.audit(&mut page).await;
        page.finish()
    }

    fn leases(&self, page: &mut Page, tallies: &[Tally]) {
        let now = self.clock.now();
        let catalogue = self.catalogue.current();
        // A target without leases shows zeros: a number that is absent is not the same as none.
        let quiet = |name: &&TargetName| tallies.iter().all(|tally| tally.target != **name);
        let quiet: Vec<Tally> =
            catalogue.targets.keys().filter(quiet).map(|name| Tally::none(name.clone())).collect();
        let all: Vec<&Tally> = tallies.iter().chain(&quiet).collect();
        let states = |tally: &Tally| {
            let name = tally.target.to_string();
            [("provisioning", tally.provisioning), ("active", tally.active), ("ending", tally.ending)]
                .map(|(state, count)| (vec![name.clone(), state.to_owned()], count))
        };
        page.samples(&family::LEASES, all.iter().flat_map(|tally| states(tally)));
        page.samples(&family::OVERDUE, all.iter().map(|tally| (vec![tally.target.as_str()], tally.overdue)));
        let age = |tally: &Tally| {
            let age = tally.overdue_since.map_or(0.0, |since| now.duration_since(since).as_secs_f64());
            age.max(0.0)
        };
        page.samples(&family::OVERDUE_AGE, all.iter().map(|tally| (vec![tally.target.as_str()], age(tally))));
    }

    fn targets(&self, page: &mut Page) {
        let catalogue = self.catalogue.current();
        let circuits = catalogue.targets.keys().flat_map(|name| {
            let current = self.health.of(name).circuit;
            CircuitState::ALL.map(|state| (vec![name.as_str(), state.as_str()], u8::from(state == current)))
        });
        page.samples(&family::CIRCUIT, circuits);
        let crowds: Vec<_> =
            catalogue.targets.keys().map(|name| (name.as_str(), self.issuer.crowd(name))).collect();
        page.samples(
            &family::ISSUES_UNDER_WAY,
            crowds.iter().map(|(name, crowd)| (vec![*name], crowd.under_way)),
        );
        page.samples(
            &family::ISSUES_WAITING,
            crowds.iter().map(|(name, crowd)| (vec![*name], crowd.waiting)),
        );
        let offsets = catalogue.targets.iter().filter_map(|(name, target)| {
            Some((vec![name.as_str()], target.clock_offset()?.offset.as_secs_f64()))
        });
        page.samples(&family::CLOCK_OFFSET, offsets);
        let pools: Vec<(&str, PoolUse)> = catalogue
            .targets
            .iter()
            .flat_map(|(name, target)| target.pools().into_iter().map(|pool| (name.as_str(), pool)))
            .collect();
        for (family, number) in [
            (&family::POOL_SIZE, (|pool| pool.size) as fn(&PoolUse) -> usize),
            (&family::POOL_IN_USE, |pool| pool.in_use),
            (&family::POOL_WAITING, |pool| pool.waiting),
        ] {
            page.samples(family, pools.iter().map(|(name, pool)| (vec![*name, pool.pool], number(pool))));
        }
    }

    async fn audit(&self, page: &mut Page) {
        let Ok(last) = self.store.last_seq().await else { return };
        page.samples(&family::AUDIT_RECORDS, [(Vec::<&str>::new(), last)]);
        if let Some(file) = &self.audit_file {
            let lag = last.saturating_sub(file.last_seq());
            page.samples(&family::AUDIT_LAG, [(Vec::<&str>::new(), lag)]);
        }
    }
}
