// Shows the OpenAPI description with the viewer that the launcher has brought.

import { askTokenWith, authorization, call, messageOf, root } from "./api.js";
import { byId } from "./dom.js";
import { askForToken } from "./token.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const followTheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);

async function start() {
  followTheme();
  dark.addEventListener("change", followTheme);
  askTokenWith(askForToken);
  const response = await call("openapi.json");
  if (!response.ok) throw new Error(messageOf(await response.text(), response.status));
  window.SwaggerUIBundle({
    domNode: byId("viewer"),
    spec: await response.json(),
    presets: [window.SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    deepLinking: true,
    // It would send the description to a host of its makers.
    validatorUrl: null,
    requestInterceptor: (request) => {
      const isOurs = new URL(request.url, root).origin === root.origin;
      if (isOurs) Object.assign(request.headers, authorization());
      return request;
    },
  });
}

start().catch((error) => {
  byId("trouble").hidden = false;
  byId("trouble").textContent = `There is nothing to show: ${error.message}`;
  throw error;
});
