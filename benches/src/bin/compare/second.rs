//! The same by redis-benchmark, for a few cells: a load that is not ours.

use std::process::Command;

use emberkeep_benches::peer::Server;

use crate::{
    KEYS, Options,
    cell::{self, Measured},
    load,
    mode::Mode,
    tables::median,
};

/// Clients and pipelines of these cells, with short values.
const CELLS: [(u32, u32); 2] = [(50, 1), (50, 16)];
const VALUE_LEN: usize = 100;

/// Requests in a second, of all servers, and the ratio of the first to the others.
pub fn table(options: &Options, mode: Mode, cells: &[Measured]) -> Vec<Vec<String>> {
    let mut heads = vec![String::new()];
    heads.extend(options.servers.iter().map(|&kind| cell::name(kind).to_owned()));
    heads.extend(options.servers.iter().skip(1).map(|&kind| format!("ratio to {}", cell::name(kind))));
    let mut lines = vec![heads];
    let is_asked =
        |m: &&Measured| m.cell.value_len == VALUE_LEN && CELLS.contains(&(m.cell.clients, m.cell.pipeline));
    for measured in cells.iter().filter(is_asked) {
        lines.push(line(options, mode, measured));
    }
    lines
}

fn line(options: &Options, mode: Mode, measured: &Measured) -> Vec<String> {
    let mut rates = vec![Vec::new(); options.servers.len()];
    for _ in 0..options.rounds {
        for (at, &kind) in options.servers.iter().enumerate() {
            let dir = tempfile::tempdir_in(&options.dir).expect("a directory can be created");
            let server = Server::start(kind, dir.path(), &mode.flags(kind));
            load::fill(&server, mode, VALUE_LEN);
            // About as long as a run of the other table.
            let expected = median(&measured.figures(at, |run| run.figures.per_sec));
            rates[at].push(run(&server, measured, (expected * options.secs) as u64));
        }
    }
    let medians: Vec<f64> = rates.iter().map(|rates| median(rates)).collect();
    let mut line = vec![measured.cell.text()];
    line.extend(medians.iter().map(|rate| format!("{rate:.0}")));
    line.extend(medians[1..].iter().map(|rate| format!("{:.2}x", medians[0] / rate)));
    line
}

/// Requests in a second.
fn run(server: &Server, measured: &Measured, requests: u64) -> f64 {
    let port = server.resp_port().expect("it takes the commands of redis");
    let cell = measured.cell;
    let numbers = [
        ("-p", u64::from(port)),
        ("-c", u64::from(cell.clients)),
        ("-P", u64::from(cell.pipeline)),
        ("-n", requests.max(1000)),
        ("-d", cell.value_len as u64),
        ("-r", KEYS),
    ];
    let mut command = Command::new("redis-benchmark");
    for (name, value) in numbers {
        command.arg(name).arg(value.to_string());
    }
    let output = command.args(["-t", &cell.command().to_lowercase(), "--csv"]).output();
    let said = output.expect("redis-benchmark comes with redis-server").stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    // "SET","123456.78","0.1",...
    let rate = said.lines().find_map(|line| {
        let (name, rest) = line.split_once(',')?;
        (name.trim_matches('"') == cell.command()).then(|| rest.split(',').next())?
    });
    rate.and_then(|rate| rate.trim_matches('"').parse().ok()).unwrap_or_else(|| panic!("it says: {said}"))
}
