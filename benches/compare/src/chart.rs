//! The charts, as SVG: ratios to the best peer, and growth.

use std::fmt::Write;

use crate::plan::{Colour, Standing};
use crate::report::{Verdict, colour_name, number, verdicts, whole};
use crate::results::{Growth, Results};

const FONT: &str = "font-family=\"system-ui, sans-serif\"";
const INK: &str = "#1f2933";
const QUIET: &str = "#7b8794";
const COLOURS: [(&str, Colour); 3] =
    [("#0b7285", Colour::Coroutine), ("#e8590c", Colour::Future), ("#868e96", Colour::Thread)];

/// Ratios at the edges of the chart: an eighth and eight times.
const EDGE: f64 = 8.0;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 30.0;
const LINE: f64 = 24.0;
const TOP: f64 = 92.0;

fn paint(colour: Colour) -> &'static str {
    COLOURS.iter().find(|(_, of)| *of == colour).map_or(INK, |(paint, _)| paint)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// One line for each workload, on a logarithmic scale of ratios: left of the middle is ahead of the best peer. A dot for each of our
/// colours: full, in the upper half of the line, with one worker; a ring, in the lower half, with two. The first figure of each workload.
pub(crate) fn ratios(results: &Results) -> String {
    let verdicts = verdicts(results);
    let first = |verdict: &&Verdict| verdict.row.metrics.first().map(|m| &m.key) == Some(&verdict.metric.key);
    let verdicts: Vec<_> = verdicts.iter().filter(first).collect();
    let mut rows: Vec<(String, Vec<&Verdict>)> = Vec::new();
    for verdict in verdicts {
        match rows.last_mut() {
            Some((last, dots)) if *last == verdict.row.workload => dots.push(verdict),
            _ => rows.push((verdict.row.workload.clone(), vec![verdict])),
        }
    }
    let height = TOP + LINE * rows.len() as f64 + 60.0;
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
    text(svg, 16.0, 28.0, 17, INK, "Time of aqueduct over that of the best peer, workload by workload")?;
    let machine = &results.machine;
    let noise = if results.settings.foreign_cpu_max.is_none() { ", on a shared machine" } else { "" };
    let rustc = machine.rustc.split(" (").next().unwrap_or_default();
    let go = results.settings.go.as_ref().map_or("no Go", |go| go.split(' ').next().unwrap_or_default());
    text(
        svg,
        16.0,
        48.0,
        12,
        QUIET,
        &format!(
            "{} CPUs, {}, {rustc}, {go}, commit {}, {}{noise}",
            machine.cpus, machine.cpu, machine.commit, machine.date
        ),
    )?;
    let bottom = TOP + LINE * rows.len() as f64;
    writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#e6fcf5\" fill-opacity=\"0.7\"/>",
        x_of(1.0) - LEFT,
        bottom - TOP
    )?;
    for index in (1..rows.len()).step_by(2) {
        writeln!(
            svg,
            "<rect x=\"0\" y=\"{:.1}\" width=\"{WIDTH}\" height=\"{LINE}\" fill=\"#7b8794\" fill-opacity=\"0.07\"/>",
            TOP + LINE * index as f64
        )?;
    }
    let mut ratio = 1.0 / EDGE;
    while ratio <= EDGE {
        let (x, is_middle) = (x_of(ratio), (ratio - 1.0).abs() < 1e-9);
        let (stroke, width) = if is_middle { (INK, 1.5) } else { ("#cbd2d9", 1.0) };
        writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>"
        )?;
        let label = if ratio < 1.0 { format!("1/{:.0}", 1.0 / ratio) } else { format!("{ratio:.0}×") };
        centred(svg, x, bottom + 18.0, 11, QUIET, &label)?;
        ratio *= 2.0;
    }
    centred(svg, x_of(1.0 / 2.83), TOP - 10.0, 12, QUIET, "← ahead")?;
    centred(svg, x_of(2.83), TOP - 10.0, 12, QUIET, "behind →")?;
    for (index, (name, dots)) in rows.iter().enumerate() {
        let y = TOP + LINE * (index as f64 + 0.5);
        text(svg, 16.0, y + 4.0, 12, INK, name)?;
        // Rings first: they are the larger, and a dot on a ring is seen.
        for wanted in [false, true] {
            for verdict in dots.iter().filter(|verdict| (verdict.row.workers == 1) == wanted) {
                dot(svg, verdict, if wanted { y - 5.0 } else { y + 5.0 })?;
            }
        }
    }
    let (mut x, y) = (16.0, bottom + 42.0);
    for (paint, colour) in COLOURS {
        writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"4.5\" fill=\"{paint}\"/>", y - 4.0)?;
        text(svg, x + 10.0, y, 12, INK, colour_name(colour))?;
        x += 100.0;
    }
    writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"4.5\" fill=\"{INK}\"/>", y - 4.0)?;
    text(svg, x + 10.0, y, 12, INK, "1 worker")?;
    x += 90.0;
    writeln!(
        svg,
        "<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"none\" stroke=\"{INK}\" stroke-width=\"1.8\"/>",
        y - 4.0
    )?;
    text(svg, x + 10.0, y, 12, INK, "2 workers; servers: by requests per second")?;
    writeln!(svg, "</svg>")
}

fn dot(svg: &mut String, verdict: &Verdict, y: f64) -> std::fmt::Result {
    debug_assert!(verdict.ours.standing == Standing::Ours);
    let key = &verdict.metric.key;
    let median =
        |entry: &crate::results::Entry| entry.summary(key).map_or(f64::NAN, |summary| summary.median);
    let paint = paint(verdict.ours.colour);
    let look = match verdict.row.workers {
        1 => format!("r=\"4.5\" fill=\"{paint}\" fill-opacity=\"0.9\""),
        _ => format!("r=\"4\" fill=\"none\" stroke=\"{paint}\" stroke-width=\"1.8\""),
    };
    writeln!(
        svg,
        "<circle cx=\"{:.1}\" cy=\"{y:.1}\" {look}><title>{}</title></circle>",
        x_of(verdict.ratio),
        escaped(&format!(
            "{} on {}: {} against {} of {}, {} ({:.2})",
            verdict.ours.competitor,
            verdict.row.workers,
            number(median(verdict.ours)),
            number(median(verdict.peer)),
            verdict.peer.competitor,
            verdict.metric.unit,
            verdict.ratio
        ))
    )
}

/// One panel for each kind of growth: the figure over the number, relative to the first point; flat is good. The band is the 10 % of
/// the bar.
pub(crate) fn growth(results: &Results) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for line in &results.growth {
        if !kinds.contains(&line.what.as_str()) {
            kinds.push(&line.what);
        }
    }
    let height = 52.0 + PANEL * kinds.len().div_ceil(2) as f64;
    let mut svg = String::new();
    write_growth(&mut svg, results, &kinds, height).expect("a string takes everything");
    svg
}

/// Height of a panel, with all that stands around it.
const PANEL: f64 = 262.0;

fn write_growth(svg: &mut String, results: &Results, kinds: &[&str], height: f64) -> std::fmt::Result {
    open(svg, WIDTH, height)?;
    let title = "Each figure over its value at the smallest number: flat, or falling, is the aim";
    text(svg, 16.0, 28.0, 15, INK, title)?;
    for (index, kind) in kinds.iter().enumerate() {
        let x = 16.0 + (index % 2) as f64 * (WIDTH / 2.0 - 8.0);
        let y = 50.0 + (index / 2) as f64 * PANEL;
        let lines: Vec<_> = results.growth.iter().filter(|line| line.what == *kind).collect();
        panel(svg, x, y, kind, &lines)?;
    }
    writeln!(svg, "</svg>")
}

fn panel(svg: &mut String, left: f64, top: f64, title: &str, lines: &[&Growth]) -> std::fmt::Result {
    const PAINTS: [&str; 3] = ["#0b7285", "#e8590c", "#5f3dc4"];
    let (width, height) = (WIDTH / 2.0 - 76.0, 150.0);
    let (plot_left, plot_top) = (left + 36.0, top + 24.0);
    text(svg, left, top + 12.0, 12, INK, title)?;
    let points = || lines.iter().flat_map(|line| &line.points);
    let (least, most) = points()
        .fold((f64::INFINITY, 1.0_f64), |(a, b), point| (a.min(point.0 as f64), b.max(point.0 as f64)));
    let over_first =
        |line: &Growth, value: f64| line.points.first().map_or(f64::NAN, |first| value / first.1);
    let highest = lines
        .iter()
        .flat_map(|line| line.points.iter().map(|point| over_first(line, point.1)))
        .filter(|ratio| ratio.is_finite())
        .fold(2.0, f64::max)
        .min(6.0)
        .ceil();
    let x_of =
        |count: u64| plot_left + width * (count as f64 / least).log10() / (most / least).log10().max(1e-9);
    let y_of = |ratio: f64| plot_top + height * (1.0 - ratio.clamp(0.0, highest) / highest);
    writeln!(
        svg,
        "<rect x=\"{plot_left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"#e6fcf5\"/>",
        y_of(1.1),
        y_of(0.9) - y_of(1.1)
    )?;
    for ratio in 0..=highest as u32 {
        let (ratio, stroke) = (f64::from(ratio), if ratio == 1 { INK } else { "#e4e7eb" });
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
        let known: Vec<_> = line
            .points
            .iter()
            .filter(|(_, value)| over_first(line, *value).is_finite())
            .map(|(count, value)| (x_of(*count), y_of(over_first(line, *value)), *count, *value))
            .collect();
        let corners: Vec<_> = known.iter().map(|(x, y, ..)| format!("{x:.1},{y:.1}")).collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{paint}\" stroke-width=\"2\"/>",
            corners.join(" ")
        )?;
        for (x, y, count, value) in &known {
            let what = escaped(&format!("{}, {}: {}", line.competitor, whole(*count), number(*value)));
            writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{paint}\"><title>{what}</title></circle>"
            )?;
        }
        // The figures themselves, at both ends.
        let ends = [known.first(), known.last()].map(|end| end.map_or("–".into(), |end| number(end.3)));
        let legend = format!("{}: {} → {}", line.competitor, ends[0], ends[1]);
        text(svg, plot_left, plot_top + height + 34.0 + 15.0 * index as f64, 11, paint, &legend)?;
    }
    let counts = lines.first().map(|line| line.points.as_slice()).unwrap_or_default();
    for (count, _) in counts {
        centred(svg, x_of(*count), plot_top + height + 16.0, 11, QUIET, &whole(*count))?;
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
