// The official JavaScript client, unchanged, against a running `dragunov serve --engine stub` (case H9).
// Requires runpod-sdk 1.1.2 (npm). Usage: NODE_ROOT=folder-with-node_modules node runpod_sdk.mjs URL KEY
import assert from "node:assert/strict";
import path from "node:path";
import { pathToFileURL } from "node:url";

const at = path.join(process.env.NODE_ROOT ?? process.cwd(), "node_modules/runpod-sdk/dist/src/index.js");
const { default: runpodSdk } = await import(pathToFileURL(at));
const [url, key] = process.argv.slice(2);
const endpoint = runpodSdk(key, { baseUrl: `${url}/v2` }).endpoint("any");

const done = await endpoint.runSync({ input: { mock_return: { answer: 42 } } });
assert.deepEqual([done.status, done.succeeded, done.output], ["COMPLETED", true, { answer: 42 }]);
const failed = await endpoint.runSync({ input: { mock_error: "soft" } });
assert.deepEqual([failed.status, failed.succeeded, failed.error], ["FAILED", false, "soft"]);
// Longer than the call waits at first: the client goes on with status-sync.
const slow = await endpoint.runSync({ input: { mock_return: "late", mock_delay: 2 } }, 5000);
assert.equal(slow.output, "late");

const job = await endpoint.run({ input: { mock_chunks: [0, 1, 2] } });
const chunks = [];
for await (const chunk of endpoint.stream(job.id)) chunks.push(chunk.output);
assert.deepEqual(chunks, [0, 1, 2]);
assert.equal((await endpoint.statusSync(job.id)).completed, true);
assert.equal((await endpoint.status(job.id)).status, "COMPLETED");

const long = await endpoint.run({ input: { mock_delay: 300 } });
await endpoint.run({ input: { mock_return: 1 } });
assert.equal((await endpoint.cancel(long.id)).status, "CANCELLED");
assert.equal((await endpoint.purgeQueue()).status, "completed");
assert.ok("inQueue" in (await endpoint.health()).jobs);
await assert.rejects(runpodSdk("wrong", { baseUrl: `${url}/v2` }).endpoint("any").health(), /401/);
console.log("runpod-sdk: all passed");
