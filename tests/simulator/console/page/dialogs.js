// What opens over everything: the question before a button acts, and the app's own dialogs.

import { el, once } from "./dom.js";
import { drawBlock } from "./blocks.js";
import { drawText } from "./mrkdwn.js";
import { act, parts, trouble } from "./server.js";
import { me } from "./people.js";

// Ask what a button's `confirm` says. Gives whether the answer was yes.
export function ask(confirm) {
  return new Promise((answered) => {
    const close = (value) => () => dialog.close(value);
    const dialog = el("dialog", { class: "confirm", "aria-labelledby": "asked", onclose: done },
      el("h2", { id: "asked" }, confirm.title.text),
      el("p", {}, drawText(confirm.text)),
      el("div", { class: "row end" },
        el("button", { autofocus: true, onclick: close("no") }, confirm.deny.text),
        el("button", { class: confirm.style ?? "primary", onclick: close("yes") }, confirm.confirm.text),
      ),
    );
    function done() {
      dialog.remove();
      answered(dialog.returnValue === "yes");
    }
    document.body.append(dialog);
    dialog.showModal();
  });
}

// The app's dialogs that this person has open, by ID.
const open = new Map();

export function drawDialogs() {
  const mine = new Map(parts.get("views").filter(({ user }) => user === me()).map((view) => [view.id, view]));
  for (const [id, dialog] of open) {
    if (mine.has(id)) continue;
    open.delete(id);
    dialog.close();
    dialog.remove();
  }
  for (const [id, view] of mine) {
    if (open.has(id)) continue;
    const dialog = drawView(view);
    open.set(id, dialog);
    document.body.append(dialog);
    dialog.showModal();
  }
}

function drawView(view) {
  const said = el("p", { role: "alert" });
  const close = () => act("close", { user: me(), view: view.id });
  const submit = async () => {
    said.textContent = trouble(await act("submit", { user: me(), view: view.id }));
  };
  const cancel = (event) => {
    event.preventDefault();
    close();
  };
  return el("dialog", { class: "view", "aria-labelledby": view.id, oncancel: cancel },
    el("h2", { id: view.id }, view.title.text),
    el("div", { class: "body", tabindex: "0", autofocus: true, role: "group", "aria-labelledby": view.id },
      view.blocks.map((block) => drawBlock(block))),
    said,
    el("div", { class: "row end" },
      el("button", { onclick: close }, view.close?.text ?? "Close"),
      view.submit ? el("button", { class: "primary", onclick: once(submit) }, view.submit.text) : null,
    ),
  );
}
