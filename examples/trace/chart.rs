//! The policies side by side, as a bar chart.

use emberkeep::tool::svg::{BESIDE, Bar, Head, OURS, bars};

use crate::report::Summary;

const HEAD: Head<'static> = Head {
    title: "Misses avoided by each eviction policy, compared with FIFO",
    head: "Misses avoided, compared with FIFO",
    under: "mean over the traces and capacities of the table below, without the loop; longer is better",
};

/// One bar for each policy: the misses that it avoids compared with FIFO.
pub fn chart(summaries: &[Summary]) -> String {
    let bar = |Summary { name, avoided, .. }: &Summary| Bar {
        name: name.clone(),
        value: *avoided,
        label: format!("{avoided:.1} %"),
        fill: if name.starts_with("Belady") { BESIDE } else { OURS },
    };
    bars(HEAD, &summaries.iter().map(bar).collect::<Vec<_>>(), None)
}
