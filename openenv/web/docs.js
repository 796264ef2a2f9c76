// Adds to the API page what needs a script: sending requests, talking on the WebSocket, copying lines.
// Every address is relative to the page, so a path prefix in front of it changes nothing. Whatever comes
// from a server is shown as text (textContent), never as HTML.
"use strict";

const base = new URL(".", location.href).href.replace(/\/$/, "");

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function block(text) {
  return withCopy(element("pre", { className: "code", tabIndex: 0 }, element("code", { textContent: text })));
}

function withCopy(pre) {
  const button = element("button", { type: "button", className: "copy", textContent: "Copy" });
  button.addEventListener("click", async () => {
    button.textContent = (await copy(pre)) ? "Copied" : "Selected";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  const holder = element("div", { className: "holder" });
  if (pre.parentNode) pre.replaceWith(holder);
  holder.append(pre, button);
  return holder;
}

// Browsers give the clipboard to secure origins alone; elsewhere the text is left selected.
async function copy(pre) {
  try {
    await navigator.clipboard.writeText(pre.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(pre);
    return document.execCommand("copy");
  }
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function compact(text) {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return text; // half typed, or meant to be wrong: sent as it is
  }
}

function curl(method, path, body) {
  let line = `curl ${method === "GET" ? "" : `-X ${method} `}${quoted(`${base}/${path}`)}`;
  if (body !== null) line += ` -H 'content-type: application/json' -d ${quoted(compact(body))}`;
  return line;
}

let counter = 0;

function bodyField(text, value) {
  const id = `field-${++counter}`;
  const area = element("textarea", { id, value, spellcheck: false, rows: Math.min(12, value.split("\n").length + 1) });
  const label = element("label", { htmlFor: id, textContent: text });
  return [label, area];
}

function addForm(place) {
  const { method, path, body } = place.dataset;
  const form = element("form", {});
  let area = null;
  if (body !== undefined) {
    const [label, field] = bodyField("Body", body);
    area = field;
    form.append(label, field);
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
  }
  const send = element("button", { type: "submit", textContent: "Send" });
  send.setAttribute("aria-label", `Send ${method} /${path}`);
  const output = element("div", { className: "output" });
  output.setAttribute("aria-live", "polite");
  form.append(element("div", { className: "buttons" }, send), output);
  const line = place.querySelector("pre.shell code");
  const refresh = () => (line.textContent = curl(method, path, area && area.value));
  if (area) area.addEventListener("input", refresh);
  refresh();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    output.replaceChildren("Waiting …");
    output.replaceChildren(...(await answer(method, path, area && area.value)));
    send.disabled = false;
    send.focus();
  });
  place.append(form);
}

async function answer(method, path, body) {
  const started = performance.now();
  try {
    const options = { method, cache: "no-store", credentials: "same-origin" };
    if (body !== null) Object.assign(options, { body, headers: { "content-type": "application/json" } });
    const response = await fetch(path, options);
    const text = await response.text();
    const ms = performance.now() - started;
    const size = new TextEncoder().encode(text).length;
    const status = `${response.status} ${response.statusText}, ${ms.toFixed(1)} ms, ${size} bytes`;
    const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    return [
      element("p", { className: response.ok ? "status" : "status bad", textContent: status }),
      block(pretty(text)),
      element("details", {}, element("summary", { textContent: "Headers" }), block(headers)),
    ];
  } catch (error) {
    const text = `No answer: ${error.message}. Is the server still running?`;
    return [element("p", { className: "status bad", textContent: text })];
  }
}

function addConsole(place) {
  const messages = JSON.parse(place.dataset.messages);
  const id = `field-${++counter}`;
  const choice = element("select", { id });
  for (const type of Object.keys(messages)) choice.append(element("option", { value: type, textContent: type }));
  const [label, area] = bodyField("Message", JSON.stringify(messages.reset, null, 2));
  choice.addEventListener("change", () => (area.value = JSON.stringify(messages[choice.value], null, 2)));
  const connect = element("button", { type: "button", textContent: "Connect" });
  const send = element("button", { type: "submit", textContent: "Send message", disabled: true });
  const lines = element("ol", { className: "transcript" });
  const log = element("div", { className: "log", tabIndex: 0 }, lines);
  log.setAttribute("aria-label", "What was said");
  log.setAttribute("role", "log");
  const form = element(
    "form",
    {},
    element("div", { className: "buttons" }, connect),
    element("label", { htmlFor: id, textContent: "Fill in" }),
    choice,
    label,
    area,
    element("div", { className: "buttons" }, send),
  );
  let socket = null;
  let sentAt = 0;

  function say(who, text) {
    const item = element("li", { className: who }, element("b", { textContent: who }), " ", element("code", { textContent: text }));
    lines.append(item);
    while (lines.children.length > 200) lines.firstChild.remove();
    log.scrollTop = log.scrollHeight;
  }

  function open() {
    socket = new WebSocket(new URL("ws", location.href).href.replace(/^http/, "ws"));
    connect.disabled = true;
    socket.addEventListener("open", () => {
      connect.disabled = false;
      connect.textContent = "Disconnect";
      send.disabled = false;
      say("note", "connected: this is a session of its own");
    });
    socket.addEventListener("message", (event) => {
      const ms = sentAt ? ` (${(performance.now() - sentAt).toFixed(1)} ms)` : "";
      say("server", event.data + ms);
    });
    socket.addEventListener("close", (event) => {
      say("note", `closed with ${event.code}${event.reason ? `: ${event.reason}` : ""}`);
      socket = null;
      connect.disabled = false;
      connect.textContent = "Connect";
      send.disabled = true;
    });
  }

  connect.addEventListener("click", () => (socket ? socket.close(1000) : open()));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!socket || socket.readyState !== WebSocket.OPEN) return;
    const text = compact(area.value);
    say("client", text);
    sentAt = performance.now();
    socket.send(text);
  });
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  place.append(element("h3", { textContent: "Try it" }), form, log);
}

document.documentElement.classList.add("has-script");
document.querySelectorAll(".try").forEach(addForm);
document.querySelectorAll(".console").forEach(addConsole);
document.querySelectorAll("pre.shell, pre.example").forEach(withCopy);
