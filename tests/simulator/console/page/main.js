// The page: it follows the server, and gives each part to the module that draws it.

import { startCalls, drawCalls } from "./calls.js";
import { drawChanged, redraw, refocus, startChannel } from "./channel.js";
import { drawDialogs, dropQuestions, startDialogs } from "./dialogs.js";
import { byId } from "./dom.js";
import { drawHome } from "./home.js";
import { drawPeople, me } from "./people.js";
import { drawRooms, isHome, openHome } from "./rooms.js";
import { follow } from "./server.js";
import { refreshMoments } from "./times.js";
import { drawTogether, startTogether } from "./together.js";

const REFRESH = 5000; // ms, so that "4 minutes ago" stays true
let isDrawn = false;

function changed(keys) {
  if (keys.has("workspace")) {
    drawRooms(entered);
    drawPeople(switched);
  }
  if (keys.has("service")) drawTogether();
  if (isDrawn) drawChanged(keys);
  else redraw();
  isDrawn = true;
  if (keys.has(`home ${me()}`)) drawHome();
  if (keys.has("views")) drawDialogs(refocus);
  drawCalls(keys);
  if (document.body.dataset.pane !== "channel" && [...keys].some((key) => key.startsWith("message "))) markNews(true);
}

// On a phone the channel may be hidden while something is said there.
function markNews(isNews) {
  const button = document.querySelector('[data-show="channel"]');
  button.classList.toggle("news", isNews);
  button.ariaLabel = isNews ? "Slack: something new" : null;
}

function entered() {
  redraw();
  drawHome();
  if (isHome()) openHome();
}

function switched() {
  dropQuestions();
  entered();
  drawDialogs(refocus);
}

function ended() {
  for (const each of document.querySelectorAll("body > *")) each.inert = each.id !== "ended";
  byId("ended").hidden = false;
}

for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => {
    document.body.dataset.pane = button.dataset.show;
    if (button.dataset.show === "channel") markNews(false);
    for (const each of document.querySelectorAll("[data-show]")) each.setAttribute("aria-pressed", String(each === button));
  });
}
document.querySelector('[data-show="channel"]').setAttribute("aria-pressed", "true");

startChannel();
startDialogs();
startTogether();
startCalls();
setInterval(refreshMoments, REFRESH);
follow(changed, ended);
