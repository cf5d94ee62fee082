//! `RESULTS.md`: what a run has found, in tables. Nothing in it is typed by hand.

use std::fmt::Write;

use crate::plan::{Better, Colour, Standing};
use crate::results::{Entry, MetricShown, Results, Row, Summary};

/// With two workers nothing may take more than this many times its own time with one.
const TWO_WORKERS_MAX: f64 = 1.1;

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
pub(crate) fn page(results: &Results) -> String {
    let mut page = String::new();
    write(&mut page, results).expect("a string takes everything");
    page
}

fn write(page: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(page, "# aqueduct side by side with its peers\n")?;
    writeln!(
        page,
        "Written by `benches/compare`; every figure is in `results.json`. Do not edit: run it.\n\n```sh\n\
         cargo run --release --manifest-path benches/compare/Cargo.toml -- --quick\n```\n"
    )?;
    conditions(page, results)?;
    writeln!(page, "![How many times the best peer's figure aqueduct's is](results.svg)\n")?;
    summary(page, results)?;
    scaling(page, results)?;
    costs(page, results)?;
    growth(page, results)?;
    writeln!(page, "## Every figure\n")?;
    writeln!(
        page,
        "Median of {} rounds; the spread is (most - least) / median. **Bold** is ours. † is shown and no peer: a limit, or it \
         measures less than its neighbours. ‡ starves some connections (99th percentile above 20 times the median) and holds no \
         best.\n",
        results.settings.rounds
    )?;
    results.rows.iter().try_for_each(|row| table(page, row))
}

fn conditions(page: &mut String, results: &Results) -> std::fmt::Result {
    let (machine, settings) = (&results.machine, &results.settings);
    let dirty = if machine.dirty { ", with uncommitted changes" } else { "" };
    writeln!(page, "| | |\n|---|---|")?;
    writeln!(page, "| date | {} |", machine.date)?;
    writeln!(page, "| commit | {}{dirty} |", machine.commit)?;
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
    }
    if settings.by_cpu {
        writeln!(page, "| times | **CPU time of the process, not wall time** (`--by-cpu`) |")?;
    }
    if !settings.left_out.is_empty() {
        writeln!(page, "| left out | {} |", settings.left_out.join("; "))?;
    }
    writeln!(page)
}

/// Ours against the best peer, for every workload.
fn summary(page: &mut String, results: &Results) -> std::fmt::Result {
    let verdicts = verdicts(results);
    let met = verdicts.iter().filter(|verdict| verdict.is_met()).count();
    writeln!(page, "## Against the best peer\n")?;
    writeln!(
        page,
        "Ahead in {met} of {} comparisons. The ratio is the median over the rounds of ours to the peer's in the same round, turned so \
         that below 1 is ahead. Servers are compared with the peers of both colours.\n",
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

/// Ours with two workers against ours with one.
fn scaling(page: &mut String, results: &Results) -> std::fmt::Result {
    let mut lines = String::new();
    for one in results.rows.iter().filter(|row| row.workers == 1) {
        let is_two = |row: &&Row| row.workers == 2 && row.workload == one.workload;
        let Some(two) = results.rows.iter().find(is_two) else { continue };
        for ours in one.entries.iter().filter(|entry| entry.standing == Standing::Ours) {
            let Some(metric) = one.metrics.first() else { continue };
            let other = two.entries.iter().find(|entry| entry.competitor == ours.competitor);
            let both = (ours.summary(&metric.key), other.and_then(|other| other.summary(&metric.key)));
            let (Some(with_one), Some(with_two)) = both else { continue };
            let ratio = match metric.better {
                Better::Less => with_two.median / with_one.median,
                Better::More => with_one.median / with_two.median,
            };
            let met = if ratio <= TWO_WORKERS_MAX { "yes" } else { "**no**" };
            writeln!(lines, "| {} | {} | {ratio:.2} | {met} |", one.workload, ours.competitor)?;
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(page, "## Two workers against one\n")?;
    writeln!(page, "Time with 2 workers over time with 1; at most {TWO_WORKERS_MAX} is wanted.\n")?;
    writeln!(page, "| workload | ours | ratio | met |\n|---|---|---:|---|\n{lines}")
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
    for cost in &results.costs {
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
    writeln!(page, "| what | who | {} |", "number | figure | over the first")?;
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
    if let Some(failure) = &entry.failure {
        return writeln!(page, "| {name} | failed: {} |", failure.replace('|', "\\|"));
    }
    write!(page, "| {name} |")?;
    for metric in &row.metrics {
        match entry.summary(&metric.key) {
            Some(summary) => {
                write!(page, " {} | {:.0} % |", number(summary.median), summary.spread() * 100.0)?;
            }
            None => write!(page, " – | – |")?,
        }
    }
    let foreign = entry.summary("foreign_cpu").map_or("–".into(), |summary| format!("{:.2}", summary.max));
    writeln!(page, " {} | {foreign} |", median(entry, "cpu_ns"))
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
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// How a colour is called in a heading.
pub(crate) fn colour_name(colour: Colour) -> &'static str {
    match colour {
        Colour::Coroutine => "coroutines",
        Colour::Future => "futures",
        Colour::Thread => "threads",
    }
}
