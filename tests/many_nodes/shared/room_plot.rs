//! The timeline of a sale through the waiting room, as a picture.

use std::fmt::Write;

/// How far the sale was.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub seconds: f64,
    pub registered: u64,
    pub admitted: u64,
    pub sold: u64,
    pub paid: u64,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 90.0;
const TOP: f64 = 40.0;

/// Two panels over the same time: people, and units.
pub fn plot(samples: &[Sample], units: u64) -> String {
    let end = samples.last().map_or(1.0, |last| last.seconds.max(1.0));
    let people =
        samples.iter().map(|sample| sample.registered.max(sample.admitted)).max().unwrap_or(1).max(1);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        LEFT + WIDTH + 130.0,
        2.0 * (HEIGHT + TOP) + 60.0
    );
    type Line = (&'static str, &'static str, fn(&Sample) -> u64);
    let panels: [(&str, u64, [Line; 2]); 2] = [
        ("people", people, [("registered", "#36c", |s| s.registered), ("admitted", "#c60", |s| s.admitted)]),
        ("units", units.max(1), [("sold", "#393", |s| s.sold), ("paid", "#838", |s| s.paid)]),
    ];
    for (place, (title, most, lines)) in panels.into_iter().enumerate() {
        let top = TOP + place as f64 * (HEIGHT + TOP + 10.0);
        let y = |value: u64| top + HEIGHT * (1.0 - value as f64 / most as f64);
        let x = |seconds: f64| LEFT + WIDTH * seconds / end;
        // Writing to a text does not fail.
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{:.0}\" font-weight=\"bold\">{title}</text>\
             <path d=\"M{LEFT},{top} V{:.0} H{:.0}\" fill=\"none\" stroke=\"#888\"/>\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{most}</text><text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">0</text>",
            top - 8.0,
            top + HEIGHT,
            LEFT + WIDTH,
            LEFT - 6.0,
            top + 5.0,
            LEFT - 6.0,
            top + HEIGHT
        );
        for tick in 0..=4 {
            let seconds = end * f64::from(tick) / 4.0;
            let _ = writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{seconds:.0} s</text>",
                x(seconds),
                top + HEIGHT + 17.0
            );
        }
        for (number, (label, colour, of)) in lines.into_iter().enumerate() {
            let points: Vec<String> = samples
                .iter()
                .map(|sample| format!("{:.1},{:.1}", x(sample.seconds), y(of(sample))))
                .collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 <text x=\"{:.0}\" y=\"{:.0}\" fill=\"{colour}\">{label}</text>",
                points.join(" "),
                LEFT + WIDTH + 8.0,
                top + 20.0 + 20.0 * number as f64
            );
        }
    }
    svg + "</svg>\n"
}
