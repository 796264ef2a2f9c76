// Opens the API page in a headless Chromium and says what is there, as one JSON object on standard output.
// Usage: node docs.mjs PACKAGES CHROMIUM URL FOLDER [brief]. Screenshots go to FOLDER; brief tries a step and no more.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { painted } from "./paint.mjs";

const [packages, chromium, url, folder, brief] = process.argv.slice(2);
const require = createRequire(join(packages, "node_modules", "index.js"));
const playwright = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf-8");
const browser = await playwright.chromium.launch({ executablePath: chromium, args: ["--no-sandbox"] });
const said = { requests: [], problems: [] };

async function open(options, use) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(15000);
  page.on("request", (request) => said.requests.push(request.url()));
  page.on("websocket", (socket) => said.requests.push(socket.url()));
  page.on("console", (message) => message.type() === "error" && said.problems.push(message.text()));
  page.on("pageerror", (error) => said.problems.push(String(error)));
  try {
    await page.goto(url, { waitUntil: "load" });
    return await use(page);
  } finally {
    await context.close();
  }
}

// Scripts of the test run beside the page's own; its policy holds for them as well, so axe is evaluated.
async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document));
  return found.violations.map((each) => `${each.id}: ${each.nodes.map((node) => node.html.slice(0, 200)).join(" | ")}`);
}

async function send(page, id, body) {
  const place = page.locator(`#${id} .try`);
  if (body !== undefined) await place.locator("textarea").fill(body);
  await place.getByRole("button", { name: /^Send/ }).click();
  await place.locator(".status").waitFor();
  return {
    status: await place.locator(".status").innerText(),
    body: await place.locator(".output > .holder pre").innerText(),
    headers: await place.locator(".output details pre").textContent(),
    curl: await place.locator("pre.shell").innerText(),
  };
}

async function talk(page) {
  const place = page.locator(".console");
  await place.getByRole("button", { name: "Connect" }).click();
  await place.getByRole("button", { name: "Disconnect" }).waitFor();
  for (const type of ["reset", "step", "state"]) {
    const before = await place.locator(".log .server").count();
    await place.getByRole("combobox").selectOption(type);
    await place.getByRole("button", { name: "Send message" }).click();
    await place.locator(".log .server").nth(before).waitFor();
  }
  await place.getByRole("combobox").selectOption("close");
  await place.getByRole("button", { name: "Send message" }).click();
  await place.locator(".log .note", { hasText: "closed with" }).waitFor();
  return place.locator(".log li").allInnerTexts();
}

async function byKeyboard(page) {
  await page.keyboard.press("Tab");
  const first = await page.evaluate(() => document.activeElement.textContent);
  await page.locator("#op-step textarea").focus();
  await page.keyboard.press("Control+Enter");
  await page.locator("#op-step .status").waitFor();
  return { first, status: await page.locator("#op-step .status").innerText() };
}

async function everything() {
  said.plain = await open({ javaScriptEnabled: false }, async (page) => ({
    text: await page.locator("body").innerText(),
    forms: await page.locator("form").count(),
    title: await page.title(),
    ids: await page.locator("[id]").count(),
  }));

  await open({ viewport: { width: 1280, height: 900 }, colorScheme: "light" }, async (page) => {
    // It may be loaded before it is painted.
    said.paint = await painted(page);
    said.bytes = await page.evaluate(() =>
      ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind)).reduce((sum, each) => sum + each.transferSize, 0),
    );
    said.scripts = await page.evaluate(() => globalThis.danger === undefined);
    said.broken = await page.evaluate(() =>
      [...document.querySelectorAll("a[href^='#']")].map((a) => a.getAttribute("href")).filter((href) => !document.getElementById(href.slice(1))),
    );
    said.twice = await page.evaluate(() => {
      const ids = [...document.querySelectorAll("[id]")].map((each) => each.id);
      return ids.filter((id, place) => ids.indexOf(id) !== place);
    });
    said.step = await send(page, "op-step");
    said.wrong = await send(page, "op-step", '{"action": {"nothing": 1}}');
    said.half = await send(page, "op-step", '{"action": ');
    said.health = await send(page, "op-health");
    said.talk = await talk(page);
    said.light = await violations(page);
    await page.locator("#op-step").scrollIntoViewIfNeeded();
    await page.screenshot({ path: join(folder, "docs-light.png") });
    await page.locator("#websocket").scrollIntoViewIfNeeded();
    await page.locator(".console").screenshot({ path: join(folder, "docs-console.png") });
  });
  said.keyboard = await open({ viewport: { width: 1280, height: 900 } }, byKeyboard);
  await open({ viewport: { width: 360, height: 740 }, colorScheme: "dark" }, async (page) => {
    said.dark = await violations(page);
    said.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    await page.screenshot({ path: join(folder, "docs-phone.png") });
  });
}

if (brief) said.step = await open({}, (page) => send(page, "op-step"));
else await everything();
await browser.close();
console.log(JSON.stringify(said));
