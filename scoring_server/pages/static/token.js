// Asks for the token, in a dialog. It goes into a variable and nowhere else.

import { byId } from "./dom.js";

/** Ask; `isRefused` says that the last one did not fit. */
export function askForToken(isRefused) {
  const dialog = byId("token-dialog");
  const input = byId("token");
  byId("token-problem").hidden = !isRefused;
  input.value = "";
  dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    byId("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close();
      resolve(input.value.trim());
      input.value = "";
    }, { once: true });
    // Without it there is nothing to see.
    dialog.addEventListener("cancel", (event) => event.preventDefault());
  });
}
