//! Pictures of measurements as SVG: text, rectangles and lines, readable on light and dark pages.
//!
//! Not here: what is measured, and files.

use std::fmt::Write;

const WIDTH: usize = 720;
/// Of one bar, with the space below it.
const ROW: usize = 26;
/// Room for the head.
const TOP: usize = 56;
/// Room for the names of bars, and for the figures behind them.
const LEFT: usize = 190;
const LABEL: usize = 60;

/// The place of curves in their picture.
const PLOT_LEFT: f64 = 70.0;
const PLOT_RIGHT: f64 = 700.0;
const PLOT_TOP: f64 = 66.0;
const PLOT_BOTTOM: f64 = 340.0;

/// Told apart without colour too: curves also have their names at their ends.
const COLOURS: [&str; 4] = ["#c4551f", "#3d6b99", "#8a5a8f", "#5b7d3a"];

/// Colour of what the picture is about.
pub const OURS: &str = "#c4551f";
/// Colour of what stands beside it.
pub const BESIDE: &str = "#b8b8b8";

/// What stands above a picture.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// For who cannot see it.
    pub title: &'a str,
    /// In large letters.
    pub head: &'a str,
    /// Below, in small ones.
    pub under: &'a str,
}

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Before it.
    pub name: String,
    /// Its length; nothing is drawn for less than zero.
    pub value: f64,
    /// Behind it.
    pub label: String,
    /// As `#rrggbb`.
    pub fill: &'static str,
}

/// One line through points `(nines, microseconds)`.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Stands at its end.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// Bars, the longest as wide as there is room. `line`: a length that is marked through all of them.
pub fn bars(head: Head<'_>, bars: &[Bar], line: Option<f64>) -> String {
    let height = TOP + ROW * bars.len() + 12;
    let longest = bars.iter().map(|bar| bar.value).fold(1.0, f64::max);
    let unit = (WIDTH - LEFT - LABEL) as f64 / longest;
    let mut out = begin(head, height);
    for (n, Bar { name, value, label, fill }) in bars.iter().enumerate() {
        let y = TOP + ROW * n;
        let (baseline, bar) = (y + 16, ROW - 8);
        let length = value.max(0.0) * unit;
        let (name_end, value_at) = (LEFT - 10, LEFT as f64 + length + 6.0);
        let (name, label) = (escaped(name), escaped(label));
        writeln!(
            out,
            "<text x=\"{name_end}\" y=\"{baseline}\" text-anchor=\"end\" fill=\"#1a1a1a\">{name}</text>\n\
             <rect x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"{bar}\" fill=\"{fill}\"/>\n\
             <text x=\"{value_at:.1}\" y=\"{baseline}\" fill=\"#1a1a1a\">{label}</text>",
            y + 2
        )
        .expect("writing to a string does not fail");
    }
    if let Some(value) = line {
        let x = LEFT as f64 + value * unit;
        writeln!(
            out,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{}\" stroke=\"#1a1a1a\" stroke-dasharray=\"3 3\"/>",
            height - 12
        )
        .expect("writing to a string does not fail");
    }
    out + "</svg>\n"
}

/// Latencies over the share of requests that took no longer: both axes by powers of ten.
pub fn curves(head: &str, under: &str, curves: &[Curve]) -> String {
    let mut out = begin(Head { title: head, head, under }, 400);
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let (low, high) =
        all().fold((f64::MAX, f64::MIN), |(low, high), point| (low.min(point.1), high.max(point.1)));
    if low > high {
        return out + "</svg>\n";
    }
    let (low, high) = (low.max(0.1).log10().floor(), high.max(0.1).log10().ceil());
    let nines = all().map(|point| point.0).fold(1.0, f64::max).ceil();
    let x = |nine: f64| PLOT_LEFT + (PLOT_RIGHT - PLOT_LEFT) * nine / nines;
    let y = |us: f64| {
        PLOT_BOTTOM - (PLOT_BOTTOM - PLOT_TOP) * (us.max(0.1).log10() - low) / (high - low).max(1.0)
    };
    for step in 0..=nines as u32 {
        grid(&mut out, x(f64::from(step)), &share(step), true);
    }
    for power in low as i32..=high as i32 {
        grid(&mut out, y(10f64.powi(power)), &span(power), false);
    }
    for (n, curve) in curves.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let path: Vec<String> =
            curve.points.iter().map(|&(nine, us)| format!("{:.1},{:.1}", x(nine), y(us))).collect();
        let name_y = 366 + 16 * (n / 2);
        let name_x = PLOT_LEFT as usize + 320 * (n % 2);
        writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{}/>\n\
             <rect x=\"{name_x}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>\n\
             <text x=\"{}\" y=\"{name_y}\" fill=\"#1a1a1a\">{}</text>",
            path.join(" "),
            if n % 2 == 1 { " stroke-dasharray=\"6 3\"" } else { "" },
            name_y - 6,
            name_x + 20,
            escaped(&curve.name)
        )
        .expect("writing to a string does not fail");
    }
    out + "</svg>\n"
}

fn begin(Head { title, head, under }: Head<'_>, height: usize) -> String {
    let (title, head, under) = (escaped(title), escaped(head), escaped(under));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <title>{title}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"15\" fill=\"#1a1a1a\">{head}</text>\n\
         <text x=\"12\" y=\"42\" fill=\"#555555\">{under}</text>\n"
    )
}

/// A line across the plot, with what it means.
fn grid(out: &mut String, at: f64, name: &str, is_upright: bool) {
    let (x1, x2, y1, y2) =
        if is_upright { (at, at, PLOT_TOP, PLOT_BOTTOM) } else { (PLOT_LEFT, PLOT_RIGHT, at, at) };
    let (text_x, text_y, anchor) =
        if is_upright { (at, PLOT_BOTTOM + 15.0, "middle") } else { (PLOT_LEFT - 8.0, at + 4.0, "end") };
    writeln!(
        out,
        "<line x1=\"{x1:.1}\" x2=\"{x2:.1}\" y1=\"{y1:.1}\" y2=\"{y2:.1}\" stroke=\"#dddddd\"/>\n\
         <text x=\"{text_x:.1}\" y=\"{text_y:.1}\" text-anchor=\"{anchor}\" fill=\"#555555\" font-size=\"11\">{name}</text>"
    )
    .expect("writing to a string does not fail");
}

/// So many nines as a percentage.
fn share(nines: u32) -> String {
    match nines {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        _ => format!("99.{} %", "9".repeat(nines as usize - 2)),
    }
}

/// A power of ten of microseconds.
fn span(power: i32) -> String {
    match power {
        ..0 => format!("{} us", 10f64.powi(power)),
        0..3 => format!("{} us", 10u64.pow(power as u32)),
        3..6 => format!("{} ms", 10u64.pow(power as u32 - 3)),
        _ => format!("{} s", 10u64.pow(power.min(20) as u32 - 6)),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head<'static> = Head { title: "t", head: "a < b & c", under: "u" };

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bar = |value| Bar { name: "n".into(), value, label: format!("{value} x"), fill: OURS };
        let picture = bars(HEAD, &[bar(2.0), bar(1.0), bar(-3.0)], Some(1.0));
        for part in [
            "width=\"470.0\"",
            "width=\"235.0\"",
            "width=\"0.0\"",
            "<line x1=\"425.0\"",
            "a &lt; b &amp; c",
            "viewBox=\"0 0 720 146\"",
        ] {
            assert!(picture.contains(part), "{part} is not in {picture}");
        }
        assert!(!bars(HEAD, &[bar(1.0)], None).contains("<line"));
    }

    #[test]
    fn curves_lie_between_powers_of_ten() {
        let curve = Curve { name: "reads".into(), points: vec![(0.0, 10.0), (1.0, 100.0), (2.0, 1000.0)] };
        let picture = curves("Latency", "under", &[curve]);
        for part in
            ["70.0,340.0 385.0,203.0 700.0,66.0", ">10 us<", ">100 us<", ">1 ms<", ">99 %<", ">reads<"]
        {
            assert!(picture.contains(part), "{part} is not in {picture}");
        }
    }

    #[test]
    fn a_picture_of_nothing_is_still_one() {
        for picture in [curves("h", "u", &[]), bars(HEAD, &[], None)] {
            assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{picture}");
        }
    }

    #[test]
    fn axes_are_named_in_units_that_people_use() {
        assert_eq!([0, 1, 2, 3, 5].map(share), ["0 %", "90 %", "99 %", "99.9 %", "99.999 %"]);
        assert_eq!([-1, 0, 2, 3, 5, 6].map(span), ["0.1 us", "1 us", "100 us", "1 ms", "100 ms", "1 s"]);
    }
}
