"""redis-py by itself, in both versions of the protocol."""

import threading

import redis
from checked import done, refused, same, url


def strings(r):
    same("SET", r.set("name", "käse", ex=100), True)
    same("GET", r.get("name"), "käse".encode())
    same("TTL", 98 <= r.ttl("name") <= 100, True)
    same("SET NX", r.set("name", "other", nx=True), None)
    same("SET XX GET", r.set("name", b"\x00\xff", xx=True, get=True), "käse".encode())
    same("TTL of a plain SET", r.ttl("name"), -1)
    same("MSET", r.mset({"a": 1, "b": 2}), True)
    same("MGET", r.mget("a", "none", "b"), [b"1", None, b"2"])
    same("INCRBY", r.incrby("a", 41), 42)
    same("INCRBYFLOAT", r.incrbyfloat("b", 0.5), 2.5)
    same("APPEND", r.append("a", "!"), 3)
    same("GETRANGE", r.getrange("a", 1, -1), b"2!")
    same("GETEX", r.getex("a", px=50_000), b"42!")
    same("PTTL", 40_000 < r.pttl("a") <= 50_000, True)
    same("EXPIRE NX", r.expire("a", 9, nx=True), False)
    same("PERSIST", r.persist("a"), True)
    same("GETDEL", r.getdel("a"), b"42!")
    same("EXISTS", r.exists("a", "b", "b"), 2)
    same("TYPE", (r.type("a"), r.type("b")), (b"none", b"string"))
    same("RENAME", r.rename("b", "c"), True)
    same("UNLINK", r.unlink("c", "b", "name"), 2)
    same("DBSIZE", r.dbsize(), 0)


def errors(r):
    r.set("text", "x")
    text = refused("INCR of a text", redis.ResponseError, lambda: r.incr("text"))
    same("INCR of a text", text, "value is not an integer or out of range")
    text = refused("an unknown command", redis.ResponseError, lambda: r.execute_command("NOSUCH", "x"))
    same("an unknown command", text.startswith("unknown command 'NOSUCH'"), True)
    same("PING after errors", r.ping(), True)


def pipelines(r):
    with r.pipeline(transaction=False) as p:
        for n in range(1000):
            p.set(f"p:{n}", n).get(f"p:{n}")
        replies = p.execute()
    same("pipeline", replies[1::2], [str(n).encode() for n in range(1000)])
    with r.pipeline() as p:
        p.watch("p:0")
        r.set("p:0", "changed")
        p.multi()
        p.set("p:1", "never")
        refused("EXEC after a change", redis.WatchError, p.execute)
    same("a key of a failed transaction", r.get("p:1"), b"1")

    def add_one(p):
        n = int(p.get("n"))
        p.multi()
        p.set("n", n + 1)

    r.set("n", 0)
    work = lambda: [r.transaction(add_one, "n") for _ in range(50)]
    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads], [t.join() for t in threads]
    same("counter of four threads", r.get("n"), b"200")


def locks(r):
    with r.lock("lock", timeout=20) as lock:
        same("a second Lock", r.lock("lock", timeout=20).acquire(blocking=False), False)
        same("Lock.extend", (lock.extend(30), r.pttl("lock") > 40_000), (True, True))
        same("Lock.reacquire", (lock.reacquire(), r.pttl("lock") <= 20_000), (True, True))
    same("a released Lock", r.exists("lock"), 0)
    lost = r.lock("lock", timeout=20)
    lost.acquire()
    r.set("lock", "somebody else")
    refused("release of a lost Lock", redis.exceptions.LockNotOwnedError, lost.release)
    same("a lost Lock", r.get("lock"), b"somebody else")


def scans(r):
    same("scan_iter", len(set(r.scan_iter("p:*", count=100))), 1000)
    same("KEYS", sorted(r.keys("p:99?")), sorted(f"p:{n}".encode() for n in range(990, 1000)))


for protocol in (2, 3):
    r = redis.from_url(url, protocol=protocol)
    r.flushall()
    for check in (strings, errors, pipelines, locks, scans):
        check(r)
    other = redis.from_url(f"{url}/1", protocol=protocol)
    same("a key of another database", (other.get("n"), other.dbsize()), (None, 0))
    same("INFO", r.info("server")["redis_version"].count("."), 2)

done("redis-py", "redis", "RESP2 and RESP3: strings, errors, pipelines, WATCH, Lock, scan_iter, databases")
