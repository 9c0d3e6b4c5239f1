// The channel: messages, their threads, and the composer.

import { drawMessage } from "./blocks.js";
import { byId, el, once } from "./dom.js";
import { drawMrkdwn } from "./mrkdwn.js";
import { avatar, me, person } from "./people.js";
import { channelHere, markRoom } from "./rooms.js";
import { act, client, parts, trouble, valuesOf } from "./server.js";
import { clockTime } from "./times.js";

const NEAR_END = 60; // px: who is so near to the end wants to see what comes
const items = new Map(); // what stands in the list, by ts
let isAtEnd = true;
let actedOn; // the ts of the message that a button was pressed on
let answered = null; // the ts of the message in whose thread the composer writes

const isMine = ({ only_for: onlyFor }) => onlyFor === null || onlyFor === me();
const isSeen = (message) => isMine(message) && message.channel === channelHere();
const list = () => byId("messages");

export function startChannel() {
  list().addEventListener("scroll", () => {
    const { scrollHeight, scrollTop, clientHeight } = list();
    if (clientHeight) isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR_END;
  });
  // Also when the pane is shown again: what came meanwhile stands at the end.
  new ResizeObserver(stayAtEnd).observe(list());
  byId("composer").addEventListener("submit", send);
  byId("leave-thread").addEventListener("click", () => writeInThread(null));
}

// Draw everything anew, as somebody else sees it.
export function redraw() {
  items.clear();
  byId("typed").textContent = "";
  writeInThread(null);
  list().replaceChildren(el("li", { class: "empty" }, "No messages yet. Break a node, or type a command."));
  for (const message of valuesOf("message")) drawOne(message, false);
  isAtEnd = true;
  stayAtEnd();
}

export function drawChanged(changed) {
  for (const key of changed) if (key.startsWith("message ")) drawOne(parts.get(key), true);
  stayAtEnd();
}

// Put the focus on the message that was acted on, where it would be lost otherwise.
export function refocus() {
  if (document.activeElement === document.body) items.get(actedOn)?.article.focus();
}

function stayAtEnd() {
  if (isAtEnd) list().scrollTop = list().scrollHeight;
}

function drawOne(message, isNews) {
  if (isNews && isMine(message) && !items.has(message.ts) && message.by === parts.get("workspace").bot) {
    notify(message);
    markRoom(message.channel);
  }
  if (!isSeen(message)) return;
  const isNew = !items.has(message.ts);
  const item = items.get(message.ts) ?? newItem(message);
  const focused = item.article?.contains(document.activeElement) ? document.activeElement : null;
  const article = drawArticle(message);
  if (isNew) item.node.prepend(article);
  else item.article.replaceWith(article);
  item.article = article;
  if (focused) (focused.isConnected ? focused : article).focus();
  if (isNews && (!isNew || item.parent)) article.classList.add("flash");
  if (isNews && isNew && item.parent && message.text.includes(`<@${me()}>`)) item.parent.details.open = true;
}

// What a phone's lock screen would show: the beginning of the text, as Slack pushes it.
function notify({ text }) {
  const line = text.split("\n")[0];
  byId("push").hidden = false;
  byId("push").replaceChildren(el("b", {}, "🔔 "), ...drawMrkdwn(line));
}

function newItem({ ts, thread_ts: threadTs }) {
  const parent = threadTs && threadTs !== ts ? items.get(threadTs) : null;
  const item = { node: el("li"), article: null, parent };
  items.set(ts, item);
  if (parent) {
    threadOf(parent).append(item.node);
    const replies = parent.thread.childElementCount;
    parent.details.firstElementChild.textContent = replies === 1 ? "1 reply" : `${replies} replies`;
  } else list().append(item.node);
  return item;
}

function threadOf(item) {
  if (!item.thread) {
    item.thread = el("ol", { class: "thread" });
    item.details = el("details", {}, el("summary"), item.thread);
    item.node.append(item.details);
  }
  return item.thread;
}

function drawArticle(message) {
  const { id, name, isBot } = person(message.by);
  const handle = { press: (button) => press(message, button), refocus: () => {
    actedOn = message.ts;
    refocus();
  } };
  return el("article", { tabindex: "-1", "data-ts": message.ts, "aria-label": `${name} at ${clockTime(Number(message.ts))}` },
    avatar(id),
    el("div", { class: "content" },
      el("p", { class: "head" },
        el("b", {}, name), isBot ? el("span", { class: "badge" }, "APP") : null,
        el("small", {}, clockTime(Number(message.ts))),
        message.broadcast ? el("small", {}, "also sent to the channel") : null,
        ...(message.only_for ? [el("small", { class: "private" }, "Only visible to you")] : [reply(message), ...shortcuts(message)]),
      ),
      drawMessage(message, handle),
      el("p", { class: "said", role: "status" }),
    ),
  );
}

// What Slack offers on any message under "More message shortcuts".
function shortcuts({ ts }) {
  return parts.get("workspace").shortcuts.map(({ name, callback_id: callback }) => {
    const use = async () => say(ts, await act("shortcut", { user: me(), client, ts, callback_id: callback }));
    return el("button", { class: "shortcut", "data-key": callback, "aria-label": `Message shortcut: ${name}`, onclick: once(use) }, "⋮");
  });
}

function reply({ ts, thread_ts: threadTs }) {
  const start = () => {
    writeInThread(threadTs ?? ts);
    byId("text").focus();
  };
  return el("button", { class: "shortcut", "data-key": "reply", "aria-label": "Reply in thread", onclick: start }, "↩");
}

function writeInThread(ts) {
  answered = ts;
  byId("in-thread").hidden = !ts;
}

function say(ts, answer) {
  const article = items.get(ts)?.article;
  if (article) article.querySelector(".said").textContent = trouble(answer);
}

// The button is sent as it was seen: the message may have changed while somebody thought about it.
async function press(message, button) {
  actedOn = message.ts;
  say(message.ts, await act("press", { user: me(), client, ts: message.ts, button }));
}

function openThread(ts) {
  const item = items.get(ts);
  if (item?.details) item.details.open = true;
  writeInThread(null);
}

async function send(event) {
  event.preventDefault();
  const { value } = byId("text");
  if (!value.trim()) return;
  byId("text").value = "";
  isAtEnd = true;
  const answer = await act("write", { user: me(), client, text: escaped(value), channel: channelHere(), thread: answered });
  if (answered) openThread(answered);
  const said = trouble(answer);
  byId("typed").textContent = said || answer.note || "";
  if (said && !byId("text").value) byId("text").value = value;
}

// As Slack sends it: three characters escaped, people by ID.
function escaped(text) {
  const plain = text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const { people, bot } = parts.get("workspace");
  const ids = new Map([...people.map(({ id, name }) => [name, id]), ["remediation-bot", bot]]);
  return plain.replace(/(?<!\w)@([\w-]+)/g, (all, name) => (ids.has(name) ? `<@${ids.get(name)}>` : all));
}
