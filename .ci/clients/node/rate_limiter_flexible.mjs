// rate-limiter-flexible: counters in scripts, and with an insurance against a lost server.
import Redis from "ioredis";
import { RateLimiterRedis } from "rate-limiter-flexible";
import { done, refused, same, url } from "./checked.mjs";

const storeClient = new Redis(url, { enableOfflineQueue: false });
await new Promise((resolve, reject) => storeClient.once("ready", resolve).once("error", reject));
const limiter = new RateLimiterRedis({ storeClient, keyPrefix: "login", points: 20, duration: 100, blockDuration: 300 });

const tries = await Promise.allSettled(Array.from({ length: 30 }, () => limiter.consume("ada")));
same("what is let through", tries.filter((t) => t.status === "fulfilled").length, 20);
const last = await refused("one more", limiter.consume("ada"));
same("remaining", last.remainingPoints, 0);
same("a block", 290_000 < last.msBeforeNext && last.msBeforeNext <= 300_000, true);

const first = await limiter.consume("bob", 2);
same("consume", [first.consumedPoints, first.remainingPoints, first.isFirstInDuration], [2, 18, true]);
same("window", 90_000 < first.msBeforeNext && first.msBeforeNext <= 100_000, true);
same("reward", (await limiter.reward("bob", 1)).consumedPoints, 1);
same("penalty", (await limiter.penalty("bob", 4)).consumedPoints, 5);
same("get", (await limiter.get("bob")).consumedPoints, 5);
same("get of nothing", await limiter.get("none"), null);
await limiter.set("bob", 20, 50);
same("set", (await limiter.get("bob")).remainingPoints, 0);
same("delete", [await limiter.delete("bob"), await limiter.get("bob")], [true, null]);
storeClient.disconnect();

done("rate-limiter-flexible", "rate-limiter-flexible", "consume at once, block, reward, penalty, get, set, delete");
