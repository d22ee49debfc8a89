// What is served: the facts under the name, and all of them in a view of their own.

import { byId, el } from "./dom.js";
import { typeText } from "./types.js";

/** Fill the page's head and the view "Model". */
export function showAbout(told) {
  const { model, environment, server } = told;
  document.title = model.name;
  byId("name").textContent = model.name;
  const names = model.flavors.filter((name) => name !== model.flavor);
  const facts = [
    model.version && `version ${model.version}`,
    ...model.aliases.map((alias) => `@${alias}`),
    names[0] ?? model.loader_module?.split(".").pop() ?? model.flavor,
    told.r ? `R ${told.r.version}` : `Python ${told.python}`,
    environment.env_manager,
    `${server.workers} ${server.workers === 1 ? "worker" : "workers"}`,
    `since ${moment(server.since)}`,
  ];
  byId("facts").replaceChildren(...facts.filter(Boolean).map((fact) => el("li", {}, fact)));
  showDetails(told);
  showSignature(model.signature);
}

function moment(seconds) {
  const date = new Date(seconds * 1000);
  const isToday = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], isToday ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

function showDetails({ model, environment, server, python, r, scoring_server: release }) {
  const rows = [
    ["Name", model.name], ["Version", model.version], ["Aliases", model.aliases.join(", ")],
    ["Served as", model.flavor], ["Flavors", model.flavors.join(", ")],
    ["Logged", model.logged && `${model.logged.slice(0, 19)} UTC`],
    ["MLflow", model.mlflow_version], ["Model id", model.model_id ?? model.uuid],
    ["Run", model.run_id], ["URI", model.uri], ["Python", python], ["R", r?.version],
    ["Environment", environment.env_manager && [environment.env_manager, environment.key].filter(Boolean).join(" ")],
    ["Packages of", environment.as_of], ["Workers", server.workers], ["Threads", server.threads],
    ["Batches", server.max_batch_rows === "auto" ? "auto" : server.max_batch_rows ? `up to ${server.max_batch_rows} rows` : ""],
    ["Since", moment(server.since)], ["Scoring server", release],
  ];
  const given = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  byId("details").replaceChildren(...given.map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
}

function showSignature(signature) {
  const parts = ["inputs", "outputs", "params"].filter((part) => signature[part]?.length);
  byId("signature").replaceChildren(el("h2", {}, "Signature"), ...(parts.length
    ? parts.map((part) => drawPart(part, signature[part]))
    : [el("p", { class: "hint" }, "The model was logged without one.")]));
}

function drawPart(part, specs) {
  const titles = { inputs: "Inputs", outputs: "Outputs", params: "Parameters" };
  const heads = ["Name", "Type", part === "params" ? "Default" : "Required"];
  const rows = specs.map((spec, place) => {
    const last = part === "params" ? JSON.stringify(spec.default) : spec.required === false ? "no" : "yes";
    return el("tr", {}, el("th", { scope: "row" }, spec.name ?? String(place)),
      el("td", {}, typeText(spec) + (spec.shape ? " list" : "")), el("td", {}, last));
  });
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": titles[part] },
    el("table", { class: "data-table plain" }, el("caption", {}, titles[part]),
      el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, ...rows)));
}
