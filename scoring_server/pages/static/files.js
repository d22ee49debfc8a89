// The view for files: a CSV or Parquet file in, a table of predictions and a download out.

import { messageOf, predict } from "./api.js";
import { drawStages } from "./answer.js";
import { byId, duration, el } from "./dom.js";
import { parseJson } from "./json.js";
import { drawTable, fromCsv, tableOf, toCsv } from "./tables.js";

const MOST_ROWS = 200;
const PARQUET = "application/vnd.apache.parquet";

/** Make the view work; `limit` is the largest body in bytes. */
export function showFiles(limit) {
  const drop = byId("drop");
  const input = byId("file");
  const place = byId("file-answer");

  const say = (text) => place.replaceChildren(el("p", { class: "problem", role: "alert" }, text));

  async function take(file) {
    const type = typeOf(file.name);
    if (type === null) return say(`${file.name} is neither CSV nor Parquet.`);
    if (file.size > limit) {
      return say(`${file.name} has ${file.size} bytes; the server takes ${limit} (--max-body).`);
    }
    place.replaceChildren(el("p", { class: "hint", role: "status" }, `Sending ${file.name}…`));
    try {
      const outcome = await predict(file, type);
      if (!outcome.ok) return say(messageOf(outcome.text, outcome.status));
      const sent = type === "text/csv" ? fromCsv(await file.text()) : null;
      return show(file, outcome, sent);
    } catch (error) {
      return say(`The server does not answer: ${error.message}.`);
    }
  }

  function show(file, outcome, sent) {
    const predictions = tableOf(parseJson(outcome.text));
    if (predictions === null) {
      place.replaceChildren(el("pre", { class: "code", tabindex: "0" }, outcome.text));
      return;
    }
    const [whole, shown] = beside(sent, predictions);
    const count = whole.rows.length;
    const name = file.name.replace(/\.[^.]*$/, "") + ".predictions.csv";
    const url = URL.createObjectURL(new Blob([toCsv(whole)], { type: "text/csv" }));
    place.replaceChildren(
      el("div", { class: "card-head" },
        el("h2", {}, file.name),
        el("span", { class: "badge good" }, `${count} rows · ${duration(outcome.took)}`),
        el("a", { class: "button small", href: url, download: name, id: "download" }, "Download CSV")),
      drawTable({ columns: shown.columns, rows: shown.rows.slice(0, MOST_ROWS) },
        { caption: `Predictions for ${file.name}`, count, marked: predictions.columns }),
      drawStages(outcome));
  }

  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = "";
  });
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) {
    drop.addEventListener(name, () => drop.classList.remove("over"));
  }
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}

function typeOf(name) {
  if (/\.(csv|txt)$/i.test(name)) return "text/csv";
  return /\.(parquet|pq)$/i.test(name) ? PARQUET : null;
}

/**
 * The predictions with the columns that were sent, where their rows belong together: as a file has
 * them, and as the page shows them, where a narrow screen has the first columns only.
 */
function beside(sent, predictions) {
  if (sent === null || sent.length !== predictions.rows.length + 1) return [predictions, predictions];
  const [columns, ...rows] = sent;
  return [joined({ columns, rows }, predictions), joined(predictions, { columns, rows })];
}

const joined = (left, right) => ({
  columns: [...left.columns, ...right.columns],
  rows: left.rows.map((row, number) => [...row, ...right.rows[number]]),
});
