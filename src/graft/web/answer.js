// What a model answers, in words and bars.

import { bars, el, list, number, percent } from "./dom.js";

const SHOWN = 6; // labels with a bar of their own

/** The answer of any head, or of several tasks one below the other: {said, parts}, in words and as elements. */
export function answered(answer, model) {
  const odd = answer.odd?.map((text) => `${text}.`).join("\n");
  const noted = odd && el("p", { class: "doubt lines" }, odd);
  if (answer.tasks) {
    const each = model.tasks.map((task) => [task.name, answered(answer.tasks[task.name], { ...model, ...task })]);
    return {
      said: [...each.map(([name, { said }]) => `${name}: ${said}`), odd].filter(Boolean).join(" "),
      parts: [noted, ...each.flatMap(([name, { parts }]) => [el("h3", {}, name), ...parts])],
    };
  }
  const told = HEADS.find(([field]) => field in answer)?.[1] ?? plain;
  const { said, sure, sentences = [], rows = [], more } = told(answer, model);
  const unlike = answer.unlike
    && `This is unlike the ${model.several ?? "examples"} the model learned from. Do not rely on the answer.`;
  const doubt = Boolean(answer.unsure || answer.unlike);
  return {
    said: `${said}${sure ? `, ${sure}` : ""}. ${[odd, unlike, ...sentences].filter(Boolean).join(" ")}`,
    parts: [
      el("p", { class: "said" }, el("strong", {}, said), sure && el("span", { class: "sure" }, sure)),
      noted,
      ...[unlike, ...sentences].filter(Boolean).map((text) => el("p", { class: doubt ? "doubt" : "calm" }, text)),
      rows.length ? bars(rows, "Probability of each label") : null,
      more,
    ],
  };
}

function label(answer, model) {
  const sorted = Object.entries(answer.probabilities ?? { [answer.label]: answer.probability }).sort((a, b) => b[1] - a[1]);
  const rows = sorted.slice(0, SHOWN).map(([name, share]) =>
    ({ name, share, shown: percent(share), strong: name === answer.label }));
  const rest = sorted.slice(SHOWN);
  if (rest.length) {
    const share = rest.reduce((sum, [, each]) => sum + each, 0);
    rows.push({ name: `${rest.length} others`, share, shown: percent(share) });
  }
  return { said: answer.label, sure: percent(answer.probability), sentences: [doubted(answer, model)], rows };
}

function doubted(answer, model) {
  if (answer.unsure == null) return "";
  const often = model.level ? `In ${percent(model.level)} of such cases` : "Most often";
  if (!answer.unsure) return `The model is sure enough: no other label is likely.`;
  if (!answer.set.length) return "The model is unsure: it is less sure of this label than it usually is of right ones.";
  if (answer.set.length === model.labels.length) return "The model is unsure: it can rule out none of the labels.";
  return `The model is unsure. ${often} the truth is among ${list(answer.set)}.`;
}

function labels(answer) {
  const rows = Object.entries(answer.scores).sort((a, b) => b[1] - a[1]).slice(0, 2 * SHOWN)
    .map(([name, share]) => ({ name, share, shown: percent(share), strong: answer.labels.includes(name) }));
  return { said: list(answer.labels, "and") || "None of the labels", rows };
}

function tagged(answer) {
  const more = el("p", { class: "marked" }, answer.tags.map(({ word, tag }) =>
    [tag === "O" ? word : el("mark", { class: "tag" }, word, el("sub", {}, tag)), " "]));
  const found = answer.entities?.map((one) => one.text + (one.type ? ` (${one.type})` : "")) ?? [];
  return { said: answer.entities ? list(found, "and") || "Nothing found" : `${answer.tags.length} words`, more };
}

function grouped(answer) {
  const sentences = answer.distance == null ? [] : [`It lies ${number(answer.distance)} from the middle of this group.`];
  return { said: answer.group, sentences };
}

function valued(answer, model) {
  const values = Object.entries(answer.values ?? { [model.labels[0] ?? ""]: answer.value });
  const ends = answer.ranges ?? (answer.range ? { [values[0][0]]: answer.range } : {});
  const said = values.map(([name, value]) => `${name ? `${name} ` : ""}${number(value)}`);
  const sentences = Object.entries(ends).map(([name, [low, high]]) =>
    `Most likely between ${number(low)} and ${number(high)}${values.length > 1 ? ` (${name})` : ""}.`);
  return { said: list(said, "and"), sentences };
}

function plain(answer) {
  return { said: Object.entries(answer).map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join("; ") };
}

const HEADS = [["probability", label], ["scores", labels], ["tags", tagged], ["group", grouped], ["values", valued], ["value", valued]];
