// Where the model looked: heat over a photo, marked words, marked stretches of a recording, bars for columns.

import { bars, el, list, number } from "./dom.js";

const TOLD = 5; // regions that are put into words
const WIDE = 720, HIGH = 72; // units of a drawn curve

/** The example itself, before anything is known of it but what was handed over. */
export function shown(given, drawn, label) {
  if (drawn?.photo) return el("figure", { class: "photo" }, layered(drawn.photo, label));
  if (drawn?.curves) return recording(drawn, [], label, given?.sound);
  if (given?.photo) return el("figure", { class: "photo" }, layered(given.photo, label));
  return given?.text ? el("p", { class: "marked" }, given.text) : null;
}

export const HEADINGS = { grid: "Where it looked", words: "The words it went by", spans: "The stretches it went by", columns: "What it went by" };

/** The example with what mattered marked, and the same in words. */
export function looked(look, drawn, given, label) {
  const most = Math.max(...look.regions.map((one) => one.weight), 0);
  if (!(most > 0)) return [shown(given, drawn, label), el("p", { class: "calm" }, "No single part of it decides the answer.")];
  const sorted = [...look.regions].filter((one) => one.weight > 0.02 * most).sort((a, b) => b.weight - a.weight);
  const picture = {
    grid: () => heat(look.regions, most, drawn, label),
    words: () => marked(look, most),
    spans: () => recording(drawn, look.regions.map((one) => ({ ...one, share: one.weight / most })), label, given?.sound),
    columns: () => bars(sorted.slice(0, 12).map((one) => ({ strong: one.weight === most, name: one.name, share: one.weight / most, shown: effect(one.weight, look) })), "Columns that mattered"),
  }[look.kind]();
  const told = sorted.slice(0, TOLD).map((one) => el("li", {}, `${named(one, look.kind)}: ${effect(one.weight, look)}`));
  return [
    picture,
    el("details", { class: "inwords" }, el("summary", {}, `What mattered${look.label && ` for “${look.label}”`}, in words`),
      el("p", {}, `By how much ${look.numeric ? "smaller" : "less likely"} the answer is where this is hidden:`), el("ol", {}, told)),
  ];
}

/** The same as one sentence, for who listens. */
export function said(look, task) {
  const strong = [...look.regions].filter((one) => one.weight > 0).sort((a, b) => b.weight - a.weight).slice(0, 3);
  return strong.length ? `What mattered most${task && ` for ${task}`}: ${list(strong.map((one) => named(one, look.kind)), "and")}.` : "";
}

function effect(weight, look) {
  return look.numeric ? number(weight) : `${(100 * weight).toFixed(weight < 0.1 ? 1 : 0)} points`;
}

function named(one, kind) {
  if (kind === "words") return `“${one.text}”`;
  if (kind === "columns") return one.name;
  if (kind === "spans") return `${one.start.toFixed(2)} to ${one.end.toFixed(2)} s`;
  const row = ["top", "middle", "bottom"][Math.floor((3 * (one.row + 0.5)) / one.rows)];
  const column = ["left", "centre", "right"][Math.floor((3 * (one.column + 0.5)) / one.columns)];
  return `${row} ${column}, square ${one.column + 1} of ${one.columns} in row ${one.row + 1}`;
}

/** A photo as wide as there is room, and what lies over it. */
function layered(source, label, ...over) {
  const image = el("img", { src: source, alt: label });
  const layers = el("div", { class: "layers" }, image, over);
  image.addEventListener("error", () => layers.remove()); // a kind that browsers do not draw: the server's own picture comes
  image.addEventListener("load", () => layers.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight));
  return layers;
}

/** What matters stays bright, the rest lies in shade; the strongest square has a frame. */
function heat(regions, most, drawn, label) {
  const { rows, columns } = regions[0];
  const shade = el("canvas", { width: columns, height: rows, class: "shade", "aria-hidden": "true" });
  const paint = shade.getContext("2d");
  const pixels = paint.createImageData(columns, rows);
  for (const one of regions) {
    const share = Math.max(0, one.weight / most);
    pixels.data.set([9, 20, 16, Math.round(205 * (1 - share) ** 1.5)], 4 * (one.row * columns + one.column));
  }
  paint.putImageData(pixels, 0, 0);
  const best = regions.reduce((a, b) => (b.weight > a.weight ? b : a));
  const frame = el("span", { class: "frame", "aria-hidden": "true" });
  for (const [name, value] of [["left", best.column / columns], ["top", best.row / rows], ["width", 1 / columns], ["height", 1 / rows]])
    frame.style.setProperty(name, `${100 * value}%`);
  const layers = layered(drawn.photo, label, shade, frame);
  const toggle = el("button", { type: "button", class: "quiet small", "aria-pressed": "true", onclick: () => {
    const on = toggle.getAttribute("aria-pressed") !== "true";
    toggle.setAttribute("aria-pressed", String(on));
    layers.classList.toggle("bare", !on);
  } }, "Show where it looked");
  return el("figure", { class: "photo" }, layers, el("figcaption", {}, toggle));
}

function marked(look, most) {
  const parts = [];
  let at = 0;
  for (const one of [...look.regions].sort((a, b) => a.start - b.start)) {
    const share = one.weight / most;
    if (share < 0.08 || one.start < at) continue;
    parts.push(look.text.slice(at, one.start));
    const mark = el("mark", {}, look.text.slice(one.start, one.end));
    mark.style.setProperty("--share", share.toFixed(2));
    parts.push(mark);
    at = one.end;
  }
  return el("p", { class: "marked" }, ...parts, look.text.slice(at));
}

/** Curves one below the other, over a common time; spans: [{start, end, share}]. */
function recording(drawn, spans, label, sound) {
  const high = drawn.curves.length > 1 ? HIGH * 0.75 : HIGH * 1.4;
  const total = high * drawn.curves.length;
  const x = (seconds) => (WIDE * seconds) / drawn.seconds;
  const lines = drawn.curves.map(({ points }, row) => {
    const place = (value) => (row + 0.5 - 0.46 * value) * high;
    const step = WIDE / points.length;
    const up = points.map(([, top], at) => `${(at * step).toFixed(1)} ${place(top).toFixed(1)}`);
    const down = points.map(([low], at) => `${(at * step).toFixed(1)} ${(place(low) + 0.6).toFixed(1)}`).reverse();
    return el("path", { d: `M${up.join("L")}L${down.join("L")}Z`, class: "curve" });
  });
  const marks = spans.filter((one) => one.share > 0.05).map((one) =>
    el("rect", { x: x(one.start), width: x(one.end - one.start), y: 0, height: total, class: "span", "fill-opacity": (0.55 * one.share).toFixed(2) }));
  const picture = el("svg", { viewBox: `0 0 ${WIDE} ${total}`, role: "img", "aria-label": label, class: "wave", preserveAspectRatio: "none" }, marks, lines);
  const named = drawn.curves.some((one) => one.name);
  return el("figure", { class: "recording" },
    el("div", { class: named ? "traces named" : "traces" }, named && el("ul", { class: "channels", "aria-label": "Channels" }, drawn.curves.map((one) => el("li", {}, one.name))), picture),
    el("div", { class: "axis", "aria-hidden": "true" }, el("span", {}, "0 s"), el("span", {}, `${number(drawn.seconds)} s`)),
    sound && el("audio", { controls: true, src: sound, "aria-label": "Play it" }));
}
