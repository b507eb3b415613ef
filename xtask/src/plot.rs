//! Lines over one quantity as SVG, readable on light and dark pages.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 36.0;
const GRID_LINES: u32 = 5;
/// From one name at the right to the next.
const NAME_HEIGHT: f64 = 15.0;

/// One line.
#[derive(Debug)]
pub struct Line {
    /// Stands at its end; empty where it would be in the way.
    pub name: &'static str,
    /// As CSS has it.
    pub color: &'static str,
    /// From left to right, across and up.
    pub points: Vec<(f64, f64)>,
}

/// Lines over one quantity; both scales begin at 0.
#[derive(Debug)]
pub struct Plot<'a> {
    /// What it shows, and in which unit the lines rise.
    pub title: &'a str,
    /// Behind each number below.
    pub unit_across: &'a str,
    /// Steps of the scale below.
    pub steps_across: u32,
    /// What is to be seen.
    pub lines: Vec<Line>,
    /// A word at the top right, in a colour.
    pub remark: Option<(&'static str, String)>,
}

impl Plot<'_> {
    /// Draws it.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let most = points().map(|(_, up)| *up).fold(1.0, f64::max) * 1.1;
        let end = points().map(|(across, _)| *across).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let x = |across: f64| LEFT + across / end * (WIDTH - LEFT - RIGHT);
        let y = |up: f64| HEIGHT - BOTTOM - up / most * (HEIGHT - TOP - BOTTOM);
        let title = self.title;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<title>{title}</title>\n\
             <style>text {{ fill: #1f2328 }} .grid {{ stroke: #8b949e; stroke-opacity: 0.3 }} polyline {{ fill: none; \
             stroke-width: 2 }} @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} }}</style>\n\
             <text x=\"8\" y=\"24\" font-size=\"16\" font-weight=\"600\">{title}</text>\n"
        );
        // Writing to a string cannot fail.
        for line in 0..=GRID_LINES {
            let up = most * f64::from(line) / f64::from(GRID_LINES);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
                 <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{up:.0}</text>",
                WIDTH - RIGHT,
                y(up),
                y(up),
                LEFT - 8.0,
                y(up) + 4.0,
            );
        }
        for step in 0..=self.steps_across {
            let across = end * f64::from(step) / f64::from(self.steps_across.max(1));
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{across:.1}{}</text>",
                x(across),
                HEIGHT - 12.0,
                self.unit_across,
            );
        }
        for Line { color, points, .. } in &self.lines {
            let places: Vec<_> =
                points.iter().map(|(across, up)| format!("{:.1},{:.1}", x(*across), y(*up))).collect();
            let _ = writeln!(svg, "<polyline stroke=\"{color}\" points=\"{}\"/>", places.join(" "));
        }
        let named = self.lines.iter().filter(|line| !line.name.is_empty());
        let mut names: Vec<_> =
            named.map(|line| (line.points.last().map_or(HEIGHT, |(_, up)| y(*up)) + 4.0, line)).collect();
        names.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut above = 0.0;
        for (beside, Line { name, color, .. }) in names {
            // Lines that end at one place have their names below one another.
            let place = beside.max(above + NAME_HEIGHT);
            above = place;
            let _ = writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{place:.1}\" style=\"fill: {color}\">{name}</text>",
                WIDTH - RIGHT + 8.0,
            );
        }
        if let Some((color, remark)) = &self.remark {
            let _ = writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"24\" style=\"fill: {color}\">{remark}</text>",
                WIDTH - RIGHT,
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_are_there_and_the_highest_fits_in() {
        let level =
            |name, up| Line { name, color: "#000", points: (0..10).map(|n| (f64::from(n), up)).collect() };
        let lines = vec![level("one", 100.0), level("the same", 100.0), level("", 80.0)];
        let remark = Some(("#000", "level".to_owned()));
        let svg = Plot { title: "t", unit_across: " s", steps_across: 3, lines, remark }.svg();
        assert_eq!((svg.matches("<polyline").count(), svg.matches("</text>").count()), (3, 14));
        assert!(svg.contains("56.0,65.8") && svg.contains(">9.0 s<") && svg.contains(">level<"), "{svg}");
        assert!(svg.contains("y=\"69.8\"") && svg.contains("y=\"84.8\""), "names are legible: {svg}");
    }
}
