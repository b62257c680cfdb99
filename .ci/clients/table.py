"""Runs every client once against a server of its own, and makes the table. See `run`."""

import argparse
import subprocess
import sys
from pathlib import Path

import importing
from servers import Emberkeep, Redis

HERE = Path(__file__).parent
HEAD = "| client | version | what it did | result |\n|---|---|---|---|\n"
MARKS = "<!-- clients -->", "<!-- /clients -->"
# What the system brings has no version of ours.
OF_THE_SYSTEM = "redis-cli", "redis-benchmark"
# No client takes longer, unless it hangs.
PATIENCE = 120


def clients(place):
    """Name and command of each, in the order of the table."""
    python, node = place / "venv/bin/python", place / "venv/bin/node"
    yield "redis-cli", [HERE / "redis-cli"]
    yield "redis-benchmark", [HERE / "redis-benchmark"]
    for name in "redis_py", "django_cache", "django_redis_cache", "flask_caching_", "celery_backend", "limits_":
        yield name, [python, HERE / f"python/{name}.py"]
    for name in "node_redis", "ioredis", "cache_manager", "connect_redis", "rate_limiter_flexible":
        yield name, [node, place / f"node/{name}.mjs"]
    yield "redis-rs", [place / "rust/debug/emberkeep-client-redis-rs"]


def run(command, server):
    """The row of a client as (name, version, what), or None; what it said is shown if it fails."""
    try:
        said = subprocess.run([*command, server.url], capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired as hangs:
        print(f"no end after {PATIENCE} s\n{hangs.stdout}\n{hangs.stderr}", file=sys.stderr)
        return None
    lines = said.stdout.splitlines()
    row = lines[-1].split(" | ") if lines else []
    if said.returncode == 0 and len(row) == 3:
        return row
    print(said.stdout, said.stderr, f"exit code {said.returncode}", sep="\n", file=sys.stderr)
    return None


def start(args):
    return Redis() if args.against == "redis" else Emberkeep(args.emberkeep)


def put(file, table, check):
    """Puts the table into the file, or says whether it stands there."""
    text = file.read_text()
    before, begin, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        sys.exit(f"{file} has no lines {MARKS[0]} and {MARKS[1]}, where the table belongs")
    made = f"{before}{begin}\n{table}{end}{after}"
    if not check:
        file.write_text(made)
    elif made != text:
        sys.exit(f"the table in {file} is another one: .ci/clients/run --write {file}")


def main():
    parse = argparse.ArgumentParser(prog=".ci/clients/run")
    parse.add_argument("--place", type=Path, required=True)
    parse.add_argument("--emberkeep", type=Path, required=True)
    parse.add_argument("--against", choices=["emberkeep", "redis"], default="emberkeep")
    parse.add_argument("--only", action="append", default=[])
    parse.add_argument("--write", type=Path)
    parse.add_argument("--check", type=Path)
    args = parse.parse_args()
    if args.only and (args.write or args.check):
        parse.error("--only makes no whole table")

    table, failed, passed = HEAD, [], 0
    for name, command in clients(args.place):
        if args.only and not any(only in name for only in args.only):
            continue
        # A server for each: none finds what another has left.
        with start(args) as server:
            row = run(command, server)
            if row is None:
                print(f"FAILED: {name}\n{server.said()}", file=sys.stderr)
                failed.append(name)
                continue
        passed += 1
        print(f"{row[0]} {row[1]}: works", flush=True)
        version = "of Debian" if name in OF_THE_SYSTEM else row[1]
        table += f"| {row[0]} | {version} | {row[2]} | works |\n"

    if not args.only or "import" in args.only:
        with start(args) as server:
            print(f"emberkeep import: {importing.check(args.emberkeep, server)}")
        passed += 1

    print(f"\n{table}\n{passed} passed, {len(failed)} failed")
    if failed:
        sys.exit(f"these clients fail: {', '.join(failed)}")
    if args.write or args.check:
        put(args.write or args.check, table, check=args.check is not None)


main()
