//! A page of metrics, and its text.

use std::fmt::Write;

use super::value::{Counter, Histogram, Level};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It stands somewhere.
    Gauge,
    /// It says how often values lay in which range.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Its name, which ends with its unit.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it means, as a sentence.
    pub help: &'static str,
    /// What it stands at: what follows the name, and the value.
    pub samples: Vec<(String, f64)>,
}

/// What all metrics stand at, ordered by component.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    families: Vec<Family>,
}

impl Page {
    /// The content type of its text.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// The metrics.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// What a metric without labels stands at; for a histogram, how many values there were.
    pub fn value(&self, name: &str) -> Option<f64> {
        let family = self.families.iter().find(|family| family.name == name)?;
        let suffix = match family.kind {
            Kind::Counter | Kind::Gauge => "",
            Kind::Histogram => "_count",
        };
        let sample = family.samples.iter().find(|(after, _)| after == suffix)?;
        Some(sample.1)
    }

    /// In Prometheus' text format.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for family in &self.families {
            let Family {
                name,
                kind,
                help,
                samples,
            } = family;
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
            for (after, value) in samples {
                let _ = writeln!(text, "{name}{after} {value}");
            }
        }
        text
    }

    pub(crate) fn counter(&mut self, name: &'static str, help: &'static str, counter: &Counter) {
        self.count(name, help, counter.get());
    }

    pub(crate) fn count(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.add(name, Kind::Counter, help, vec![(String::new(), value as f64)]);
    }

    /// A counter whose unit is not whole.
    pub(crate) fn sum(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.add(name, Kind::Counter, help, vec![(String::new(), value)]);
    }

    pub(crate) fn level(&mut self, name: &'static str, help: &'static str, level: &Level) {
        self.gauge(name, help, level.get() as f64);
    }

    pub(crate) fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.add(name, Kind::Gauge, help, vec![(String::new(), value)]);
    }

    /// A gauge for each value of a label.
    pub(crate) fn gauges<'a>(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        self.add(name, Kind::Gauge, help, labelled(label, values));
    }

    /// A counter for each value of a label.
    pub(crate) fn counts<'a>(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        let values = values.into_iter().map(|(value, count)| (value, count as f64));
        self.add(name, Kind::Counter, help, labelled(label, values));
    }

    pub(crate) fn histogram(&mut self, name: &'static str, help: &'static str, histogram: &Histogram) {
        let read = histogram.read();
        let mut samples: Vec<(String, f64)> = read
            .buckets
            .iter()
            .map(|(bound, count)| (format!("_bucket{{le=\"{bound}\"}}"), *count as f64))
            .collect();
        samples.push(("_bucket{le=\"+Inf\"}".to_owned(), read.count as f64));
        samples.push(("_sum".to_owned(), read.sum));
        samples.push(("_count".to_owned(), read.count as f64));
        self.add(name, Kind::Histogram, help, samples);
    }

    fn add(&mut self, name: &'static str, kind: Kind, help: &'static str, samples: Vec<(String, f64)>) {
        debug_assert!(
            self.families.iter().all(|family| family.name != name),
            "{name} is registered twice"
        );
        self.families.push(Family {
            name,
            kind,
            help,
            samples,
        });
    }
}

fn labelled<'a>(label: &str, values: impl IntoIterator<Item = (&'a str, f64)>) -> Vec<(String, f64)> {
    let values = values.into_iter();
    values
        .map(|(value, stands_at)| (format!("{{{label}=\"{value}\"}}"), stands_at))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_prometheus_reads() {
        let mut page = Page::default();
        page.count("served_total", "What was served.", 12_345_678_901);
        page.gauge("left_bytes", "What is left.", 0.5);
        page.gauges("alarms", "Alarms by kind.", "kind", [("A", 1.0), ("B", 0.0)]);
        let histogram = Histogram::of_durations(&[1_000, 250_000]);
        histogram.observe(1_000);
        histogram.observe(1_000_000);
        page.histogram("sync_seconds", "How long a sync took.", &histogram);
        let want = "\
# HELP served_total What was served.
# TYPE served_total counter
served_total 12345678901
# HELP left_bytes What is left.
# TYPE left_bytes gauge
left_bytes 0.5
# HELP alarms Alarms by kind.
# TYPE alarms gauge
alarms{kind=\"A\"} 1
alarms{kind=\"B\"} 0
# HELP sync_seconds How long a sync took.
# TYPE sync_seconds histogram
sync_seconds_bucket{le=\"0.001\"} 1
sync_seconds_bucket{le=\"0.25\"} 1
sync_seconds_bucket{le=\"+Inf\"} 2
sync_seconds_sum 1.001
sync_seconds_count 2
";
        assert_eq!(page.to_text(), want);
        assert_eq!(page.value("left_bytes"), Some(0.5));
        assert_eq!(page.value("sync_seconds"), Some(2.0));
        assert_eq!(page.value("another"), None);
    }
}
