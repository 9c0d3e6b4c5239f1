// The channel: messages, their threads, and the composer.

import { drawMessage } from "./blocks.js";
import { byId, el } from "./dom.js";
import { avatar, me, person } from "./people.js";
import { act, parts, trouble, valuesOf } from "./server.js";
import { clockTime } from "./times.js";

const items = new Map(); // what stands in the list, by ts
const menus = new Map(); // what this page has chosen in menus, by person, message and menu

const isSeen = ({ only_for: onlyFor }) => onlyFor === null || onlyFor === me();
const list = () => byId("messages");

export function drawChannels() {
  const { channels } = parts.get("workspace");
  byId("channels").replaceChildren(...channels.map(({ name }) => el("li", { "aria-current": "true" }, `# ${name}`)));
  byId("channel-name").textContent = `# ${channels[0].name}`;
}

// Draw everything anew, as somebody else sees it.
export function redraw() {
  items.clear();
  list().replaceChildren(el("li", { class: "empty" }, "Nothing stands here yet. Let a node fall ill at Together, or type a command."));
  for (const message of valuesOf("message")) drawOne(message, false);
  toEnd();
}

export function drawChanged(changed) {
  const { scrollHeight, scrollTop, clientHeight } = list();
  const wasAtEnd = scrollHeight - scrollTop - clientHeight < 60;
  for (const key of changed) if (key.startsWith("message ")) drawOne(parts.get(key), true);
  if (wasAtEnd) toEnd();
}

function toEnd() {
  list().scrollTop = list().scrollHeight;
}

function drawOne(message, flashes) {
  if (!isSeen(message)) return;
  const item = items.get(message.ts) ?? newItem(message);
  const before = item.article;
  const hadFocus = before?.contains(document.activeElement);
  item.article = drawArticle(message);
  if (!before) return item.node.prepend(item.article);
  before.replaceWith(item.article);
  if (hadFocus) item.article.focus();
  if (flashes) item.article.classList.add("flash");
}

function newItem(message) {
  const item = { node: el("li"), article: null };
  items.set(message.ts, item);
  const parent = message.thread_ts && message.thread_ts !== message.ts ? items.get(message.thread_ts) : null;
  if (parent) threadOf(parent).append(item.node);
  else list().append(item.node);
  if (parent) parent.summary.textContent = count(parent.thread.children.length);
  return item;
}

const count = (replies) => (replies === 1 ? "1 reply" : `${replies} replies`);

function threadOf(item) {
  if (!item.thread) {
    item.summary = el("summary");
    item.thread = el("ol", { class: "thread" });
    item.node.append(el("details", {}, item.summary, item.thread));
  }
  return item.thread;
}

function drawArticle(message) {
  const { id, name, isBot } = person(message.by);
  const said = el("p", { class: "said", role: "status" });
  const handle = {
    press: async (button) => {
      const selected = Object.fromEntries([...menus].filter(([key]) => key.startsWith(place(message))).map(
        ([key, { chosen }]) => [key.slice(place(message).length), chosen.map(({ value }) => value)]));
      const body = { user: me(), ts: message.ts, action_id: button.action_id, value: button.value ?? "", selected };
      said.textContent = trouble(await act("press", body));
    },
    menu: ({ action_id: action }) => menuOf(message, action),
  };
  return el("article", { tabindex: "-1", "data-ts": message.ts, "aria-label": `${name} at ${clockTime(Number(message.ts))}` },
    avatar(id),
    el("div", { class: "content" },
      el("p", { class: "head" },
        el("b", {}, name), isBot ? el("span", { class: "badge" }, "APP") : null,
        el("small", {}, clockTime(Number(message.ts))),
        message.only_for ? el("small", { class: "private" }, "Only visible to you") : null,
      ),
      drawMessage(message, handle),
      said,
    ),
  );
}

const place = (message) => `${me()} ${message.ts} `;

// What a menu offers and what is chosen in it, kept while its message is drawn again.
function menuOf(message, action) {
  const key = place(message) + action;
  if (!menus.has(key)) {
    const where = { user: me(), ts: message.ts, action_id: action };
    menus.set(key, {
      chosen: [],
      options: async (query) => (await act("options", { ...where, query })).options ?? [],
      choose: (chosen) => act("choose", { ...where, values: chosen.map(({ value }) => value) }),
    });
  }
  return menus.get(key);
}

export function startComposer() {
  byId("composer").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { value } = byId("text");
    if (!value.trim()) return;
    byId("text").value = "";
    const said = trouble(await act("write", { user: me(), text: escaped(value) }));
    byId("typed").textContent = said;
    if (said) byId("text").value = value;
    toEnd();
  });
}

// As Slack sends it: three characters escaped, people by ID.
function escaped(text) {
  const plain = text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const { people, bot } = parts.get("workspace");
  const ids = new Map([...people.map(({ id, name }) => [name, id]), ["remediation-bot", bot]]);
  return plain.replace(/@([\w-]+)/g, (all, name) => (ids.has(name) ? `<@${ids.get(name)}>` : all));
}
