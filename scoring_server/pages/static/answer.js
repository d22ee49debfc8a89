// The answer to a request: what it says, how long it took, and where that time went.

import { messageOf } from "./api.js";
import { copyText, duration, el } from "./dom.js";
import { parseJson, pretty } from "./json.js";
import { drawTable, tableOf } from "./tables.js";

const MOST_ROWS = 200;
const STAGES = {
  queue: "queue", parse: "parse", predict: "predict", encode: "encode", rest: "network, server",
};

/** Draw an outcome of `predict` into its card. */
export function showAnswer({ card, badge, place }, outcome) {
  card.hidden = false;
  badge.textContent = `${outcome.status} · ${duration(outcome.took)}`;
  badge.className = `badge ${outcome.ok ? "good" : "bad"}`;
  const times = drawStages(outcome);
  if (!outcome.ok) {
    const text = messageOf(outcome.text, outcome.status);
    place.replaceChildren(el("p", { class: "problem", role: "alert" }, text), times);
    return;
  }
  let value;
  try {
    value = parseJson(outcome.text);
  } catch {
    place.replaceChildren(el("pre", { class: "code", tabindex: "0" }, outcome.text), times);
    return;
  }
  place.replaceChildren(drawValue(value, outcome.text), times);
}

function drawValue(value, text) {
  const table = tableOf(value);
  const json = el("pre", { class: "code answer-json", tabindex: "0" }, pretty(value));
  const copy = el("button", { type: "button", class: "button quiet small" }, "Copy JSON");
  copy.addEventListener("click", async () => {
    copy.textContent = (await copyText(text)) ? "Copied" : "Not allowed";
  });
  if (table === null) return el("div", {}, json, copy);
  const shown = { columns: table.columns, rows: table.rows.slice(0, MOST_ROWS) };
  const options = { caption: "Predictions", count: table.rows.length, marked: table.columns };
  const details = el("details", {}, el("summary", {}, "JSON"), json, copy);
  return el("div", {}, drawTable(shown, options), details);
}

/** A bar of the stages; what no stage accounts for is the network and the server's own work. */
export function drawStages({ stages, took }) {
  if (stages.length === 0) return el("p", { class: "hint" }, `Took ${duration(took)}.`);
  const known = stages.reduce((sum, stage) => sum + stage.milliseconds, 0);
  const all = [...stages, { name: "rest", milliseconds: Math.max(0, took - known) }];
  const bar = el("div", { class: "stage-bar", "aria-hidden": "true" }, ...all.map((stage) => {
    const part = el("span", { class: `stage stage-${stage.name}` });
    part.style.flexGrow = String(stage.milliseconds);
    return part;
  }));
  const legend = el("ul", { class: "stage-list", "aria-label": "Stages" }, ...all.map((stage) =>
    el("li", {}, el("span", { class: `dot stage-${stage.name}`, "aria-hidden": "true" }),
      `${STAGES[stage.name] ?? stage.name} ${duration(stage.milliseconds)}`)));
  return el("div", { class: "stages" }, bar, legend);
}
