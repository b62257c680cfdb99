//! `crash-explore` and the self-check of the laboratory: translates flags to a run of
//! [`crash_explore`](crate::tool::crash_explore), and what it found to words and an exit code.

use std::{
    io::{self, IsTerminal, Write},
    panic,
    process::ExitCode,
    time::Duration,
};

use clap::Args as ClapArgs;
use serde_json::json;

use super::exit::Failed;
use crate::{
    node::error::Error,
    tool::crash_explore::{self, Checked, Explored, Options},
};

const BROKEN: u8 = 6;
/// Enough to have seen every kind of scenario.
const IMAGES: u64 = 100_000;

pub(super) const ABOUT: &str = "\
Runs generated workloads on simulated disks and cuts the power after every operation, over the images that a disk \
may legally hold then: every one of them for small workloads, drawn ones for large. Each image is recovered and held \
against the log that was written; some are cut again inside their own recovery. Touches no real disk.

Ends with 0 if every promise held, with 6 and a short list of steps if one was broken.";

/// The flags of `crash-explore`.
#[derive(Debug, ClapArgs)]
pub(super) struct CrashExploreFlags {
    /// Begin no workload after so many minutes; one that has begun is finished
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    minutes: Option<u64>,
    /// Begin no workload after so many images; one that has begun is finished [default: 100000, or any number with --minutes]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    images: Option<u64>,
    /// Decides the workloads; another seed, other workloads
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Repeat what a failure printed after `replay:`
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["minutes", "images", "seed"])]
    replay: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(flags: CrashExploreFlags) -> Result<ExitCode, Failed> {
    // An assertion of the engine is a finding, told at the end.
    panic::set_hook(Box::new(|_| {}));
    if let Some(text) = flags.replay {
        return match crash_explore::replay(&text) {
            Ok(tally) => {
                say(&format!("held: {} images", tally.images));
                Ok(ExitCode::SUCCESS)
            }
            Err(broken) if broken.starts_with("BROKEN") => {
                say(&broken);
                Ok(ExitCode::from(BROKEN))
            }
            Err(wrong) => Err(Failed::usage(Error::invalid(wrong))),
        };
    }
    let options = Options {
        seed: flags.seed,
        stop_after: flags.minutes.map(|minutes| Duration::from_secs(60 * minutes)),
        images: flags.images.or(if flags.minutes.is_none() { Some(IMAGES) } else { None }),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let shown = io::stderr().is_terminal();
    let explored = crash_explore::run(options, &|so_far| {
        if shown {
            eprint!(
                "\r{} workloads, {} images, {} s ",
                so_far.scenarios,
                so_far.tally.images,
                so_far.took.as_secs()
            );
        }
    });
    if shown {
        eprintln!();
    }
    say(&if flags.json { as_json(&explored, options.seed) } else { as_text(&explored, options.seed) });
    Ok(if explored.found.is_none() { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
}

fn as_text(explored: &Explored, seed: u64) -> String {
    let Explored { scenarios, tally, took, found } = explored;
    let counts = format!(
        "{scenarios} workloads of seed {seed} in {} s: {} images recovered, {} of them with a torn tail, {} from a \
         snapshot; {} recoveries cut again",
        took.as_secs(),
        tally.images,
        tally.torn,
        tally.snapshots,
        tally.deep
    );
    match found {
        None => format!("every promise held\n{counts}"),
        Some(finding) => format!("{}{counts}", finding.text()),
    }
}

fn as_json(explored: &Explored, seed: u64) -> String {
    let Explored { scenarios, tally, took, found } = explored;
    json!({
        "held": found.is_none(),
        "seed": seed.to_string(),
        "workloads": scenarios,
        "images": tally.images,
        "torn": tally.torn,
        "from_snapshot": tally.snapshots,
        "recoveries_cut": tally.deep,
        "seconds": took.as_secs_f64(),
        "broken": found.as_ref().map(|finding| finding.text()),
    })
    .to_string()
}

/// Plants bugs in the simulator, and says which were found.
pub(super) fn self_check(json: bool) -> Result<ExitCode, Failed> {
    panic::set_hook(Box::new(|_| {}));
    let checked = crash_explore::self_check(1, &|checked| {
        if !json {
            say(&line(checked));
        }
    });
    let all = match checked {
        Ok(all) => all,
        Err(failure) => {
            say(&format!("BROKEN without any bug planted: {failure}"));
            return Ok(ExitCode::from(BROKEN));
        }
    };
    let missed = all.iter().filter(|checked| checked.found.is_none()).count();
    say(&match json {
        true => json!({
            "found": all.len() - missed,
            "missed": missed,
            "bugs": all.iter().map(|c| json!({
                "bug": c.planted.to_string(),
                "workloads": c.found.as_ref().map(|(n, _)| n),
                "broken": c.found.as_ref().map(|(_, failure)| &failure.broken),
            })).collect::<Vec<_>>(),
        })
        .to_string(),
        false => format!("{} of {} planted bugs found", all.len() - missed, all.len()),
    });
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
}

fn line(checked: &Checked) -> String {
    match &checked.found {
        Some((n, failure)) => {
            format!("found   {:<46} workload {n}: {}", checked.planted.to_string(), failure.broken)
        }
        None => format!("MISSED  {}", checked.planted),
    }
}

/// The result on stdout. That nobody reads it does not change it.
fn say(text: &str) {
    writeln!(io::stdout(), "{text}").ok();
}
