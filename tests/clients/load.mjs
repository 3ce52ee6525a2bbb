// Load on `dragunov serve --engine stub`: N keep-alive clients, each in a loop of one path; then counts and times.
// Usage: node load.mjs URL [clients=200] [seconds=10] [path=/runsync]
// Fails if anything but 200 and 429 came back. Prints one JSON line. Compare with path=/livez, which does no work, to
// separate the service's own time from the machine's and this client's.
import http from "node:http";

const [base, clients = "200", seconds = "10", path = "/runsync"] = process.argv.slice(2);
const url = new URL(path, base);
const body = path === "/livez" ? null : JSON.stringify({ input: { mock_return: 1 } });
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });
const times = [], codes = {}, queue = [], run = [];
const end = Date.now() + 1000 * Number(seconds);

function once() {
  return new Promise(done => {
    const begun = process.hrtime.bigint();
    const request = http.request(url, { method: body ? "POST" : "GET", agent, headers: body ? { "content-length": Buffer.byteLength(body) } : {} }, response => {
      let text = "";
      response.setEncoding("utf8").on("data", d => (text += d)).on("end", () => {
        times.push(Number(process.hrtime.bigint() - begun) / 1e6);
        codes[response.statusCode] = (codes[response.statusCode] ?? 0) + 1;
        if (response.statusCode === 200 && body) {
          const job = JSON.parse(text);
          if (job.status !== "COMPLETED") codes[job.status] = (codes[job.status] ?? 0) + 1;
          queue.push(job.delayTime); run.push(job.executionTime);
        }
        done();
      });
    });
    request.on("error", e => { codes[e.code] = (codes[e.code] ?? 0) + 1; done(); });
    request.end(body);
  });
}
async function client() { while (Date.now() < end) await once(); }
await Promise.all(Array.from({ length: Number(clients) }, client));
agent.destroy();

const at = (list, q) => list.length ? Number(list.sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(q * list.length))].toFixed(2)) : null;
console.log(JSON.stringify({ path, clients: Number(clients), requests: times.length, per_second: Math.round(times.length / Number(seconds)),
  codes, ms: { p50: at(times, .5), p99: at(times, .99) }, delay_ms: { p50: at(queue, .5), p99: at(queue, .99) } }));
if (Object.keys(codes).some(c => c !== "200" && c !== "429")) process.exit(1);
