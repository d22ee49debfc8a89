// The view for models that chat: a conversation whose answers appear as they are made.

import { call, messageOf } from "./api.js";
import { byId, duration, el } from "./dom.js";
import { errorOf, events, finalText, pieceOf } from "./streams.js";

/** Make the view work for a model. */
export function showChat(model) {
  const log = byId("chat-log");
  const text = byId("chat-text");
  let messages = [];
  let running = null;

  byId("chat-note").textContent = `POST ${model.chat}`;

  async function send() {
    const content = text.value.trim();
    if (content === "" || running !== null) return;
    text.value = "";
    messages.push({ role: "user", content });
    addMessage(log, "You", content);
    const answer = addMessage(log, model.name, "");
    setRunning(new AbortController());
    const started = performance.now();
    try {
      const whole = await receive(model, messages, running.signal, answer);
      messages.push({ role: "assistant", content: whole });
      answer.time.textContent = duration(performance.now() - started);
    } catch (error) {
      // The question goes with the answer that it did not get.
      messages.pop();
      const isStopped = error.name === "AbortError";
      answer.time.textContent = isStopped ? "stopped" : "";
      if (!isStopped) answer.box.append(el("p", { class: "problem", role: "alert" }, error.message));
    } finally {
      answer.box.removeAttribute("aria-busy");
      setRunning(null);
      text.focus();
    }
  }

  function setRunning(controller) {
    running = controller;
    byId("chat-send").disabled = controller !== null;
    byId("chat-stop").hidden = controller === null;
  }

  byId("chat-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });
  byId("chat-stop").addEventListener("click", () => running?.abort());
  byId("chat-clear").addEventListener("click", () => {
    running?.abort();
    messages = [];
    log.replaceChildren();
    text.focus();
  });
}

/** The body of a request at the path where the model chats. */
function bodyOf({ name, chat }, messages) {
  const key = chat.endsWith("/responses") ? "input" : "messages";
  return JSON.stringify({ model: name, [key]: messages, stream: true });
}

/** Send the conversation, show the answer as it comes, and return all of it. */
async function receive(model, messages, signal, { content, log }) {
  const response = await call(model.chat.slice(1), {
    method: "POST", signal, body: bodyOf(model, messages),
    headers: { "Content-Type": "application/json", Accept: "text/event-stream, application/json" },
  });
  if (!response.ok) throw new Error(messageOf(await response.text(), response.status));
  if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    content.textContent = finalText(await response.json());
    return content.textContent;
  }
  let whole = "";
  for await (const { name, value } of events(response.body)) {
    const problem = errorOf(name, value);
    if (problem !== null) throw new Error(problem);
    const piece = pieceOf(value) ?? (whole === "" ? finalText(value) : "");
    whole += piece;
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    content.append(piece);
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }
  return whole;
}

function addMessage(log, who, text) {
  const content = el("div", { class: "message-text" }, text);
  const time = el("span", { class: "hint" });
  const isAnswer = who !== "You";
  const box = el("article", { class: `message ${isAnswer ? "theirs" : "mine"}`, "aria-busy": isAnswer && "true" },
    el("p", { class: "message-who" }, who, " ", time), content);
  log.append(box);
  log.scrollTop = log.scrollHeight;
  return { box, content, time, log };
}
