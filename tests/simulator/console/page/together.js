// The panel of Together's service: its clusters, and what may happen to them.

import { byId, el, refill } from "./dom.js";
import { act, parts } from "./server.js";

const SCENES = [
  "break a node", "break 40 nodes", "fail a switch", "start an automatic repair", "fire an alert without a repair",
  "clear those alerts",
];
const LABELS = {
  escalate: "Escalate repair",
  resolve: "Auto-resolve",
  "approve elsewhere": "Approve in Together",
  "reject elsewhere": "Reject in Together",
  "next state": "Next state",
  fail: "Fail",
  hang: "Hang",
  "come back": "Fault comes back",
};

export function startTogether() {
  byId("scenes").append(...SCENES.map((name) => el("button", { onclick: () => scene(name) }, capital(name))));
  byId("advances").addEventListener("change", ({ target }) => scene("advance", target.checked));
}

export function drawTogether() {
  const { condition, conditions, advances, clusters } = parts.get("service");
  byId("advances").checked = advances;
  refill(byId("conditions"), ...[el("legend", {}, "API"), ...conditions.map((name) =>
    el("label", {},
      el("input", {
        type: "radio", name: "condition", "data-key": name, checked: name === condition,
        onchange: () => scene("condition", name),
      }),
      name,
    ),
  ), condition === "down" ? el("p", {}, "Connections are refused, so nothing appears in the log.") : null].filter(Boolean));
  refill(byId("clusters"), ...clusters.map(drawCluster));
}

function drawCluster({ id, name, nodes, broken, more, remediations }) {
  return el("section", { "aria-label": name },
    el("h3", {}, name, el("small", {}, `${id} · ${nodes} nodes · ${broken} open remediations`)),
    el("ul", {}, remediations.map(drawRemediation)),
    more ? el("p", {}, `…and ${more} older`) : null,
  );
}

function drawRemediation({ ids, node, mode, state, offered }) {
  const key = (what) => `${ids.join("/")} ${what}`;
  return el("li", { "data-remediation": ids[2] },
    el("div", { class: "what" },
      el("b", {}, node), el("code", {}, mode),
      el("span", { class: `state ${state.toLowerCase()}` }, state.replaceAll("_", " ").toLowerCase()),
    ),
    el("code", {}, ids.join(" ")),
    offered.length
      ? el("div", { class: "row" }, offered.map((what) =>
          el("button", { class: "small", "data-key": key(what), onclick: () => act("happen", { ids, what }) }, LABELS[what])))
      : null,
  );
}

const scene = (name, value) => act("scene", { name, value });
const capital = (text) => text[0].toUpperCase() + text.slice(1);
