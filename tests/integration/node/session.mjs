// Drives one session with Node's `ws`: node session.mjs URL [deflate], run where node_modules is.
// Prints one JSON line of what was seen; any surprise ends with a non-zero code.
import { createRequire } from "node:module";
import path from "node:path";

const [folder, url, compression] = process.argv.slice(2);
const require = createRequire(path.join(folder, "index.js"));
const WebSocket = require("ws");

const socket = new WebSocket(url, { perMessageDeflate: compression === "deflate" });
const replies = [];
let waiting = null;
let closed = null;
let ponged = 0;

socket.on("message", (data, binary) => {
  if (binary) throw new Error("a binary frame");
  const reply = JSON.parse(data.toString("utf8"));
  if (waiting) {
    const resolve = waiting;
    waiting = null;
    resolve(reply);
  } else {
    replies.push(reply);
  }
});
socket.on("pong", () => (ponged += 1));

function receive() {
  if (replies.length) return Promise.resolve(replies.shift());
  return new Promise((resolve) => (waiting = resolve));
}

function ask(message, options) {
  socket.send(typeof message === "string" ? message : JSON.stringify(message), options ?? {});
  return receive();
}

function must(condition, what) {
  if (!condition) throw new Error(what);
}

await new Promise((resolve, reject) => {
  socket.on("open", resolve);
  socket.on("error", reject);
});
const ended = new Promise((resolve) =>
  socket.on("close", (code, reason) => {
    closed = [code, reason.toString()];
    resolve();
  }),
);

let reply = await ask({ type: "reset", data: { seed: 1 } });
must(reply.data.observation.text === "ready", "reset");
for (let n = 0; n < 100; n += 1) {
  reply = await ask({ type: "step", data: { op: "echo", text: `t${n} \u2603` } });
  must(reply.data.observation.text === `t${n} \u2603`, `step ${n}`);
}
// One message in three fragments, with a ping in between.
const text = JSON.stringify({ type: "step", data: { op: "echo", text: "in pieces" } });
socket.send(text.slice(0, 7), { fin: false });
socket.ping();
socket.send(text.slice(7, 20), { fin: false });
socket.send(text.slice(20), { fin: true });
reply = await receive();
must(reply.data.observation.text === "in pieces", "fragments");
// Several at once, answered in order.
for (let n = 0; n < 50; n += 1) socket.send(JSON.stringify({ type: "step", data: { op: "echo", text: `${n}` } }));
for (let n = 0; n < 50; n += 1) must((await receive()).data.observation.text === `${n}`, `order ${n}`);
reply = await ask({ type: "step", data: { op: "large", anything: 3_000_000 } });
must(reply.data.observation.text.length === 3_000_000, "large reply");
reply = await ask({ type: "step", data: { op: "echo", text: "y".repeat(3_000_000) } });
must(reply.data.observation.text.length === 3_000_000, "large request");
reply = await ask("not json");
must(reply.data.code === "INVALID_JSON", "error");
const state = (await ask({ type: "state" })).data;
socket.send('{"type":"close"}');
await ended;
console.log(JSON.stringify({ steps: state.step_count, closed, ponged, extensions: socket.extensions }));
