// SPDX-License-Identifier: Apache-2.0
// flags.mjs SERVER FOLDER   evaluates the flags with the real OpenFeature client while the rollout goes on.  Prints TAP.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { OpenFeature } from "@openfeature/server-sdk";
import { OFREPApi } from "@openfeature/ofrep-core";
import { OFREPProvider } from "@openfeature/ofrep-provider";

let count = 0, bad = 0;
function same(name, got, wanted) {
  const good = JSON.stringify(got) === JSON.stringify(wanted);
  count++;
  bad += good ? 0 : 1;
  console.log(`${good ? "ok" : "not ok"} ${count} - ${name}`);
  if (!good) console.log(`#   got:    ${JSON.stringify(got)}\n#   wanted: ${JSON.stringify(wanted)}`);
}

const server = spawn(process.argv[2], [process.argv[3]], { stdio: ["pipe", "pipe", "inherit"] });
const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
const next = async () => (await lines.next()).value;
const baseUrl = await next();
async function ask(line) {
  server.stdin.write(line + "\n");
  if ((await next()) !== "done") throw new Error(`flags_server: ${line}`);
}

await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl }));
const client = OpenFeature.getClient();
const keys = Array.from({ length: 400 }, (_, i) => `trader-${i}`);
const isNew = (targetingKey, fallback) => client.getBooleanValue("trading.order.new", fallback, { targetingKey });
const allNew = () => Promise.all(keys.map((key) => isNew(key, false)));

// ---- single evaluation, through the SDK ----
same("before the rollout nothing goes to Banyan, whatever the default",
  [await isNew("trader-1", true), await client.getBooleanValue("trading.order.read", true, { targetingKey: "1" })], [false, false]);
same("the owner is a string", await client.getStringValue("trading.order.owner", "?", { targetingKey: "1" }), "legacy");
await ask("own shared");
await ask("share 2500 0");
let before = await allNew();
same("at 25 % some go there", before.filter(Boolean).length > 60 && before.filter(Boolean).length < 140, true);
same("each sticks to its side", await allNew(), before);
await ask("share 5000 0");
const after = await allNew();
same("a step is seen at once: more go there", after.filter(Boolean).length > 150, true);
same("and nobody leaves", after.filter((is, i) => before[i] && !is).length, 0);
const details = await client.getBooleanDetails("trading.order.new", false, { targetingKey: "trader-1" });
same("reason and variant", [details.reason, details.variant], ["SPLIT", details.value ? "banyan" : "legacy"]);
same("metadata says why", [details.flagMetadata.ownership, details.flagMetadata.share, details.flagMetadata.bucket < 5000],
  ["shared", 5000, details.value]);
await ask("create 4000");
const owner = await client.getStringDetails("trading.order.owner", "?", { targetingKey: "4000" });
same("a new aggregate's owner is Banyan", [owner.value, owner.reason], ["banyan", "TARGETING_MATCH"]);
same("and it is read there, at a share of 0 %", await client.getBooleanValue("trading.order.read", false, { targetingKey: "4000" }), true);

// ---- errors: the client gives the default of the code, and the code of the protocol ----
async function failure(flag, context) {
  const details = await client.getStringDetails(flag, "default", context);
  return [details.value, details.errorCode, details.reason];
}
same("an unknown flag", await failure("trading.order.nothing", { targetingKey: "1" }), ["default", "FLAG_NOT_FOUND", "ERROR"]);
same("no targeting key", await failure("trading.order.owner", {}), ["default", "TARGETING_KEY_MISSING", "ERROR"]);
same("the owner of what is no aggregate", await failure("trading.order.owner", { targetingKey: "me" }), ["default", "INVALID_CONTEXT", "ERROR"]);
same("a flag of another type", await failure("trading.order.new", { targetingKey: "1" }), ["default", "TYPE_MISMATCH", "ERROR"]);

// ---- all at once, and again only when something changed ----
const api = new OFREPApi(baseUrl);
const bulk = (etag) => api.postBulkEvaluateFlags({ context: { targetingKey: "4000" } }, { headers: etag ? { "If-None-Match": etag } : {} });
const first = await bulk();
const etag = first.httpResponse.headers.get("ETag");
same("all flags at once", [first.httpStatus, first.value.flags.map((flag) => flag.key)],
  [200, ["trading.order.new", "trading.order.read", "trading.order.owner"]]);
same("nothing changed: 304", (await bulk(etag)).httpStatus, 304);
await ask("share 10000 0");
const second = await bulk(etag);
same("a step changes the tag", [second.httpStatus, second.httpResponse.headers.get("ETag") !== etag, second.value.flags[0].value], [200, true, true]);
await ask("own banyan");
const third = await bulk(second.httpResponse.headers.get("ETag"));
same("so does the cutover", [third.httpStatus, third.value.flags.map((flag) => flag.value)], [200, [true, true, "banyan"]]);
same("behind it all go there", (await allNew()).every(Boolean), true);
await ask("own closing");
same("handing back holds writes", await client.getStringValue("trading.order.owner", "?", { targetingKey: "1" }), "held");
await ask("own legacy");
await ask("share 0 0");
same("and everything is as before", [(await allNew()).some(Boolean), await client.getStringValue("trading.order.owner", "?", { targetingKey: "4000" })],
  [false, "legacy"]);

console.log(`1..${count}`);
server.stdin.end();
await new Promise((resolve) => server.on("exit", resolve));
process.exit(bad > 0 ? 1 : 0);
