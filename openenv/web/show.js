// Shows JSON values readably. Nothing of a value is ever taken for HTML: only text nodes are made of it.

import { el, hint } from "./forms.js";

const MAX_ROWS = 200;
const MAX_DEPTH = 6;
const IMAGE = /^data:image\/(png|jpeg|gif|webp|bmp|svg\+xml)[;,]/;
const BARE_IMAGES = { iVBORw0KGgo: "png", "/9j/": "jpeg" };
const ESCAPE = /\x1b\[([\d;]*)([A-Za-z])/g;

const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isScalar = (value) => typeof value !== "object" || value === null;
const isEmpty = (value) =>
  value === null || value === "" || (typeof value === "object" && Object.keys(value).length === 0);

/** The fields of an observation; those that hold nothing are only named. */
export function showFields(record, depth = 0) {
  const list = el("dl", { class: "fields" });
  const empty = [];
  for (const [name, value] of Object.entries(record)) {
    if (isEmpty(value)) empty.push(name);
    else list.append(el("dt", {}, name), el("dd", {}, show(value, name, depth)));
  }
  const note = empty.length ? hint(`Empty: ${empty.join(", ")}`) : null;
  return el("div", {}, list.children.length ? list : null, note);
}

/** One value of any kind. */
export function show(value, name = "", depth = 0) {
  if (typeof value === "string") return showText(value, name);
  if (isScalar(value)) return el("span", { class: "scalar" }, String(value));
  if (depth >= MAX_DEPTH) return el("code", {}, JSON.stringify(value));
  if (isRecord(value)) return showFields(value, depth + 1);
  if (isPicture(value)) return draw(value, name);
  if (value.length && value.every(isRecord)) return showRecords(value);
  if (value.length && value.every((row) => Array.isArray(row) && row.length && row.every(isScalar))) return showGrid(value);
  if (value.every(isScalar)) return el("code", { class: "list" }, value.slice(0, 1000).map(String).join(", "), value.length > 1000 ? ` … ${value.length} in all` : "");
  const items = value.slice(0, MAX_ROWS).map((item) => el("li", {}, show(item, name, depth + 1)));
  return el("ol", { start: "0" }, ...items, more(value.length));
}

const more = (n) => (n > MAX_ROWS ? el("li", {}, `… ${n - MAX_ROWS} more, see the JSON`) : null);

function showText(text, name) {
  if (IMAGE.test(text)) return el("img", { src: text, alt: `${name || "image"} of the observation` });
  const bare = text.length > 100 && Object.keys(BARE_IMAGES).find((start) => text.startsWith(start));
  if (bare) return showText(`data:image/${BARE_IMAGES[bare]};base64,${text}`, name);
  if (text.includes("\x1b[")) return el("pre", { class: "board", tabindex: "0" }, ...ansi(text));
  if (text.includes("\n")) return el("pre", { class: "text", tabindex: "0" }, text);
  return el("p", { class: "text" }, text);
}

/** The text in spans, for the colours that terminals know: ECMA-48 section 8.3.117. */
function* ansi(text) {
  let at = 0;
  let style = {};
  const rest = (to) => {
    const span = el(style.bold ? "b" : "span", {}, text.slice(at, to));
    span.style.color = style.front;
    span.style.background = style.back;
    return span;
  };
  for (const match of text.matchAll(ESCAPE)) {
    if (match.index > at) yield rest(match.index);
    at = match.index + match[0].length;
    if (match[2] === "m") style = restyle(style, match[1].split(";").map(Number));
  }
  if (at < text.length) yield rest(text.length);
}

function restyle(before, codes) {
  let style = { ...before };
  while (codes.length) {
    const code = codes.shift();
    // 30 to 39 and 90 to 97 are of the text, 40 to 49 and 100 to 107 of what is behind it.
    const [tens, ones] = [Math.floor(code / 10), code % 10];
    const side = { 3: "front", 9: "front", 4: "back", 10: "back" }[tens];
    if (code === 0) style = {};
    else if (code === 1 || code === 22) style.bold = code === 1;
    else if (side) style[side] = ones < 8 ? `var(--ansi-${ones})` : ones === 8 ? extended(codes) : "";
  }
  return style;
}

/** 256 colours, or red, green and blue. */
function extended(codes) {
  if (codes.shift() === 2) return `rgb(${codes.splice(0, 3).map(Number).join(" ")})`;
  const n = codes.shift() ?? 0;
  if (n < 16) return `var(--ansi-${n % 8})`;
  if (n >= 232) return `rgb(${Array(3).fill(8 + (n - 232) * 10).join(" ")})`;
  const part = (value) => (value ? 55 + value * 40 : 0);
  return `rgb(${part(Math.floor((n - 16) / 36))} ${part(Math.floor((n - 16) / 6) % 6)} ${part((n - 16) % 6)})`;
}

const isByte = (value) => Number.isInteger(value) && value >= 0 && value <= 255;

/** Whether it is [H][W][3] or [H][W][4] of bytes, or [H][W] of them and too large for a table. */
function isPicture(rows) {
  const width = rows[0]?.length;
  const pixel = rows[0]?.[0];
  if (rows.length < 2 || !(width >= 2)) return false;
  const isGrey = isByte(pixel) && rows.length >= 24 && width >= 24;
  const n = Array.isArray(pixel) ? pixel.length : 0;
  if (!isGrey && n !== 3 && n !== 4) return false;
  return rows.every(
    (row) => Array.isArray(row) && row.length === width &&
      row.every(isGrey ? isByte : (each) => Array.isArray(each) && each.length === n && each.every(isByte)),
  );
}

function draw(rows, name) {
  const [height, width] = [rows.length, rows[0].length];
  const canvas = el("canvas", { width, height, role: "img", "aria-label": `${name} ${width} × ${height}` });
  const pixels = new Uint8ClampedArray(4 * width * height);
  let at = 0;
  for (const pixel of rows.flat()) {
    const [red, green, blue, alpha = 255] = Array.isArray(pixel) ? pixel : [pixel, pixel, pixel];
    pixels.set([red, green, blue, alpha], at);
    at += 4;
  }
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  // Small pictures are enlarged by whole numbers, so that their pixels stay square.
  canvas.style.width = `${width * Math.max(1, Math.floor(240 / width))}px`;
  return canvas;
}

function showRecords(records) {
  const shown = records.slice(0, MAX_ROWS);
  const columns = [...new Set(shown.flatMap(Object.keys))];
  const head = el("tr", {}, ...columns.map((name) => el("th", { scope: "col" }, name)));
  const body = shown.map((record) => el("tr", {}, ...columns.map((name) => cell(record[name]))));
  return table(el("thead", {}, head), body, records.length);
}

function showGrid(rows) {
  return table(null, rows.slice(0, MAX_ROWS).map((row) => el("tr", {}, ...row.map(cell))), rows.length);
}

function table(head, rows, n) {
  const rest = n > MAX_ROWS ? el("caption", {}, `The first ${MAX_ROWS} of ${n}`) : null;
  return el("div", { class: "scroll", tabindex: "0" }, el("table", {}, rest, head, el("tbody", {}, ...rows)));
}

function cell(value) {
  const isPlain = isScalar(value ?? null);
  const text = isPlain ? String(value ?? "") : JSON.stringify(value);
  const shown = text.length > 500 ? `${text.slice(0, 500)} …` : text;
  return el("td", { class: typeof value === "number" ? "number" : null }, isPlain ? shown : el("code", {}, shown));
}
