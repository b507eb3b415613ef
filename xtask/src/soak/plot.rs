//! The memory of a run as SVG, readable on light and dark pages.

use std::fmt::Write;
use std::time::Duration;

use super::memory::{Sample, Verdict};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 36.0;
const GRID_LINES: u32 = 5;
const ANONYMOUS: &str = "#2f81f7";
const RESIDENT: &str = "#8b949e";
const FITTED: &str = "#b08800";

/// Both lines from 0 up, and the one that was fitted.
pub fn lines(title: &str, samples: &[Sample], verdict: &Verdict) -> String {
    let most = samples.iter().map(|sample| sample.resident_mib).fold(1.0, f64::max) * 1.1;
    let end = samples.last().map_or(1.0, |sample| sample.at.as_secs_f64()).max(1.0);
    let x = |at: Duration| LEFT + at.as_secs_f64() / end * (WIDTH - LEFT - RIGHT);
    let y = |mib: f64| HEIGHT - BOTTOM - mib / most * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<title>{title}</title>\n\
         <style>text {{ fill: #1f2328 }} .grid {{ stroke: #8b949e; stroke-opacity: 0.3 }} polyline {{ fill: none; \
         stroke-width: 2 }} @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} }}</style>\n\
         <text x=\"8\" y=\"24\" font-size=\"16\" font-weight=\"600\">{title}: memory, MiB</text>\n"
    );
    // Writing to a string cannot fail.
    for line in 0..=GRID_LINES {
        let share = f64::from(line) / f64::from(GRID_LINES);
        let (height, mib) = (y(most * share), most * share);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{height:.1}\" y2=\"{height:.1}\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{mib:.0}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            height + 4.0,
        );
        let at = Duration::from_secs_f64(end * share);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{:.1} min</text>",
            x(at),
            HEIGHT - 12.0,
            at.as_secs_f64() / 60.0,
        );
    }
    let mut line = |name: &str, color: &str, points: Vec<(Duration, f64)>| {
        let places: Vec<_> = points.iter().map(|(at, mib)| format!("{:.1},{:.1}", x(*at), y(*mib))).collect();
        let label = points.last().map_or(0.0, |(_, mib)| y(*mib)) + 4.0;
        let _ = writeln!(
            svg,
            "<polyline stroke=\"{color}\" points=\"{}\"/><text x=\"{:.0}\" y=\"{label:.1}\" style=\"fill: {color}\">{name}</text>",
            places.join(" "),
            WIDTH - RIGHT + 8.0,
        );
    };
    let of = |mib: fn(&Sample) -> f64| samples.iter().map(|sample| (sample.at, mib(sample))).collect();
    line("resident", RESIDENT, of(|sample| sample.resident_mib));
    line("anonymous", ANONYMOUS, of(|sample| sample.anonymous_mib));
    let [first, last] = verdict.judged;
    // Its name would lie on that of what it is fitted to.
    line("", FITTED, vec![(first, verdict.first_mib), (last, verdict.last_mib)]);
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"24\" style=\"fill: {FITTED}\">fitted: {:+.1} MiB</text>",
        WIDTH - RIGHT,
        verdict.rise_mib
    );
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_are_there_and_the_highest_fits_in() {
        let sample = |n: u64| Sample { at: Duration::from_secs(n), anonymous_mib: 80.0, resident_mib: 100.0 };
        let samples: Vec<_> = (0..10).map(sample).collect();
        let svg = lines("t", &samples, &Verdict::on(&samples).unwrap());
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(svg.contains("fitted: +0.0 MiB") && svg.contains("56.0,65.8"), "{svg}");
    }
}
