// A multi-select menu whose choices the app gives, with a search: a combobox over a listbox (WAI-ARIA practices).

import { el } from "./dom.js";

const PAUSE = 150; // ms without a key before the app is asked

let count = 0;

// `source` = {chosen: [{value, text}], options(query) → [option], choose(chosen), single}.
export function menu({ placeholder, min_query_length: least = 3 }, source, label = placeholder.text) {
  const id = `menu-${++count}`;
  let options = [];
  let active = -1;
  let asked = 0;
  let pause;

  const chips = el("ul", { class: "chips" });
  const list = el("ul", { id, role: "listbox", "aria-multiselectable": String(!source.single), "aria-label": label, hidden: true });
  const input = el("input", {
    type: "search", role: "combobox", "aria-controls": id, "aria-expanded": "false", "aria-autocomplete": "list",
    "aria-label": label, placeholder: placeholder.text, onclick: load, oninput: typed, onkeydown: key, onblur: left,
  });
  drawChips();
  return el("div", { class: "menu" }, chips, input, list);

  // Its message may only have been drawn anew around it: then the focus is back at once.
  function left() {
    setTimeout(() => document.activeElement !== input && close());
  }

  function typed() {
    clearTimeout(pause);
    pause = setTimeout(load, PAUSE);
  }

  async function load() {
    const query = input.value;
    if (query.length < least) return close();
    const number = ++asked;
    const found = await source.options(query);
    if (number !== asked || !input.isConnected) return;
    options = found;
    active = options.length ? 0 : -1;
    drawList();
  }

  function close() {
    clearTimeout(pause);
    asked += 1;
    options = [];
    active = -1;
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function drawList() {
    const nothing = el("li", { class: "nothing" }, "No matches");
    list.replaceChildren(...(options.length ? options.map(drawOption) : [nothing]));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    if (active < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", `${id}-${active}`);
    list.scrollIntoView({ block: "nearest" });
    list.children[active].scrollIntoView({ block: "nearest" });
  }

  function drawOption({ text, value }, number) {
    const pick = (event) => {
      event.preventDefault(); // the focus stays in the search
      active = number;
      toggle();
    };
    const isChosen = source.chosen.some((each) => each.value === value);
    return el("li", {
      id: `${id}-${number}`, role: "option", "aria-selected": String(isChosen),
      class: number === active ? "active" : null, onmousedown: pick,
    }, text.text);
  }

  function toggle() {
    const { text, value } = options[active];
    const without = source.single ? [] : source.chosen.filter((each) => each.value !== value);
    set(without.length < source.chosen.length && !source.single ? without : [...without, { value, text: text.text }]);
    drawList();
  }

  function set(chosen) {
    source.chosen = chosen;
    source.choose(chosen);
    drawChips();
  }

  function drawChips() {
    chips.replaceChildren(...source.chosen.map(({ text, value }) => {
      const remove = () => {
        set(source.chosen.filter((each) => each.value !== value));
        input.focus();
      };
      return el("li", {}, text, el("button", { "aria-label": `Remove ${text}`, onclick: remove }, "×"));
    }));
  }

  function key(event) {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move && list.hidden) load();
    else if (move && options.length) {
      active = (active + move + options.length) % options.length;
      drawList();
    } else if (event.key === "Enter" && active >= 0) toggle();
    else if (event.key === "Escape" && !list.hidden) close();
    else if (event.key === "Backspace" && !input.value && source.chosen.length) set(source.chosen.slice(0, -1));
    else return;
    event.preventDefault();
  }
}
