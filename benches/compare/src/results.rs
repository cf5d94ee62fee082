//! What a run has found, as it is written to `results.json`; and what follows from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::plan::{Better, Colour, Standing};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    pub(crate) rows: Vec<Row>,
    #[serde(default)]
    pub(crate) costs: Vec<Cost>,
    #[serde(default)]
    pub(crate) growth: Vec<Growth>,
}

/// What an operation of a workload costs beside time; none where it cannot be measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) workload: String,
    pub(crate) competitor: String,
    pub(crate) allocations: Option<f64>,
    pub(crate) instructions: Option<f64>,
    pub(crate) system_calls: Option<f64>,
    /// Of a server: CPU ns of a request, while it was profiled.
    #[serde(default)]
    pub(crate) cpu_ns: Option<f64>,
    /// The functions that take most of the instructions, or of a server's CPU time, with how much each.
    #[serde(default)]
    pub(crate) functions: Vec<(String, f64)>,
    /// As a row's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
}

/// How a figure changes with a number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Growth {
    pub(crate) what: String,
    pub(crate) competitor: String,
    pub(crate) points: Vec<(u64, f64)>,
}

impl Results {
    pub(crate) fn row(&self, workload: &str, workers: usize) -> Option<&Row> {
        self.rows.iter().find(|row| row.workload == workload && row.workers == workers)
    }

    /// Adds what another part of the run has found, in place of what is here of the same.
    pub(crate) fn take_in(&mut self, part: Results) {
        self.rows.retain(|row| part.row(&row.workload, row.workers).is_none());
        self.rows.extend(part.rows);
        self.costs.retain(|cost| part.costs.iter().all(|other| other.workload != cost.workload));
        self.costs.extend(part.costs);
        if !part.growth.is_empty() {
            self.growth = part.growth;
        }
    }

    /// The figures of every sample.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &Figures> {
        self.rows.iter().flat_map(|row| &row.entries).flat_map(|entry| entry.samples.iter().flatten())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) quick: bool,
    /// Those that have never been the best take part too.
    #[serde(default)]
    pub(crate) all: bool,
    pub(crate) rounds: usize,
    /// What others may use of the machine during a sample, in CPUs; none: anything.
    pub(crate) foreign_cpu_max: Option<f64>,
    /// Whether Go took part, or why not.
    pub(crate) go: Result<String, String>,
    /// Times are the processes' CPU time.
    pub(crate) by_cpu: bool,
    /// What should be here and is not, and why.
    pub(crate) left_out: Vec<String>,
}

impl Settings {
    /// Whether rows measured with the one may stand beside rows measured with the other: they are the same, but for the rounds, which every
    /// row shows.
    pub(crate) fn go_with(&self, other: &Self) -> bool {
        *self == Self { rounds: self.rounds, ..other.clone() }
    }
}

/// One workload on so many workers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) title: String,
    /// Every style is measured against the peers of both colours.
    pub(crate) is_server: bool,
    pub(crate) workers: usize,
    pub(crate) metrics: Vec<MetricShown>,
    pub(crate) entries: Vec<Entry>,
    /// Where it was measured, if not at the commit of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MetricShown {
    pub(crate) key: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
}

impl Row {
    pub(crate) fn rounds(&self) -> usize {
        self.entries.iter().map(|entry| entry.samples.len()).max().unwrap_or(0)
    }
}

/// One competitor in a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) competitor: String,
    pub(crate) colour: Colour,
    pub(crate) standing: Standing,
    /// One a round; none where the sample failed.
    pub(crate) samples: Vec<Option<Figures>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

/// The figures of one sample, by name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// Median, least and most of the rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Summary {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Some(Self { median, min, max })
    }

    /// (max - min) / median.
    pub(crate) fn spread(&self) -> f64 {
        (self.max - self.min) / self.median
    }
}

impl Entry {
    pub(crate) fn summary(&self, key: &str) -> Option<Summary> {
        Summary::of(self.samples.iter().flatten().filter_map(|figures| figures.get(key).copied()))
    }

    /// Median over the rounds of this entry's figure divided by the other's in the same round.
    pub(crate) fn ratio_to(&self, other: &Entry, key: &str) -> Option<f64> {
        let pairs = self.samples.iter().zip(&other.samples);
        let ratios = pairs.filter_map(|(a, b)| Some(a.as_ref()?.get(key)? / b.as_ref()?.get(key)?));
        Summary::of(ratios).map(|summary| summary.median)
    }

    /// A server that serves a few of its connections again and again: its speed is not a server's.
    pub(crate) fn starves(&self) -> bool {
        match (self.summary("p50_us"), self.summary("p99_us")) {
            (Some(p50), Some(p99)) => p99.median > 20.0 * p50.median,
            _ => false,
        }
    }
}

impl Row {
    /// The best of those that are `standing`, in one colour or in all.
    pub(crate) fn best(
        &self,
        metric: &MetricShown,
        standing: Standing,
        colour: Option<Colour>,
    ) -> Option<&Entry> {
        let key = &metric.key;
        let candidates = self.entries.iter().filter(|entry| {
            entry.standing == standing
                && colour.is_none_or(|colour| entry.colour == colour)
                && entry.summary(key).is_some()
                && !entry.starves()
        });
        let median = |entry: &&Entry| entry.summary(key).map_or(f64::NAN, |summary| summary.median);
        match metric.better {
            Better::Less => candidates.min_by(|a, b| median(a).total_cmp(&median(b))),
            Better::More => candidates.max_by(|a, b| median(a).total_cmp(&median(b))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(competitor: &str, standing: Standing, figures: &[&[(&str, f64)]]) -> Entry {
        let sample = |pairs: &&[(&str, f64)]| {
            (!pairs.is_empty())
                .then(|| pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect())
        };
        Entry {
            competitor: competitor.to_owned(),
            colour: Colour::Future,
            standing,
            samples: figures.iter().map(sample).collect(),
            failure: None,
        }
    }

    fn row(better: Better, entries: Vec<Entry>) -> Row {
        let metric = MetricShown { key: "x".into(), unit: "x".into(), better };
        Row {
            workload: "w".into(),
            title: "w".into(),
            is_server: false,
            workers: 1,
            metrics: vec![metric],
            entries,
            commit: None,
        }
    }

    #[test]
    fn median_and_spread_of_odd_and_even_numbers_of_samples() {
        let odd = Summary::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        assert_eq!(odd.spread(), 1.0);
        assert_eq!(Summary::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert!(Summary::of([f64::NAN]).is_none());
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_skip_failed_samples() {
        let ours = entry("ours", Standing::Ours, &[&[("x", 10.0)], &[], &[("x", 40.0)], &[("x", 9.0)]]);
        let peer =
            entry("peer", Standing::Peer, &[&[("x", 20.0)], &[("x", 1.0)], &[("x", 80.0)], &[("x", 3.0)]]);
        assert_eq!(ours.ratio_to(&peer, "x"), Some(0.5));
    }

    #[test]
    fn the_best_peer_follows_the_direction_and_starving_servers_hold_no_best() {
        let entries = vec![
            entry("ours", Standing::Ours, &[&[("x", 1.0)]]),
            entry("slow", Standing::Peer, &[&[("x", 5.0)]]),
            entry("fast", Standing::Peer, &[&[("x", 9.0)]]),
            entry("unfair", Standing::Peer, &[&[("x", 99.0), ("p50_us", 1.0), ("p99_us", 21.0)]]),
            entry("limit", Standing::Limit, &[&[("x", 1000.0)]]),
        ];
        let best = |better| {
            let row = row(better, entries.clone());
            row.best(&row.metrics[0], Standing::Peer, None).map(|entry| entry.competitor.clone())
        };
        assert_eq!(best(Better::More).as_deref(), Some("fast"));
        assert_eq!(best(Better::Less).as_deref(), Some("slow"));
    }
}
