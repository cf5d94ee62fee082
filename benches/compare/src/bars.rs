//! The bars: what was asked for in figures, what was measured, and what explains the difference.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use crate::plan::{Better, Standing};
use crate::report::{Verdict, number, verdicts, whole};
use crate::results::{Cost, Growth, Results};

/// With two workers nothing may take more than this many times its own time with one.
const TWO_WORKERS_MAX: f64 = 1.1;

/// A figure is flat that is never more than this many times what it was at a smaller number.
const FLAT_MAX: f64 = 1.1;

/// What an echo may cost over a bare epoll loop.
const OVER_EPOLL_MAX: f64 = 1.05;

/// So few allocations for an operation are those of a start.
const NONE: f64 = 0.01;

/// One bar, and whether it is met; none: not measured.
pub(crate) struct Bar {
    pub(crate) what: String,
    pub(crate) measured: String,
    pub(crate) met: Option<bool>,
    /// Under what name it is explained if it is not met: a workload, or `growth`.
    pub(crate) note: String,
}

fn bar(what: impl Into<String>, note: &str, measured: Option<(String, bool)>) -> Bar {
    let met = measured.as_ref().map(|(_, met)| *met);
    let measured = measured.map_or("not measured".into(), |(measured, _)| measured);
    Bar { what: what.into(), measured, met, note: note.to_owned() }
}

/// One workload of ours with two workers against itself with one.
pub(crate) struct Scaling<'a> {
    pub(crate) workload: &'a str,
    pub(crate) competitor: &'a str,
    pub(crate) ratio: f64,
}

impl Scaling<'_> {
    pub(crate) fn is_met(&self) -> bool {
        self.ratio <= TWO_WORKERS_MAX
    }
}

/// By the first figure of each workload, turned so that above 1 is worse with two.
pub(crate) fn scalings(results: &Results) -> Vec<Scaling<'_>> {
    let mut scalings = Vec::new();
    for one in results.rows.iter().filter(|row| row.workers == 1) {
        let (Some(two), Some(metric)) = (results.row(&one.workload, 2), one.metrics.first()) else {
            continue;
        };
        // Memory is no time.
        if metric.key.starts_with("bytes") {
            continue;
        }
        for ours in one.entries.iter().filter(|entry| entry.standing == Standing::Ours) {
            let median = |row: &crate::results::Row| {
                let entry = row.entries.iter().find(|entry| entry.competitor == ours.competitor)?;
                Some(entry.summary(&metric.key)?.median)
            };
            let (Some(with_one), Some(with_two)) = (median(one), median(two)) else { continue };
            let ratio = match metric.better {
                Better::Less => with_two / with_one,
                Better::More => with_one / with_two,
            };
            scalings.push(Scaling { workload: &one.workload, competitor: &ours.competitor, ratio });
        }
    }
    scalings
}

/// The median of a figure.
fn figure(results: &Results, workload: &str, workers: usize, competitor: &str, key: &str) -> Option<f64> {
    let row = results.row(workload, workers)?;
    let entry = row.entries.iter().find(|entry| entry.competitor == competitor)?;
    Some(entry.summary(key)?.median)
}

/// The ratio of two in the same rounds.
fn ratio(results: &Results, workload: &str, workers: usize, pair: [&str; 2], key: &str) -> Option<f64> {
    let row = results.row(workload, workers)?;
    let entry = |name: &str| row.entries.iter().find(|entry| entry.competitor == name);
    entry(pair[0])?.ratio_to(entry(pair[1])?, key)
}

/// Every bar that is a figure.
pub(crate) fn bars(results: &Results) -> Vec<Bar> {
    let mut bars = vec![switch(results)];
    for workers in [1, 2] {
        let pair = ["aqueduct-go", "go"];
        let measured = ratio(results, "spawn-join", workers, pair, "wall_ns");
        let what = format!("`go` and join under half of Go's time, {}", counted(workers));
        bars.push(bar(what, "spawn-join", measured.map(|r| (format!("{r:.2} times Go's"), r < 0.5))));
    }
    let verdicts = verdicts(results);
    for verdict in verdicts.iter().filter(|verdict| verdict.row.workload == "ping-pong") {
        let what = format!(
            "A rendezvous round trip under the best peer's, {}, {}",
            verdict.ours.competitor,
            counted(verdict.row.workers)
        );
        let measured = format!("{:.2} times {}'s", verdict.ratio, verdict.peer.competitor);
        bars.push(bar(what, "ping-pong", Some((measured, verdict.is_met()))));
    }
    allocations(results, &mut bars);
    over_epoll(results, &mut bars);
    memory(results, &mut bars);
    bars.extend(results.growth.iter().map(flat));
    bars
}

fn counted(workers: usize) -> String {
    if workers == 1 { "1 worker".into() } else { format!("{workers} workers") }
}

fn switch(results: &Results) -> Bar {
    let of = |workload, who| figure(results, workload, 1, who, "wall_ns");
    let measured = of("yield-1000", "aqueduct-go").map(|ns| {
        let floors = match (of("yield-1", "corosensei"), of("yield-1000", "corosensei")) {
            (Some(one), Some(thousand)) => format!(
                "; bare corosensei in the same run: {} ns one coroutine, {} ns 1,000 in turn",
                number(one),
                number(thousand)
            ),
            _ => String::new(),
        };
        (format!("{} ns{floors}", number(ns)), ns < 25.0)
    });
    let what = "A coroutine's switch through the scheduler (`yield-1000`) under 25 ns where a bare corosensei pair takes about 3.4 ns";
    bar(what, "yield-1000", measured)
}

fn allocations(results: &Results, bars: &mut Vec<Bar>) {
    let groups: [(&str, &[&str], f64); 4] = [
        ("No allocation in a steady send and receive", &["ping-pong", "spsc", "mpmc"], NONE),
        ("No allocation in a steady yield", &["yield-1", "yield-1000"], NONE),
        ("No allocation in a steady sleep, read or write", &["sleep", "read-write"], NONE),
        ("At most one allocation in `spawn` and `go`", &["spawn-join"], 1.0 + NONE),
    ];
    for (what, workloads, most) in groups {
        let is_ours = |cost: &&Cost| {
            workloads.contains(&cost.workload.as_str()) && cost.competitor.starts_with("aqueduct")
        };
        let costs: Vec<_> =
            results.costs.iter().filter(is_ours).filter_map(|cost| Some((cost, cost.allocations?))).collect();
        let worst = costs.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let note = worst.map_or(workloads[0], |(cost, _)| cost.workload.as_str());
        let measured = worst.map(|(cost, worst)| {
            let measured = format!("at most {worst:.2} ({}, {})", cost.workload, cost.competitor);
            // All of them have to be there.
            let all_there = workloads.iter().all(|name| costs.iter().any(|(cost, _)| cost.workload == *name));
            (
                if all_there { measured } else { format!("{measured}; not all measured") },
                *worst < most && all_there,
            )
        });
        bars.push(bar(what, note, measured));
    }
}

/// Echo workloads in which server CPU is measured beside the limit, each with ours: the ratio.
fn beside_epoll(results: &Results) -> Vec<(&str, &str, Option<f64>)> {
    let rows = results.rows.iter().filter(|row| row.workers == 1 && row.workload.starts_with("echo-"));
    let rows = rows.filter(|row| row.metrics.iter().any(|metric| metric.key == "cpu_ns"));
    let mut all = Vec::new();
    for row in rows {
        for ours in row.entries.iter().filter(|entry| entry.standing == Standing::Ours) {
            let ratio = ratio(results, &row.workload, 1, [&ours.competitor, "epoll"], "cpu_ns");
            all.push((ours.competitor.as_str(), row.workload.as_str(), ratio));
        }
    }
    all
}

/// Those of ours that are above it, and the workload.
pub(crate) fn over_limit(results: &Results) -> Vec<(&str, &str)> {
    let all = beside_epoll(results).into_iter();
    all.filter(|(_, _, ratio)| ratio.is_some_and(|ratio| ratio > OVER_EPOLL_MAX))
        .map(|(who, what, _)| (who, what))
        .collect()
}

fn over_epoll(results: &Results, bars: &mut Vec<Bar>) {
    for (ours, workload, ratio) in beside_epoll(results) {
        let what = format!("Server CPU within 5 % of bare epoll: `{workload}`, {ours}");
        let measured = ratio.map(|r| (format!("{:+.1} %", (r - 1.0) * 100.0), r <= OVER_EPOLL_MAX));
        bars.push(bar(what, workload, measured));
    }
}

fn memory(results: &Results, bars: &mut Vec<Bar>) {
    for (who, what, most) in [
        ("aqueduct-go", "1,000,000 suspended coroutines, with guards, in under 5 GB", 5e9),
        ("aqueduct-async", "1,000,000 idle futures in under 300 MB", 300e6),
    ] {
        let each = |key| figure(results, "alive", 1, who, key);
        let measured = each("bytes_per_task").map(|bytes| {
            let tables = each("page_table_bytes_per_task").unwrap_or(0.0);
            let total = (bytes + tables) * 1e6;
            (format!("{} MB, of which page tables {} MB", number(total / 1e6), number(tables)), total < most)
        });
        bars.push(bar(what, "alive", measured));
    }
    let bytes = figure(results, "echo-idle", 1, "aqueduct-serve", "bytes_per_connection");
    let measured = bytes.map(|bytes| (format!("{} bytes each", number(bytes)), bytes < 1_000.0));
    bars.push(bar("10,000 idle `serve` connections under 1 KB each", "echo-idle", measured));
}

/// Growth beyond the least of the smaller numbers: what falls and then rises is not flat.
pub(crate) fn rise(line: &Growth) -> f64 {
    let mut least = f64::INFINITY;
    let mut rise: f64 = 0.0;
    for &(_, value) in &line.points {
        least = least.min(value);
        rise = rise.max(value / least);
    }
    rise
}

fn flat(line: &Growth) -> Bar {
    let numbers = |point: Option<&(u64, f64)>| point.map_or(0, |point| point.0);
    let what = format!(
        "Flat within 10 % from {} to {} {}, {}",
        whole(numbers(line.points.first())),
        whole(numbers(line.points.last())),
        line.what,
        line.competitor
    );
    let rise = rise(line);
    bar(what, "growth", Some((format!("at most {rise:.2} times a smaller number's"), rise <= FLAT_MAX)))
}

/// What is written about workloads whose bars are not met, by the workload's name.
pub(crate) type Notes = BTreeMap<String, String>;

/// The files `NAME.md` of the folder, without their titles.
pub(crate) fn read_notes(folder: &Path) -> io::Result<Notes> {
    let mut notes = Notes::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        if path.extension().is_some_and(|extension| extension == "md") && name != "README" {
            let text = fs::read_to_string(&path)?;
            let lines = text.lines().skip_while(|line| line.starts_with("# ") || line.trim().is_empty());
            let text = lines.collect::<Vec<_>>().join("\n").trim().to_owned();
            if !text.is_empty() {
                notes.insert(name.to_owned(), text);
            }
        }
    }
    Ok(notes)
}

/// The bars as a table.
pub(crate) fn table(page: &mut String, results: &Results) -> std::fmt::Result {
    let (bars, verdicts, scalings) = (bars(results), verdicts(results), scalings(results));
    let met = |met: Option<bool>| match met {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "–",
    };
    writeln!(page, "## The bars\n")?;
    writeln!(page, "| bar | measured | met |\n|---|---|---|")?;
    let ahead = verdicts.iter().filter(|verdict| verdict.is_met()).count();
    let all = verdicts.len();
    writeln!(
        page,
        "| Every workload, in each colour, on 1 worker and on 2: ahead of the best peer in the same run | {ahead} of {all} comparisons | {} |",
        met((all > 0).then_some(ahead == all))
    )?;
    let (within, all) = (scalings.iter().filter(|scaling| scaling.is_met()).count(), scalings.len());
    writeln!(
        page,
        "| With 2 workers no workload takes more than {TWO_WORKERS_MAX} times its own time with 1 | {within} of {all} | {} |",
        met((all > 0).then_some(within == all))
    )?;
    for bar in &bars {
        writeln!(page, "| {} | {} | {} |", bar.what, bar.measured, met(bar.met))?;
    }
    writeln!(page)
}

/// Two workers against one, workload by workload.
pub(crate) fn scaling(page: &mut String, results: &Results) -> std::fmt::Result {
    let scalings = scalings(results);
    if scalings.is_empty() {
        return Ok(());
    }
    writeln!(page, "## Two workers against one\n")?;
    writeln!(page, "Time with 2 workers over time with 1; at most {TWO_WORKERS_MAX} is wanted.\n")?;
    writeln!(page, "| workload | ours | ratio | met |\n|---|---|---:|---|")?;
    for scaling in scalings {
        let met = if scaling.is_met() { "yes" } else { "**no**" };
        writeln!(page, "| {} | {} | {:.2} | {met} |", scaling.workload, scaling.competitor, scaling.ratio)?;
    }
    writeln!(page)
}

/// Every bar that is not met, by workload: by how much, where the instructions go, and what was tried.
pub(crate) fn unmet(page: &mut String, results: &Results, notes: &Notes) -> std::fmt::Result {
    let mut unmet: Vec<(String, Vec<String>)> =
        results.rows.iter().map(|row| (row.workload.clone(), vec![])).collect();
    unmet.dedup_by(|a, b| a.0 == b.0);
    let mut add = |name: &str, line: String| match unmet.iter_mut().find(|(known, _)| known == name) {
        Some((_, lines)) => lines.push(line),
        None => unmet.push((name.to_owned(), vec![line])),
    };
    let verdicts = verdicts(results);
    for verdict in verdicts.iter().filter(|verdict| !verdict.is_met()) {
        add(&verdict.row.workload, behind(verdict));
    }
    for scaling in scalings(results).iter().filter(|scaling| !scaling.is_met()) {
        add(
            scaling.workload,
            format!("{}: {:.2} times its own time with 2 workers", scaling.competitor, scaling.ratio),
        );
    }
    // A round trip is among the comparisons already.
    for bar in bars(results).into_iter().filter(|bar| bar.met == Some(false) && bar.note != "ping-pong") {
        add(&bar.note, format!("{}: {}", bar.what, bar.measured));
    }
    unmet.retain(|(_, lines)| !lines.is_empty());
    if unmet.is_empty() {
        return Ok(());
    }
    writeln!(page, "## What is not met, and why\n")?;
    for (name, lines) in unmet {
        writeln!(page, "### `{name}`: not met\n")?;
        for line in lines {
            writeln!(page, "- {line}")?;
        }
        writeln!(page)?;
        profiles(page, results, &name)?;
        match notes.get(&name) {
            Some(note) => writeln!(page, "{note}\n")?,
            None => writeln!(page, "*No explanation written yet (`benches/compare/notes/{name}.md`).*\n")?,
        }
    }
    Ok(())
}

fn behind(verdict: &Verdict) -> String {
    format!(
        "{}, {}: {:.2} times {}'s {}",
        verdict.ours.competitor,
        counted(verdict.row.workers),
        verdict.ratio,
        verdict.peer.competitor,
        verdict.metric.unit
    )
}

/// Where the instructions of ours and of the best peers go.
fn profiles(page: &mut String, results: &Results, workload: &str) -> std::fmt::Result {
    let costs: Vec<_> =
        results.costs.iter().filter(|cost| cost.workload == workload && !cost.functions.is_empty()).collect();
    if costs.is_empty() {
        return Ok(());
    }
    writeln!(page, "<details><summary>Profile of ours and of the best peers</summary>\n")?;
    writeln!(
        page,
        "| where an operation's cost is, with 1 worker: instructions by callgrind, CPU time by perf | |\n|---|---:|"
    )?;
    for cost in costs {
        let whole = match (cost.instructions, cost.cpu_ns) {
            (Some(instructions), _) => format!("{} instructions", number(instructions)),
            (None, Some(ns)) => format!("{} ns", number(ns)),
            (None, None) => "–".into(),
        };
        writeln!(page, "| **{}** | **{whole}** |", cost.competitor)?;
        for (function, instructions) in &cost.functions {
            writeln!(page, "| `{}` | {} |", function.replace('|', "\\|"), number(*instructions))?;
        }
    }
    writeln!(page, "\n</details>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::plan::{Colour, competitor};
    use crate::results::{Entry, MetricShown, Row, Settings};

    fn results(rows: Vec<Row>) -> Results {
        Results {
            machine: Machine::describe(),
            settings: Settings {
                quick: false,
                all: false,
                rounds: 1,
                foreign_cpu_max: Some(0.25),
                go: Err("not asked for".into()),
                by_cpu: false,
                left_out: vec![],
            },
            rows,
            costs: vec![],
            growth: vec![],
        }
    }

    fn row(workload: &str, workers: usize, key: &str, figures: &[(&'static str, f64)]) -> Row {
        let entry = |&(name, value): &(&'static str, f64)| Entry {
            competitor: name.into(),
            colour: competitor(name).colour,
            standing: competitor(name).standing,
            samples: vec![Some([(key.to_owned(), value)].into_iter().collect())],
            failure: None,
        };
        Row {
            workload: workload.into(),
            title: workload.into(),
            is_server: false,
            workers,
            metrics: vec![MetricShown { key: key.into(), unit: "ns".into(), better: Better::Less }],
            entries: figures.iter().map(entry).collect(),
            commit: None,
        }
    }

    fn met(results: &Results, what: &str) -> Option<bool> {
        let bars = bars(results);
        bars.iter().find(|bar| bar.what.contains(what)).unwrap_or_else(|| panic!("no bar {what}")).met
    }

    #[test]
    fn a_bar_is_met_unmet_or_not_measured() {
        let row = |go| row("spawn-join", 1, "wall_ns", &[("aqueduct-go", 40.0), ("go", go)]);
        assert_eq!(met(&results(vec![row(100.0)]), "half of Go's time, 1 worker"), Some(true));
        assert_eq!(met(&results(vec![row(70.0)]), "half of Go's time, 1 worker"), Some(false));
        assert_eq!(met(&results(vec![row(70.0)]), "half of Go's time, 2 workers"), None);
        assert_eq!(competitor("go").colour, Colour::Coroutine);
    }

    #[test]
    fn allocations_count_by_the_worst_and_none_may_be_missing() {
        let cost = |workload: &str, allocations| Cost {
            workload: workload.into(),
            competitor: "aqueduct-go".into(),
            allocations: Some(allocations),
            instructions: None,
            system_calls: None,
            cpu_ns: None,
            functions: vec![],
            commit: None,
        };
        let with = |costs| Results { costs, ..results(vec![]) };
        let yields = "in a steady yield";
        assert_eq!(met(&with(vec![cost("yield-1", 0.0), cost("yield-1000", 0.001)]), yields), Some(true));
        assert_eq!(met(&with(vec![cost("yield-1", 0.0), cost("yield-1000", 1.0)]), yields), Some(false));
        assert_eq!(met(&with(vec![cost("yield-1", 0.0)]), yields), Some(false));
        assert_eq!(met(&with(vec![]), yields), None);
    }

    #[test]
    fn what_falls_and_then_rises_is_not_flat() {
        let line = |values: &[f64]| Growth {
            what: "x".into(),
            competitor: "ours".into(),
            points: values.iter().enumerate().map(|(n, value)| (n as u64, *value)).collect(),
        };
        assert_eq!(rise(&line(&[100.0, 80.0, 100.0])), 1.25);
        assert_eq!(rise(&line(&[100.0, 90.0, 80.0])), 1.0);
    }

    #[test]
    fn what_is_not_met_has_its_note_and_a_missing_note_is_missed() {
        let results = results(vec![
            row("spsc", 1, "wall_ns", &[("aqueduct-go", 40.0), ("go", 50.0)]),
            row("mpmc", 1, "wall_ns", &[("aqueduct-go", 60.0), ("go", 50.0)]),
            row("spsc", 2, "wall_ns", &[("aqueduct-go", 60.0), ("go", 50.0)]),
        ]);
        let notes =
            [("spsc".to_owned(), "Two cores pass the line to and fro.".to_owned())].into_iter().collect();
        let mut page = String::new();
        unmet(&mut page, &results, &notes).unwrap();
        let (spsc, mpmc) = page.split_once("### `mpmc`").unwrap();
        assert!(spsc.contains("aqueduct-go, 2 workers: 1.20 times go's ns"));
        assert!(spsc.contains("1.50 times its own time with 2 workers"));
        assert!(spsc.contains("Two cores pass"));
        assert!(mpmc.contains("No explanation written yet (`benches/compare/notes/mpmc.md`)"));
    }

    #[test]
    fn notes_are_read_by_name_and_without_their_titles() {
        let folder = std::env::temp_dir().join(format!("aqueduct-notes-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("spsc.md"), "# spsc\n\nIt is so.\n").unwrap();
        fs::write(folder.join("mpmc.md"), "# mpmc\n").unwrap();
        fs::write(folder.join("README.md"), "How to write notes.\n").unwrap();
        let notes = read_notes(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(notes, [("spsc".to_owned(), "It is so.".to_owned())].into_iter().collect());
    }
}
