// The page: one session, its forms, what it shows and what was played.

import { curlFor, download, Episode, plot, pythonFor } from "./episode.js";
import { el, FieldError, hint, makeControl, same } from "./forms.js";
import { renderMarkdown } from "./markdown.js";
import { access, Refused, Session } from "./session.js";
import { show, showFields } from "./show.js";

const DRAWING = "render_web or web_actions";
const LISTING = "tools/list";
const MAX_ROWS = 500; // of the history; the download has them all
const MAX_FRAME_HEIGHT = 1600;
const MAX_FRAMES = 20; // of a conversation; replies before that show their fields again
const CONVERSATION = { class: "chat", role: "log", tabindex: "0", "aria-label": "Conversation" };
const $ = (id) => document.getElementById(id);

/** A form and the same as JSON. Whichever was edited last is what counts. */
class Composer {
  constructor(schema, host, name) {
    const id = `${host.id}-wrong`;
    this.raw = el("textarea", { class: "code", rows: 4, "aria-label": `${name} as JSON`, "aria-describedby": id });
    this.wrong = el("p", { class: "wrong", id });
    this.control = makeControl(schema);
    host.append(this.control.element, el("details", {}, el("summary", {}, "As JSON"), this.raw, this.wrong));
    this.control.element.addEventListener("input", () => this.#write());
    this.raw.addEventListener("input", () => this.#read());
    this.#write();
  }

  /** The value as JSON. @throws {FieldError} Something typed cannot be read; it is marked. */
  text() {
    this.control.clear();
    if (this.isRaw) {
      this.#parse();
      return this.raw.value;
    }
    return JSON.stringify(this.control.get() ?? {});
  }

  set(value) {
    this.control.set(value);
    this.#write();
  }

  /** Mark fields with what the server said. @returns what could not be placed. */
  mark(errors) {
    const rest = errors.filter(({ loc, msg }) => !this.control.fail(loc, msg));
    this.control.element.querySelector("[aria-invalid]")?.focus();
    return rest;
  }

  #write() {
    this.isRaw = false;
    this.#complain("");
    try {
      this.raw.value = JSON.stringify(this.control.get() ?? {}, null, 2);
      this.control.clear();
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
    }
  }

  #read() {
    this.isRaw = true;
    try {
      this.control.set(this.#parse());
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
    }
  }

  #parse() {
    try {
      const value = JSON.parse(this.raw.value);
      this.#complain("");
      return value;
    } catch (error) {
      this.#complain(`This is not JSON: ${error.message}`);
      throw new FieldError(error.message);
    }
  }

  #complain(text) {
    this.wrong.textContent = text;
    this.raw.toggleAttribute("aria-invalid", Boolean(text));
  }
}

const session = new Session(sessionChanged);
let about = {};
let action = null;
let options = null;
let isChat = false;
let said = ""; // the name of the one field of a conversation, whose default goes without saying
let unsaid;
let episode = new Episode();
let viewed = null;
let isBusy = false;
let isAside = false; // busy with what follows a reply by itself: what is asked for meanwhile comes next
let next = null;
let draws = true; // until the server says that this environment does not
let frames = []; // with the author's HTML: one beside a form, one for each reply of a conversation
let takesTools = false; // the actions are calls of tools, which only the environment itself can list
let tools = null;

async function load() {
  const answer = async (path) => {
    const response = await fetch(path, access.token ? { headers: { authorization: `Bearer ${access.token}` } } : {});
    if (response.status === 401) return askToken();
    if (!response.ok) throw new Error(`${path} is answered with status ${response.status}`);
    return response.json();
  };
  let schemas;
  try {
    [about, schemas] = await Promise.all([answer("web/about.json"), answer("schema")]);
  } catch (error) {
    trouble(`The environment is not described: ${error.message}. Load the page again.`);
    $("reset").disabled = true;
  }
  if (!schemas) return;
  title(about.env_name);
  action = new Composer(schemas.action, $("fields"), "Action");
  options = new Composer(about.reset, $("reset-fields"), "Reset parameters");
  const names = Object.keys(schemas.action.properties ?? {}).filter((name) => name !== "metadata");
  const only = names.length === 1 ? schemas.action.properties[names[0]] : {};
  takesTools = !names.length || /^(call_tool|list_tools)$/.test(schemas.action.properties.type?.const);
  [said, unsaid] = [names[0], only.default];
  isChat = only.type === "string" && !only.enum && !only.format && !only.contentEncoding;
  if (isChat) {
    $("watch-title").textContent = "Conversation";
    $("step").textContent = "Send";
    for (const [name, value] of Object.entries(CONVERSATION)) $("shown").setAttribute(name, value);
  } else {
    // What is shown and what can be done stand side by side; a conversation has its field below it.
    $("side").prepend($("act"));
  }
  const { properties, required, additionalProperties } = about.reset;
  $("reset-options").open = Boolean(required);
  $("options").hidden = Object.keys(properties).length === 0 && !additionalProperties;
  redraw();
  document.documentElement.dataset.ready = "true";
  // It makes an environment to ask it, which may take long: nothing waits for it.
  answer("metadata").then(introduce, () => introduce({}));
}

function askToken() {
  const input = el("input", { type: "password", "aria-label": "Token" });
  const onsubmit = (event) => {
    event.preventDefault();
    access.token = input.value;
    trouble("");
    load();
  };
  trouble("This server wants a token.");
  $("trouble").append(el("form", { onsubmit, class: "row" }, input, el("button", {}, "Go on")));
}

function title(name) {
  $("name").textContent = name;
  document.title = `${name} · playground`;
}

function introduce({ name, description, version, readme_content: readme }) {
  if (name) title(name);
  $("description").textContent = [description, version && `Version ${version}`].filter(Boolean).join(" · ");
  const text = readme || about.readme;
  if (!text) return;
  $("readme-text").replaceChildren(renderMarkdown(text));
  $("readme").hidden = false;
}

function sessionChanged(isOpen, why) {
  $("session").textContent = isOpen ? "session open" : "no session";
  $("session").classList.toggle("open", isOpen);
  for (const id of ["step", "state", "end"]) $(id).disabled = !isOpen;
  $("step").classList.toggle("main", isOpen);
  $("reset").classList.toggle("main", !isOpen);
  if (!isOpen) offer([]);
  if (why) trouble(why);
}

/** Say what is wrong and what can be done. */
function trouble(text, details) {
  const box = $("trouble");
  box.hidden = !text;
  box.replaceChildren(el("p", {}, text));
  if (details) box.append(el("details", {}, el("summary", {}, "Details"), el("pre", { tabindex: "0" }, details)));
}

/** Ask the server for one thing at a time; says what goes wrong. Gives undefined then. */
async function ask(text, what, composer) {
  if (isBusy) return;
  busy(what);
  try {
    const reply = await session.ask(text, what);
    trouble("");
    return reply;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const rest = composer ? composer.mark(error.errors) : error.errors;
    trouble([error.message, ...rest.map(({ loc, msg }) => `${loc.join(".")}: ${msg}.`)].join(" "), error.traceback);
  } finally {
    busy(null);
  }
}

let clock = 0;

function whenFree(act) {
  if (!isBusy) act();
  else if (isAside) next = act;
}

function busy(what) {
  isBusy = what !== null;
  isAside = what === DRAWING || what === LISTING;
  clearInterval(clock);
  for (const id of ["step", "reset", "state"]) $(id).setAttribute("aria-disabled", isBusy);
  if (!isBusy) {
    if (session.isOpen) $("session").textContent = "session open";
    if (next) setTimeout(next);
    next = null;
    return;
  }
  const since = performance.now();
  clock = setInterval(() => {
    $("session").textContent = `${what} runs, ${Math.round((performance.now() - since) / 1000)} s`;
  }, 1000);
}

function textOf(composer) {
  try {
    return composer.text();
  } catch (error) {
    if (!(error instanceof FieldError)) throw error;
  }
}

async function reset() {
  const data = textOf(options);
  if (data === undefined) return;
  const message = data === "{}" ? '{"type":"reset"}' : `{"type":"reset","data":${data}}`;
  const reply = await ask(message, "reset", options);
  if (!reply) return;
  episode = new Episode();
  $("history").replaceChildren();
  if (isChat) {
    $("shown").replaceChildren();
    frames = [];
  }
  // Before it is drawn, which takes time in which somebody may write on.
  if (isChat) action.set({});
  await played(episode.add(message, reply));
  if (takesTools) await listTools();
  $("fields").querySelector("input, textarea, select")?.focus();
}

async function step(data) {
  if (data === undefined) return;
  const message = `{"type":"step","data":${data}}`;
  const reply = await ask(message, "step", action);
  if (!reply) return;
  if (isChat) action.set({});
  await played(episode.add(message, reply));
}

/** Make the form one of the tools that there are after a reset, with the arguments of each. */
async function listTools() {
  const reply = await ask('{"type":"mcp","data":{"jsonrpc":"2.0","id":1,"method":"tools/list"}}', LISTING);
  const { result } = reply ? JSON.parse(reply).data : {};
  if (!result?.tools.length || same(result.tools, tools)) return;
  tools = result.tools;
  const choices = tools.map(({ name, description, inputSchema }) => {
    const properties = { type: { const: "call_tool" }, tool_name: { const: name }, arguments: inputSchema };
    return { type: "object", title: name, description, properties, required: Object.keys(properties) };
  });
  const list = { type: "object", title: "list_tools", properties: { type: { const: "list_tools" } }, required: ["type"] };
  $("fields").replaceChildren();
  action = new Composer({ title: "Tool", oneOf: [...choices, list] }, $("fields"), "Action");
}

async function readState() {
  const reply = await ask('{"type":"state"}', "state");
  if (!reply) return;
  $("state-shown").replaceChildren(showFields(JSON.parse(reply).data));
  $("state-box").hidden = false;
  $("state-box").open = true;
}

/** Show what came of a turn, and ask the environment whether it wants to draw it. */
async function played(turn) {
  $("state-box").hidden = true;
  addRow(turn);
  if (isChat) say(turn);
  view(turn);
  const { kind, index, reward, total, done, truncated } = turn;
  const over = done || truncated ? ` The episode ${truncated ? "was cut short" : "is over"}: Reset begins another.` : "";
  $("said").textContent = (kind === "reset" ? "A new episode has begun." : `Step ${index}: reward ${numeral(reward)}, return ${numeral(total)}.`) + over;
  redraw();
  if (!draws) return;
  const data = JSON.stringify({ ...turn.observation, reward: turn.reward, done: turn.done });
  busy(DRAWING);
  try {
    turn.drawn = JSON.parse(await session.ask(`{"type":"web","data":${data}}`, DRAWING)).data;
    if (isChat) drawInBubble(turn);
    if (viewed === turn) view(turn);
    offer(turn.drawn.actions);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.code === "UNKNOWN_TYPE") draws = false;
    else trouble(error.message, error.traceback);
  } finally {
    busy(null);
  }
}

const numeral = (value) => (typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value ?? "none"));

function redraw() {
  const { steps, turns } = episode;
  const last = turns.at(-1);
  $("n-steps").textContent = steps.length;
  $("last-reward").textContent = steps.length ? numeral(last.reward) : "–";
  $("total").textContent = numeral(last?.total ?? 0);
  $("plot").replaceChildren(plot(steps));
  $("download").disabled = turns.length === 0;
  snippets();
}

function snippets() {
  if (!$("snippets").open) return;
  $("python").textContent = pythonFor(episode.turns);
  $("curl").textContent = about.control ? curlFor(episode.turns) : "# In production mode there is no /reset and no /step.";
}

function addRow(turn) {
  const look = el("button", { type: "button", class: "link", onclick: () => view(turn) }, turn.kind === "reset" ? "reset" : `#${turn.index}`);
  const said = briefly(turn.action);
  const numbers = turn.kind === "step" ? [turn.reward, turn.total].map(numeral) : ["", ""];
  const cells = numbers.map((text) => el("td", { class: "number" }, text));
  turn.row = el("tr", {}, el("td", {}, look), el("td", { class: "said", title: said }, said), ...cells);
  $("history").append(turn.row);
  if ($("history").children.length > MAX_ROWS) $("history").firstElementChild.remove();
  $("history").closest(".history").scrollTop = 1e9;
}

/** An action in one line. */
function briefly(action) {
  if (action.type === "call_tool") return `${action.tool_name}(${briefly(action.arguments ?? {})})`;
  const values = Object.values(action);
  if (values.length === 1 && typeof values[0] === "string") return values[0];
  return JSON.stringify(action).slice(1, -1).replace(/"(\w+)":/g, "$1: ").replaceAll(",", ", ");
}

/** One exchange of a conversation. */
function say(turn) {
  if (turn.kind === "step") {
    const text = turn.action[said] ?? unsaid;
    const isCode = $("fields").querySelector(".large");
    $("shown").append(el("div", { class: "bubble mine" }, el(isCode ? "code" : "p", { class: "text" }, String(text ?? ""))));
  }
  const filled = Object.entries(turn.observation).filter(([name, value]) => name !== "metadata" && value);
  const texts = filled.filter(([, value]) => typeof value === "string");
  turn.body = texts.length === 1 && filled.length <= 2 ? show(texts[0][1], texts[0][0]) : showFields(turn.observation);
  const reward = turn.kind === "step" ? hint(`reward ${numeral(turn.reward)}${turn.done ? ", done" : ""}`) : null;
  turn.bubble = el("div", { class: "bubble" }, turn.body, reward);
  $("shown").append(turn.bubble);
}

function view(turn) {
  viewed?.row.removeAttribute("aria-current");
  viewed = turn;
  turn.row.setAttribute("aria-current", "true");
  $("which").textContent = turn.kind === "reset" ? "after reset" : `step ${turn.index} · reward ${numeral(turn.reward)}${turn.done ? " · done" : ""}`;
  if (isChat) turn.bubble.scrollIntoView({ block: "nearest" });
  else $("shown").replaceChildren(showFields(turn.observation));
  $("raw-observation").hidden = false;
  $("raw-observation").querySelector("pre").textContent = JSON.stringify(JSON.parse(turn.reply).data, null, 2);
  const html = isChat ? null : turn.drawn?.html;
  const isDrawn = typeof html === "string";
  $("drawn").hidden = !isDrawn;
  $("shown").hidden = isDrawn;
  if (isDrawn) drawBeside(html);
}

/** The author's HTML in place of what was observed. */
function drawBeside(html) {
  if (frames.length) {
    frames[0].html = html;
    frames[0].element.contentWindow.postMessage({ html }, "*");
  } else $("drawn").replaceChildren(addFrame(html));
}

/** The author's HTML as a reply. */
function drawInBubble({ body, drawn: { html } }) {
  if (typeof html !== "string") return;
  body.replaceWith(addFrame(html, body));
  if (frames.length > MAX_FRAMES) {
    const { element, body: old } = frames.shift();
    element.replaceWith(old);
  }
}

/** A document that can reach nothing: see `frame.html`. */
function addFrame(html, body) {
  const element = el("iframe", { src: "web/frame", sandbox: "allow-scripts", title: "Drawn by the environment" });
  frames.push({ element, html, body });
  return element;
}

addEventListener("message", ({ source, data }) => {
  const frame = frames.find(({ element }) => element.contentWindow === source);
  if (!frame) return;
  if (data.ready) source.postMessage({ html: frame.html }, "*");
  if (data.height > 0) frame.element.style.height = `${Math.min(data.height, MAX_FRAME_HEIGHT)}px`;
  if (isChat) viewed.bubble.scrollIntoView({ block: "nearest" });
});

/** Buttons for the actions that the environment offers. */
function offer(actions) {
  const buttons = actions.map(({ label, action: value }) =>
    el("button", { type: "button", onclick: () => (action.set(value), step(JSON.stringify(value))) }, label),
  );
  $("offered").replaceChildren(...buttons);
}

$("play").addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("step").disabled) return;
  const data = textOf(action);
  whenFree(() => step(data));
});
$("options").addEventListener("submit", (event) => {
  event.preventDefault();
  whenFree(reset);
});
document.addEventListener("keydown", (event) => {
  const { target, key, shiftKey, ctrlKey, metaKey, isComposing } = event;
  if (key !== "Enter" || isComposing || !target.form || target.tagName === "BUTTON") return;
  const isText = target.tagName === "TEXTAREA";
  const several = target.classList.contains("code");
  if (ctrlKey || metaKey || (isText && !several && !shiftKey)) {
    event.preventDefault();
    target.form.requestSubmit();
  }
});
$("reset").addEventListener("click", () => whenFree(reset));
$("state").addEventListener("click", () => whenFree(readState));
$("end").addEventListener("click", () => session.close());
$("snippets").addEventListener("toggle", snippets);
$("download").addEventListener("click", () => download(episode.toJsonLines(), `${about.env_name}-episode.jsonl`));

load();
