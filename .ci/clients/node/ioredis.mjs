// ioredis: its ready check, pipelines, transactions, streams of keys, and a script of its own.
import Redis from "ioredis";
import { done, refused, same, url } from "./checked.mjs";

const redis = new Redis(url, { maxRetriesPerRequest: 1 });
await new Promise((resolve, reject) => redis.once("ready", resolve).once("error", reject));
same("SET", await redis.set("name", "käse", "EX", 100, "NX"), "OK");
same("SET NX", await redis.set("name", "x", "PX", 9, "NX"), null);
same("GET", await redis.get("name"), "käse");
same("getBuffer", await redis.getBuffer("name"), Buffer.from("käse"));
same("SETEX", await redis.setex("s", 10, "1"), "OK");
same("MSET", await redis.mset({ a: 1, b: 2 }), "OK");
same("MGET", await redis.mget("a", "none", "b"), ["1", null, "2"]);
same("INCRBY", await redis.incrby("a", 41), 42);
same("INCRBYFLOAT", await redis.incrbyfloat("b", 0.5), "2.5");
same("TTL", [await redis.ttl("b"), await redis.ttl("none")], [-1, -2]);
same("STRLEN", await redis.strlen("name"), 5);
const error = await refused("INCR of a text", redis.incr("name"));
same("INCR of a text", error.message, "ERR value is not an integer or out of range");

const piped = await redis.pipeline().set("p", 1).incr("p").incr("name").get("p").exec();
same("a pipeline with an error in it", piped.map(([e, reply]) => (e ? "error" : reply)), ["OK", 2, "error", "2"]);
same("MULTI", await redis.multi().incr("p").pttl("p").exec(), [[null, 3], [null, -1]]);
await redis.watch("p");
await redis.duplicate().set("p", "changed");
same("EXEC after a change", await redis.multi().set("p", "x").exec(), null);

await redis.mset(Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`k:${n}`, n])));
const found = new Set();
for await (const keys of redis.scanStream({ match: "k:*", count: 100 })) keys.forEach((key) => found.add(key));
same("scanStream", found.size, 500);

// The usual way to give a lock back: only if it is still ours. First EVALSHA, then EVAL.
redis.defineCommand("unlock", {
  numberOfKeys: 1,
  lua: 'if redis.call("get",KEYS[1]) == ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end',
});
await redis.set("lock", "token", "PX", 10_000, "NX");
same("unlock by another", await redis.unlock("lock", "other"), 0);
same("unlock", [await redis.unlock("lock", "token"), await redis.exists("lock")], [1, 0]);

const listener = new Redis(url);
const heard = new Promise((resolve) => listener.on("pmessage", (...message) => resolve(message)));
same("PSUBSCRIBE", await listener.psubscribe("news.*"), 1);
same("PUBLISH", await redis.publish("news.today", "hello"), 1);
same("a message", await heard, ["news.*", "news.today", "hello"]);
same("keyPrefix", await new Redis(url, { keyPrefix: "k:" }).get("7"), "7");
same("a key of another database", await new Redis(`${url}/1`).get("p"), null);

done("ioredis", "ioredis", "ready check, strings, pipelines, MULTI, WATCH, scanStream, defineCommand, pub/sub, databases");
process.exit(0);
