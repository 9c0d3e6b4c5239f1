// The page: it follows the server, and gives each part to the module that draws it.

import { startCalls, drawCalls } from "./calls.js";
import { drawChanged, drawChannels, redraw, startComposer } from "./channel.js";
import { drawDialogs } from "./dialogs.js";
import { byId } from "./dom.js";
import { drawPeople } from "./people.js";
import { follow } from "./server.js";
import { refreshMoments } from "./times.js";
import { drawTogether, startTogether } from "./together.js";

const REFRESH = 5000; // ms, so that "4 minutes ago" stays true
let isDrawn = false;

function changed(keys) {
  if (keys.has("workspace")) {
    drawChannels();
    drawPeople(switched);
  }
  if (keys.has("service")) drawTogether();
  if (isDrawn) drawChanged(keys);
  else redraw();
  isDrawn = true;
  if (keys.has("views")) drawDialogs();
  drawCalls(keys);
}

function switched() {
  redraw();
  drawDialogs();
}

for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => {
    document.body.dataset.pane = button.dataset.show;
    for (const each of document.querySelectorAll("[data-show]")) each.setAttribute("aria-pressed", String(each === button));
  });
}
document.querySelector('[data-show="channel"]').setAttribute("aria-pressed", "true");

startComposer();
startTogether();
startCalls();
setInterval(refreshMoments, REFRESH);
follow(changed, () => { byId("ended").hidden = false; });
