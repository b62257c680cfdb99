//! A bar chart as SVG: text and rectangles, readable on light and dark pages.

use std::fmt::Write;

use crate::report::Summary;

const ROW: usize = 26;
const TOP: usize = 56;
const LEFT: usize = 190;
const WIDTH: usize = 720;
const LABEL: usize = 60;

/// One bar for each policy: the misses that it avoids compared with FIFO.
pub fn bars(summaries: &[Summary]) -> String {
    let height = TOP + ROW * summaries.len() + 12;
    let longest = summaries.iter().map(|summary| summary.avoided).fold(1.0, f64::max);
    let unit = (WIDTH - LEFT - LABEL) as f64 / longest;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <title>Misses avoided by each eviction policy, compared with FIFO</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"15\" fill=\"#1a1a1a\">Misses avoided, compared with FIFO</text>\n\
         <text x=\"12\" y=\"42\" fill=\"#555555\">mean over the traces and capacities of the table below, \
         without the loop; longer is better</text>\n"
    );
    for (n, Summary { name, avoided, .. }) in summaries.iter().enumerate() {
        let y = TOP + ROW * n;
        let (baseline, bar) = (y + 16, ROW - 8);
        let length = avoided.max(0.0) * unit;
        let fill = if name.starts_with("Belady") { "#b8b8b8" } else { "#c4551f" };
        let (name_end, value_at) = (LEFT - 10, LEFT as f64 + length + 6.0);
        writeln!(
            out,
            "<text x=\"{name_end}\" y=\"{baseline}\" text-anchor=\"end\" fill=\"#1a1a1a\">{name}</text>\n\
             <rect x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"{bar}\" fill=\"{fill}\"/>\n\
             <text x=\"{value_at:.1}\" y=\"{baseline}\" fill=\"#1a1a1a\">{avoided:.1} %</text>",
            y + 2
        )
        .expect("writing to a string does not fail");
    }
    out + "</svg>\n"
}
