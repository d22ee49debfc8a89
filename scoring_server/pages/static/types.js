// A signature's types: what a person reads, which control takes a value, what stands there first.

import { isRaw, oneLine, parseJson } from "./json.js";

const KINDS = {
  double: "number", float: "number", integer: "integer", long: "integer", boolean: "boolean",
  string: "text", datetime: "datetime", binary: "binary",
};
const FIRST = {
  number: 0, integer: 0, boolean: false, text: "", datetime: "2026-01-31T12:00:00", binary: "",
};
const BOUNDS = { integer: 2 ** 31 };

/** A type of a signature, in words. */
export function typeText(spec) {
  if (spec.type === "tensor") {
    const { dtype, shape } = spec["tensor-spec"] ?? {};
    return `${dtype} (${(shape ?? []).map((size) => (size < 0 ? "any" : size)).join(" × ")})`;
  }
  if (spec.type === "array") return `array of ${typeText(spec.items ?? {})}`;
  if (spec.type === "map") return `map of ${typeText(spec.values ?? {})}`;
  if (spec.type === "object") {
    const parts = Object.entries(spec.properties ?? {}).map(
      ([name, each]) => `${name}: ${typeText(each)}${each.required === false ? "?" : ""}`,
    );
    return `{ ${parts.join(", ")} }`;
  }
  return String(spec.type ?? "any");
}

/** A field of the form, for a column, a tensor or a parameter of a signature. */
export function fieldOf(spec, name) {
  const isList = Array.isArray(spec.shape);
  return {
    name, isRequired: spec.required !== false, type: typeText(spec) + (isList ? " list" : ""),
    kind: isList ? "json" : KINDS[spec.type] ?? "json", bound: BOUNDS[spec.type] ?? null, spec,
  };
}

/** What stands in a field before anybody has written there. */
export function firstValue(field) {
  if (!field.isRequired) return null;
  return field.kind === "json" ? firstOf(field.spec) : FIRST[field.kind];
}

function firstOf(spec) {
  if (spec.type === "tensor") return firstTensor(spec["tensor-spec"] ?? {});
  if (spec.type === "array") return [firstOf(spec.items ?? {})];
  if (spec.type === "map") return { key: firstOf(spec.values ?? {}) };
  if (spec.type === "object") {
    const properties = Object.entries(spec.properties ?? {});
    return Object.fromEntries(
      properties.filter(([, each]) => each.required !== false)
        .map(([name, each]) => [name, firstOf(each)]),
    );
  }
  return FIRST[KINDS[spec.type]] ?? "";
}

function firstTensor({ dtype = "", shape = [] }) {
  const sizes = shape.map((size) => (size < 0 ? 1 : size));
  if (sizes.reduce((product, size) => product * size, 1) > 2000) return [];
  const isText = dtype === "str" || dtype === "object" || dtype.startsWith("<U");
  let value = isText ? "" : dtype === "bool" ? false : 0;
  for (const size of sizes.reverse()) value = Array(size).fill(value);
  return value;
}

/** The value of a field as the text of its control. */
export function textOf(field, value) {
  if (value === null || value === undefined) return "";
  if (field.kind === "json") return oneLine(value);
  if (field.kind === "datetime") return String(value).replace(" ", "T").replace(/Z$/, "").slice(0, 23);
  return isRaw(value) ? value.rawJSON : String(value);
}

/** Whether the control of this kind of field can show the value. */
export function fits(field, value) {
  if (value === null || value === undefined || field.kind === "json") return true;
  if (isRaw(value)) return field.kind === "integer" || field.kind === "number";
  const wanted = { number: "number", integer: "number", boolean: "boolean" }[field.kind];
  return typeof value === (wanted ?? "string");
}

/** The value that a control's text stands for; throws an Error that says what is wrong. */
export function valueOf(field, text) {
  if (field.kind === "text") return text === "" && !field.isRequired ? null : text;
  const trimmed = text.trim();
  if (trimmed === "") {
    if (field.isRequired && field.kind !== "binary") throw new Error("A value is needed.");
    return field.isRequired ? "" : null;
  }
  return READERS[field.kind](trimmed, field);
}

const READERS = {
  number(text) {
    if (!Number.isFinite(Number(text))) throw new Error("This is no number.");
    return /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text) ? parseJson(text) : Number(text);
  },
  integer(text, { bound }) {
    if (!/^[+-]?\d+$/.test(text)) throw new Error("This is no whole number.");
    const value = Number(text);
    if (bound !== null && (value >= bound || value < -bound)) {
      throw new Error("This is beyond 32 bits.");
    }
    return Number.isSafeInteger(value) ? value : parseJson(text.replace(/^(-?)[+0]*/, "$1"));
  },
  boolean: (text) => text === "true",
  datetime: (text) => text,
  binary(text) {
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new Error("This is no Base64.");
    return text;
  },
  json(text) {
    try {
      return parseJson(text);
    } catch {
      throw new Error("This is no JSON.");
    }
  },
};
