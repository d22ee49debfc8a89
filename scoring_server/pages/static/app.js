// Where the page begins: asks what is served, then fills the views that fit it.

import { askTokenWith, call, messageOf } from "./api.js";
import { showAbout } from "./about.js";
import { showChat } from "./chat.js";
import { byId, tabs } from "./dom.js";
import { showFiles } from "./files.js";
import { parseJson } from "./json.js";
import { showLive } from "./live.js";
import { showPredict } from "./predict.js";
import { askForToken } from "./token.js";

function choose(tab) {
  for (const panel of document.querySelectorAll("main > [role=tabpanel]")) {
    panel.hidden = panel.id !== tab.getAttribute("aria-controls");
  }
}

async function start() {
  document.querySelector(".skip").addEventListener("click", (event) => {
    // Below a root path the address of the page is not what its links are relative to.
    event.preventDefault();
    byId("main").focus();
  });
  askTokenWith(askForToken);
  const response = await call("page/model");
  if (!response.ok) throw new Error(messageOf(await response.text(), response.status));
  const told = parseJson(await response.text());
  showAbout(told);
  showPredict(told.model);
  showFiles(told.server.max_body);
  if (told.model.chat !== null) {
    byId("tab-chat").hidden = false;
    showChat(told.model);
  }
  tabs(byId("tab-predict").parentElement, choose);
  showLive(told.server.prediction_paths);
}

start().catch((error) => {
  byId("trouble").hidden = false;
  byId("trouble").textContent = `The page cannot be filled: ${error.message}`;
  throw error;
});
