// What opens over the channel: the question before a button acts, and the app's own dialogs. The other panes stay within
// reach, so that what happens at Together meanwhile can be tried.

import { byId, el, once } from "./dom.js";
import { drawBlock, valued } from "./blocks.js";
import { menu } from "./menu.js";
import { drawText } from "./mrkdwn.js";
import { act, client, parts, trouble } from "./server.js";
import { me } from "./people.js";

const questions = new Set(); // what answers each question that is open
const views = new Map(); // the app's dialogs that are open here, by ID

// Ask what a button's `confirm` says. Gives whether the answer was yes.
export function ask(confirm) {
  return new Promise((answered) => {
    const answer = (value) => {
      questions.delete(answer);
      remove(dialog);
      answered(value);
    };
    const dialog = drawDialog("confirm", confirm.title.text, () => answer(false),
      el("p", {}, drawText(confirm.text)),
      el("div", { class: "row end" },
        el("button", { autofocus: true, onclick: () => answer(false) }, confirm.deny.text),
        el("button", { class: confirm.style ?? "primary", onclick: () => answer(true) }, confirm.confirm.text),
      ),
    );
    questions.add(answer);
    show(dialog);
  });
}

// Whoever leaves has not said yes.
export function dropQuestions() {
  for (const answer of [...questions]) answer(false);
}

// Show the dialogs that this person has open in this page, and no others.
export function drawDialogs(closed) {
  const mine = parts.get("views").filter((view) => view.user === me() && view.client === client);
  for (const [id, dialog] of views) {
    if (mine.some((view) => view.id === id)) continue;
    views.delete(id);
    remove(dialog);
    closed();
  }
  for (const view of mine) {
    const known = views.get(view.id);
    const content = JSON.stringify(view);
    if (known?.content === content) continue;
    const dialog = drawView(view);
    dialog.content = content;
    views.set(view.id, dialog);
    if (known) replace(known, dialog);
    else show(dialog);
  }
}

// The app has changed a dialog: what was typed stays where its field stays.
function replace(known, dialog) {
  for (const field of dialog.querySelectorAll("[data-input]")) {
    const before = [...known.querySelectorAll("[data-input]")].find((each) => each.dataset.input === field.dataset.input);
    if (before) field.value = before.value;
  }
  known.replaceWith(dialog);
  dialog.show();
}

function drawView(view) {
  const said = el("p", { role: "alert" });
  const close = () => act("close", { user: me(), view: view.id });
  const submit = async () => {
    const typed = Object.fromEntries([...dialog.querySelectorAll("[data-input]")].map((each) => [each.dataset.input, each.value.trim()]));
    said.textContent = trouble(await act("submit", { user: me(), view: view.id, typed }));
  };
  const select = (element, label, block) => {
    const where = { user: me(), view: view.id, action_id: element.action_id, block };
    const first = element.initial_options ?? (element.initial_option ? [element.initial_option] : []);
    const single = element.type === "external_select";
    let offered = [];
    const source = {
      single,
      chosen: first.map(({ value, text }) => ({ value, text: text.text })),
      options: async (query) => (offered = (await act("search", { ...where, query })).options ?? []),
      choose: async ([one]) => single && one && act("pick", { ...where, option: offered.find(({ value }) => value === one.value) }),
    };
    const drawn = menu(element, source, label);
    if (single) return drawn;
    drawn.dataset.input = block;
    return valued(drawn, () => source.chosen.map(({ value }) => value), () => {});
  };
  const dialog = drawDialog("view", view.title.text, close,
    el("div", { class: "body", tabindex: "0", autofocus: true, role: "group", "aria-label": "What will happen" },
      view.blocks.map((block) => drawBlock(block, { select }))),
    said,
    el("div", { class: "row end" },
      el("button", { onclick: close }, view.close?.text ?? "Close"),
      view.submit ? el("button", { class: "primary", onclick: once(submit) }, view.submit.text) : null,
    ),
  );
  return dialog;
}

let count = 0;

function drawDialog(kind, title, escape, ...content) {
  const id = `dialog-${++count}`;
  return el("dialog", { class: kind, "aria-labelledby": id, onescape: escape }, el("h2", { id }, title), content);
}

// Wherever the focus is: the dialog on top is what the key means.
export function startDialogs() {
  document.addEventListener("keydown", ({ key, defaultPrevented: isTaken }) => {
    if (key === "Escape" && !isTaken) byId("over").lastElementChild?.dispatchEvent(new Event("escape"));
  });
}

function show(dialog) {
  byId("over").append(dialog);
  dialog.show();
  byId("channel").inert = true;
}

function remove(dialog) {
  byId("channel").inert = byId("over").childElementCount > 1; // before the focus goes back to where it was
  dialog.close();
  dialog.remove();
}
