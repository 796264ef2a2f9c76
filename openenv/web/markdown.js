// A README as elements: the Markdown that READMEs are written in, and nothing of it as HTML.
//
// Limits: no nested quotes, no reference links; HTML is shown as text; pictures become links, since the page
// loads nothing from elsewhere.

import { el } from "./forms.js";

const INLINE = /(`+)(.+?)\1(?!`)|!?\[((?:[^[\]]|\[[^\]]*\])*)\]\(<?((?:[^\s()>]|\([^\s()]*\))+)>?(?:\s+"[^"]*")?\)|<(https?:[^\s>]+)>|(\*\*|__)(?=\S)(.+?)\6|([*_])(?=\S)(.+?\S?)\8(?!\w)/;
const BLOCK = /^(\s*(?:[-*+]|\d+[.)])\s|#{1,6}\s|```|>|\|)/;

/** @param {string} text @returns {DocumentFragment} */
export function renderMarkdown(text) {
  const lines = text.replace(/^---\r?\n[\s\S]*?\n---\r?\n/, "").replace(/<!--[\s\S]*?-->/g, "").split(/\r?\n/);
  const out = document.createDocumentFragment();
  for (let at = 0; at < lines.length; ) {
    const [made, next] = block(lines, at);
    if (made) out.append(made);
    at = next;
  }
  return out;
}

function block(lines, at) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  const fence = /^\s*(```+)/.exec(line);
  if (fence) {
    let end = at + 1;
    while (end < lines.length && !lines[end].trim().startsWith(fence[1])) end++;
    return [el("pre", { tabindex: "0" }, el("code", {}, lines.slice(at + 1, end).join("\n"))), end + 1];
  }
  const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(line);
  // The page has a first and a second level of its own.
  if (heading) return [el(`h${Math.min(6, heading[1].length + 2)}`, {}, ...inline(heading[2])), at + 1];
  if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) return [el("hr"), at + 1];
  if (line.includes("|") && /^[\s|:-]*-[\s|:-]*$/.test(lines[at + 1] ?? "")) return table(lines, at);
  if (line.startsWith(">")) {
    const end = endOf(lines, at, (each) => each.startsWith(">"));
    const inner = lines.slice(at, end).map((each) => each.replace(/^>\s?/, "")).join("\n");
    return [el("blockquote", {}, renderMarkdown(inner)), end];
  }
  if (/^\s*([-*+]|\d+[.)])\s/.test(line)) return list(lines, at);
  const end = Math.max(at + 1, endOf(lines, at, (each, n) => each.trim() && (n === at || !BLOCK.test(each))));
  return [el("p", {}, ...inline(lines.slice(at, end).join("\n"))), end];
}

function endOf(lines, at, belongs) {
  let end = at;
  while (end < lines.length && belongs(lines[end], end)) end++;
  return end;
}

const indentOf = (line) => line.length - line.trimStart().length;

function list(lines, at) {
  const indent = indentOf(lines[at]);
  const made = el(/^\s*\d/.test(lines[at]) ? "ol" : "ul");
  while (at < lines.length) {
    const item = /^\s*(?:[-*+]|\d+[.)])\s+(.*)$/.exec(lines[at]);
    if (!item || indentOf(lines[at]) !== indent) break;
    const end = endOf(lines, at + 1, (each, n) => (each.trim() ? indentOf(each) > indent : (lines[n + 1] ?? "").trim() && indentOf(lines[n + 1]) > indent));
    const inner = lines.slice(at + 1, end);
    const margin = Math.min(...inner.filter((each) => each.trim()).map(indentOf));
    const nested = BLOCK.test(inner.find((each) => each.trim()) ?? "") || inner.some((each) => !each.trim());
    const body = inner.map((each) => each.slice(margin)).join("\n");
    made.append(
      nested ? el("li", {}, ...inline(item[1]), renderMarkdown(body)) : el("li", {}, ...inline([item[1], body].join("\n").trim())),
    );
    at = endOf(lines, end, (each) => !each.trim());
  }
  return [made, at];
}

function table(lines, at) {
  const end = endOf(lines, at, (each) => each.includes("|"));
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((each) => each.trim().replaceAll("\\|", "|"));
  const row = (line, name) => el("tr", {}, ...cells(line).map((each) => el(each ? name : "td", {}, ...inline(each))));
  const body = lines.slice(at + 2, end).map((line) => row(line, "td"));
  return [el("div", { class: "scroll", tabindex: "0" }, el("table", {}, el("thead", {}, row(lines[at], "th")), el("tbody", {}, ...body))), end];
}

function inline(text) {
  const out = [];
  for (let match; (match = INLINE.exec(text)); text = text.slice(match.index + match[0].length)) {
    out.push(text.slice(0, match.index));
    const [all, tick, code, label, target, bare, strong, bold, , slanted] = match;
    if (tick) out.push(el("code", {}, code.trim()));
    else if (bare) out.push(link(bare, [bare]));
    else if (target) out.push(link(target, all.startsWith("!") ? [label || "picture"] : inline(label)));
    else if (strong) out.push(el("strong", {}, ...inline(bold)));
    else out.push(el("em", {}, ...inline(slanted)));
  }
  return [...out, text];
}

/** A link, unless it leads to something other than a page: `javascript:` and its like stay text. */
function link(target, children) {
  if (!/^(https?:|mailto:)/i.test(target)) return el("span", {}, ...children);
  return el("a", { href: target, target: "_blank", rel: "noopener noreferrer" }, ...children);
}
