// connect-redis: the sessions of Express.
import { promisify } from "node:util";
import { RedisStore } from "connect-redis";
import session from "express-session";
import { createClient } from "redis";
import { done, same, url } from "./checked.mjs";

const client = createClient({ url });
await client.connect();
const store = new RedisStore({ client, prefix: "sess:", ttl: 100 });
same("a store of express-session", store instanceof session.Store, true);
const call = (name) => promisify(store[name].bind(store));
const [set, get, touch, destroy] = ["set", "get", "touch", "destroy"].map(call);
const [all, ids, length, clear] = ["all", "ids", "length", "clear"].map(call);

const cookie = { originalMaxAge: null, expires: undefined };
await set("one", { cookie, user: "Ada", cart: [1, 2] });
same("get", (await get("one")).cart, [1, 2]);
same("get of nothing", Boolean(await get("none")), false);
same("lifetime", [99, 100].includes(await client.ttl("sess:one")), true);
const later = { cookie: { ...cookie, expires: new Date(Date.now() + 900_000) } };
await touch("one", later);
same("touch", (await client.ttl("sess:one")) > 890, true);
for (let n = 0; n < 150; n++) await set(`s${n}`, { cookie, n });
same("length", await length(), 151);
same("ids", (await ids()).includes("s149"), true);
const sessions = await all();
same("all", sessions.map((s) => s.n ?? -1).sort((a, b) => a - b), Array.from({ length: 151 }, (_, n) => n - 1));
await destroy("one");
same("destroy", Boolean(await get("one")), false);
await clear();
same("clear", [await length(), await client.dbSize()], [0, 0]);
await client.close();

done("connect-redis", "connect-redis", "sessions of Express: set, get, touch, all, ids, length, destroy, clear");
