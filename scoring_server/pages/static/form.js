// The form: a control for each value of each row, made from the signature.

import { el } from "./dom.js";
import { isTensor, newRow } from "./shape.js";
import { textOf, valueOf } from "./types.js";

let serial = 0;

/**
 * Draw rows and params; `changed` is told when a person has changed them.
 * What is returned redraws the form for other rows and params.
 */
export function makeForm(place, shape, changed) {
  const state = { rows: [], params: [] };

  function draw(rows, params) {
    state.rows = rows;
    state.params = params;
    place.replaceChildren(
      isTensor(shape) || shape.fields.length === 1 ? drawStack() : drawTable(),
      drawParams(),
    );
  }

  function redraw(focus) {
    draw(state.rows, state.params);
    place.querySelector(focus)?.focus();
    tell();
  }

  function tell() {
    const wrong = place.querySelectorAll("[aria-invalid=true]");
    changed(state.rows, state.params, [...wrong].map((control) => control.dataset.label));
  }

  function addButton() {
    const add = () => {
      const last = state.rows[state.rows.length - 1];
      state.rows.push(last ? [...last] : newRow(shape));
      redraw(`[data-row="${state.rows.length - 1}"]`);
    };
    return el("button", { type: "button", class: "button small", id: "add-row", onclick: add }, "Add a row");
  }

  function removeButton(number) {
    const remove = () => {
      state.rows.splice(number, 1);
      redraw("#add-row");
    };
    return el("button", {
      type: "button", class: "button quiet small remove", "aria-label": `Remove row ${number + 1}`,
      disabled: state.rows.length === 1, onclick: remove,
    }, "×");
  }

  function drawTable() {
    const heads = shape.fields.map((field) => el("th", { scope: "col" }, ...heading(field)));
    const rows = state.rows.map((row, number) => el("tr", {},
      el("th", { scope: "row", class: "row-number" }, String(number + 1)),
      ...shape.fields.map((field, at) => el("td", { "data-label": field.name },
        control(field, row, at, `${field.name}, row ${number + 1}`, number))),
      el("td", { class: "row-remove" }, removeButton(number))));
    const table = el("table", { class: "form-table" },
      el("thead", {}, el("tr", {},
        el("th", { scope: "col" }, el("span", { class: "visually-hidden" }, "Row")), ...heads,
        el("td", {}))),
      el("tbody", {}, ...rows));
    const frame = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Rows" }, table);
    return el("div", {}, frame, addButton());
  }

  function drawStack() {
    const single = isTensor(shape);
    const parts = state.rows.flatMap((row, number) => shape.fields.map((field, at) => {
      const suffix = single ? "" : `, row ${number + 1}`;
      const input = control(field, row, at, field.name + suffix, number, true);
      const label = el("label", { for: input.id }, ...heading(field, suffix));
      return el("div", { class: "field" }, label,
        el("div", { class: "field-row" }, input, single ? null : removeButton(number)));
    }));
    return el("div", { class: "stack" }, ...parts, single ? null : addButton());
  }

  function drawParams() {
    if (shape.params.length === 0) return "";
    const parts = shape.params.map((field, at) => {
      const input = control({ ...field, isRequired: false }, state.params, at, field.name, "params");
      return el("div", { class: "field" }, el("label", { for: input.id }, ...heading(field)), input);
    });
    return el("fieldset", { class: "params" }, el("legend", {}, "Parameters"), ...parts);
  }

  function control(field, values, at, label, row, isLarge = false) {
    const input = makeInput(field, isLarge);
    input.id = `field-${(serial += 1)}`;
    input.dataset.row = row;
    input.dataset.label = label;
    // In a stack and among parameters a label says it.
    if (shape.fields.length > 1 && !isTensor(shape)) input.setAttribute("aria-label", label);
    input.value = textOf(field, values[at]);
    if (field.isRequired) input.required = true;
    input.addEventListener("input", () => {
      try {
        values[at] = valueOf(field, input.value);
        input.removeAttribute("aria-invalid");
        input.title = "";
      } catch (error) {
        input.setAttribute("aria-invalid", "true");
        input.title = error.message;
      }
      tell();
    });
    return input;
  }

  return draw;
}

function heading(field, suffix = "") {
  return [
    el("span", { class: "field-name" }, field.name + suffix),
    el("span", { class: "field-type" }, field.type + (field.isRequired ? "" : ", optional")),
  ];
}

function makeInput(field, isLarge) {
  if (field.kind === "boolean") {
    const choices = field.isRequired ? ["true", "false"] : ["", "true", "false"];
    return el("select", {}, ...choices.map((value) => el("option", { value }, value || "–")));
  }
  if (field.kind === "json") {
    return el("textarea", { class: "code", rows: isLarge ? 6 : 2, spellcheck: "false" });
  }
  if (field.kind === "text" && isLarge) return el("textarea", { rows: 3 });
  if (field.kind === "datetime") return el("input", { type: "datetime-local", step: "any" });
  const mode = { number: "decimal", integer: "numeric" }[field.kind];
  return el("input", {
    type: "text", inputmode: mode, autocomplete: "off", class: mode && "number",
    placeholder: field.kind === "binary" ? "Base64" : null,
  });
}
