// The panel of Together's service: its clusters, and what may happen to them.

import { byId, el, refill } from "./dom.js";
import { act, parts } from "./server.js";

const SCENES = ["a node falls ill", "a storm of 40"];
const LABELS = {
  escalate: "Escalate the mode",
  resolve: "Resolve by itself",
  "approve elsewhere": "Approve in its console",
  "reject elsewhere": "Reject in its console",
  "next state": "Next state",
  fail: "Fail",
};

export function startTogether() {
  byId("scenes").append(...SCENES.map((name) => el("button", { onclick: () => scene(name) }, capital(name))));
  byId("goes-on").addEventListener("change", ({ target }) => scene("goes on", target.checked));
}

export function drawTogether() {
  const { condition, conditions, goes_on: goesOn, clusters } = parts.get("service");
  byId("goes-on").checked = goesOn;
  refill(byId("conditions"), ...[el("legend", {}, "The API is"), ...conditions.map((name) =>
    el("label", {},
      el("input", {
        type: "radio", name: "condition", "data-key": name, checked: name === condition,
        onchange: () => scene("condition", name),
      }),
      name,
    ),
  ), condition === "down" ? el("p", {}, "Nothing listens: calls are refused, and do not reach the log.") : null].filter(Boolean));
  refill(byId("clusters"), ...clusters.map(drawCluster));
}

function drawCluster({ id, name, nodes, ill, more, remediations }) {
  return el("section", { "aria-label": name },
    el("h3", {}, name, el("small", {}, `${id} · ${nodes} nodes, ${ill} in need of repair`)),
    el("ul", {}, remediations.map(drawRemediation)),
    more ? el("p", {}, `… and ${more} older ones`) : null,
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
