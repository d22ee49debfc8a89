// Requests to the server that the page came from, with the token that the person has given.

// Where the server begins, whichever path a proxy has put before it.
export const root = new URL("../../", import.meta.url);

let token = null;
let asking = null;
let ask = async () => null;

/** Say how to ask for a token: given whether one has been refused, it resolves to another. */
export function askTokenWith(prompt) {
  ask = prompt;
}

export const hasToken = () => token !== null;
/** The headers that a request needs to be let in. */
export const authorization = () => (token === null ? {} : { Authorization: `Bearer ${token}` });

/**
 * Send a request; a 401 asks for the token and sends it again.
 * `quiet` requests, which nobody has asked for, take the 401 as it is.
 */
export async function call(path, { headers = {}, quiet = false, ...options } = {}) {
  for (;;) {
    const sent = token;
    const response = await fetch(new URL(path, root), {
      ...options, headers: { ...headers, ...authorization() }, credentials: "same-origin", redirect: "error",
    });
    if (response.status !== 401 || quiet) return response;
    if (token === sent) {
      asking ??= ask(sent !== null).finally(() => { asking = null; });
      token = await asking;
    }
  }
}

/** The same for a prediction: the response, its text, and what it took, in milliseconds. */
export async function predict(body, contentType) {
  const started = performance.now();
  const response = await call("invocations", {
    method: "POST", body, headers: { "Content-Type": contentType, "Want-Server-Timing": "1" },
  });
  const text = await response.text();
  const took = performance.now() - started;
  return { status: response.status, ok: response.ok, text, took, stages: stagesOf(response) };
}

/** The stages of a `Server-Timing` header: name and milliseconds of each. */
function stagesOf(response) {
  const header = response.headers.get("Server-Timing") ?? "";
  const found = [...header.matchAll(/([a-z_]+);dur=([0-9.]+)/g)];
  return found.map(([, name, milliseconds]) => ({ name, milliseconds: Number(milliseconds) }));
}

/** What an error's body says, in whichever of the server's forms. */
export function messageOf(text, status) {
  try {
    const value = JSON.parse(text);
    const message = value.message ?? value.error?.message ?? value.error;
    if (typeof message === "string") return message;
  } catch {
    // No JSON: a proxy's page, say.
  }
  return text.trim().slice(0, 300) || `The server answered ${status}.`;
}
