// Moments in the viewer's own time zone and words (docs.slack.dev, "Formatting message text", dates).

import { el } from "./dom.js";

const DAY = 86_400;
const STEPS = [["day", DAY], ["hour", 3600], ["minute", 60], ["second", 1]];
const TOKENS = {
  date_num: { year: "numeric", month: "2-digit", day: "2-digit" },
  date: { year: "numeric", month: "long", day: "numeric" },
  date_short: { year: "numeric", month: "short", day: "numeric" },
  date_long: { weekday: "long", year: "numeric", month: "long", day: "numeric" },
  time: { hour: "numeric", minute: "2-digit" },
  time_secs: { hour: "numeric", minute: "2-digit", second: "2-digit" },
};
const LANGUAGE = "en-US";

export function clockTime(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString(LANGUAGE, TOKENS.time);
}

export function clockSeconds(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString(LANGUAGE, TOKENS.time_secs);
}

// An element whose words stay true as time passes.
export function moment(seconds, format, fallback) {
  const when = new Date(seconds * 1000);
  if (Number.isNaN(when.getTime()) || !format) return el("span", {}, fallback ?? "");
  return el("time", { datetime: when.toISOString(), "data-format": format, title: fallback }, inWords(when, format));
}

export function refreshMoments() {
  for (const time of document.querySelectorAll("time[data-format]")) {
    const words = inWords(new Date(time.dateTime), time.dataset.format);
    if (time.textContent !== words) time.textContent = words;
  }
}

function inWords(when, format) {
  return format.replace(/\{(\w+)\}/g, (all, token) => {
    if (token === "ago") return ago(when);
    const name = token.replace(/_pretty$/, "");
    if (!(name in TOKENS)) return all;
    const near = token.endsWith("_pretty") ? nearDay(when) : undefined;
    if (near) return near;
    return name.startsWith("time") ? when.toLocaleTimeString(LANGUAGE, TOKENS[name]) : when.toLocaleDateString(LANGUAGE, TOKENS[name]);
  });
}

function nearDay(when) {
  const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  const days = Math.round((midnight(when) - midnight(new Date())) / (DAY * 1000));
  return { "-1": "yesterday", 0: "today", 1: "tomorrow" }[days];
}

function ago(when) {
  const seconds = Math.round((when.getTime() - Date.now()) / 1000);
  const [unit, size] = STEPS.find(([, length]) => Math.abs(seconds) >= length) ?? STEPS.at(-1);
  return new Intl.RelativeTimeFormat(LANGUAGE).format(Math.trunc(seconds / size), unit);
}
