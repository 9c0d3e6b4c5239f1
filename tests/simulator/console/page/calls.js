// The log of HTTP calls: Slack → bot, bot → Slack, bot → Together.

import { byId, el } from "./dom.js";
import { act, bodies, parts } from "./server.js";
import { clockSeconds } from "./times.js";

const KEPT = 200;
const rows = new Map();

export function startCalls() {
  byId("polls").addEventListener("change", ({ target }) => byId("log").classList.toggle("with-polls", target.checked));
  byId("forge").addEventListener("click", async () => {
    const { status } = await act("forge", {});
    byId("forged").textContent = `The bot answered ${status}: a click without Slack's valid signature is refused and changes nothing.`;
  });
}

export function drawCalls(changed) {
  for (const key of changed) {
    if (!key.startsWith("call ")) continue;
    const call = parts.get(key);
    const row = rows.get(call.number) ?? newRow(call);
    row.className = call.is_poll ? "poll" : "";
    row.querySelector("summary").replaceChildren(...drawSummary(call));
    drawBodies(row, call);
  }
  for (const polls of [true, false]) {
    const numbers = [...rows.keys()].filter((number) => parts.get(`call ${number}`).is_poll === polls);
    for (const number of numbers.slice(0, Math.max(0, numbers.length - KEPT))) {
      rows.get(number).remove();
      rows.delete(number);
      parts.delete(`call ${number}`);
    }
  }
}

function newRow({ number }) {
  const drawn = () => drawBodies(row, parts.get(`call ${number}`));
  const row = el("li", {}, el("details", { ontoggle: drawn }, el("summary"), el("pre", { tabindex: "0" })));
  rows.set(number, row);
  byId("log").prepend(row);
  return row;
}

async function drawBodies(row, { number, status }) {
  if (!row.firstElementChild.open) return;
  const { sent, answered } = await bodies(number);
  row.querySelector("pre").textContent = `${pretty(sent)}\n\n${status ?? "…"}\n${pretty(answered)}`;
}

function drawSummary({ at, way, path, proof, status, seconds }) {
  const outcome = { null: "…", 0: "cut" }[status] ?? String(status);
  const good = status === null || (status >= 200 && status < 300);
  return [
    el("small", {}, clockSeconds(at)), " ", el("b", {}, way), " ",
    el("span", { class: good ? "good" : "bad" }, outcome), " ",
    el("small", {}, status === null ? "" : `${Math.round(seconds * 1000)} ms`), " ",
    el("span", { class: "path" }, path.replace("/v1/compute", "…")), " ",
    el("span", { class: proof.endsWith("✗") ? "bad" : "proof" }, proof),
  ];
}

// A body as it is read best: JSON in lines, a form's payload as JSON; what was cut off or is neither, as it is.
function pretty(body) {
  try {
    const payload = new URLSearchParams(body).get("payload") ?? body;
    return JSON.stringify(JSON.parse(payload), null, 2);
  } catch {
    return body;
  }
}
