// Where somebody is: in a channel, in the direct messages with the bot, or in the bot's home.

import { byId, el } from "./dom.js";
import { me } from "./people.js";
import { act, parts } from "./server.js";

export const HOME = "home";
const DIRECT = "direct";
let room; // the ID of a channel, HOME or DIRECT

export const isHome = () => room === HOME;

// The channel that the messages here are in, as the simulator calls it.
export function channelHere() {
  return room === DIRECT ? `D${me().slice(1)}` : room;
}

export function drawRooms(entered) {
  const { channels } = parts.get("workspace");
  room ??= channels[0].id;
  const rooms = [...channels.map(({ id, name }) => [id, `# ${name}`]), [HOME, "Home"], [DIRECT, "Direct message"]];
  const item = ([id, name]) => el("li", {}, el("button", {
    "data-room": id, "aria-current": id === room ? "true" : null, onclick: () => enter(id, entered),
  }, name));
  byId("channels").replaceChildren(...rooms.slice(0, channels.length).map(item));
  byId("apps").replaceChildren(...rooms.slice(channels.length).map(item));
  byId("channel-name").textContent = rooms.find(([id]) => id === room)[1];
}

function enter(id, entered) {
  room = id;
  drawRooms(entered);
  document.querySelector(`[data-room="${CSS.escape(id)}"]`).focus();
  entered();
}

// Slack tells the app when somebody comes in.
export const openHome = () => act("open home", { user: me() });

// Something is new where nobody looks.
export function markRoom(channel) {
  const id = channel === `D${me().slice(1)}` ? DIRECT : channel;
  if (id !== room) document.querySelector(`[data-room="${CSS.escape(id)}"]`)?.classList.add("news");
}
