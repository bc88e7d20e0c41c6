// The JavaScript SDK (npm `cloudevents`) against Pelton: sends binary, structured and batch, receives binary and structured.
// Its binary mode neither encodes nor decodes header values, so attributes stay within visible ASCII there.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { CloudEvent, HTTP } from "cloudevents";

const got = [];
const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    got.push({ path: request.url, headers: request.headers, body: Buffer.concat(chunks).toString("utf8") });
    response.writeHead(204).end();
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${server.address().port}`;

const folder = mkdtempSync(join(tmpdir(), "pelton-interop-"));
mkdirSync(join(folder, "resources"));
const trigger = (name, delivery) => `---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: ${name}}
spec: {broker: interop, subscriber: {uri: "${url}/${name}"}, delivery: ${delivery}}
`;
writeFileSync(
  join(folder, "resources", "interop.yaml"),
  "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: interop}\n" +
    trigger("binary", "{}") +
    trigger("structured", "{format: json}"),
);
const pelton = spawn(
  process.env.PELTON_BIN,
  ["run", join(folder, "resources"), "--data", join(folder, "data"), "--ingress", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
  { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, PELTON__LOG_OUTPUT__FORMAT: "json" } },
);
const addresses = {};
await new Promise((resolve, reject) => {
  createInterface({ input: pelton.stderr }).on("line", (line) => {
    const { listener, address } = JSON.parse(line);
    if (listener) addresses[listener] = address;
    if (addresses.ingress && addresses.admin) resolve();
  });
  pelton.on("exit", (code) => reject(new Error(`pelton ended with ${code} before it listened`)));
});
const until = async (what, condition) => {
  for (const start = Date.now(); !(await condition()); await new Promise((resolve) => setTimeout(resolve, 20))) {
    assert.ok(Date.now() - start < 30_000, `gave up waiting until ${what}`);
  }
};
await until("pelton is ready", async () => (await fetch(`http://${addresses.admin}/readyz`).catch(() => ({}))).ok);

const ingress = `http://${addresses.ingress}/default/interop`;
const post = async ({ headers, body }) => {
  const answer = await fetch(ingress, { method: "POST", headers, body });
  assert.equal(answer.status, 202, await answer.text());
};
const event = (id, data, datacontenttype) =>
  new CloudEvent({ id, source: "/interop/node", type: "interop.sent", time: "2026-01-02T03:04:05.000Z", subject: "s-1", region: "eu", datacontenttype, data });

const sent = new Map();
const send = async (one, message) => {
  sent.set(one.id, one);
  await post(message);
};
for (const [name, data, type] of [["json", { a: [1, 2.5, "ü"] }, "application/json"], ["text", "plain text", "text/plain"]]) {
  const binary = event(`node-${name}-binary`, data, type);
  await send(binary, HTTP.binary(binary));
  const structured = event(`node-${name}-structured`, data, type);
  await send(structured, HTTP.structured(structured));
}
const batch = [0, 1, 2].map((number) => event(`node-batch-${number}`, { number }, "application/json"));
batch.forEach((one) => sent.set(one.id, one));
await post({
  headers: { "content-type": "application/cloudevents-batch+json" },
  body: `[${batch.map((one) => HTTP.structured(one).body).join(",")}]`,
});

await until("everything is delivered", async () => got.length >= 2 * sent.size);
const seen = { "/binary": new Set(), "/structured": new Set() };
for (const { path, headers, body } of got) {
  assert.equal(headers["content-type"].startsWith("application/cloudevents"), path === "/structured");
  const one = HTTP.toEvent({ headers, body });
  const original = sent.get(one.id);
  for (const attribute of ["source", "type", "time", "subject", "region", "datacontenttype", "specversion"]) {
    assert.equal(one[attribute], original[attribute], `${path} ${one.id}: ${attribute}`);
  }
  assert.deepEqual(one.data, original.data, `${path} ${one.id}: data`);
  seen[path].add(one.id);
}
assert.deepEqual(seen["/binary"], new Set(sent.keys()));
assert.deepEqual(seen["/structured"], new Set(sent.keys()));

const ended = new Promise((resolve) => pelton.removeAllListeners("exit").on("exit", resolve));
pelton.kill("SIGTERM");
assert.equal(await ended, 0, "pelton did not stop gracefully");
server.close();
rmSync(folder, { recursive: true });
console.log(`javascript SDK: ${sent.size} events, each received in binary and structured mode`);
