// The app's home, as it shows itself to this person.

import { drawBlock } from "./blocks.js";
import { byId, el, refill } from "./dom.js";
import { menu } from "./menu.js";
import { me } from "./people.js";
import { isHome } from "./rooms.js";
import { act, client, parts, trouble } from "./server.js";

export function drawHome() {
  byId("home").hidden = !isHome();
  for (const id of ["messages", "composer"]) byId(id).hidden = isHome();
  if (!isHome()) return;
  const view = parts.get(`home ${me()}`);
  const said = el("p", { class: "said", role: "status" });
  const tell = async (element, block, choice = element.choice ?? "") => {
    said.textContent = trouble(await act("home", { user: me(), client, block, element, choice }));
  };
  const select = (element, label, block) => {
    const { value, text } = element.initial_option;
    return menu(element, {
      single: true,
      chosen: [{ value, text: text.text }],
      options: async (query) => (await act("home options", { user: me(), action_id: element.action_id, query })).options ?? [],
      choose: ([one]) => one && tell(element, block, one.value),
    }, label);
  };
  const handle = { press: tell, select, refocus: () => byId("home").focus() };
  const drawn = view ? view.blocks.map((block) => drawBlock(block, handle)) : [el("p", {}, "Loading…")];
  refill(byId("home"), ...drawn, said);
}
