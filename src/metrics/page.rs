//! A page of numbers, in the text format of Prometheus (0.0.4) or in `OpenMetrics` (1.0.0).

use std::fmt::{Display, Write as _};

use super::{
    family::{Family, FamilyKind},
    series::{Counters, Gauges, Histogram, Histograms},
};

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What every scraper reads.
    Prometheus,
    /// For those who ask for it.
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for.
    pub fn asked_for(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Format::OpenMetrics } else { Format::Prometheus }
    }

    /// The page's media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A page being written, a family after the other.
#[derive(Debug)]
pub struct Page {
    format: Format,
    text: String,
}

impl Page {
    /// An empty page.
    pub fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    /// The whole page.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// A family with samples that were looked up: labels' values, in the family's order, and the value.
    pub fn samples<L: AsRef<str>, V: Display>(
        &mut self,
        family: &Family,
        samples: impl IntoIterator<Item = (Vec<L>, V)>,
    ) {
        self.head(family);
        for (labels, value) in samples {
            let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
            self.sample(family, "", &labels, None, value);
        }
    }

    pub(super) fn counters<const N: usize>(&mut self, family: &Family, counters: &Counters<N>) {
        let samples = counters.all().into_iter().map(|(labels, one)| (labels.to_vec(), one.value()));
        self.samples(family, samples);
    }

    pub(super) fn gauges<const N: usize>(&mut self, family: &Family, gauges: &Gauges<N>) {
        let samples = gauges.all().into_iter().map(|(labels, one)| (labels.to_vec(), one.value()));
        self.samples(family, samples);
    }

    pub(super) fn histograms<const N: usize>(&mut self, family: &Family, histograms: &Histograms<N>) {
        self.head(family);
        for (labels, one) in histograms.all() {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            self.spread(family, &labels, &one);
        }
    }

    pub(super) fn histogram(&mut self, family: &Family, histogram: &Histogram) {
        self.head(family);
        self.spread(family, &[], histogram);
    }

    fn head(&mut self, family: &Family) {
        // In OpenMetrics a counter's family has no suffix, only its samples have.
        let name = match self.format {
            Format::OpenMetrics => family.name.strip_suffix("_total").unwrap_or(family.name),
            Format::Prometheus => family.name,
        };
        let kind = match family.kind {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
            FamilyKind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {}", family.help));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn spread(&mut self, family: &Family, labels: &[&str], histogram: &Histogram) {
        let cumulative = histogram.cumulative();
        for (bound, count) in &cumulative {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| format!("{bound:?}"));
            self.sample(family, "_bucket", labels, Some(&bound), count);
        }
        self.sample(family, "_sum", labels, None, histogram.sum());
        self.sample(family, "_count", labels, None, cumulative.last().map_or(0, |(_, count)| *count));
    }

    fn sample(
        &mut self,
        family: &Family,
        suffix: &str,
        values: &[&str],
        bound: Option<&str>,
        value: impl Display,
    ) {
        let labels = family.labels.iter().copied().zip(values.iter().copied());
        let labels: Vec<String> = labels
            .chain(bound.map(|bound| ("le", bound)))
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(format_args!("{}{suffix}{labels} {value}", family.name));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a text does not fail.
        let _ = writeln!(self.text, "{line}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
