// node-redis by itself, in both versions of the protocol.
import { createClient, WatchError } from "redis";
import { done, refused, same, url } from "./checked.mjs";

for (const RESP of [2, 3]) {
  const client = createClient({ url, RESP });
  await client.connect();
  await client.flushAll();

  same("SET", await client.set("name", "käse", { expiration: { type: "EX", value: 100 } }), "OK");
  same("GET", await client.get("name"), "käse");
  same("SET NX", await client.set("name", "x", { condition: "NX" }), null);
  same("TTL", [99, 100].includes(await client.ttl("name")), true);
  same("MSET", await client.mSet({ a: "1", b: "2" }), "OK");
  same("MGET", await client.mGet(["a", "none", "b"]), ["1", null, "2"]);
  same("INCRBY", await client.incrBy("a", 41), 42);
  same("GETEX", await client.getEx("a", { type: "PX", value: 9000 }), "42");
  same("PEXPIRE GT", await client.pExpire("a", 5000, "GT"), 0);
  same("GETDEL", await client.getDel("a"), "42");
  same("EXISTS", await client.exists(["a", "b", "b"]), 2);
  const error = await refused("INCR of a text", client.incr("name"));
  same("INCR of a text", error.message, "ERR value is not an integer or out of range");

  const replies = await client.multi().set("t", "1").incr("t").get("t").exec();
  same("MULTI", replies, ["OK", 2, "2"]);
  // Calls of one tick leave as one pipeline.
  const sets = Array.from({ length: 500 }, (_, n) => client.set(`p:${n}`, `${n}`));
  same("a pipeline", (await Promise.all(sets)).every((reply) => reply === "OK"), true);

  // WATCH wants a connection of its own.
  const other = client.duplicate();
  await other.connect();
  await other.watch("t");
  await client.set("t", "changed");
  same("EXEC after a change", await refused("EXEC", other.multi().set("t", "x").exec()) instanceof WatchError, true);

  const found = new Set();
  for await (const keys of client.scanIterator({ MATCH: "p:*", COUNT: 100 })) keys.forEach((key) => found.add(key));
  same("scanIterator", found.size, 500);

  let heard;
  const message = new Promise((resolve) => (heard = resolve));
  await other.subscribe("news", heard);
  same("PUBLISH", await client.publish("news", "hello"), 1);
  same("SUBSCRIBE", await message, "hello");

  await client.select(1);
  same("a key of another database", [await client.get("t"), await client.dbSize()], [null, 0]);
  await Promise.all([client.close(), other.close()]);
}
done("node-redis", "redis", "RESP2 and RESP3: strings, MULTI, WATCH, 500 at once, scanIterator, pub/sub, databases");
