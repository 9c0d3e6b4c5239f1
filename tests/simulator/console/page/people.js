// Who there is, and as whom this page acts: `?as=U…`, so that two pages may be two people.

import { byId, el } from "./dom.js";
import { parts } from "./server.js";

export function person(id) {
  const { people, bot, groups } = parts.get("workspace");
  if (id === bot) return { id, name: "remediation-bot", isBot: true };
  return [...people, ...groups].find((each) => each.id === id) ?? { id, name: id };
}

export function me() {
  return new URL(location.href).searchParams.get("as") ?? parts.get("workspace").people[0].id;
}

export function drawPeople(switched) {
  const { people } = parts.get("workspace");
  byId("people").replaceChildren(
    el("legend", {}, "You are"),
    ...people.map(({ id, name, role }) =>
      el("p", { class: "person" }, el("label", {},
        el("input", { type: "radio", name: "me", value: id, checked: id === me(), onchange: () => become(id, switched) }),
        avatar(id),
        el("span", {}, name, el("small", {}, role)),
      ), el("a", { href: `?as=${id}`, target: "_blank", "aria-label": `Open another page as ${name}` }, "↗")),
    ),
  );
}

export function avatar(id) {
  const { name, isBot } = person(id);
  const colour = [...id].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 4;
  return el("span", { class: `avatar ${isBot ? "bot" : `colour-${colour}`}`, "aria-hidden": "true" }, isBot ? "🛠" : name[0].toUpperCase());
}

function become(id, switched) {
  const url = new URL(location.href);
  url.searchParams.set("as", id);
  history.replaceState(null, "", url);
  switched();
}
