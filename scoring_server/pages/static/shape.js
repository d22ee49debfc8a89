// A request body as rows of fields and back: what keeps the form and the JSON in step.

import { fieldOf, firstValue, fits } from "./types.js";

// More rows than this are for the JSON alone.
const MOST_ROWS = 30;

/**
 * How the model's requests look: `fields` of a row; `form` "split" (named columns), "values" (one
 * unnamed column), "lists" (several), "tensor" or "tensors" (one unnamed, or named ones; one row).
 * Null where neither the signature nor the example tells.
 */
export function shapeOf({ signature, example }) {
  const params = (signature.params ?? []).map((spec) => fieldOf(spec, spec.name));
  const inputs = signature.inputs ?? [];
  if (inputs.length === 0) {
    const fields = fieldsOfExample(example);
    return fields && { form: "split", fields, params };
  }
  const isNamed = inputs.every((spec) => spec.name !== undefined && spec.name !== null);
  const fields = inputs.map((spec, place) => fieldOf(spec, isNamed ? spec.name : `input ${place}`));
  let form = isNamed ? "split" : fields.length === 1 ? "values" : "lists";
  if (inputs[0].type === "tensor") form = isNamed ? "tensors" : "tensor";
  return { form, fields, params };
}

/** Fields guessed from a table without a signature. */
function fieldsOfExample(example) {
  const split = example?.dataframe_split;
  if (!Array.isArray(split?.columns) || !split.data?.length) return null;
  return split.columns.map((name, place) => {
    const values = split.data.map((row) => row[place]).filter((value) => value !== null);
    const kinds = new Set(values.map((value) => typeof value));
    const kind = kinds.size === 1 ? [...kinds][0] : "object";
    const type = { number: "double", string: "string", boolean: "boolean" }[kind] ?? "any";
    return fieldOf({ type, required: values.length === split.data.length }, String(name));
  });
}

export const isTensor = (shape) => shape.form === "tensor" || shape.form === "tensors";
export const newRow = (shape) => shape.fields.map(firstValue);
export const defaultParams = (shape) => shape.params.map((field) => field.spec.default ?? null);

/** The body that rows and params stand for; params that have their default are left out. */
export function bodyOf(shape, rows, params) {
  const body = {};
  const names = shape.fields.map((field) => field.name);
  if (shape.form === "split") {
    const used = shape.fields.map(
      (field, place) => field.isRequired || rows.some((row) => row[place] !== null),
    );
    const pick = (row) => row.filter((_, place) => used[place]);
    body.dataframe_split = { columns: pick(names), data: rows.map(pick) };
  } else if (shape.form === "values") body.inputs = rows.map((row) => row[0]);
  else if (shape.form === "lists") body.inputs = rows;
  else if (shape.form === "tensor") body.inputs = rows[0][0];
  else body.inputs = Object.fromEntries(names.map((name, place) => [name, rows[0][place]]));
  const changed = shape.params
    .map((field, place) => [field.name, params[place], field.spec.default ?? null])
    .filter(([, value, standard]) => JSON.stringify(value) !== JSON.stringify(standard));
  if (changed.length) {
    body.params = Object.fromEntries(changed.map(([name, value]) => [name, value]));
  }
  return body;
}

/** The rows and params of a body, or null where the form cannot show all of it. */
export function rowsOf(shape, body) {
  if (body === null || typeof body !== "object" || Array.isArray(body)) return null;
  const known = shape.params.map((field) => field.name);
  const sent = body.params ?? {};
  if (Object.keys(sent).some((name) => !known.includes(name))) return null;
  const params = shape.params.map((field) => sent[field.name] ?? field.spec.default ?? null);
  const rows = readRows(shape, body);
  if (rows === null || rows.length === 0 || rows.length > MOST_ROWS) return null;
  const all = [...rows.map((row) => [shape.fields, row]), [shape.params, params]];
  const isShown = all.every(([fields, row]) => fields.every((field, n) => fits(field, row[n])));
  return isShown ? { rows, params } : null;
}

function readRows(shape, body) {
  const keys = Object.keys(body).filter((key) => key !== "params");
  if (keys.length !== 1) return null;
  const names = shape.fields.map((field) => field.name);
  const value = body[keys[0]];
  if (keys[0] === "dataframe_split") return shape.form === "split" ? fromSplit(names, value) : null;
  if (keys[0] === "dataframe_records") return shape.form === "split" ? fromRecords(names, value) : null;
  if (keys[0] !== "inputs" && keys[0] !== "instances") return null;
  if (shape.form === "tensor") return [[value]];
  if (shape.form === "tensors") return isObject(value) ? fromRecords(names, [value]) : null;
  if (!Array.isArray(value)) return null;
  if (shape.form === "values") return value.map((each) => [each]);
  if (shape.form === "split") return fromRecords(names, value);
  const fitting = value.every((row) => Array.isArray(row) && row.length === names.length);
  return fitting ? value : null;
}

function fromSplit(names, split) {
  if (!Array.isArray(split?.columns) || !Array.isArray(split?.data)) return null;
  if (split.columns.some((name) => !names.includes(String(name)))) return null;
  const places = names.map((name) => split.columns.map(String).indexOf(name));
  if (split.data.some((row) => !Array.isArray(row) || row.length !== split.columns.length)) return null;
  return split.data.map((row) => places.map((place) => (place < 0 ? null : row[place])));
}

function fromRecords(names, records) {
  if (!Array.isArray(records) || !records.every(isObject)) return null;
  if (records.some((record) => Object.keys(record).some((key) => !names.includes(key)))) return null;
  return records.map((record) => names.map((name) => record[name] ?? null));
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
