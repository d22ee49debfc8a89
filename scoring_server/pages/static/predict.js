// The view to try single requests: form, JSON, answer, and the request as code.

import { predict } from "./api.js";
import { showAnswer } from "./answer.js";
import { byId, copyText, tabs } from "./dom.js";
import { makeForm } from "./form.js";
import { parseJson, pretty } from "./json.js";
import { bodyOf, defaultParams, newRow, rowsOf, shapeOf } from "./shape.js";
import { snippet } from "./snippets.js";

/** Fill the view for a model. */
export function showPredict(model) {
  const json = byId("json");
  const note = byId("json-note");
  const shape = shapeOf(model);
  const draw = shape && makeForm(byId("form"), shape, formChanged);
  let language = "curl";

  function say(text, isProblem = false) {
    note.textContent = text;
    note.classList.toggle("problem", isProblem);
    byId("send").disabled = isProblem;
  }

  function write(body) {
    json.value = pretty(body);
    json.removeAttribute("aria-invalid");
    showCode();
  }

  function formChanged(rows, params, wrong) {
    if (wrong.length) {
      say(`Not a value of its type: ${wrong.join("; ")}.`, true);
      return;
    }
    say("");
    write(bodyOf(shape, rows, params));
  }

  function jsonChanged() {
    let body;
    try {
      body = parseJson(json.value);
    } catch (error) {
      json.setAttribute("aria-invalid", "true");
      say(`This is no JSON: ${error.message}`, true);
      return;
    }
    json.removeAttribute("aria-invalid");
    showCode();
    const found = shape && rowsOf(shape, body);
    byId("form").inert = shape !== null && found === null;
    if (found) draw(found.rows, found.params);
    say(shape === null || found ? "" : "The form cannot show this; it is sent as it stands here.");
  }

  function showCode() {
    byId("code").textContent = snippet(language, json.value);
  }

  function reset() {
    const start = model.example ?? (shape
      ? bodyOf(shape, [newRow(shape)], defaultParams(shape)) : { inputs: [] });
    json.value = pretty(start);
    jsonChanged();
  }

  async function send() {
    const button = byId("send");
    if (button.disabled) return;
    button.disabled = true;
    button.textContent = "Sending…";
    try {
      const outcome = await predict(json.value, "application/json");
      const parts = { card: byId("answer"), badge: byId("answer-status"), place: byId("answer-body") };
      showAnswer(parts, outcome);
      // On a narrow screen the answer is below what one sees.
      parts.card.scrollIntoView({ block: "nearest" });
      say("");
    } catch (error) {
      say(`The server does not answer: ${error.message}.`);
    } finally {
      button.disabled = false;
      button.textContent = "Send";
    }
  }

  if (shape === null) {
    byId("form-note").textContent = "";
    byId("form").replaceChildren(
      "The model has neither a signature nor an example that is a table: write the request as JSON.",
    );
  }
  json.addEventListener("input", jsonChanged);
  byId("json-reset").addEventListener("click", reset);
  byId("send").addEventListener("click", send);
  byId("panel-predict").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      send();
    }
  });
  tabs(byId("tab-curl").parentElement, (tab) => {
    language = tab.id.replace("tab-", "");
    byId("code").setAttribute("aria-labelledby", tab.id);
    showCode();
  });
  byId("copy").addEventListener("click", async () => {
    const done = await copyText(byId("code").textContent);
    byId("copy").textContent = done ? "Copied" : "Not allowed";
    setTimeout(() => { byId("copy").textContent = "Copy"; }, 1500);
  });
  reset();
}
