// cache-manager over @keyv/redis, as NestJS uses it.
import KeyvRedis from "@keyv/redis";
import { createCache } from "cache-manager";
import { Keyv } from "keyv";
import { done, same, url } from "./checked.mjs";

const keyv = new Keyv({ store: new KeyvRedis(url), namespace: "app" });
const cache = createCache({ stores: [keyv], ttl: 60_000 });

same("set", await cache.set("user", { name: "Ada", tags: ["a"] }), { name: "Ada", tags: ["a"] });
same("get", await cache.get("user"), { name: "Ada", tags: ["a"] });
same("get of nothing", await cache.get("none"), undefined);
const left = (await cache.ttl("user")) - Date.now();
same("ttl", 50_000 < left && left <= 60_000, true);
await cache.mset([{ key: "a", value: 1 }, { key: "b", value: 2, ttl: 5000 }]);
same("mget", await cache.mget(["a", "none", "b"]), [1, undefined, 2]);
let calls = 0;
const make = () => cache.wrap("made", async () => ++calls);
same("wrap", [await make(), await make(), calls], [1, 1, 1]);
same("del", [await cache.del("user"), await cache.get("user")], [true, undefined]);
await cache.mdel(["a", "b"]);
same("mdel", await cache.mget(["a", "b"]), [undefined, undefined]);

await keyv.setMany(Array.from({ length: 300 }, (_, n) => ({ key: `n${n}`, value: n })));
const found = new Set();
for await (const [key] of keyv.iterator()) found.add(key);
same("iterator", found.size, 301);
same("clear", [await cache.clear(), await cache.get("made")], [true, undefined]);
await cache.disconnect();

done("cache-manager", "cache-manager", "over @keyv/redis: set, get, mset, mget, wrap, ttl, del, mdel, iterator, clear");
