//! `COMMAND` and its subcommands: what the table of commands says about itself.
//!
//! It stands above the table, so that no command knows which others there are.

use super::{
    fail::{Done, Fail},
    glob,
    keys::is,
    number,
    parse::Args,
    reply::Reply,
    subcommand::unknown_subcommand,
    table::{Command, TABLE, find},
};

pub(super) fn command(args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let named = || args.from(2).iter().map(find).collect::<Vec<_>>();
    match (args.get(1), args.len()) {
        (None, _) => {
            reply.array(TABLE.len());
            TABLE.iter().for_each(|command| write_command(command, reply));
        }
        (Some(w), 2) if is(w, "COUNT") => reply.int(TABLE.len() as i64),
        (Some(w), 2) if is(w, "LIST") => list(|_| true, reply),
        (Some(w), 5) if is(w, "LIST") && is(&args[2], "FILTERBY") && is(&args[3], "PATTERN") => {
            list(|command| glob::matches(&args[4], command.name.as_bytes()), reply);
        }
        (Some(w), _) if is(w, "LIST") => return Err(Fail::SYNTAX),
        (Some(w), _) if is(w, "INFO") => {
            let commands = if args.len() == 2 { TABLE.iter().map(Some).collect() } else { named() };
            reply.array(commands.len());
            for command in commands {
                match command {
                    Some(command) => write_command(command, reply),
                    None => reply.nil(),
                }
            }
        }
        (Some(w), _) if is(w, "DOCS") => {
            let all = if args.len() == 2 { TABLE.iter().map(Some).collect() } else { named() };
            let known: Vec<&Command> = all.into_iter().flatten().collect();
            reply.map(known.len());
            known.into_iter().for_each(|command| write_docs(command, reply));
        }
        (Some(w), 3..) if is(w, "GETKEYS") => {
            let command = find(&args[2]).ok_or(Fail::text("ERR Invalid command specified"))?;
            let given = args.from(2);
            if !command.takes(given.len()) {
                return Err(Fail::text("ERR Invalid number of arguments specified for command"));
            }
            let keys = keys_of(command, given);
            if keys.is_empty() {
                return Err(Fail::text("ERR The command has no key arguments"));
            }
            reply.array(keys.len());
            keys.into_iter().for_each(|key| reply.bulk(key));
        }
        (Some(w), _) => return Err(unknown_subcommand("COMMAND", w)),
    }
    Ok(())
}

fn list(is_wanted: impl Fn(&Command) -> bool, reply: &mut Reply<'_>) {
    let names: Vec<&str> =
        TABLE.iter().filter(|command| is_wanted(command)).map(|command| command.name).collect();
    reply.array(names.len());
    names.into_iter().for_each(|name| reply.bulk(name.as_bytes()));
}

fn write_command(command: &Command, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.int(command.arity.into());
    reply.set(command.flags.len());
    command.flags.iter().for_each(|flag| reply.simple(flag));
    let (first, last, step) = command.keys;
    [first, last, step].into_iter().for_each(|n| reply.int(n.into()));
    let categories =
        [format!("@{}", command.group), format!("@{}", if command.writes() { "write" } else { "read" })];
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.simple(category));
    // Tips, key specifications, subcommands.
    (0..3).for_each(|_| reply.array(0));
}

fn write_docs(command: &Command, reply: &mut Reply<'_>) {
    reply.bulk(command.name.as_bytes());
    let fields = [("summary", command.summary), ("since", command.since), ("group", command.group)];
    reply.map(fields.len());
    for (field, value) in fields {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
}

/// The arguments that are keys.
fn keys_of<'a>(command: &Command, args: Args<'a>) -> Vec<&'a [u8]> {
    if command.flags.contains(&"movablekeys") {
        return counted_keys(command, args);
    }
    let (first, last, step) = command.keys;
    if first == 0 {
        return Vec::new();
    }
    let last = if last < 0 { args.len() as i32 + last } else { last };
    let places = (first..=last).step_by(step as usize);
    places.filter_map(|place| args.get(place as usize)).collect()
}

/// The keys of a command that says how many they are: scripts behind their text, `MSETEX` with a value each.
fn counted_keys<'a>(command: &Command, args: Args<'a>) -> Vec<&'a [u8]> {
    let (at, step) = if command.name == "msetex" { (1, 2) } else { (2, 1) };
    let count = args.get(at).and_then(number::integer).and_then(|count| usize::try_from(count).ok());
    args.from(at + 1).iter().step_by(step).take(count.unwrap_or(0)).collect()
}
