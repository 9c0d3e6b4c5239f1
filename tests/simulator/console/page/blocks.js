// Block Kit → elements (docs.slack.dev/reference/block-kit): the blocks and elements that the bot uses.

import { el, once } from "./dom.js";
import { ask } from "./dialogs.js";
import { drawMrkdwn, drawRich, drawText } from "./mrkdwn.js";

// `handle` does what the controls ask for: press(button, block_id), refocus() after a question, and select(element,
// label, block_id) → its node.
export function drawMessage({ text, blocks, attachments }, handle) {
  const drawn = blocks.map((block) => drawBlock(block, handle));
  const bars = (attachments ?? []).map((each) =>
    el("div", { class: "attachment" }, (each.blocks ?? []).map((block) => drawBlock(block, handle))),
  );
  if (drawn.length || bars.length) return [...drawn, ...bars];
  return [el("div", { class: "block section" }, el("p", {}, drawMrkdwn(text)))];
}

export function drawBlock(block, handle) {
  switch (block.type) {
    case "header":
      return el("h3", { class: "block" }, drawText(block.text));
    case "divider":
      return el("hr", { class: "block" });
    case "section":
      return el("div", { class: "block section" },
        el("div", {},
          block.text ? el("div", { class: "text" }, drawText(block.text)) : null,
          block.fields ? el("div", { class: "fields" }, block.fields.map((field) => el("div", {}, drawText(field)))) : null,
        ),
        block.accessory ? drawElement(block.accessory, handle, block.block_id) : null,
      );
    case "rich_text":
      return el("div", { class: "block" }, block.elements.map((part) =>
        el(part.type === "rich_text_preformatted" ? "pre" : "p", {}, part.elements.map(drawRich))));
    case "context":
      return el("div", { class: "block context" }, block.elements.map((each) => el("span", {}, drawText(each))));
    case "container":
      return el("details", { class: "block folded", open: block.default_collapsed ? null : "" },
        el("summary", {}, drawText(block.title)), block.child_blocks.map((each) => drawBlock(each, handle)));
    case "alert":
      return el("p", { class: `block alert ${block.level ?? "default"}`, role: "alert" }, drawText(block.text));
    case "input":
      return drawInput(block, handle);
    case "actions":
      return el("div", { class: "block actions" }, block.elements.map((each) => drawElement(each, handle, block.block_id)));
    default:
      return unknown("block", block.type);
  }
}

function drawInput({ block_id: name, label, hint, element }, handle) {
  if (element.type === "external_select" || element.type === "multi_external_select") {
    return el("div", { class: "block" }, el("b", {}, label.text), handle.select(element, label.text, name));
  }
  if (element.type === "checkboxes" || element.type === "radio_buttons") return drawBoxes(name, label, hint, element);
  if (element.type === "static_select") {
    const chosen = element.initial_option?.value;
    const choices = element.options.map(({ text, value }) => el("option", { value, selected: value === chosen ? "" : null }, text.text));
    return el("div", { class: "block" },
      el("label", { for: `input-${name}` }, el("b", {}, label.text)),
      el("select", { id: `input-${name}`, "data-input": name }, el("option", { value: "" }, element.placeholder.text), choices),
    );
  }
  const id = `input-${name}`;
  return el("div", { class: "block" },
    el("label", { for: id }, el("b", {}, label.text)),
    el(element.multiline ? "textarea" : "input", {
      id, "data-input": name, maxlength: element.max_length, rows: 3, "aria-describedby": hint ? `${id}-hint` : null,
    }),
    hint ? el("small", { id: `${id}-hint` }, hint.text) : null,
  );
}

// Boxes, or buttons of which one is chosen: a field whose value is what is chosen, with spaces between.
function drawBoxes(name, label, hint, { type, options, initial_options: many = [], initial_option: one }) {
  const chosen = new Set([...many, one].map((each) => each?.value));
  const kind = type === "checkboxes" ? "checkbox" : "radio";
  const inputs = options.map(({ value }) => el("input", { type: kind, name, value, checked: chosen.has(value) }));
  const field = el("fieldset", { class: "block", "data-input": name },
    el("legend", {}, el("b", {}, label.text)),
    options.map(({ text, description }, number) =>
      el("label", {}, inputs[number], " ", drawText(text), description ? el("small", {}, drawText(description)) : null)),
    hint ? el("small", {}, hint.text) : null,
  );
  return valued(field, () => inputs.filter((each) => each.checked).map((each) => each.value), (values) => {
    for (const each of inputs) each.checked = values.includes(each.value);
  });
}

// Give a field a value like an input's, of several words.
export function valued(field, read, write) {
  Object.defineProperty(field, "value", { get: () => read().join(" "), set: (value) => write(value.split(" ")) });
  return field;
}

function drawElement(element, handle, block) {
  switch (element.type) {
    case "button":
      return drawButton(element, handle, block);
    case "static_select":
      return drawChoice(element, element.placeholder.text, handle, block);
    case "overflow":
      return drawChoice(element, "⋯", handle, block, "More actions");
    case "external_select":
      return handle.select(element, element.placeholder.text, block);
    default:
      return unknown("element", element.type);
  }
}

function drawButton(button, handle, block) {
  const pressed = async () => {
    const isMeant = !button.confirm || (await ask(button.confirm));
    handle.refocus();
    if (isMeant) await handle.press(button, block);
  };
  if (button.url) {
    return el("a", { class: "button", href: button.url, target: "_blank", rel: "noreferrer", "data-key": button.action_id }, button.text.text);
  }
  return el("button", { class: button.style, "data-key": button.action_id, onclick: once(pressed) }, button.text.text);
}

// A menu whose choices are in the message: choosing is pressing.
function drawChoice(element, name, handle, block, label = name) {
  const choices = element.options.map(({ text, value }) => el("option", { value }, text.text));
  const select = el("select", { "aria-label": label, "data-key": element.action_id }, el("option", { value: "" }, name), choices);
  select.onchange = once(async () => {
    const choice = select.value;
    select.value = ""; // so that the same can be chosen again
    await handle.press({ ...element, choice }, block);
  });
  // Closed, a browser's own menu would choose with each arrow or letter.
  select.onkeydown = (event) => {
    const isChoice = event.key.length === 1 || /^(Arrow|Page)|^(Home|End)$/.test(event.key);
    if (!isChoice || event.ctrlKey || event.metaKey || select.matches(":open")) return;
    event.preventDefault();
    select.showPicker();
  };
  return select;
}

function unknown(what, type) {
  return el("p", { class: "block unknown" }, `This page cannot draw the ${what} “${type}” yet.`);
}
