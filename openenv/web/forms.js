// A form for a JSON Schema (draft 2020-12, as openenv/json_schema.py writes it).
//
// In: a schema and its definitions. Out: controls. A control is
//   { element, get(), set(value), fail(loc, message) -> shown?, clear() }
// where get() gives undefined for "leave it out". Whether a value fits is the server's to say: controls
// only refuse what they cannot read, by throwing a FieldError.

/** Make an element: `el("p", {class: "note"}, "text", child)`; properties that are functions are listeners. */
export function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const hint = (...children) => el("p", { class: "hint" }, ...children);

/** What was typed cannot be read. It is shown at its field. */
export class FieldError extends Error {}

export const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const SEVERAL_LINES = /code|script|source|program|patch|sql|html|body|essay|document/i;

let lastId = 0;

/**
 * A form's controls for a schema, `$defs` included. Its element fires `input` when something was changed.
 */
export function makeControl(schema) {
  return new Maker(schema.$defs ?? {}).make(schema, { label: (schema.oneOf && schema.title) ?? null, path: [] });
}

const button = (text, onclick, label = null) => el("button", { type: "button", class: "small", "aria-label": label, onclick }, text);
const textInput = (placeholder, type = "text") => el("input", { type, placeholder, autocomplete: "off" });
const changed = (element) => element.dispatchEvent(new Event("input", { bubbles: true }));

class Maker {
  constructor(definitions) {
    this.definitions = definitions;
  }

  /** The schema with its reference, if any, replaced by what that refers to. */
  resolve(schema) {
    if (schema === true || schema === undefined) return {};
    let { $ref, allOf, ...rest } = schema;
    if (allOf?.length === 1) ({ $ref, ...rest } = { ...allOf[0], ...rest });
    if (!$ref) return { ...schema };
    const name = $ref.split("/").pop();
    return { ...this.resolve(this.definitions[name] ?? {}), ...rest, name };
  }

  /** @param place  {label, path, required, isChoice}: path holds the classes that this one is inside of. */
  make(given, place) {
    const { $defs: definitions, ...schema } = this.resolve(given);
    if (definitions && definitions !== this.definitions) return new Maker(definitions).make(schema, place);
    if (place.label) schema.title = given.title ?? words(place.label);
    const isGroup = schema.prefixItems || schema.properties || schema.anyOf || schema.oneOf;
    if (isGroup && place.required === false && !("default" in schema)) return this.either(schema, [given], { ...place, required: true, mayLeave: true });
    if (schema.name) {
      if (place.path.includes(schema.name)) return this.anything(schema, place);
      place = { ...place, path: [...place.path, schema.name] };
    }
    const choices = schema.anyOf ?? schema.oneOf;
    if ("const" in schema) return this.constant(schema, place);
    if (schema.enum) return this.oneOfThese(schema, place);
    if (choices) return this.either(schema, choices, place);
    if (schema.prefixItems) return this.tuple(schema, place);
    if (schema.type === "array") return this.list(schema, place);
    if (schema.type === "object") return schema.properties ? this.record(schema, place) : this.mapping(schema, place);
    if (schema.type === "boolean") return this.flag(schema, place);
    if (schema.type === "integer" || schema.type === "number") return this.number(schema, place);
    if (schema.type === "string") return this.text(schema, place);
    if (schema.type === "null") return this.constant({ ...schema, const: null }, place);
    return this.anything(schema, place);
  }

  /** A label, a control and room for what is wrong with it. */
  field(schema, place, input, body = input) {
    const id = input.id || `field-${++lastId}`;
    input.id = id;
    const wrong = el("p", { class: "wrong", id: `${id}-wrong`, hidden: true });
    const note = hint([schema.description, limits(schema), examples(schema)].filter(Boolean).join(" · "));
    note.id = `${id}-hint`;
    input.setAttribute("aria-describedby", `${id}-hint ${id}-wrong`);
    if (!place.label) input.setAttribute("aria-label", schema.title ?? "value");
    const head = place.label ? el("label", { for: id }, schema.title, optional(schema, place)) : null;
    return { element: el("div", { class: "field" }, head, body, note, wrong), ...complaints(input, wrong) };
  }

  /** A group of controls under one title. */
  group(schema, place, ...children) {
    const wrong = el("p", { class: "wrong", hidden: true });
    const legend = place.label ? el("legend", {}, schema.title, optional(schema, place)) : null;
    const note = schema.description && (place.label || place.isChoice) ? hint(schema.description) : null;
    const box = el(place.label ? "fieldset" : "div", { class: "group" }, legend, note, ...children, wrong);
    return { element: box, ...complaints(box, wrong) };
  }

  /** A field with one input: `read` gives its value, `write` takes one, or undefined. */
  leaf(schema, place, input, read, write, body) {
    const made = this.field(schema, place, input, body);
    write(schema.default);
    return { ...made, get: () => read(made), set: write };
  }

  constant(schema, place) {
    const shown = el("output", {}, JSON.stringify(schema.const));
    return this.leaf(schema, place, shown, () => schema.const, () => {});
  }

  oneOfThese(schema, place) {
    const { enum: values } = schema;
    const indexOf = (value) => values.findIndex((known) => same(known, value));
    const isOptional = place.required === false || place.nullable;
    // What may be left out needs a way back to nothing, which radio buttons have not.
    if (values.length > 6 || (isOptional && indexOf(schema.default) < 0)) {
      const options = values.map((value, index) => el("option", { value: index }, nameOf(value)));
      const choice = el("select", {}, el("option", { value: -1 }, "–"), ...options);
      return this.leaf(schema, place, choice, () => values[choice.value], (value) => (choice.value = indexOf(value)));
    }
    const name = `choice-${++lastId}`;
    const inputs = values.map(() => el("input", { type: "radio", name }));
    const chips = values.map((value, index) => el("label", { class: "check" }, inputs[index], nameOf(value)));
    const box = el("div", { class: "chips", role: "radiogroup" }, ...chips);
    const read = () => values[inputs.findIndex((input) => input.checked)];
    const write = (value) => inputs.forEach((input, index) => (input.checked = same(values[index], value)));
    const made = this.leaf(schema, { ...place, label: null }, box, read, write);
    if (place.label) made.element.prepend(el("span", { class: "label" }, schema.title, optional(schema, place)));
    return made;
  }

  flag(schema, place) {
    const box = el("input", { type: "checkbox" });
    const made = this.leaf(schema, { ...place, label: null }, box, () => box.checked, (value) => (box.checked = value === true));
    made.element.prepend(el("label", { class: "check" }, box, schema.title ?? "yes"));
    box.removeAttribute("aria-label");
    return made;
  }

  number(schema, place) {
    const { type, minimum: min, maximum: max } = schema;
    const input = el("input", { type: "number", min, max, step: type === "integer" ? 1 : "any" });
    const read = ({ refuse }) => {
      if (input.validity.badInput) throw refuse("This is not a number.");
      return input.value === "" ? undefined : Number(input.value);
    };
    return this.leaf(schema, place, input, read, (value) => (input.value = typeof value === "number" ? value : ""));
  }

  text(schema, place) {
    if (schema.contentEncoding === "base64") return this.bytes(schema, place);
    const kind = { "date-time": "datetime-local", date: "date", time: "time" }[schema.format];
    const isLine = schema.format || schema.pattern || schema.maxLength <= 80;
    const isLarge = SEVERAL_LINES.test(place.label ?? "") || /\n/.test(schema.default ?? "");
    const input = isLine ? textInput(schema.format, kind) : el("textarea", { rows: 1 });
    if (kind && kind !== "date") input.step = 1;
    if (isLarge) input.className = "code large";
    const isOptional = kind || place.required === false || place.nullable;
    const write = (value) => {
      input.value = value ?? "";
      // A date that its picker cannot hold, one with a zone for example.
      if (kind && input.value !== (value ?? "")) {
        input.type = "text";
        input.value = value;
      }
    };
    return this.leaf(schema, place, input, () => (input.value === "" && isOptional ? undefined : input.value), write);
  }

  bytes(schema, place) {
    const input = textInput("base64");
    const file = el("input", { type: "file", "aria-label": `File for ${schema.title ?? "it"}` });
    file.addEventListener("change", async () => {
      const bytes = new Uint8Array(await file.files[0].arrayBuffer());
      input.value = btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
      changed(input);
    });
    const read = () => (input.value === "" && place.required === false ? undefined : input.value);
    return this.leaf(schema, place, input, read, (value) => (input.value = value ?? ""), el("div", { class: "row" }, input, file));
  }

  /** What the schema does not describe is typed as JSON. */
  anything(schema, place) {
    const input = el("textarea", { rows: 1, class: "code", placeholder: 'JSON: "text", 12, [1, 2], {"key": true}' });
    const read = ({ refuse }) => {
      try {
        return input.value.trim() ? JSON.parse(input.value) : undefined;
      } catch {
        throw refuse("This is not JSON. A text needs double quotes around it.");
      }
    };
    return this.leaf(schema, place, input, read, (value) => (input.value = JSON.stringify(value) ?? ""));
  }

  record(schema, place) {
    const required = new Set(schema.required);
    const controls = new Map();
    const elements = [];
    const asides = [];
    for (const [name, property] of Object.entries(schema.properties)) {
      const control = this.make(property, { label: name, path: place.path, required: required.has(name) });
      controls.set(name, control);
      if (name === "metadata" && !required.has(name)) asides.push(["Metadata", control.element]);
      // What tells a choice from the others goes without saying, once it is chosen.
      else if (!place.isChoice || !("const" in this.resolve(property))) elements.push(control.element);
    }
    const rest = schema.additionalProperties
      ? this.mapping({ additionalProperties: schema.additionalProperties }, { path: [], required: false })
      : null;
    if (rest) asides.push(["Further fields", rest.element]);
    elements.push(...asides.map(([title, element]) => el("details", {}, el("summary", {}, title), element)));
    const made = this.group(schema, place, ...elements);
    const get = () => {
      const value = {};
      for (const [name, control] of controls) {
        const part = control.get();
        const known = this.resolve(schema.properties[name]);
        // A default goes without saying, except for what tells one class from another.
        const isDefault = "default" in known && !("const" in known) && same(part, known.default);
        if (part !== undefined && (required.has(name) || !isDefault)) value[name] = part;
      }
      return Object.assign(value, rest?.get());
    };
    const set = (value) => {
      const given = isObject(value) ? { ...value } : {};
      for (const [name, control] of controls) {
        control.set(name in given ? given[name] : this.resolve(schema.properties[name]).default);
        delete given[name];
      }
      rest?.set(given);
    };
    const fail = ([name, ...deeper], message) =>
      controls.get(name)?.fail(deeper, message) ?? made.fail([], `${name === undefined ? "" : `${name}: `}${message}`);
    const clear = () => [made, ...controls.values()].forEach((control) => control.clear());
    return { ...made, get, set, fail, clear, names: controls };
  }

  mapping(schema, place) {
    const [pattern, patterned] = Object.entries(schema.patternProperties ?? {})[0] ?? [];
    const keys = this.resolve(schema.propertyNames).enum;
    const note = pattern ? `keys fit ${pattern}` : keys && `keys: ${keys.join(", ")}`;
    const rows = this.rows(schema, place, note, () => {
      const key = textInput("key");
      key.setAttribute("aria-label", "key");
      return { key, value: this.make(patterned ?? schema.additionalProperties, { path: [] }) };
    });
    const get = () => {
      const value = Object.fromEntries(rows.all.map((row) => [row.key.value, row.value.get() ?? null]));
      return rows.isNothing() ? undefined : value;
    };
    const set = (value) => {
      const entries = Object.entries(isObject(value) ? value : {});
      rows.resize(entries.length);
      entries.forEach(([key, item], index) => {
        rows.all[index].key.value = key;
        rows.all[index].value.set(item);
      });
    };
    set(schema.default);
    const fail = ([name, ...deeper], message) =>
      (rows.all.find(({ key }) => key.value === name)?.value ?? rows).fail(deeper, message);
    return { ...rows, get, set, fail };
  }

  list(schema, place) {
    const path = schema.minItems ? place.path : [];
    const rows = this.rows(schema, place, limits(schema), () => ({ value: this.make(schema.items, { path }) }));
    const get = () => (rows.isNothing() ? undefined : rows.all.map(({ value }) => value.get() ?? null));
    const set = (value) => {
      const items = Array.isArray(value) ? value : Array(schema.minItems ?? 0).fill();
      rows.resize(items.length);
      items.forEach((item, index) => item === undefined || rows.all[index].value.set(item));
    };
    set(schema.default);
    const fail = ([index, ...deeper], message) => (rows.all[index]?.value ?? rows).fail(deeper, message);
    return { ...rows, get, set, fail };
  }

  /** Rows that can be added and removed, for lists and mappings. `makeRow` gives {key?, value}. */
  rows(schema, place, note, makeRow) {
    const all = [];
    const box = el("div");
    const add = () => {
      const row = makeRow();
      const drop = () => {
        all.splice(all.indexOf(row), 1);
        row.element.remove();
        more.focus();
        changed(box);
      };
      row.element = el("div", { class: "row" }, row.key, row.value.element, button("×", drop, "Remove"));
      all.push(row);
      box.append(row.element);
    };
    const grow = () => {
      add();
      all.at(-1).element.querySelector("input, textarea, select, button").focus();
      changed(box);
    };
    const more = button("+ add", grow, `Add to ${schema.title ?? "the list"}`);
    const made = this.group(schema, place, note ? hint(note) : null, box, more);
    const resize = (n) => {
      while (all.length > n) all.pop().element.remove();
      while (all.length < n) add();
    };
    const clear = () => [made, ...all.map(({ value }) => value)].forEach((control) => control.clear());
    const isNothing = () => all.length === 0 && place.required === false && !("default" in schema);
    return { ...made, all, resize, clear, isNothing };
  }

  tuple(schema, place) {
    const items = schema.prefixItems.map((item, index) =>
      this.make(item, { label: String(index + 1), path: place.path, required: index < (schema.minItems ?? Infinity) }),
    );
    const made = this.group(schema, place, el("div", { class: "tuple" }, ...items.map(({ element }) => element)));
    const get = () => {
      const values = items.map((item) => item.get());
      while (values.length > (schema.minItems ?? 0) && values.at(-1) === undefined) values.pop();
      return values.map((value) => value ?? null);
    };
    const set = (value) => items.forEach((item, index) => item.set(value?.[index]));
    if (schema.default) set(schema.default);
    const fail = ([index, ...deeper], message) => (items[index] ?? made).fail(deeper, message);
    return { ...made, get, set, fail, clear: () => [made, ...items].forEach((control) => control.clear()) };
  }

  either(schema, choices, place) {
    const { anyOf, oneOf, discriminator, prefixItems, properties, ...own } = schema;
    const { mayLeave } = place;
    if (mayLeave) choices = anyOf ?? oneOf ?? choices;
    const open = choices.map((choice) => this.resolve(choice));
    const real = open.filter(({ type }) => type !== "null");
    if (real.length === 1 && open.length === 2 && isSimple(real[0]) && !mayLeave) return this.nullable({ ...real[0], ...own }, place);
    const fitting = (value) => open.findIndex((choice) => this.fits(choice, value));
    const options = open.map((choice, index) => el("option", { value: index }, this.choiceName(choice, discriminator)));
    const select = el("select", {}, mayLeave ? el("option", { value: -1 }, "–") : null, ...options);
    const inside = el("div", { class: "inside" });
    let current;
    let control;
    const show = (index, path) => {
      select.value = current = index;
      control = index < 0 ? null : this.make(choices[index], { path, isChoice: choices.length > 1 });
      inside.replaceChildren(...(control && open[index].type !== "null" ? [control.element] : []));
    };
    select.addEventListener("input", () => show(Number(select.value), []));
    // A class may hold itself: then another choice comes first, or the form would never end.
    const first = "default" in schema ? fitting(schema.default) : open.findIndex(({ name }) => !place.path.includes(name));
    show(mayLeave ? -1 : Math.max(0, first), place.path);
    const write = (value) => {
      const index = value === undefined ? (mayLeave ? -1 : current) : fitting(value);
      if (index !== current && (index >= 0 || value === undefined)) show(index, []);
      if (value !== undefined) control?.set(value);
    };
    const made = this.leaf(own, place, select, () => control?.get(), write, el("div", {}, select, inside));
    // The server may name the choice it tried before the field in it; the form shows one choice only.
    const fail = ([head, ...deeper], message) => {
      const isOwn = typeof head === "number" || control?.names?.has(head);
      return (control && head !== undefined ? control : made).fail(isOwn ? [head, ...deeper] : deeper, message);
    };
    return { ...made, fail, clear: () => [made, control].forEach((each) => each?.clear()) };
  }

  /** A value or nothing: an empty field is null, or is left out where it may be. */
  nullable(schema, place) {
    const { default: initial = null, ...rest } = schema;
    const control = this.make(initial === null ? rest : schema, { ...place, nullable: true });
    const nothing = place.required === false && initial === null ? undefined : null;
    return { ...control, get: () => control.get() ?? nothing };
  }

  choiceName(choice, discriminator) {
    const tag = choice.properties?.[discriminator?.propertyName] ?? choice;
    if ("const" in tag) return nameOf(tag.const);
    return choice.title ?? choice.enum?.map(nameOf).join(" / ") ?? choice.type ?? "anything";
  }

  /** Whether a value could be meant by a schema: enough to tell choices apart. */
  fits(given, value) {
    const schema = this.resolve(given);
    if ("const" in schema) return same(schema.const, value);
    if (schema.enum) return schema.enum.some((known) => same(known, value));
    const choices = schema.anyOf ?? schema.oneOf;
    if (choices) return choices.some((choice) => this.fits(choice, value));
    if (schema.type === "null") return value === null;
    if (schema.type === "array") return Array.isArray(value) && (!schema.items || value.every((item) => this.fits(schema.items, item)));
    if (schema.type === "object") {
      if (!isObject(value) || !(schema.required ?? []).every((name) => name in value)) return false;
      return Object.entries(value).every(([name, item]) =>
        schema.properties?.[name] ? this.fits(schema.properties[name], item) : schema.additionalProperties !== false,
      );
    }
    if (schema.type === "integer") return Number.isInteger(value);
    return !schema.type || typeof value === schema.type;
  }
}

const isSimple = (schema) => Boolean(schema.enum) || ["string", "integer", "number"].includes(schema.type);

const nameOf = (value) => (typeof value === "string" ? value || '""' : JSON.stringify(value));

/** `max_tokens` as people write it. */
const words = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");

const optional = (schema, place) =>
  place.required === false && (schema.default ?? null) === null ? el("small", {}, " optional") : null;

const LIMITS = {
  minimum: (n) => `at least ${n}`,
  maximum: (n) => `at most ${n}`,
  exclusiveMinimum: (n) => `more than ${n}`,
  exclusiveMaximum: (n) => `less than ${n}`,
  minLength: (n) => `${n} characters or more`,
  maxLength: (n) => `at most ${n} characters`,
  minItems: (n) => `${n} or more`,
  maxItems: (n) => `at most ${n}`,
  uniqueItems: () => "all different",
  pattern: (text) => `fits ${text}`,
};

function limits(schema) {
  const { minimum: low, maximum: high, ...rest } = schema;
  const isRange = low !== undefined && high !== undefined;
  const said = Object.keys(LIMITS).filter((key) => key in (isRange ? rest : schema)).map((key) => LIMITS[key](schema[key]));
  return [isRange && `${low} to ${high}`, ...said].filter(Boolean).join(", ");
}

const examples = ({ examples: given }) => (given?.length ? `for example ${given.map(nameOf).join(", ")}` : "");

/** How a field says that something is wrong with it. */
function complaints(input, wrong) {
  const fail = (loc, message) => {
    wrong.textContent += `${loc.length ? `${loc.join(".")}: ` : ""}${message} `;
    wrong.hidden = false;
    input.setAttribute("aria-invalid", "true");
    return true;
  };
  const clear = () => {
    wrong.hidden = true;
    wrong.textContent = "";
    input.removeAttribute("aria-invalid");
  };
  const refuse = (message) => {
    clear();
    fail([], message);
    return new FieldError(message);
  };
  return { fail, clear, refuse };
}
