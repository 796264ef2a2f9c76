// Plays on `/web` in a headless Chromium and prints what was seen as one JSON object, by scenario.
// Usage: node playground.mjs PACKAGES CHROMIUM FOLDER PLAN, where PLAN is [[SCENARIO, URL, PID of the server, LABEL], ...]
// as JSON. Pictures and downloads go to FOLDER. Three scenarios run at a time, the first one on its own.
import { mkdirSync, readFileSync } from "node:fs";
import { createServer, request as ask } from "node:http";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { join } from "node:path";
import { painted } from "./paint.mjs";

const [packages, executablePath, top, plan] = process.argv.slice(2);
const require = createRequire(join(packages, "node_modules", "index.js"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf-8");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });

const TIMEOUT_MS = 60_000; // of a machine that has other things to do
const PAINTS = 5;

const text = (page, selector) => page.locator(selector).innerText();
const waitFor = (page, selector, wanted) => page.locator(selector).filter({ hasText: wanted }).first().waitFor();
// The snippets are written once the browser has told the page that they were opened.
const written = (page, selector) => page.locator(selector).filter({ hasText: /\S/ }).waitFor({ state: "attached" });

async function reset(page) {
  await page.locator("#reset").click();
  await waitFor(page, "#said", "A new episode has begun");
}

/** The rules that the page breaks. axe is evaluated, since the page's policy lets no foreign script in. */
async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document));
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`);
}

/** Press Tab until something has the focus. */
async function tabTo(page, selector) {
  for (let presses = 0; presses < 60; presses++) {
    if (await page.locator(selector).evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`${selector} cannot be reached with Tab`);
}

/** A server of one page, until `close` is called. */
async function serveBare() {
  const server = createServer((request, response) => {
    response.setHeader("content-type", "text/html");
    response.end('<!doctype html><html lang="en"><title>Bare</title><link rel="icon" href="data:,"><p>Nothing but text.</p></html>');
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const close = () => (server.closeAllConnections(), server.close());
  return { address: `http://127.0.0.1:${server.address().port}/`, close };
}

/** What is common to the pages of one scenario; `said` collects what is seen. */
function scenariosFor(said, url, pid, folder) {
  async function open(options = {}, address = `${url}/web`, ready = "html[data-ready]") {
    const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(TIMEOUT_MS);
    page.on("request", (request) => said.requests.push(request.url()));
    page.on("requestfailed", (request) => {
      // What a policy has stopped was not sent.
      if (!/csp|BLOCKED_BY/.test(request.failure().errorText)) return;
      said.requests.splice(said.requests.indexOf(request.url()), 1);
      said.blocked.push(request.url());
    });
    page.on("websocket", (socket) => {
      said.requests.push(socket.url());
      socket.on("framesent", ({ payload }) => said.sent.push(String(payload)));
      socket.on("framereceived", ({ payload }) => said.received.push(String(payload)));
    });
    page.on("console", (message) => message.type() === "error" && said.problems.push(message.text()));
    page.on("pageerror", (error) => said.problems.push(String(error)));
    const arrive = async (timeout) => {
      await page.goto(address);
      await page.locator(ready).waitFor({ state: "attached", timeout });
    };
    // A machine on which containers come and go changes its network, which ends what Chromium is loading.
    await arrive(TIMEOUT_MS / 3).catch(() => ((said.problems.length = 0), arrive(TIMEOUT_MS)));
    return page;
  }

  const shot = (page, name) => page.screenshot({ path: join(folder, `${name}.png`) });

  async function save(page, press) {
    const [download] = await Promise.all([page.waitForEvent("download"), press()]);
    const path = join(folder, download.suggestedFilename());
    await download.saveAs(path);
    return { name: download.suggestedFilename(), text: readFileSync(path, "utf-8") };
  }

  return {
    /** A whole episode without a mouse. */
    async keyboard() {
      const page = await open();
      await tabTo(page, "#reset");
      said.outline = await page.locator("#reset").evaluate((element) => getComputedStyle(element).outlineStyle);
      await page.keyboard.press("Enter");
      await waitFor(page, ".bubble", "ready");
      const messages = ["Hello", "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>", "one\ntwo"];
      for (const [index, message] of messages.entries()) {
        for (const [n, line] of message.split("\n").entries()) {
          if (n) await page.keyboard.press("Shift+Enter");
          await page.keyboard.type(line);
        }
        await page.keyboard.press("Enter");
        await waitFor(page, "#said", `Step ${index + 1}:`);
      }
      said.bubbles = await page.locator(".bubble").allInnerTexts();
      said.hacked = await page.evaluate(() => [globalThis.hacked ?? null, document.querySelectorAll("#shown script, #shown img").length]);
      said.bars = await page.locator("#plot rect").count();
      said.plot = await page.locator("#plot svg").getAttribute("aria-label");
      said.total = await text(page, "#total");
      await tabTo(page, "#state");
      await page.keyboard.press("Enter");
      await waitFor(page, "#state-shown", "step_count");
      said.state = await text(page, "#state-shown");
      await tabTo(page, "#download");
      said.download = await save(page, () => page.keyboard.press("Enter"));
      await page.locator("#snippets summary").click();
      await written(page, "#curl");
      said.python = await page.locator("#python").textContent();
      said.curl = await page.locator("#curl").textContent();
      said.violations = await violations(page);
      await page.locator("#snippets summary").click();
      await written(page, "#curl");
      await shot(page, "conversation");
    },

    /** Python, of several lines; by keyboard first, then by its form. */
    async coding() {
      const page = await open();
      await tabTo(page, "#reset");
      await page.keyboard.press("Enter");
      await waitFor(page, "#said", "A new episode has begun");
      // Reset has left the focus in the code, where Enter begins a line.
      await page.keyboard.type("total = 0\nfor n in range(5):\n    total += n\nprint('total', total)");
      await page.keyboard.press("Control+Enter");
      await waitFor(page, "#said", "Step 1:");
      await page.getByLabel("Code", { exact: true }).fill("print('<b>twice</b>', total * 2)\ntotal / 0");
      await page.locator("#step").click();
      await waitFor(page, "#said", "Step 2:");
      said.mine = await page.locator(".bubble.mine").allInnerTexts();
      await page.locator("#shown iframe").nth(2).waitFor();
      const drawn = [0, 1, 2].map((n) => page.locator("#shown iframe").nth(n).contentFrame());
      await drawn[2].locator("pre", { hasText: "ZeroDivisionError" }).waitFor();
      said.drawn = await Promise.all(drawn.map((frame) => frame.locator("body").innerText()));
      said.plot = await page.locator("#plot svg").getAttribute("aria-label");
      said.bars = await page.locator("#plot rect").evaluateAll((bars) => bars.map((bar) => bar.classList.contains("minus")));
      said.download = await save(page, () => page.locator("#download").click());
      said.violations = await violations(page);
      await shot(page, "coding");
    },

    /** A game of TextArena for two, both of whom are played here: by keyboard and by button in turn. */
    async textarena() {
      const page = await open();
      await reset(page);
      const field = page.getByLabel("Message", { exact: true });
      for (const [index, cell] of [0, 3, 1, 4, 2].entries()) {
        if (index % 2) {
          await field.fill(`[${cell}]`);
          await page.locator("#step").click();
        } else {
          await tabTo(page, "#fields .field textarea");
          await page.keyboard.type(`[${cell}]`);
          await page.keyboard.press("Enter");
        }
        await waitFor(page, "#said", `Step ${index + 1}:`);
      }
      said.over = await text(page, "#said");
      said.mine = await page.locator(".bubble.mine").allInnerTexts();
      const frame = page.locator("#shown iframe").nth(5).contentFrame();
      await frame.locator("p", { hasText: "Game over" }).waitFor();
      said.drawn = await frame.locator("body").innerText();
      said.plot = await page.locator("#plot svg").getAttribute("aria-label");
      said.download = await save(page, () => page.locator("#download").click());
      said.violations = await violations(page);
      await shot(page, "textarena");
    },

    /** An environment whose actions are calls of tools. */
    async tools() {
      const page = await open();
      await reset(page);
      const tool = page.getByRole("combobox", { name: "Tool", exact: true });
      said.tools = await tool.locator("option").allInnerTexts();
      await tool.selectOption("price");
      said.told = await text(page, "#fields .inside");
      await page.getByRole("radio", { name: "pear" }).check();
      await page.getByRole("spinbutton", { name: "Pieces" }).fill("3");
      await page.getByRole("spinbutton", { name: "Pieces" }).press("Enter");
      await waitFor(page, "#said", "Step 1:");
      said.shown = await text(page, "#shown");
      await tool.selectOption("opening_hours");
      await page.locator("#step").click();
      await waitFor(page, "#said", "Step 2:");
      await tool.selectOption("list_tools");
      await page.locator("#step").click();
      await waitFor(page, "#said", "Step 3:");
      said.history = await page.locator("#history .said").allInnerTexts();
      said.download = await save(page, () => page.locator("#download").click());
      said.violations = await violations(page);
      await shot(page, "tools");
    },

    /** A game by its form, with everything that can go wrong in a move. */
    async form() {
      const page = await open();
      said.readme = await page.locator("#readme-text").evaluate(async (box) => {
        while (!box.children.length) await new Promise((done) => setTimeout(done, 20));
        return { text: box.innerText, links: [...box.querySelectorAll("a")].map((link) => link.href), scripts: box.querySelectorAll("script").length };
      });
      await page.locator("#reset-options summary").first().click();
      await page.getByRole("spinbutton", { name: "Seed" }).fill("7");
      await page.getByRole("radio", { name: "machine" }).check();
      await page.getByRole("button", { name: "Reset with these" }).click();
      await waitFor(page, "#shown", "I have begun");
      const [row, column] = [page.getByRole("spinbutton", { name: "Row" }), page.getByRole("spinbutton", { name: "Column" })];
      const move = async (r, c) => {
        await row.fill(String(r));
        await column.fill(String(c));
        await column.press("Enter");
      };
      await move(7, 1);
      await waitFor(page, ".wrong", "less than or equal to 2");
      said.refused = {
        trouble: await text(page, "#trouble"),
        invalid: await row.getAttribute("aria-invalid"),
        focused: await row.evaluate((element) => element === document.activeElement),
        described: await row.evaluate((element) => element.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id).innerText)),
      };
      await move(0, 0);
      await waitFor(page, "#trouble", "taken");
      said.raised = await text(page, "#trouble");
      await move(1, 1);
      await waitFor(page, "#said", "Step 1:");
      said.troubleAfter = await page.locator("#trouble").isVisible();
      said.canvas = await page.locator("#shown canvas").evaluate((canvas) => {
        const at = (x, y) => [...canvas.getContext("2d").getImageData(x, y, 1, 1).data];
        return { size: [canvas.width, canvas.height], centre: at(12, 12), first: at(4, 4), free: at(20, 20) };
      });
      said.board = await page.locator("#shown .board").evaluate((board) => ({
        text: board.innerText,
        colours: [...board.querySelectorAll("span, b")].filter((each) => /[XO]/.test(each.innerText)).map((each) => each.style.color),
      }));
      said.table = await page.locator("#shown table").nth(1).innerText();
      await page.locator("#fields > details > summary").click();
      const raw = page.getByLabel("Action as JSON");
      said.rawOfForm = JSON.parse(await raw.inputValue());
      await raw.fill('{"square": {"row": 2, "column": 2}, "mood": "bold"}');
      said.formOfRaw = [await row.inputValue(), await column.inputValue(), await page.getByRole("radio", { name: "bold" }).isChecked()];
      await raw.fill('{"square": ');
      said.rawWrong = await text(page, "#fields-wrong");
      await raw.fill('{"square": {"row": 2, "column": 2}, "mood": "bold"}');
      await raw.press("Control+Enter");
      await waitFor(page, "#said", "Step 2:");
      said.over = await text(page, "#said");
      said.numbers = [await text(page, "#n-steps"), await text(page, "#last-reward"), await text(page, "#total")];
      said.minus = await page.locator("#plot rect.minus").count();
      said.history = await page.locator("#history tr").allInnerTexts();
      await page.getByRole("button", { name: "#1", exact: true }).click();
      said.looked = [await text(page, "#which"), await page.locator("#shown table").nth(1).locator("tbody tr").count()];
      await shot(page, "game");
      await page.getByRole("button", { name: "#2", exact: true }).click();
      said.latest = await text(page, "#which");
      said.download = await save(page, () => page.locator("#download").click());
      said.violations = await violations(page);
      await page.emulateMedia({ colorScheme: "dark" });
      said.violationsInTheDark = await violations(page);
      await shot(page, "dark");
    },

    /** One field of every type, by hand and by JSON. */
    async types() {
      const page = await open();
      await reset(page);
      said.begun = await text(page, "#shown");
      const field = (name) => page.getByLabel(name, { exact: true });
      const add = (name) => page.getByRole("button", { name: `Add to ${name}`, exact: true }).click();
      await field("Number").fill("4");
      await field("Ratio").fill("0.5");
      await field("Colour").selectOption("indigo");
      await page.getByRole("radio", { name: "l", exact: true }).check();
      await field("Sure").check();
      await field("Code").fill("a = 1\nb = 2");
      await field("Name").fill("Ada");
      await field("Maybe optional").fill("9");
      await page.getByRole("combobox", { name: "Either" }).selectOption("string");
      await page.locator(".inside textarea").first().fill("text");
      await page.getByRole("combobox", { name: "Deed" }).selectOption("move");
      await page.getByRole("group", { name: "By" }).getByRole("spinbutton").nth(0).fill("3");
      await page.getByRole("group", { name: "By" }).getByRole("spinbutton").nth(1).fill("-4");
      await page.getByRole("group", { name: "Pair" }).getByRole("spinbutton").fill("5");
      for (const word of ["x", "y", "z"]) {
        await add("Words");
        await page.keyboard.type(word);
      }
      await page.getByRole("group", { name: "Words" }).getByRole("button", { name: "Remove" }).nth(1).click();
      await add("Grid");
      await page.getByRole("group", { name: "Grid" }).getByRole("button", { name: /Add to/ }).first().click();
      await page.getByRole("group", { name: "Grid" }).getByRole("spinbutton").fill("2.5");
      await add("Counts");
      await page.keyboard.type("apples");
      await page.getByRole("group", { name: "Counts" }).getByRole("spinbutton").fill("12");
      await field("Anything optional").fill('{"a": [1, null]}');
      await field("At optional").fill("2026-11-22T10:30:15");
      await field("Day optional").fill("2026-11-22");
      await page.getByLabel("File for Blob").setInputFiles({ name: "b", mimeType: "x/y", buffer: Buffer.from([0, 255, 104, 105]) });
      await page.getByLabel("Action as JSON").evaluate(async (raw) => {
        while (!raw.value.includes("AP9oaQ==")) await new Promise((done) => setTimeout(done, 20));
      });
      await field("Key optional").fill("123e4567-e89b-12d3-a456-426614174000");
      await page.getByRole("combobox", { name: "Tree" }).selectOption({ label: "Tree" });
      await page.getByLabel("Word", { exact: true }).fill("oak");
      await add("Branches");
      await page.getByLabel("Word", { exact: true }).nth(1).fill("twig");
      said.raw = JSON.parse(await page.getByLabel("Action as JSON").inputValue());
      said.violations = await violations(page);
      await field("Name").press("Enter");
      await waitFor(page, "#said", "Step 1:");
      said.seen = await text(page, "#shown");
      // The same by JSON into a fresh form, and out of it again after a touch.
      const other = await open();
      await other.getByLabel("Action as JSON").evaluate((raw, value) => {
        raw.value = value;
        raw.dispatchEvent(new Event("input"));
        document.querySelector("#fields input").dispatchEvent(new Event("input", { bubbles: true }));
      }, JSON.stringify(said.raw));
      said.rawAgain = JSON.parse(await other.getByLabel("Action as JSON").inputValue());
      // What cannot be read is refused at its field, and nothing is sent.
      await field("Anything optional").fill("no quotes");
      const n = said.sent.length;
      await field("Name").press("Enter");
      said.unread = { text: await text(page, ".wrong:not([hidden], :empty)"), sent: said.sent.length - n };
      await field("Anything optional").fill("");
      await page.getByRole("group", { name: "Grid" }).getByRole("spinbutton").fill("");
      await field("Ratio").fill("-1");
      await field("Name").press("Enter");
      await waitFor(page, "#trouble", "does not fit");
      said.faults = await page.locator(".wrong:not([hidden], :empty)").allInnerTexts();
    },

    /** That it works at all. */
    async brief() {
      const page = await open();
      await reset(page);
      await page.getByRole("spinbutton", { name: "Row" }).fill("1");
      await page.getByRole("spinbutton", { name: "Column" }).fill("1");
      await page.keyboard.press("Enter");
      await waitFor(page, "#said", "Step 1:");
      await page.locator("#snippets summary").click();
      await written(page, "#curl");
      said.curl = await page.locator("#curl").textContent();
    },

    /** A server that wants a token: asked for in the page, never kept. */
    async token() {
      const page = await open({}, `${url}/web`, "#trouble input");
      said.asked = await text(page, "#trouble");
      await page.locator("#trouble input").fill("wrong");
      await page.keyboard.press("Enter");
      await page.locator("#trouble input").filter({ hasNotText: "x" }).waitFor();
      await page.locator("#trouble input").fill("s3cret+/~?");
      await page.keyboard.press("Enter");
      await page.locator("html[data-ready]").waitFor({ state: "attached" });
      await reset(page);
      await page.frameLocator("#drawn iframe").locator("h3").waitFor();
      said.kept = await page.evaluate(() => [document.cookie, localStorage.length, sessionStorage.length]);
    },

    /** Two visitors at once. */
    async tabs() {
      const [first, second] = [await open(), await open()];
      await reset(first);
      await reset(second);
      const move = async (page, r, c) => {
        await page.getByRole("spinbutton", { name: "Row" }).fill(String(r));
        await page.getByRole("spinbutton", { name: "Column" }).fill(String(c));
        await page.getByRole("spinbutton", { name: "Column" }).press("Enter");
      };
      await move(first, 1, 1);
      await waitFor(first, "#said", "Step 1:");
      await move(second, 2, 2);
      await waitFor(second, "#said", "Step 1:");
      await move(first, 2, 0);
      await waitFor(first, "#said", "Step 2:");
      said.boards = [await text(first, "#shown .board"), await text(second, "#shown .board")];
    },

    /** A server with room for one. */
    async capacity() {
      const [first, second] = [await open(), await open()];
      await reset(first);
      await second.locator("#reset").click();
      await waitFor(second, "#trouble", "full");
      said.full = await text(second, "#trouble");
      said.pill = await text(second, "#session");
      await first.locator("#end").click();
      await waitFor(first, "#session", "no session");
      await reset(second);
      said.fullAfter = await second.locator("#trouble").isVisible();
    },

    /** The server goes away; the message depends on how. */
    async lost() {
      const page = await open();
      await reset(page);
      process.kill(Number(pid), "SIGKILL");
      await waitFor(page, "#trouble", "lost");
      said.lost = await text(page, "#trouble");
      said.step = await page.locator("#step").isDisabled();
      said.download = await save(page, () => page.locator("#download").click());
      await page.locator("#reset").click();
      await waitFor(page, "#trouble", "cannot be reached");
      said.unreachable = await text(page, "#trouble");
      said.violations = await violations(page);
    },

    async drained() {
      const page = await open();
      await reset(page);
      process.kill(Number(pid), "SIGTERM");
      await waitFor(page, "#trouble", "shutting down");
      said.drained = await text(page, "#trouble");
    },

    /** An environment whose constructor raises. */
    async broken() {
      const page = await open();
      await page.locator("#reset").click();
      await waitFor(page, "#trouble", "could not be made");
      said.broken = await text(page, "#trouble");
    },

    /** HTML and buttons of the author's. */
    async drawn() {
      const page = await open({}, `${url}/?from=space`);
      said.address = page.url();
      await reset(page);
      await page.locator("#offered button").nth(4).click();
      await waitFor(page, "#said", "Step 1:");
      const frame = page.frameLocator("#drawn iframe");
      await frame.locator("li").nth(1).waitFor();
      said.frame = {
        text: await frame.locator("body").innerText(),
        colour: await frame.locator("li").first().evaluate((element) => getComputedStyle(element).color),
        origin: await frame.locator("body").evaluate(() => globalThis.origin),
        sandbox: await page.locator("#drawn iframe").getAttribute("sandbox"),
        fields: await page.locator("#shown").isVisible(),
      };
      said.offered = await page.locator("#offered button").allInnerTexts();
      said.title = await page.title();
      said.violations = await violations(page);
      await shot(page, "drawn");
    },

    /** Behind a prefix, in a frame, on a phone. */
    async prefix() {
      const target = new URL(url);
      const server = createServer((request, response) => {
        if (request.url === "/") {
          response.setHeader("content-type", "text/html");
          response.end('<link rel="icon" href="data:,"><iframe src="/a/b/" width="390" height="800" style="border:0"></iframe>');
          return;
        }
        const path = request.url.replace(/^\/a\/b/, "");
        const options = { host: target.hostname, port: target.port, path, method: request.method, headers: request.headers };
        request.pipe(ask(options, (answer) => (response.writeHead(answer.statusCode, answer.headers), answer.pipe(response))));
      });
      server.on("upgrade", (request, socket, head) => {
        const through = connect(Number(target.port), target.hostname);
        const fields = request.rawHeaders.map((each, index) => (index % 2 ? `${each}\r\n` : `${each}: `)).join("");
        through.write(`GET ${request.url.replace(/^\/a\/b/, "")} HTTP/1.1\r\n${fields}\r\n`);
        through.write(head);
        socket.pipe(through).pipe(socket);
        through.on("error", () => socket.destroy());
        socket.on("error", () => through.destroy());
      });
      await new Promise((done) => server.listen(0, "127.0.0.1", done));
      said.origin = `http://127.0.0.1:${server.address().port}`;
      const context = await browser.newContext({ viewport: { width: 390, height: 800 } });
      const page = await context.newPage();
      page.setDefaultTimeout(TIMEOUT_MS);
      page.on("request", (request) => said.requests.push(request.url()));
      page.on("console", (message) => message.type() === "error" && said.problems.push(message.text()));
      page.on("websocket", (socket) => said.requests.push(socket.url()));
      await page.goto(said.origin);
      const inside = page.frameLocator("iframe");
      await inside.locator("html[data-ready]").waitFor({ state: "attached" });
      await inside.locator("#reset").click();
      await inside.locator("#said").filter({ hasText: "A new episode" }).waitFor();
      await inside.getByRole("spinbutton", { name: "Row" }).fill("1");
      await inside.getByRole("spinbutton", { name: "Column" }).fill("1");
      await inside.locator("#step").click();
      await inside.locator("#said").filter({ hasText: "Step 1:" }).waitFor();
      said.wide = await inside.locator("html").evaluate((html) => [html.scrollWidth, html.clientWidth]);
      await inside.locator("#snippets summary").click();
      said.python = await inside.locator("#python").textContent();
      said.wideWithSnippets = await inside.locator("html").evaluate((html) => [html.scrollWidth, html.clientWidth]);
      await shot(page, "phone");
      server.closeAllConnections();
      server.close();
    },

    /** How heavy it is and how soon it is seen. */
    async weight() {
      const bare = await serveBare();
      said.paints = [];
      said.bare = [];
      for (let turn = 0; turn < PAINTS; turn++) {
        const other = await open({}, bare.address, "p");
        said.bare.push(await painted(other));
        await other.context().close();
        const page = await open();
        said.paints.push(await painted(page));
        said.parts = await page.evaluate(() =>
          [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].map(
            ({ name, encodedBodySize }) => [new URL(name).pathname, encodedBodySize],
          ),
        );
        await page.context().close();
      }
      bare.close();
      said.requests = said.requests.filter((address) => address !== bare.address);
      said.violations = await violations(await open());
    },
  };
}

async function run([scenario, url, pid, label = scenario]) {
  const said = { requests: [], blocked: [], problems: [], sent: [], received: [] };
  const folder = join(top, label);
  mkdirSync(folder, { recursive: true });
  const began = performance.now();
  try {
    await scenariosFor(said, url, pid, folder)[scenario]();
  } catch (error) {
    said.failure = error.stack;
  }
  said.seconds = (performance.now() - began) / 1000;
  return [label, said];
}

const [first, ...rest] = JSON.parse(plan);
const seen = [await run(first)];
const work = async () => {
  while (rest.length) seen.push(await run(rest.shift()));
};
await Promise.all([work(), work(), work()]);
await browser.close();
console.log(JSON.stringify(Object.fromEntries(seen)));
