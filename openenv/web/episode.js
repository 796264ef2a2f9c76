// What was played: every request and reply of an episode, its rewards, and the ways to take them away.

import { el, hint } from "./forms.js";

/** One reset and the steps after it. Replies are kept as the text that came. */
export class Episode {
  constructor() {
    this.turns = [];
  }

  /** @param {string} request  The message as sent. @param {string} reply  The reply as received. */
  add(request, reply) {
    const { type, data } = JSON.parse(request);
    const { observation, reward, done, truncated } = JSON.parse(reply).data;
    const before = this.turns.at(-1)?.total ?? 0;
    const turn = {
      index: this.turns.length,
      request,
      reply,
      kind: type,
      action: data ?? {},
      observation,
      reward,
      done,
      truncated,
      // What a reset says is no reward for anything that was done.
      total: before + (type === "step" ? Number(reward ?? 0) : 0),
    };
    this.turns.push(turn);
    return turn;
  }

  get steps() {
    return this.turns.filter(({ kind }) => kind === "step");
  }

  /** One line for each reset and step: `{"request": ..., "reply": ...}`. */
  toJsonLines() {
    return this.turns.map(({ request, reply }) => `{"request":${request},"reply":${reply}}\n`).join("");
  }
}

/** Offer a text as a file. */
export function download(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 120;
const MAX_POINTS = 600;

function shape(name, properties) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
  return made;
}

const short = (value) => String(Number(value.toPrecision(4)));

/** Reward of each step as bars, and their sum so far as a line. */
export function plot(steps) {
  if (steps.every(({ reward }) => (reward ?? null) === null)) return hint("Rewards will be drawn here.");
  const every = Math.ceil(steps.length / MAX_POINTS);
  const points = steps.filter((_, index) => index % every === 0 || index === steps.length - 1);
  const rewards = points.map(({ reward }) => Number(reward ?? 0));
  const totals = points.map(({ total }) => total);
  const low = Math.min(0, ...rewards, ...totals);
  const high = Math.max(0, ...rewards, ...totals);
  const y = (value) => HEIGHT - ((value - low) / (high - low || 1)) * HEIGHT;
  const wide = WIDTH / points.length;
  const said = `Reward over ${steps.length} steps; return ${short(totals.at(-1))}`;
  const drawing = shape("svg", { viewBox: `0 -4 ${WIDTH} ${HEIGHT + 8}`, preserveAspectRatio: "none", role: "img", "aria-label": said });
  rewards.forEach((reward, index) => {
    const top = Math.min(y(reward), y(0));
    const bar = { x: index * wide + wide * 0.15, y: top, width: wide * 0.7, height: Math.max(1, Math.abs(y(reward) - y(0))) };
    drawing.append(shape("rect", { ...bar, class: reward < 0 ? "bar minus" : "bar" }));
  });
  drawing.append(shape("line", { x1: 0, x2: WIDTH, y1: y(0), y2: y(0), class: "axis" }));
  const line = totals.map((total, index) => `${(index + 0.5) * wide},${y(total)}`).join(" ");
  drawing.append(shape("polyline", { points: line, class: "total" }));
  const scale = el("div", { class: "scale", "aria-hidden": "true" }, el("span", {}, short(high)), el("span", {}, short(low)));
  const key = hint(el("span", { class: "key bar" }), "reward ", el("span", { class: "key total" }), "return so far");
  return el("div", {}, el("div", { class: "plot" }, scale, drawing), key);
}

const base = () => new URL(".", location.href).href.replace(/\/$/, "");

/** A Python program that plays the same. */
export function pythonFor(turns) {
  const lines = turns.map(({ kind, action }) =>
    kind === "reset" ? `    result = client.reset(${keywords(action)})` : `    result = client.step(${python(action)})\n    print(result.reward, result.done)`,
  );
  return [
    "from openenv import GenericEnvClient",
    "",
    `with GenericEnvClient(base_url=${JSON.stringify(base())}).sync() as client:`,
    ...(lines.length ? lines : ["    result = client.reset()"]),
    "    print(result.observation)",
  ].join("\n");
}

function keywords(values) {
  const entries = Object.entries(values);
  if (entries.some(([name]) => !/^[A-Za-z_]\w*$/.test(name))) return `**${python(values)}`;
  return entries.map(([name, value]) => `${name}=${python(value)}`).join(", ");
}

function python(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${python(item)}`).join(", ")}}`;
  return JSON.stringify(value);
}

/** The same calls from a shell. */
export function curlFor(turns) {
  const calls = turns.map(({ kind, action }) => {
    const body = JSON.stringify(kind === "reset" ? action : { action }).replaceAll("'", "'\\''");
    return `curl -sS ${base()}/${kind} -H 'Content-Type: application/json' -d '${body}'`;
  });
  const note = "# Over HTTP each call has an environment of its own: a step does not see the reset before it.";
  return [note, ...(calls.length ? calls : [`curl -sS -X POST ${base()}/reset`])].join("\n");
}
