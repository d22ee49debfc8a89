// Predictions as a table, on the page and as CSV.

import { el } from "./dom.js";
import { isRaw, oneLine } from "./json.js";

/** Columns and rows of a prediction's JSON; null where it is no table. */
export function tableOf(answer) {
  const value = answer?.predictions ?? answer;
  if (Array.isArray(value) && value.length > 0) return tableOfList(value);
  if (isObject(value)) {
    const columns = Object.keys(value);
    const lengths = new Set(columns.map((name) => Array.isArray(value[name]) && value[name].length));
    if (columns.length === 0 || lengths.size !== 1 || lengths.has(false)) return null;
    const rows = value[columns[0]].map((_, row) => columns.map((name) => value[name][row]));
    return { columns, rows };
  }
  return null;
}

function tableOfList(list) {
  if (list.every(isObject)) {
    const columns = [...new Set(list.flatMap((record) => Object.keys(record)))];
    return { columns, rows: list.map((record) => columns.map((name) => record[name] ?? null)) };
  }
  const width = list[0]?.length;
  const isMatrix = list.every(
    (row) => Array.isArray(row) && row.length === width && !row.some(Array.isArray),
  );
  if (isMatrix && width > 0 && width <= 50) {
    const columns = list[0].map((_, place) => (width === 1 ? "prediction" : `prediction ${place}`));
    return { columns, rows: list };
  }
  return { columns: ["prediction"], rows: list.map((value) => [value]) };
}

const isObject = (value) =>
  value !== null && typeof value === "object" && !Array.isArray(value) && !isRaw(value);

/** A value as a cell shows it. */
export function cellText(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : oneLine(value);
}

/** Draw a table; `count` is how many rows there are in all. `marked` columns are predictions. */
export function drawTable({ columns, rows }, { caption, count = rows.length, marked = [] }) {
  const head = columns.map((name) => el("th", { scope: "col", class: marked.includes(name) && "marked" }, name));
  const body = rows.map((row, number) => el("tr", {},
    el("th", { scope: "row", class: "row-number" }, String(number + 1)),
    ...row.map((value, place) => el("td", { class: cellClass(value, marked.includes(columns[place])) },
      cellText(value)))));
  const table = el("table", { class: "data-table" },
    el("caption", { class: "visually-hidden" }, caption),
    el("thead", {}, el("tr", {},
      el("th", { scope: "col" }, el("span", { class: "visually-hidden" }, "Row")), ...head)),
    el("tbody", {}, ...body));
  const frame = el("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": caption }, table);
  const rest = count > rows.length
    ? el("p", { class: "hint" }, `The first ${rows.length} of ${count} rows.`) : null;
  return el("div", {}, frame, rest);
}

function cellClass(value, isMarked) {
  const names = [(typeof value === "number" || isRaw(value)) && "number", isMarked && "marked"];
  return names.filter(Boolean).join(" ") || null;
}

/** A table as CSV (RFC 4180). */
export function toCsv({ columns, rows }) {
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return [columns, ...rows].map((row) => row.map((value) => cell(cellText(value))).join(","))
    .map((line) => `${line}\r\n`).join("");
}

/** Read CSV (RFC 4180): the rows, each a list of texts, the header first. */
export function fromCsv(text) {
  const rows = [];
  let row = [];
  const pattern = /("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n|\n|\r|$)/gy;
  const source = text.replace(/^\uFEFF/, "");
  while (pattern.lastIndex < source.length) {
    const found = pattern.exec(source);
    if (found === null) return null;
    const [, cell, end] = found;
    row.push(cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell);
    if (end === ",") {
      // A comma that ends the text has an empty cell after it.
      if (pattern.lastIndex === source.length) row.push("");
      else continue;
    }
    if (row.length > 1 || row[0] !== "") rows.push(row);
    row = [];
  }
  if (row.length) rows.push(row);
  return rows;
}
