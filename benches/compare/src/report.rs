//! `RESULTS.md`: what a run has found, in tables. Nothing in it is typed by hand but the notes on what is not met.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::bars::{self, Notes};
use crate::plan::{self, Better, Colour, Standing};
use crate::results::{Cost, Entry, Figures, MetricShown, Results, Row, Summary};

/// One comparison: ours in one colour against the best peer.
pub(crate) struct Verdict<'a> {
    pub(crate) row: &'a Row,
    pub(crate) metric: &'a MetricShown,
    pub(crate) ours: &'a Entry,
    pub(crate) peer: &'a Entry,
    /// How many times the best peer's figure ours is, turned so that below 1 is ahead.
    pub(crate) ratio: f64,
}

impl Verdict<'_> {
    pub(crate) fn is_met(&self) -> bool {
        self.ratio < 1.0
    }
}

/// Every comparison that the bars ask for.
pub(crate) fn verdicts(results: &Results) -> Vec<Verdict<'_>> {
    let mut verdicts = Vec::new();
    for row in &results.rows {
        for metric in &row.metrics {
            let ours = row.entries.iter().filter(|entry| entry.standing == Standing::Ours);
            for ours in ours {
                let colour = (!row.is_server).then_some(ours.colour);
                let peer = row.best(metric, Standing::Peer, colour);
                let Some((peer, ratio)) =
                    peer.and_then(|peer| Some((peer, ours.ratio_to(peer, &metric.key)?)))
                else {
                    continue;
                };
                let ratio = if metric.better == Better::More { 1.0 / ratio } else { ratio };
                verdicts.push(Verdict { row, metric, ours, peer, ratio });
            }
        }
    }
    verdicts
}

/// The whole page.
pub(crate) fn page(results: &Results, notes: &Notes) -> String {
    let mut page = String::new();
    write(&mut page, results, notes).expect("a string takes everything");
    page
}

fn write(page: &mut String, results: &Results, notes: &Notes) -> std::fmt::Result {
    writeln!(page, "# aqueduct side by side with its peers\n")?;
    writeln!(
        page,
        "Written by `benches/compare`; every figure is in `results.json`. Do not edit: run it. Only what is said of bars that are not met\n\
         is written by hand, in `benches/compare/notes`.\n\n```sh\n\
         cargo run --release --manifest-path benches/compare/Cargo.toml{}\n```\n",
        if results.settings.quick { " -- --quick" } else { "" }
    )?;
    conditions(page, results)?;
    writeln!(page, "![How many times the best peer's figure aqueduct's is](results.svg)\n")?;
    missing(page, results)?;
    bars::table(page, results)?;
    summary(page, results)?;
    bars::scaling(page, results)?;
    bars::unmet(page, results, notes)?;
    costs(page, results)?;
    growth(page, results)?;
    writeln!(page, "## Every figure\n")?;
    writeln!(
        page,
        "Median of {} rounds, where nothing else is said above; the spread is (most - least) / median. **Bold** is ours. † is \
         shown and no peer: a limit, or it measures less than its neighbours. ‡ starves some connections (99th percentile above \
         20 times the median) and holds no best. A number of operations in brackets: it does fewer than the others, for it \
         cannot do more, or is too slow.\n",
        results.settings.rounds
    )?;
    results.rows.iter().try_for_each(|row| table(page, row))
}

/// What the page calls them.
const COSTS: &str = "costs and profiles";

fn conditions(page: &mut String, results: &Results) -> std::fmt::Result {
    let (machine, settings) = (&results.machine, &results.settings);
    let dirty = if machine.dirty { ", with uncommitted changes" } else { "" };
    writeln!(page, "| | |\n|---|---|")?;
    writeln!(page, "| date | {} |", machine.date)?;
    writeln!(page, "| commit | {}{dirty} |", machine.commit)?;
    let mut later: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut rounds: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for row in &results.rows {
        let name = format!("`{}` on {}", row.workload, row.workers);
        if row.rounds() != settings.rounds {
            rounds.entry(row.rounds()).or_default().push(name.clone());
        }
        if let Some(commit) = &row.commit {
            later.entry(commit).or_default().push(name);
        }
    }
    for cost in &results.costs {
        if let Some(commit) = &cost.commit {
            let figures = later.entry(commit).or_default();
            if figures.last().is_none_or(|last| last != COSTS) {
                figures.push(COSTS.to_owned());
            }
        }
    }
    for (commit, figures) in later {
        writeln!(page, "| measured at {commit} instead | {} |", figures.join(", "))?;
    }
    writeln!(
        page,
        "| machine | {} CPUs, {}, {} GiB, Linux {} |",
        machine.cpus, machine.cpu, machine.memory_gib, machine.kernel
    )?;
    writeln!(page, "| compiler | {}, fat LTO, one codegen unit |", machine.rustc)?;
    match &settings.go {
        Ok(version) => writeln!(page, "| Go | {version} |")?,
        Err(reason) => writeln!(page, "| Go | takes no part: {reason} |")?,
    }
    let versions: Vec<_> =
        machine.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    writeln!(page, "| peers | {} |", versions.join(", "))?;
    let size = if settings.quick { "quick: fewer operations" } else { "full size" };
    writeln!(
        page,
        "| samples | {} rounds, {size}, one process each, competitors in turn |",
        settings.rounds
    )?;
    for (rounds, rows) in rounds {
        writeln!(page, "| {rounds} rounds instead | {} |", rows.join(", "))?;
    }
    let foreign = Summary::of(results.samples().filter_map(|figures| figures.get("foreign_cpu").copied()));
    if let Some(foreign) = foreign {
        let bound = match settings.foreign_cpu_max {
            Some(max) => format!("a sample with more than {max} was taken again"),
            None => "**not bounded: other programs ran at the same time, so these figures are no basis for a claim**".into(),
        };
        writeln!(
            page,
            "| CPUs used by others | median {:.2}, at most {:.2}; {bound} |",
            foreign.median, foreign.max
        )?;
        noise(page, results)?;
    }
    if settings.by_cpu {
        writeln!(page, "| times | **CPU time of the process, not wall time** (`--by-cpu`) |")?;
    }
    if !settings.left_out.is_empty() {
        writeln!(page, "| left out | {} |", settings.left_out.join("; "))?;
    }
    writeln!(page)
}

/// Samples that stayed noisy however often they were taken.
fn noise(page: &mut String, results: &Results) -> std::fmt::Result {
    let Some(max) = results.settings.foreign_cpu_max else { return Ok(()) };
    let is_noisy = |figures: &&Figures| figures.get("foreign_cpu").is_some_and(|used| *used > max);
    let noisy = results.samples().filter(is_noisy).count();
    if noisy == 0 {
        return Ok(());
    }
    let all = results.samples().count();
    writeln!(
        page,
        "| noisy samples | **{noisy} of {all}** were not quiet in any try: the last column of the tables |"
    )
}

/// What a whole run has and this one has not.
fn missing(page: &mut String, results: &Results) -> std::fmt::Result {
    let mut missing = Vec::new();
    for workload in plan::workloads() {
        for workers in [1, 2].into_iter().filter(|workers| results.row(workload.name, *workers).is_none()) {
            missing.push(format!("`{}` on {workers}", workload.name));
        }
    }
    let parts = [(results.costs.is_empty(), "the costs"), (results.growth.is_empty(), "the growth")];
    missing.extend(parts.into_iter().filter(|(is_missing, _)| *is_missing).map(|(_, part)| part.to_owned()));
    if missing.is_empty() {
        return Ok(());
    }
    writeln!(page, "**Not measured in this run:** {}.\n", missing.join(", "))
}

/// Ours against the best peer, for every workload.
fn summary(page: &mut String, results: &Results) -> std::fmt::Result {
    let verdicts = verdicts(results);
    let met = verdicts.iter().filter(|verdict| verdict.is_met()).count();
    let near = verdicts.iter().filter(|verdict| !verdict.is_met() && verdict.ratio < 1.05).count();
    writeln!(page, "## Against the best peer\n")?;
    writeln!(
        page,
        "Ahead in {met} of {} comparisons; {near} of the others are within 5 %. The ratio is the median over the rounds of ours to \
         the peer's in the same round, turned so that below 1 is ahead. Servers are compared with the peers of both colours.\n",
        verdicts.len()
    )?;
    writeln!(page, "| workload | workers | figure | ours | | best peer | | ratio | ahead |")?;
    writeln!(page, "|---|---|---|---|---:|---|---:|---:|---|")?;
    for verdict in &verdicts {
        let key = &verdict.metric.key;
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {:.2} | {} |",
            verdict.row.workload,
            verdict.row.workers,
            verdict.metric.unit,
            verdict.ours.competitor,
            median(verdict.ours, key),
            verdict.peer.competitor,
            median(verdict.peer, key),
            verdict.ratio,
            if verdict.is_met() { "yes" } else { "**no**" },
        )?;
    }
    writeln!(page)
}

/// What aqueduct's operations cost beside time.
fn costs(page: &mut String, results: &Results) -> std::fmt::Result {
    if results.costs.is_empty() {
        return Ok(());
    }
    writeln!(page, "## Costs beside time\n")?;
    writeln!(
        page,
        "With 1 worker, for each operation of the workload. Allocations are counted by the program's allocator after a warm-up; \
         instructions by callgrind, start-up taken off by the difference of two lengths; system calls by `strace -f -c`. A dash: the tool is \
         not there, or it does not apply.\n"
    )?;
    writeln!(
        page,
        "| workload | who | allocations | instructions | system calls |\n|---|---|---:|---:|---:|"
    )?;
    let is_told = |cost: &&Cost| cost.allocations.or(cost.instructions).or(cost.system_calls).is_some();
    for cost in results.costs.iter().filter(is_told) {
        let cell = |value: Option<f64>| value.map_or("–".to_owned(), number);
        writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            cost.workload,
            cost.competitor,
            cell(cost.allocations),
            cell(cost.instructions),
            cell(cost.system_calls)
        )?;
    }
    writeln!(page)
}

fn growth(page: &mut String, results: &Results) -> std::fmt::Result {
    if results.growth.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "## Growth\n\n![Time and memory over the number of tasks, timers and connections](growth.svg)\n"
    )?;
    writeln!(page, "| what | who | number | figure | over the first |")?;
    writeln!(page, "|---|---|---:|---:|---:|")?;
    for line in &results.growth {
        let first = line.points.first().map_or(f64::NAN, |point| point.1);
        for (count, value) in &line.points {
            writeln!(
                page,
                "| {} | {} | {count} | {} | {:.2} |",
                line.what,
                line.competitor,
                number(*value),
                value / first
            )?;
        }
    }
    writeln!(page)
}

fn table(page: &mut String, row: &Row) -> std::fmt::Result {
    let workers = if row.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", row.workers) };
    writeln!(page, "### {} (`{}`, {workers})\n", row.title, row.workload)?;
    write!(page, "| |")?;
    for metric in &row.metrics {
        write!(page, " {} | spread |", metric.unit)?;
    }
    writeln!(page, " CPU ns per operation | CPUs used by others |")?;
    writeln!(page, "|---|{}---:|---:|", "---:|---:|".repeat(row.metrics.len()))?;
    let Some(first) = row.metrics.first() else { return Ok(()) };
    let mut entries: Vec<_> = row.entries.iter().collect();
    let rank = |entry: &Entry| {
        let median = entry.summary(&first.key).map_or(f64::INFINITY, |summary| summary.median);
        if first.better == Better::More && median.is_finite() { -median } else { median }
    };
    entries.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
    for entry in entries {
        line(page, row, entry)?;
    }
    writeln!(page)
}

fn line(page: &mut String, row: &Row, entry: &Entry) -> std::fmt::Result {
    let name = match entry.standing {
        Standing::Ours => format!("**{}**", entry.competitor),
        Standing::Peer if entry.starves() => format!("{} ‡", entry.competitor),
        Standing::Peer => entry.competitor.clone(),
        Standing::Limit => format!("{} †", entry.competitor),
    };
    let failure = entry.failure.as_ref().map(|failure| failure.replace('|', "\\|"));
    if let (Some(failure), true) = (&failure, entry.samples.iter().all(Option::is_none)) {
        return writeln!(page, "| {name} | failed: {failure} |");
    }
    let most =
        row.entries.iter().filter_map(|entry| entry.summary("ops")).map(|ops| ops.max).fold(0.0, f64::max);
    match entry.summary("ops") {
        Some(ops) if ops.max < most => write!(page, "| {name} ({}) |", number(ops.max))?,
        _ => write!(page, "| {name} |")?,
    }
    for metric in &row.metrics {
        match entry.summary(&metric.key) {
            Some(summary) => {
                write!(page, " {} | {:.0} % |", number(summary.median), summary.spread() * 100.0)?;
            }
            None => write!(page, " – | – |")?,
        }
    }
    let foreign = entry.summary("foreign_cpu").map_or("–".into(), |summary| format!("{:.2}", summary.max));
    let failure = failure.map_or(String::new(), |failure| format!(" and then it failed: {failure}"));
    writeln!(page, " {} | {foreign}{failure} |", median(entry, "cpu_ns"))
}

fn median(entry: &Entry, key: &str) -> String {
    entry.summary(key).map_or("–".into(), |summary| number(summary.median))
}

/// Three significant figures or whole numbers, thousands set apart.
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let text = whole(value.abs().round() as u64);
    if value < 0.0 { format!("-{text}") } else { text }
}

/// With thousands set apart.
pub(crate) fn whole(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How a colour is called in a heading.
pub(crate) fn colour_name(colour: Colour) -> &'static str {
    match colour {
        Colour::Coroutine => "coroutines",
        Colour::Future => "futures",
        Colour::Thread => "threads",
    }
}
