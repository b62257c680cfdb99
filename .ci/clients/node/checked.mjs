// What the scripts share: saying what was wrong, and what was done.
//
// Each is called with the address of a server as its only argument, redis://host:port, uses a client
// as an application would, and compares what it reads back. The first difference ends it.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";

export const url = process.argv[2];

// Nothing that hangs may hang the run.
setTimeout(() => fail("no end after 60 s"), 60_000).unref();

function fail(text) {
  console.error(text);
  process.exit(1);
}

/** Ends the script unless both are equal. */
export function same(what, got, expected) {
  if (!isDeepStrictEqual(got, expected)) {
    fail(`${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`);
  }
}

/** Ends the script unless the promise is rejected; gives the error. */
export async function refused(what, promise) {
  const got = await promise.then((value) => ({ value }), (error) => ({ error }));
  if (!("error" in got)) fail(`${what}: expected an error, got ${JSON.stringify(got.value)}`);
  return got.error;
}

/** The row of the table. */
export function done(name, pkg, what) {
  // Not every package lets its package.json be imported.
  const file = fileURLToPath(new URL(`./node_modules/${pkg}/package.json`, import.meta.url));
  console.log(`${name} | ${JSON.parse(readFileSync(file)).version} | ${what}`);
}
