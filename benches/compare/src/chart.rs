//! The charts, as SVG: ratios to the best peer, and growth.

use std::fmt::Write;

use crate::plan::{Colour, Standing};
use crate::report::{Verdict, colour_name, number, verdicts};
use crate::results::{Growth, Results};

const FONT: &str = "font-family=\"system-ui, sans-serif\"";
const INK: &str = "#1f2933";
const QUIET: &str = "#7b8794";
const COLOURS: [(&str, Colour); 3] =
    [("#0b7285", Colour::Coroutine), ("#e8590c", Colour::Future), ("#868e96", Colour::Thread)];

/// Ratios at the edges of the chart: an eighth and eight times.
const EDGE: f64 = 8.0;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 30.0;
const LINE: f64 = 22.0;
const TOP: f64 = 84.0;

fn paint(colour: Colour) -> &'static str {
    COLOURS.iter().find(|(_, of)| *of == colour).map_or(INK, |(paint, _)| paint)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// One line for each workload and number of workers, one dot for each of our colours, on a logarithmic scale of ratios: left of
/// the middle is ahead of the best peer. The first figure of each workload.
pub(crate) fn ratios(results: &Results) -> String {
    let verdicts = verdicts(results);
    let first = |verdict: &&Verdict| verdict.row.metrics.first().map(|m| &m.key) == Some(&verdict.metric.key);
    let verdicts: Vec<_> = verdicts.iter().filter(first).collect();
    let mut rows: Vec<(String, Vec<&Verdict>)> = Vec::new();
    for verdict in verdicts {
        let workers = if verdict.row.workers == 1 { "" } else { "s" };
        let name = format!("{}, {} worker{workers}", verdict.row.workload, verdict.row.workers);
        match rows.last_mut() {
            Some((last, dots)) if *last == name => dots.push(verdict),
            _ => rows.push((name, vec![verdict])),
        }
    }
    let height = TOP + LINE * rows.len() as f64 + 56.0;
    let mut svg = String::new();
    write_ratios(&mut svg, results, &rows, height).expect("a string takes everything");
    svg
}

/// Where a ratio stands; those beyond the edges stand on them.
fn x_of(ratio: f64) -> f64 {
    let place = (ratio.clamp(1.0 / EDGE, EDGE).log2() / EDGE.log2() + 1.0) / 2.0;
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

fn write_ratios(
    svg: &mut String,
    results: &Results,
    rows: &[(String, Vec<&Verdict>)],
    height: f64,
) -> std::fmt::Result {
    open(svg, WIDTH, height)?;
    text(svg, 16.0, 26.0, 17, INK, "aqueduct against the best peer of each workload")?;
    let machine = &results.machine;
    let noise = if results.settings.foreign_cpu_max.is_none() { ", on a shared machine" } else { "" };
    text(
        svg,
        16.0,
        46.0,
        12,
        QUIET,
        &format!(
            "{} CPUs, {}, commit {}, {}{noise}",
            machine.cpus, machine.rustc, machine.commit, machine.date
        ),
    )?;
    let bottom = TOP + LINE * rows.len() as f64;
    let mut ratio = 1.0 / EDGE;
    while ratio <= EDGE {
        let (x, is_middle) = (x_of(ratio), (ratio - 1.0).abs() < 1e-9);
        let (stroke, width) = if is_middle { (INK, 1.5) } else { ("#e4e7eb", 1.0) };
        writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>"
        )?;
        let label = if ratio < 1.0 { format!("1/{:.0}", 1.0 / ratio) } else { format!("{ratio:.0}×") };
        centred(svg, x, bottom + 18.0, 11, QUIET, &label)?;
        ratio *= 2.0;
    }
    centred(svg, x_of(1.0 / 2.8), TOP - 8.0, 12, QUIET, "← ahead")?;
    centred(svg, x_of(2.8), TOP - 8.0, 12, QUIET, "behind →")?;
    for (index, (name, dots)) in rows.iter().enumerate() {
        let y = TOP + LINE * (index as f64 + 0.5);
        if index % 2 == 1 {
            writeln!(
                svg,
                "<rect x=\"0\" y=\"{:.1}\" width=\"{WIDTH}\" height=\"{LINE}\" fill=\"#f5f7fa\" fill-opacity=\"0.6\"/>",
                y - LINE / 2.0
            )?;
        }
        text(svg, 16.0, y + 4.0, 12, INK, name)?;
        for verdict in dots {
            dot(svg, verdict, y)?;
        }
    }
    let mut x = 16.0;
    for (paint, colour) in COLOURS {
        writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"5\" fill=\"{paint}\"/>", bottom + 38.0)?;
        text(svg, x + 10.0, bottom + 42.0, 12, INK, colour_name(colour))?;
        x += 110.0;
    }
    writeln!(svg, "</svg>")
}

fn dot(svg: &mut String, verdict: &Verdict, y: f64) -> std::fmt::Result {
    debug_assert!(verdict.ours.standing == Standing::Ours);
    let key = &verdict.metric.key;
    let median =
        |entry: &crate::results::Entry| entry.summary(key).map_or(f64::NAN, |summary| summary.median);
    writeln!(
        svg,
        "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{}\" fill-opacity=\"0.85\"><title>{}</title></circle>",
        x_of(verdict.ratio),
        paint(verdict.ours.colour),
        escaped(&format!(
            "{}: {} against {} of {}, {} ({:.2})",
            verdict.ours.competitor,
            number(median(verdict.ours)),
            number(median(verdict.peer)),
            verdict.peer.competitor,
            verdict.metric.unit,
            verdict.ratio
        ))
    )
}

/// One small panel for each kind of growth: the figure over the number, relative to the first point; flat is good.
pub(crate) fn growth(results: &Results) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for line in &results.growth {
        if !kinds.contains(&line.what.as_str()) {
            kinds.push(&line.what);
        }
    }
    let height = 40.0 + 230.0 * kinds.len().div_ceil(2) as f64;
    let mut svg = String::new();
    write_growth(&mut svg, results, &kinds, height).expect("a string takes everything");
    svg
}

fn write_growth(svg: &mut String, results: &Results, kinds: &[&str], height: f64) -> std::fmt::Result {
    open(svg, WIDTH, height)?;
    text(svg, 16.0, 26.0, 15, INK, "Each figure over its value at the smallest number: flat is the aim")?;
    for (index, kind) in kinds.iter().enumerate() {
        let x = 16.0 + (index % 2) as f64 * (WIDTH / 2.0 - 8.0);
        let y = 44.0 + (index / 2) as f64 * 230.0;
        let lines: Vec<_> = results.growth.iter().filter(|line| line.what == *kind).collect();
        panel(svg, x, y, kind, &lines)?;
    }
    writeln!(svg, "</svg>")
}

fn panel(svg: &mut String, left: f64, top: f64, title: &str, lines: &[&Growth]) -> std::fmt::Result {
    const PAINTS: [&str; 4] = ["#0b7285", "#e8590c", "#5f3dc4", "#2b8a3e"];
    let (width, height) = (WIDTH / 2.0 - 60.0, 150.0);
    let (plot_left, plot_top) = (left + 34.0, top + 22.0);
    text(svg, left, top + 12.0, 12, INK, title)?;
    let counts = lines.iter().flat_map(|line| &line.points).map(|point| point.0 as f64);
    let (least, most) = counts.fold((f64::INFINITY, 1.0_f64), |(a, b), c| (a.min(c), b.max(c)));
    let x_of =
        |count: u64| plot_left + width * (count as f64 / least).log10() / (most / least).log10().max(1e-9);
    let y_of = |ratio: f64| plot_top + height * (1.0 - ratio.clamp(0.0, 3.0) / 3.0);
    for ratio in [0.0, 1.0, 2.0, 3.0] {
        let stroke = if ratio == 1.0 { INK } else { "#e4e7eb" };
        writeln!(
            svg,
            "<line x1=\"{plot_left:.1}\" y1=\"{0:.1}\" x2=\"{1:.1}\" y2=\"{0:.1}\" stroke=\"{stroke}\"/>",
            y_of(ratio),
            plot_left + width
        )?;
        text(svg, left + 8.0, y_of(ratio) + 4.0, 11, QUIET, &format!("{ratio:.0}×"))?;
    }
    for (index, line) in lines.iter().enumerate() {
        let paint = PAINTS[index % PAINTS.len()];
        let first = line.points.first().map_or(f64::NAN, |point| point.1);
        let points: Vec<_> = line
            .points
            .iter()
            .filter(|(_, value)| (value / first).is_finite())
            .map(|(count, value)| format!("{:.1},{:.1}", x_of(*count), y_of(value / first)))
            .collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{paint}\" stroke-width=\"2\"/>",
            points.join(" ")
        )?;
        text(svg, plot_left + 120.0 * index as f64, plot_top + height + 34.0, 11, paint, &line.competitor)?;
    }
    let counts = lines.first().map(|line| line.points.as_slice()).unwrap_or_default();
    for (count, _) in counts {
        centred(svg, x_of(*count), plot_top + height + 16.0, 11, QUIET, &number(*count as f64))?;
    }
    Ok(())
}

fn open(svg: &mut String, width: f64, height: f64) -> std::fmt::Result {
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" {FONT}>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>"
    )
}

fn text(svg: &mut String, x: f64, y: f64, size: u32, paint: &str, words: &str) -> std::fmt::Result {
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{paint}\">{}</text>",
        escaped(words)
    )
}

fn centred(svg: &mut String, x: f64, y: f64, size: u32, paint: &str, words: &str) -> std::fmt::Result {
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{paint}\" text-anchor=\"middle\">{}</text>",
        escaped(words)
    )
}
