// Small parts of a page: elements, bars, and words for those who listen.

const SVG = "http://www.w3.org/2000/svg";

/** An element: attributes by name, listeners as on…, children that are texts, elements, or nothing. */
export function el(tag, attributes = {}, ...children) {
  const made = ["svg", "path", "rect", "line", "text", "g"].includes(tag)
    ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...there(children));
  return made;
}

/** Put these into a place, instead of what was there. */
export const fill = (place, ...children) =>
  place.replaceChildren(...there(children));

/** What there is of children, lists within lists too. */
const there = (children) => children.flat(Infinity).filter((child) => child != null && child !== false && child !== "");

/** Say something to whoever listens to the page instead of seeing it. */
export function announce(text) {
  const live = document.getElementById("live");
  if (live.textContent !== text) live.textContent = text;
}

/** A list of bars: [{name, share, shown, strong, note, low, high}], shares from 0 to 1. */
export function bars(rows, label) {
  return el("ul", { class: "bars", "aria-label": label }, rows.map((row) => {
    const bar = el("span", { class: "bar" });
    bar.style.setProperty("--share", row.share ?? 0);
    const range = row.low == null ? null : el("span", { class: "range" });
    range?.style.setProperty("--low", row.low);
    range?.style.setProperty("--high", row.high);
    return el("li", { class: row.strong ? "strong" : "" },
      el("span", { class: "name" }, row.name),
      row.share == null ? null : el("span", { class: "track", "aria-hidden": "true" }, bar, range),
      el("span", { class: "value" }, row.shown),
      row.note && el("span", { class: "note" }, row.note));
  }));
}

/** What a server says, or an Error with its sentence. */
export async function ask(url, options = {}) {
  const answer = await fetch(url, options);
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new Error(told.error ?? `The server answers with ${answer.status}.`);
  }
  return told;
}

/** JSON to send. */
export const json = (value, method = "POST") =>
  ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

export const percent = (share) => {
  const hundred = 100 * share;
  return share > 0 && hundred < 1 ? "under 1 %" : hundred > 99 && share < 1 ? "over 99 %" : `${Math.round(hundred)} %`;
};

export const number = (value) => (typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value));

/** Words in a row: a, b and c. */
export const list = (words, last = "or") =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`;
