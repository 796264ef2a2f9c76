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

/** What was typed cannot be read. It is shown at its field. */
export class FieldError extends Error {}

export const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const SEVERAL_LINES = /code|script|source|program|patch|sql|html|body|essay|document/i;

let lastId = 0;

/**
 * A form's controls for a schema.
 * @param {object} schema  The whole schema, `$defs` included.
 * @param {() => void} onChange  Told whenever somebody changed something.
 */
export function makeControl(schema, onChange) {
  return new Maker(schema.$defs ?? {}, onChange).make(schema, { label: null, path: [] });
}

class Maker {
  constructor(definitions, onChange) {
    this.definitions = definitions;
    this.onChange = onChange;
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

  /** @param place  {label, path, required}: path holds the classes that this one is inside of. */
  make(given, place) {
    const schema = this.resolve(given);
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
    const hint = [schema.description, limits(schema), examples(schema)].filter(Boolean).join(" · ");
    const note = hint ? el("p", { class: "hint", id: `${id}-hint` }, hint) : null;
    input.setAttribute("aria-describedby", `${note ? `${id}-hint ` : ""}${id}-wrong`);
    if (!place.label) input.setAttribute("aria-label", schema.title ?? "value");
    const head = place.label ? el("label", { for: id }, schema.title, optional(schema, place)) : null;
    return { element: el("div", { class: "field" }, head, body, note, wrong), ...complaints(input, wrong) };
  }

  /** A group of controls under one title. */
  group(schema, place, ...children) {
    const wrong = el("p", { class: "wrong", hidden: true, tabindex: "-1" });
    const legend = place.label ? el("legend", {}, schema.title, optional(schema, place)) : null;
    const note = schema.description && place.label ? el("p", { class: "hint" }, schema.description) : null;
    const box = el(place.label ? "fieldset" : "div", { class: "group" }, legend, note, ...children, wrong);
    return { element: box, ...complaints(box, wrong) };
  }

  constant(schema, place) {
    const shown = el("output", {}, JSON.stringify(schema.const));
    return { ...this.field(schema, place, shown), get: () => schema.const, set: () => {} };
  }

  oneOfThese(schema, place) {
    const { enum: values } = schema;
    const isOptional = place.required === false || place.nullable;
    const initial = values.findIndex((value) => same(value, schema.default));
    // What may be left out needs a way back to nothing, which radio buttons have not.
    if (values.length > 6 || (isOptional && initial < 0)) {
      const empty = isOptional || initial < 0 ? el("option", { value: "" }, isOptional ? "–" : "choose …") : null;
      const choice = el("select", { onchange: this.onChange }, empty);
      choice.append(...values.map((value, index) => el("option", { value: index }, nameOf(value))));
      const set = (value) => {
        const index = values.findIndex((known) => same(known, value));
        choice.value = index < 0 ? "" : index;
      };
      set(schema.default);
      const get = () => (choice.value === "" ? undefined : values[Number(choice.value)]);
      return { ...this.field(schema, place, choice), get, set };
    }
    const name = `choice-${++lastId}`;
    const inputs = values.map((value, index) =>
      el("input", { type: "radio", name, value: index, checked: index === initial, onchange: this.onChange }),
    );
    const chips = values.map((value, index) => el("label", { class: "chip" }, inputs[index], nameOf(value)));
    const box = el("div", { class: "chips", role: "radiogroup" }, ...chips);
    const made = this.field(schema, { ...place, label: null }, box);
    if (place.label) made.element.prepend(el("span", { class: "label" }, schema.title, optional(schema, place)));
    return {
      ...made,
      get: () => values[inputs.findIndex((input) => input.checked)],
      set: (value) => inputs.forEach((input, index) => (input.checked = same(values[index], value))),
    };
  }

  flag(schema, place) {
    const box = el("input", { type: "checkbox", onchange: this.onChange });
    let touched = place.required !== false;
    box.addEventListener("change", () => (touched = true));
    box.checked = schema.default === true;
    const made = this.field(schema, { ...place, label: null }, box);
    const head = el("label", { class: "check" }, box, schema.title ?? "yes");
    box.removeAttribute("aria-label");
    made.element.prepend(head);
    const get = () => (touched || box.checked ? box.checked : undefined);
    return { ...made, get, set: (value) => ((box.checked = value === true), (touched ||= value === false)) };
  }

  number(schema, place) {
    const whole = schema.type === "integer";
    const low = schema.minimum ?? (whole && schema.exclusiveMinimum !== undefined ? schema.exclusiveMinimum + 1 : null);
    const high = schema.maximum ?? (whole && schema.exclusiveMaximum !== undefined ? schema.exclusiveMaximum - 1 : null);
    const step = whole ? "1" : "any";
    const input = el("input", { type: "number", min: low, max: high, step, inputmode: whole ? "numeric" : "decimal" });
    input.addEventListener("input", this.onChange);
    let body = input;
    let slide = () => {};
    if (low !== null && high !== null && high > low) {
      const slider = el("input", { type: "range", min: low, max: high, step, tabindex: "-1", "aria-hidden": "true" });
      slide = () => (slider.value = input.value === "" ? low : input.value);
      slider.addEventListener("input", () => ((input.value = slider.value), this.onChange()));
      input.addEventListener("input", slide);
      body = el("div", { class: "row" }, input, slider);
    }
    const made = this.field(schema, place, input, body);
    const get = () => {
      if (input.validity.badInput) throw complain(made, "This is not a number.");
      return input.value === "" ? undefined : Number(input.value);
    };
    const set = (value) => ((input.value = typeof value === "number" ? value : ""), slide());
    set(schema.default);
    return { ...made, get, set };
  }

  text(schema, place) {
    if (schema.contentEncoding === "base64") return this.bytes(schema, place);
    const kind = { "date-time": "datetime-local", date: "date", time: "time" }[schema.format];
    const special = kind || schema.format || schema.pattern || (schema.maxLength ?? 1e9) <= 80;
    const several = SEVERAL_LINES.test(place.label ?? "") || /\n/.test(schema.default ?? "");
    const input = special
      ? el("input", { type: kind ?? "text", step: kind === "date" ? null : "1", placeholder: SHAPES[schema.format] })
      : el("textarea", { rows: several ? 5 : 1, class: several ? "code" : null, spellcheck: several ? "false" : null });
    if (several) input.dataset.lines = "several";
    input.addEventListener("input", this.onChange);
    input.autocomplete = "off";
    const isOptional = place.required === false || place.nullable;
    const get = () => (input.value === "" && (kind || isOptional) ? undefined : input.value);
    const set = (value) => {
      const text = typeof value === "string" ? value : "";
      input.value = text;
      if (input.value !== text && special) {
        // A date that its picker cannot hold, one with a zone for example.
        input.type = "text";
        input.value = text;
      }
    };
    set(schema.default);
    return { ...this.field(schema, place, input), get, set };
  }

  bytes(schema, place) {
    const input = el("input", { type: "text", placeholder: "base64", autocomplete: "off" });
    const file = el("input", { type: "file", "aria-label": `File for ${schema.title ?? "it"}` });
    file.addEventListener("change", async () => {
      if (!file.files.length) return;
      const bytes = new Uint8Array(await file.files[0].arrayBuffer());
      let text = "";
      for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
      input.value = btoa(text);
      this.onChange();
    });
    input.addEventListener("input", this.onChange);
    input.value = schema.default ?? "";
    const made = this.field(schema, place, input, el("div", { class: "row" }, input, file));
    const get = () => (input.value === "" && place.required === false ? undefined : input.value);
    return { ...made, get, set: (value) => (input.value = value ?? "") };
  }

  /** What the schema does not describe is typed as JSON. */
  anything(schema, place) {
    const input = el("textarea", { rows: 1, class: "code", placeholder: 'JSON: "text", 12, [1, 2], {"key": true}' });
    input.spellcheck = false;
    input.addEventListener("input", this.onChange);
    const made = this.field(schema, place, input);
    const get = () => {
      if (input.value.trim() === "") return undefined;
      try {
        return JSON.parse(input.value);
      } catch {
        throw complain(made, "This is not JSON. A text needs double quotes around it.");
      }
    };
    const set = (value) => (input.value = value === undefined ? "" : JSON.stringify(value));
    set(schema.default ?? undefined);
    return { ...made, get, set };
  }

  record(schema, place) {
    const required = new Set(schema.required ?? []);
    const controls = new Map();
    for (const [name, property] of Object.entries(schema.properties)) {
      const inner = { label: name, path: place.path, required: required.has(name) };
      controls.set(name, this.make(property, inner));
    }
    const isAside = (name) => name === "metadata" && !required.has(name);
    const elements = [...controls].filter(([name]) => !isAside(name)).map(([, { element }]) => element);
    const asides = [...controls].filter(([name]) => isAside(name)).map(([name, { element }]) => [words(name), element]);
    const extra = schema.additionalProperties;
    const rest =
      extra && controls.size
        ? this.mapping({ additionalProperties: extra, title: "fields" }, { ...place, label: null, required: false })
        : null;
    if (rest) asides.push(["Further fields", rest.element]);
    elements.push(...asides.map(([title, element]) => el("details", {}, el("summary", {}, title), element)));
    const made = this.group(schema, place, ...elements);
    const get = () => {
      const value = {};
      for (const [name, control] of controls) {
        const part = control.get();
        // A default goes without saying: what is sent is what differs from it.
        const known = this.resolve(schema.properties[name]);
        if (part === undefined && !required.has(name)) continue;
        const isTag = "const" in known;
        if (!required.has(name) && !isTag && "default" in known && same(part, known.default)) continue;
        if (part !== undefined) value[name] = part;
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
      controls.get(name)?.fail(deeper, message) || rest?.fail([name, ...deeper], message) || made.fail([], `${name ? `${name}: ` : ""}${message}`);
    const clear = () => (made.clear(), rest?.clear(), controls.forEach((control) => control.clear()));
    return { ...made, get, set, fail, clear, names: controls };
  }

  mapping(schema, place) {
    const patterns = Object.entries(schema.patternProperties ?? {});
    const values = patterns.length ? patterns[0][1] : schema.additionalProperties;
    const keys = this.resolve(schema.propertyNames ?? {}).enum;
    const hint = patterns.length ? `Keys fit ${patterns[0][0]}.` : keys ? `Keys: ${keys.join(", ")}.` : null;
    const makeRow = () => {
      const key = el("input", { type: "text", placeholder: "key", "aria-label": "key", autocomplete: "off" });
      key.addEventListener("input", this.onChange);
      const value = this.make(values ?? {}, { label: null, path: [], required: true });
      return { parts: [key, value.element], key, value };
    };
    const rows = this.rows(schema, place, makeRow, hint);
    const get = () => {
      const value = {};
      for (const row of rows.all) {
        const part = row.value.get();
        if (part !== undefined || row.key.value) value[row.key.value] = part ?? null;
      }
      return rows.all.length === 0 && place.required === false && !("default" in schema) ? undefined : value;
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
    const fail = ([name, ...deeper], message) => {
      const row = rows.all.find(({ key }) => key.value === String(name));
      return row ? row.value.fail(deeper, message) : name === undefined && rows.fail([], message);
    };
    return { ...rows, get, set, fail };
  }

  list(schema, place) {
    const makeRow = () => {
      const value = this.make(schema.items ?? {}, { label: null, path: schema.minItems ? place.path : [], required: true });
      return { parts: [value.element], value };
    };
    const rows = this.rows(schema, place, makeRow, null);
    const shortest = schema.minItems ?? 0;
    const get = () => {
      const items = rows.all.map(({ value }) => value.get() ?? null);
      return items.length === 0 && place.required === false && !("default" in schema) ? undefined : items;
    };
    const set = (value) => {
      const items = Array.isArray(value) ? value : Array(shortest).fill(undefined);
      rows.resize(items.length);
      items.forEach((item, index) => item === undefined || rows.all[index].value.set(item));
    };
    set(schema.default);
    const fail = ([index, ...deeper], message) =>
      rows.all[index] ? rows.all[index].value.fail(deeper, message) : rows.fail([], message);
    return { ...rows, get, set, fail };
  }

  /** Rows that can be added and removed, for lists and mappings. */
  rows(schema, place, makeRow, hint) {
    const all = [];
    const box = el("div", { class: "rows" });
    const add = () => {
      const row = makeRow();
      const remove = el("button", { type: "button", class: "small", "aria-label": "Remove", onclick: () => drop(row) }, "×");
      row.element = el("div", { class: "row" }, ...row.parts, remove);
      all.push(row);
      box.append(row.element);
      return row;
    };
    const drop = (row) => {
      all.splice(all.indexOf(row), 1);
      row.element.remove();
      more.focus();
      this.onChange();
    };
    const grow = () => {
      add().element.querySelector("input, textarea, select, button")?.focus();
      this.onChange();
    };
    const more = el("button", { type: "button", class: "small", onclick: grow, "aria-label": `Add to ${schema.title ?? "the list"}` }, "+ add");
    const said = hint ?? limits(schema);
    const made = this.group(schema, place, said ? el("p", { class: "hint" }, said) : null, box, more);
    const resize = (n) => {
      while (all.length > n) all.pop().element.remove();
      while (all.length < n) add();
    };
    const clear = () => (made.clear(), all.forEach(({ value }) => value.clear()));
    return { ...made, all, resize, clear };
  }

  tuple(schema, place) {
    const items = schema.prefixItems.map((item, index) =>
      this.make(item, { label: String(index + 1), path: place.path, required: index < (schema.minItems ?? Infinity) }),
    );
    const made = this.group(schema, place, el("div", { class: "tuple" }, ...items.map(({ element }) => element)));
    const get = () => {
      const values = items.map((item) => item.get());
      while (values.length > (schema.minItems ?? items.length) && values.at(-1) === undefined) values.pop();
      if (place.required === false && values.every((value) => value === undefined)) return undefined;
      return values.map((value) => value ?? null);
    };
    const set = (value) => items.forEach((item, index) => item.set(Array.isArray(value) ? value[index] : undefined));
    if (schema.default !== undefined) set(schema.default);
    const fail = ([index, ...deeper], message) => items[index]?.fail(deeper, message) || made.fail([], message);
    return { ...made, get, set, fail, clear: () => (made.clear(), items.forEach((item) => item.clear())) };
  }

  either(schema, choices, place) {
    const { anyOf, oneOf, discriminator, prefixItems, properties, ...own } = schema;
    if (place.mayLeave && (anyOf ?? oneOf)) choices = anyOf ?? oneOf;
    const open = choices.map((choice) => this.resolve(choice));
    const real = open.filter(({ type }) => type !== "null");
    const nullable = real.length < open.length;
    if (real.length === 1 && nullable && isSimple(real[0]) && !place.mayLeave) return this.nullable({ ...real[0], ...own }, place);
    const fitting = (value) => open.findIndex((choice) => this.fits(choice, value));
    const select = el("select", {}, place.mayLeave ? el("option", { value: -1 }, "–") : null);
    select.append(...open.map((choice, index) => el("option", { value: index }, this.choiceName(choice, index, discriminator))));
    const inside = el("div", { class: "inside" });
    let current;
    let control;
    const show = (index, path) => {
      select.value = current = index;
      control = index < 0 ? null : this.make(choices[index], { label: null, path, required: true });
      inside.replaceChildren(...(control && open[index].type !== "null" ? [control.element] : []));
    };
    select.addEventListener("change", () => (show(Number(select.value), []), this.onChange()));
    // A class may hold itself: then another choice comes first, or the form would never end.
    const first = open.findIndex(({ name }) => !name || !place.path.includes(name));
    show(place.mayLeave ? -1 : Math.max(0, "default" in schema ? fitting(schema.default) : first), place.path);
    const made = this.field(own, place, select, el("div", { class: "either" }, select, inside));
    const set = (value) => {
      const index = value === undefined ? (place.mayLeave ? -1 : current) : fitting(value);
      if (index !== current && (index >= 0 || value === undefined)) show(index, []);
      if (value !== undefined) control?.set(value);
    };
    if ("default" in schema) set(schema.default);
    // The server names the choice it tried before the field in it; the form shows one choice only.
    const fail = (loc, message) =>
      (control?.names?.has(loc[0]) && control.fail(loc, message)) ||
      (loc.length > 1 && control?.fail(loc.slice(1), message)) ||
      (loc.length && typeof loc[0] === "number" && control?.fail(loc, message)) ||
      made.fail([], message);
    return { ...made, get: () => control?.get(), set, fail, clear: () => (made.clear(), control?.clear()) };
  }

  /** A value or nothing: an empty field is null, or is left out where it may be. */
  nullable(schema, place) {
    const { default: initial, ...rest } = schema;
    const control = this.make(initial === null || initial === undefined ? rest : schema, { ...place, nullable: true });
    const get = () => {
      const value = control.get();
      if (value !== undefined) return value;
      return place.required === false && (initial === null || initial === undefined) ? undefined : null;
    };
    return { ...control, get };
  }

  choiceName(choice, index, discriminator) {
    const tag = discriminator && choice.properties?.[discriminator.propertyName];
    if (tag && "const" in tag) return String(tag.const);
    if ("const" in choice) return nameOf(choice.const);
    return choice.title ?? choice.name ?? (choice.enum ? choice.enum.map(nameOf).join(" / ") : null) ?? choice.type ?? `choice ${index + 1}`;
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

const SHAPES = { uuid: "00000000-0000-0000-0000-000000000000", duration: "PT1M30S", path: "folder/file" };

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
    wrong.textContent = wrong.hidden ? message : `${wrong.textContent} ${message}`;
    wrong.hidden = false;
    input.setAttribute("aria-invalid", "true");
    return true;
  };
  const clear = () => {
    wrong.hidden = true;
    wrong.textContent = "";
    input.removeAttribute("aria-invalid");
  };
  return { fail, clear };
}

function complain(control, message) {
  control.clear();
  control.fail([], message);
  return new FieldError(message);
}
