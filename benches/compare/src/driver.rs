//! From the arguments to the figures, the page and the charts.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::options::{self, Options};
use crate::plan::{self, Workload};
use crate::results::{Results, Row, Summary};
use crate::run::Run;
use crate::{bars, chart, costs, growth, machine, report};

/// Runs the comparison that the arguments ask for.
pub(crate) fn main(parser: lexopt::Parser) -> Result<(), Box<dyn std::error::Error>> {
    let options = options::parse(parser)?;
    let workloads = options.chosen(plan::workloads());
    if workloads.is_empty() {
        return Err("no workload is called that: see --list".into());
    }
    if options.list {
        list(&options, &workloads);
        return Ok(());
    }
    if let Some(results) = put_together(&options.render)? {
        write(&results, &machine::benches().join("results.json"))?;
        return Ok(render(&results)?);
    }
    let run = Run::prepare(&options)?;
    let everything = options.is_everything();
    let default = everything.then(|| machine::benches().join("results.json"));
    let path = options.json.clone().or(default);
    let mut results = match (&path, options.resume) {
        (Some(path), true) => resumed(path, &run)?,
        _ => empty(&run),
    };
    let save = |results: &Results| path.as_deref().map_or(Ok(()), |path| write(results, path));
    let start = Instant::now();
    if !options.costs && !options.growth {
        for workload in workloads.iter().filter(|workload| run.can(workload)) {
            for &workers in &options.workers {
                if results.row(workload.name, workers).is_some() {
                    continue;
                }
                let row = run.row(workload, workers);
                print_row(&row, start.elapsed());
                results.rows.push(row);
                save(&results)?;
            }
        }
    }
    if (everything || options.costs) && results.costs.is_empty() {
        // Without rows of its own it goes by those of the last run, for who the best peers are.
        let last =
            results.rows.is_empty().then(|| read(&machine::benches().join("results.json")).ok()).flatten();
        results.costs = costs::measure(&run, &workloads, last.as_ref().unwrap_or(&results));
        save(&results)?;
    }
    if (everything || options.growth) && results.growth.is_empty() {
        results.growth = growth::measure(&run);
        save(&results)?;
    }
    println!("took {:.1} minutes", start.elapsed().as_secs_f64() / 60.0);
    if everything {
        render(&results)?;
    } else {
        // What a part of a run has found is put together by --render.
        costs::print(&results.costs);
        growth::print(&results.growth);
    }
    if let Some(path) = path {
        println!("figures: {}", path.display());
    }
    Ok(())
}

fn empty(run: &Run) -> Results {
    Results {
        machine: machine::Machine::describe(),
        settings: run.settings(),
        rows: Vec::new(),
        costs: Vec::new(),
        growth: Vec::new(),
    }
}

fn read(path: &Path) -> io::Result<Results> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

/// By way of another file: an interrupted run leaves whole figures behind.
fn write(results: &Results, path: &Path) -> io::Result<()> {
    let beside = path.with_extension("json.part");
    std::fs::write(&beside, serde_json::to_string(results)? + "\n")?;
    std::fs::rename(beside, path)
}

/// What an interrupted run has found, if it is a part of the run that was asked for.
fn resumed(path: &Path, run: &Run) -> Result<Results, Box<dyn std::error::Error>> {
    let known = read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let wanted = empty(run);
    if known.machine.commit != wanted.machine.commit || known.settings != wanted.settings {
        return Err(format!("{}: of another commit, or with other settings", path.display()).into());
    }
    println!("{} rows are there already", known.rows.len());
    Ok(known)
}

/// The figures of several runs of one machine. Rows and costs of a run at another commit say so.
fn put_together(files: &[PathBuf]) -> Result<Option<Results>, Box<dyn std::error::Error>> {
    let mut all: Option<Results> = None;
    for file in files {
        let mut part = read(file)?;
        match &mut all {
            None => all = Some(part),
            Some(all) if all.machine.cpu != part.machine.cpu || !all.settings.go_with(&part.settings) => {
                return Err(format!("{}: of another machine, or with other settings", file.display()).into());
            }
            Some(all) => {
                if part.machine.commit != all.machine.commit {
                    let rows = part.rows.iter_mut().map(|row| &mut row.commit);
                    let costs = part.costs.iter_mut().map(|cost| &mut cost.commit);
                    rows.chain(costs).for_each(|commit| {
                        commit.get_or_insert_with(|| part.machine.commit.clone());
                    });
                }
                all.take_in(part);
            }
        }
    }
    if let Some(all) = &mut all {
        let places: Vec<_> = plan::workloads().iter().map(|workload| workload.name).collect();
        let place = |row: &Row| (places.iter().position(|name| *name == row.workload), row.workers);
        all.rows.sort_by_key(place);
    }
    Ok(all)
}

/// Writes the page and its charts.
fn render(results: &Results) -> io::Result<()> {
    let benches = machine::benches();
    let notes = bars::read_notes(&machine::package().join("notes"))?;
    std::fs::write(benches.join("RESULTS.md"), report::page(results, &notes))?;
    std::fs::write(benches.join("results.svg"), chart::ratios(results))?;
    if !results.growth.is_empty() {
        std::fs::write(benches.join("growth.svg"), chart::growth(results))?;
    }
    println!("page: {}", benches.join("RESULTS.md").display());
    Ok(())
}

/// Who takes part, and how long it will take by what the samples of the last run took.
fn list(options: &Options, workloads: &[Workload]) {
    let last = read(&machine::benches().join("results.json")).ok();
    let mut total = 0.0;
    for workload in workloads {
        let mut seconds = 0.0;
        for &workers in &options.workers {
            for competitor in workload.competitors.iter().filter(|c| c.runs_on(workers)) {
                let row = last.as_ref().filter(|last| last.settings.quick == options.quick);
                let row = row.and_then(|last| last.row(workload.name, workers));
                let known = row.and_then(|row| row.entries.iter().find(|e| e.competitor == competitor.name));
                let known = known.and_then(|entry| entry.summary("took_s"));
                let sample = known.map_or(workload.seconds(), |took: Summary| took.median);
                seconds += sample * workload.rounds(options.rounds()) as f64;
            }
        }
        total += seconds;
        let names: Vec<_> = workload.competitors.iter().map(|c| c.name).collect();
        println!("{}: {} (about {seconds:.0} s)\n    {}", workload.name, workload.title, names.join(" "));
    }
    let rest = if options.is_everything() { costs::MINUTES + growth::MINUTES } else { 0.0 };
    println!(
        "about {:.0} minutes on a quiet machine, costs and growth among them: {rest:.0}",
        total / 60.0 + rest
    );
}

/// The row as text, best first in each metric.
fn print_row(row: &Row, elapsed: Duration) {
    let workers = if row.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", row.workers) };
    println!(
        "\n{} ({}, {workers}), after {:.1} minutes",
        row.title,
        row.workload,
        elapsed.as_secs_f64() / 60.0
    );
    for metric in &row.metrics {
        println!(
            "  {:<28} {:>12} {:>7}  {:>11} {:>8}",
            metric.unit, "median", "spread", "CPU ns/op", "foreign"
        );
        let mut shown: Vec<_> =
            row.entries.iter().filter_map(|entry| Some((entry, entry.summary(&metric.key)?))).collect();
        shown.sort_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
        if metric.better == plan::Better::More {
            shown.reverse();
        }
        for (entry, summary) in shown {
            let cpu = entry.summary("cpu_ns").map_or(f64::NAN, |summary| summary.median);
            let foreign = entry.summary("foreign_cpu").map_or(f64::NAN, |summary| summary.max);
            println!(
                "  {:<28} {:>12.1} {:>6.0}%  {cpu:>11.1} {foreign:>8.2}",
                entry.competitor,
                summary.median,
                summary.spread() * 100.0,
            );
        }
    }
    for entry in &row.entries {
        if let Some(failure) = &entry.failure {
            println!("  {:<28} FAILED: {failure}", entry.competitor);
        }
    }
}
