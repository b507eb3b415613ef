//! A bar chart as SVG: groups of bars, one scale for all, readable on light and dark pages.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LABELS: f64 = 330.0;
const VALUES: f64 = 80.0;
const ROW: f64 = 26.0;
const COLORS: [&str; 3] = ["#2f81f7", "#8b949e", "#b08800"];

/// A chart of `groups`: each a name and its bars' names and values.
pub fn bars(title: &str, groups: &[(&str, Vec<(String, f64)>)]) -> String {
    let values = groups.iter().flat_map(|(_, bars)| bars.iter().map(|(_, value)| *value));
    let highest = values.filter(|value| value.is_finite()).fold(1.0, f64::max);
    let rows: usize = groups.iter().map(|(_, bars)| bars.len() + 1).sum();
    let height = 44.0 + rows as f64 * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<title>{title}</title>\n\
         <style>text {{ fill: #1f2328 }} @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} }}</style>\n\
         <text x=\"8\" y=\"24\" font-size=\"16\" font-weight=\"600\">{title}</text>\n"
    );
    let mut y = 40.0;
    for (name, bars) in groups {
        // Writing to a string cannot fail.
        let _ = writeln!(svg, "<text x=\"8\" y=\"{:.0}\" font-weight=\"600\">{name}</text>", y + 17.0);
        y += ROW;
        for (place, (bar, value)) in bars.iter().enumerate() {
            let length = (value / highest * (WIDTH - LABELS - VALUES)).max(1.0);
            let color = COLORS[place % COLORS.len()];
            let _ = writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{bar}</text>\
                 <rect x=\"{LABELS}\" y=\"{:.0}\" width=\"{length:.1}\" height=\"{:.0}\" rx=\"3\" fill=\"{color}\"/>\
                 <text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
                LABELS - 8.0,
                y + 17.0,
                y + 4.0,
                ROW - 8.0,
                LABELS + length + 6.0,
                y + 17.0,
                thousands(*value),
            );
            y += ROW;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// A whole number with its thousands set apart.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_chart_and_numbers_are_readable() {
        let svg = bars("t", &[("g", vec![("a".into(), 1_234_567.0), ("b".into(), 1.0)])]);
        assert!(svg.contains("width=\"350.0\"") && svg.contains("1,234,567"), "{svg}");
        assert_eq!(thousands(999.0), "999");
    }
}
