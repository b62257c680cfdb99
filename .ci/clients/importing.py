"""`emberkeep import` from a real redis-server: killed in the middle, run again, compared key by key."""

import json
import subprocess
import time

import redis
from servers import Redis

KEYS = 10_000
DAY = 86_400_000
PATIENCE = 120


def check(binary, target):
    """Copies from a redis-server of its own into this server. Gives what was done; exits if it is wrong."""
    with Redis() as source:
        old, new = redis.from_url(source.url), redis.from_url(target.url)
        fill(old)
        redis.from_url(f"{source.url}/3").set("elsewhere", 3)
        state = source.dir / "import.state"
        command = [binary.resolve(), "import", source.url, "--to", target.url, "--state", state]
        done_before = kill_in_the_middle([*command, "--rate", "4000"], state)
        began = time.monotonic()
        run = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=PATIENCE)
        if run.returncode != 0 or "going on" not in run.stderr:
            raise SystemExit(f"the second run of the import: exit code {run.returncode}\n{run.stdout}{run.stderr}")
        report, slack = json.loads(run.stdout), (time.monotonic() - began) * 1000 + 5000
        same("keys of the report", report["copied"] + report["already_there"], KEYS + 1)
        same("skipped", report["skipped"], {"list": 1})
        same("the state file", state.exists(), False)
        compare(old, new, slack)
        other = redis.from_url(f"{target.url}/3")
        same("a key of database 3", other.get("elsewhere"), b"3")
    return f"{KEYS} keys from redis-server, killed after {done_before}, run again, compared"


def fill(r):
    """Half of the keys live on for a day, some have bytes that are no text."""
    with r.pipeline(transaction=False) as p:
        for n in range(KEYS):
            p.set(f"key:{n}", bytes([n % 256]) * (n % 300), px=DAY + n if n % 2 else None)
        p.rpush("list", "a", "b")
        p.execute()


def kill_in_the_middle(command, state):
    """Starts the import and kills it with SIGKILL once it has some keys; how many it had."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    until = time.monotonic() + PATIENCE
    try:
        while True:
            done = json.loads(state.read_text())["counts"]["copied"] if state.exists() else 0
            if done >= KEYS // 4:
                break
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the import was not to end by itself, exit code {process.poll()}")
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    if done >= KEYS:
        raise SystemExit("the import was too fast to be killed in the middle")
    return done


def compare(old, new, slack):
    """Every string of one server is in the other with its value and its lifetime, and nothing else."""
    names = sorted(name for name in old.scan_iter(count=1000) if name != b"list")
    same("names of keys", sorted(new.scan_iter(count=1000)), names)
    for at in range(0, len(names), 500):
        replies = []
        for r in old, new:
            with r.pipeline(transaction=False) as p:
                for name in names[at : at + 500]:
                    p.get(name).pttl(name)
                replies.append(p.execute())
        for name, (a, b) in zip(names[at : at + 500], zip(*(zip(r[::2], r[1::2]) for r in replies))):
            same(f"value of {name}", b[0], a[0])
            # A lifetime may get a little shorter on the way, never longer.
            if (a[1] < 0) != (b[1] < 0) or not -slack <= b[1] - a[1] <= 2:
                raise SystemExit(f"lifetime of {name}: {a[1]} ms in the source, {b[1]} ms here")


def same(what, got, expected):
    if got != expected:
        raise SystemExit(f"{what}: expected {str(expected)[:200]}, got {str(got)[:200]}")
