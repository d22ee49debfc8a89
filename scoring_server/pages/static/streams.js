// Server-sent events, and the texts in them: those of OpenAI's chat completions and responses.

/** The events of a body: their name and their JSON, until its end or `[DONE]`. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r?\n\r?\n/);
    rest = parts.pop();
    for (const part of parts) {
      const event = eventOf(part);
      if (event === null) continue;
      if (event.data === "[DONE]") return;
      yield { name: event.name, value: JSON.parse(event.data) };
    }
  }
}

function eventOf(part) {
  let name = "message";
  const data = [];
  for (const line of part.split(/\r?\n/)) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === "event") name = value;
    else if (field === "data") data.push(value);
  }
  return data.length ? { name, data: data.join("\n") } : null;
}

/** What an event says is wrong, or null. */
export function errorOf(name, value) {
  if (name !== "error" && value.type !== "error" && !value.error) return null;
  const problem = value.error ?? value;
  return typeof problem === "string" ? problem : problem.message ?? "The stream broke off.";
}

/** The piece of text that an event adds; null where it is none of those that add. */
export function pieceOf(value) {
  if (typeof value === "string") return value;
  if (value.type === "response.output_text.delta") return value.delta ?? "";
  const delta = value.choices?.[0]?.delta ?? value.delta;
  if (delta !== null && typeof delta === "object") return delta.content ?? "";
  return value.choices?.[0]?.text ?? null;
}

/** The text of a whole answer, or of an event that repeats what there is. */
export function finalText(value) {
  if (typeof value === "string") return value;
  if (value === null || typeof value !== "object") return "";
  if (Array.isArray(value)) return value.map(finalText).join("");
  const message = value.choices?.[0]?.message?.content ?? value.choices?.[0]?.text;
  if (message !== undefined && message !== null) return finalText(message);
  if (value.messages) return value.messages.map((each) => finalText(each.content)).join("\n");
  if (value.type === "message" && value.content) return finalText(value.content);
  if (value.type === "output_text") return value.text ?? "";
  return finalText(value.output ?? value.item ?? value.response ?? value.predictions ?? null);
}
