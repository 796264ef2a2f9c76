// What a page may do with a server, by the origin that the page is from; one JSON object on standard output.
// Usage: node other_origin.mjs PACKAGES CHROMIUM SERVER_PORT PAGE_PORT. At PAGE_PORT anything serves an empty page;
// the name evil.test means 127.0.0.1 here, as it would where a stranger's name server says so.
import { createRequire } from "node:module";
import { join } from "node:path";

const [packages, chromium, serverPort, pagePort] = process.argv.slice(2);
const { chromium: engine } = createRequire(join(packages, "node_modules", "index.js"))("playwright-core");
const browser = await engine.launch({
  executablePath: chromium,
  args: ["--no-sandbox", "--host-resolver-rules=MAP evil.test 127.0.0.1"],
});

// Runs in the page: every way that it has to reach the server; what it is told.
async function attack(server) {
  const said = {};
  const tell = async (name, ask) => {
    try {
      const response = await ask();
      said[name] = response.type === "opaque" ? "opaque" : response.status;
    } catch (error) {
      said[name] = "refused";
    }
  };
  said.ws = await new Promise((resolve) => {
    const socket = new WebSocket(`${server.replace("http", "ws")}/ws`);
    socket.onopen = () => socket.send('{"type":"reset"}');
    socket.onmessage = (event) => resolve(JSON.parse(event.data).type);
    socket.onerror = () => resolve("refused");
    setTimeout(() => resolve("silence"), 5000);
  });
  const json = { "Content-Type": "application/json" };
  const body = '{"action":{"value":1}}';
  await tell("json", () => fetch(`${server}/step`, { method: "POST", headers: json, body }));
  await tell("simple", () => fetch(`${server}/step`, { method: "POST", mode: "no-cors", body }));
  await tell("reset", () => fetch(`${server}/reset`, { method: "POST", mode: "no-cors", body: "{}" }));
  await tell("mcp", () => fetch(`${server}/mcp`, { method: "POST", mode: "no-cors", body: '{"jsonrpc":"2.0","id":1,"method":"openenv/session/create"}' }));
  said.beacon = navigator.sendBeacon(`${server}/reset`, "{}") ? "sent" : "refused";
  return said;
}

// A form needs no script's leave to be sent anywhere.
async function sendForm(page, server) {
  await page.setContent(`<form method="post" enctype="text/plain" action="${server}/reset"><input name='{"seed":1,"x":"' value='"}'><button>Go</button></form>`);
  const [response] = await Promise.all([page.waitForNavigation(), page.click("button")]);
  return response.status();
}

async function visit(url, server) {
  const context = await browser.newContext();
  const page = await context.newPage();
  try {
    await page.goto(url);
    const said = await page.evaluate(attack, server);
    said.form = await sendForm(page, server);
    return said;
  } finally {
    await context.close();
  }
}

const own = `http://127.0.0.1:${serverPort}`;
const result = {
  // What the server itself shows here has no policy that would be in the way.
  same: await visit(`${own}/health`, own),
  other: await visit(`http://127.0.0.1:${pagePort}/`, own),
  localhost: await visit(`http://localhost:${pagePort}/`, own),
  rebound: await visit(`http://evil.test:${serverPort}/health`, `http://evil.test:${serverPort}`),
};
await browser.close();
console.log(JSON.stringify(result));
