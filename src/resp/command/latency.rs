//! `LATENCY`: what took long, and when.

use crate::resp::{
    control::Control, fail::Done, keys::is, latency::Latency, parse::Args, reply::Reply,
    subcommand::unknown_subcommand,
};

const HELP: [&str; 11] = [
    "LATENCY <subcommand> [<arg> ...]. Subcommands are:",
    "DOCTOR",
    "    Says in words what took long.",
    "HISTORY <event>",
    "    Time and milliseconds of each second in which the event took long.",
    "LATEST",
    "    For each event: name, time and milliseconds of the last second, milliseconds of the longest.",
    "RESET [<event> ...]",
    "    Forgets these events, or all; tells how many there were.",
    "HELP",
    "    Prints this.",
];

pub fn latency(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let latency = &control.shared.latency;
    match (&args[1], args.len()) {
        (w, 2) if is(w, "LATEST") => latest(latency, reply),
        (w, 3) if is(w, "HISTORY") => history(latency, &args[2], reply),
        (w, _) if is(w, "RESET") => {
            let names = args.from(2);
            let is_named = |event: &str| names.len() == 0 || names.iter().any(|name| is(name, event));
            reply.int(latency.reset(is_named) as i64);
        }
        // Times of commands are not gathered by length.
        (w, _) if is(w, "HISTOGRAM") => reply.map(0),
        (w, 2) if is(w, "DOCTOR") => reply.verbatim(&report(latency)),
        (w, 2) if is(w, "HELP") => {
            reply.array(HELP.len());
            HELP.iter().for_each(|line| reply.simple(line));
        }
        (w, _) => return Err(unknown_subcommand("LATENCY", w)),
    }
    Ok(())
}

fn latest(latency: &Latency, reply: &mut Reply<'_>) {
    let events = latency.events();
    reply.array(events.len());
    for (event, series) in &events {
        let Some(last) = series.samples.back() else { continue };
        reply.array(4);
        reply.bulk(event.as_bytes());
        [last.at_secs, last.millis, series.max_millis].into_iter().for_each(|n| reply.int(n as i64));
    }
}

fn history(latency: &Latency, name: &[u8], reply: &mut Reply<'_>) {
    let series = latency.events().into_iter().find(|(event, _)| is(name, event));
    let samples = series.map(|(_, series)| series.samples).unwrap_or_default();
    reply.array(samples.len());
    for sample in samples {
        reply.array(2);
        reply.int(sample.at_secs as i64);
        reply.int(sample.millis as i64);
    }
}

fn report(latency: &Latency) -> String {
    if !latency.is_on() {
        return "Nothing is watched: CONFIG SET latency-monitor-threshold takes the milliseconds from which on \
                something took long. SLOWLOG GET tells which commands did.\n"
            .to_owned();
    }
    let events = latency.events();
    if events.is_empty() {
        return format!("Nothing took {} ms or longer.\n", latency.threshold_millis());
    }
    let line = |(event, series): &(&str, crate::resp::latency::Series)| {
        let seconds = series.samples.len();
        format!("{event}: long in {seconds} of the kept seconds, at most {} ms.\n", series.max_millis)
    };
    events.iter().map(line).collect()
}
