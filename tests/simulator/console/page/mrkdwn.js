// Slack's mrkdwn → elements (docs.slack.dev, "Formatting message text").

import { el } from "./dom.js";
import { person } from "./people.js";
import { moment } from "./times.js";

const OPAQUE = 0xe000; // what stands for an element while the text around it is read; nothing else may look like it
const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">" };
const MARKS = [
  [/(^|[^\w*])\*(?=\S)([^*\n]*[^*\s])\*(?![\w*])/, "strong"],
  [/(^|[^\w_])_(?=\S)([^_\n]*[^_\s])_(?![\w_])/, "em"],
  [/(^|[^\w~])~(?=\S)([^~\n]*[^~\s])~(?![\w~])/, "s"],
];

const unescape = (text) => text.replace(/&(amp|lt|gt);/g, (entity) => ENTITIES[entity]);

// A text object → what stands in a paragraph or beside it.
export function drawText({ type, text }) {
  return type === "mrkdwn" ? drawMrkdwn(text) : [text];
}

export function drawMrkdwn(text) {
  const elements = [];
  const keep = (element) => String.fromCharCode(OPAQUE + elements.push(element) - 1);
  const flat = text
    .replace(/[\ue000-\uf8ff]/g, "�")
    .replace(/```\n?([\s\S]+?)```/g, (_, code) => keep(el("pre", {}, unescape(code))))
    .replace(/`([^`\n]+)`/g, (_, code) => keep(el("code", {}, unescape(code))))
    .replace(/<([^<>\n]+)>/g, (_, inner) => keep(reference(inner)));
  const lines = flat.split("\n");
  const drawn = [];
  while (lines.length) {
    const quoted = [];
    while (lines.length && /^(>|&gt;) ?/.test(lines[0])) quoted.push(lines.shift().replace(/^(>|&gt;) ?/, ""));
    if (quoted.length) drawn.push(el("blockquote", {}, inLines(quoted, elements)));
    const plain = [];
    while (lines.length && !/^(>|&gt;) ?/.test(lines[0])) plain.push(lines.shift());
    if (plain.length) drawn.push(...inLines(plain, elements));
  }
  return drawn;
}

function inLines(lines, elements) {
  return lines.flatMap((line, number) => [...(number ? [el("br")] : []), ...spans(line, elements)]);
}

function spans(text, elements) {
  for (const [pattern, name] of MARKS) {
    const found = pattern.exec(text);
    if (found) {
      const start = found.index + found[1].length;
      const end = found.index + found[0].length;
      const inside = el(name, {}, spans(found[2], elements));
      return [...spans(text.slice(0, start), elements), inside, ...spans(text.slice(end), elements)];
    }
  }
  return text
    .split(/([\ue000-\uf8ff])/)
    .filter(Boolean)
    .map((piece) => elements[piece.charCodeAt(0) - OPAQUE] ?? unescape(piece));
}

// An element of rich text: what is no mention, moment or link is drawn literally.
export function drawRich(element) {
  const { type, style = {} } = element;
  const drawn = {
    text: () => element.text.split("\n").flatMap((line, number) => [...(number ? [el("br")] : []), line]),
    user: () => [el("span", { class: "mention" }, `@${person(element.user_id).name}`)],
    usergroup: () => [el("span", { class: "mention" }, `@${person(element.usergroup_id).name}`)],
    channel: () => [el("span", { class: "mention" }, `#${element.channel_id}`)],
    date: () => [moment(element.timestamp, element.format, element.fallback)],
    link: () => [el("a", { href: element.url, rel: "noreferrer" }, element.text)],
  }[type]();
  const name = style.code ? "code" : style.bold ? "strong" : null;
  return name ? el(name, {}, drawn) : el("span", {}, drawn);
}

// What stands in angle brackets: a mention, a channel, a moment or a link.
function reference(inner) {
  const [what, label] = inner.split(/\|(.*)/s);
  if (what.startsWith("@")) return el("span", { class: "mention" }, `@${person(what.slice(1)).name}`);
  if (what.startsWith("#")) return el("span", { class: "mention" }, `#${label || what.slice(1)}`);
  if (what.startsWith("!date^")) {
    const [, seconds, format] = what.split("^");
    return moment(Number(seconds), format, label);
  }
  if (what.startsWith("!subteam^")) return el("span", { class: "mention" }, `@${label || person(what.slice(9)).name}`);
  if (what.startsWith("!")) return el("span", { class: "mention" }, `@${what.slice(1)}`);
  return el("a", { href: /^https?:/.test(what) ? unescape(what) : null, rel: "noreferrer" }, unescape(label || what));
}
