// To ask a model: an example is dropped, typed, pasted or chosen, and the answer appears beside it.

import { answered } from "./answer.js";
import { announce, ask, el, fill, json, percent } from "./dom.js";
import { dropzone, rows } from "./files.js";
import { HEADINGS, looked, said, shown } from "./look.js";

const FIELDS = 30; // columns that have a field of their own
const MEDIA = { image: "image/*", audio: "audio/*", text: ".txt,.md,.csv,text/plain", signal: ".npy,.npz,.edf,.bdf,.csv,.tsv,.txt", vector: ".csv,.tsv,text/csv" };

/** The question and the answer for a model; url takes the example. */
export function question(model, url) {
  const result = el("section", { class: "result", "aria-label": "Answer", tabindex: "-1", hidden: true });
  let turn = 0;
  let held = [];
  async function put(given, request, query = {}) {
    const mine = ++turn;
    for (const old of held) URL.revokeObjectURL(old);
    held = [given.photo, given.sound].filter(Boolean);
    result.hidden = false;
    const label = `The ${model.one} you asked about`;
    const picture = el("div", { class: "picture" }, shown(given, null, label));
    const words = el("div", { class: "words" }, el("p", { class: "waiting" }, "Asking the model…"));
    const near = el("div", { class: "near" });
    fill(result, picture, words, near);
    announce("Asking the model.");
    const send = (quick) => ask(`${url}?${new URLSearchParams({ ...query, ...quick })}`, request);
    try {
      const first = await send({ quick: 1 });
      if (mine !== turn) return;
      const told = answered(first.answer, model);
      fill(picture, shown(given, first.shown, label));
      fill(words, told.parts, el("p", { class: "waiting" }, "Seeing where it looked…"));
      announce(told.said);
      const all = await send({});
      if (mine !== turn) return;
      fill(words, told.parts);
      const looks = Object.entries(all.looked.tasks ?? { "": all.looked }).map(([task, look]) => {
        const one = model.tasks.find(({ name }) => name === task) ?? model;
        return [task, one.head === "regression" ? { ...look, label: one.labels[0], numeric: true } : look];
      });
      fill(picture, looks.flatMap(([task, look]) =>
        [el("h3", {}, HEADINGS[look.kind], task && ` for ${task}`), ...looked(look, all.shown, given, label)]));
      fill(near, nearest(all.nearest, model));
      announce(`${told.said} ${looks.map(([task, look]) => said(look, task)).join(" ")}`);
    } catch (error) {
      if (mine !== turn) return;
      fill(words, el("p", { class: "notice", role: "alert" }, error.message));
      announce("");
    }
  }
  const file = (one, query) => {
    const body = new FormData();
    body.append("file", one, one.name || "example");
    const [photo, sound] = ["image", "audio"].map((kind) => (model.modality === kind ? URL.createObjectURL(one) : ""));
    put({ photo, sound }, { method: "POST", body }, query);
  };
  const value = (input, text = "") => put({ text }, json({ inputs: [input] }));
  const form = { text: texts, vector: columns, signal: recordings }[model.modality] ?? media;
  if (model.modality === "image") {
    document.addEventListener("paste", (event) => {
      const pasted = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
      if (pasted) file(pasted);
    });
  }
  return el("div", { class: "ask" }, form(model, { file, value }), result);
}

/** Recordings lie by the dozen in one file: which of them is meant is a field of its own. */
function recordings(model, { file }) {
  const number = el("input", { type: "number", id: "trial", min: 0, value: 0, "aria-describedby": "trial-hint" });
  let last;
  const put = () => last && number.reportValidity() && file(last, { trial: number.value });
  number.addEventListener("change", put);
  return el("div", { class: "columns" },
    media(model, { file: (one) => { last = one; put(); } }),
    el("div", { class: "row" }, el("label", { for: "trial" }, "Trial"), number, el("span", { class: "hint", id: "trial-hint" }, "of a file that holds several, counted from 0")));
}

function media(model, { file }) {
  const what = { image: "a photo", audio: "a sound file", signal: "a recording" }[model.modality] ?? "a file";
  const hint = model.modality === "image" ? "or choose one, or paste it" : `or choose one: ${model.suffixes.slice(0, 6).join(", ")}`;
  return dropzone({ title: `Drop ${what} here`, hint, accept: MEDIA[model.modality], take: (found) => file(found[0].file) });
}

function texts(model, { value }) {
  const names = model.columns.length ? model.columns : [""];
  const fields = names.map((name, at) => el("textarea", { id: `text-${at}`, rows: names.length > 1 ? 2 : 4, required: true, placeholder: "Type or paste a text, or drop a file on it" }));
  for (const field of fields) {
    field.addEventListener("drop", async (event) => {
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      field.value = await event.dataTransfer.files[0].text();
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
  }
  const chooser = el("input", { type: "file", class: "unseen", accept: MEDIA.text, "aria-label": "Choose a text file", onchange: async () => {
    if (chooser.files.length) fields[0].value = await chooser.files[0].text();
  } });
  const form = el("form", { class: "texts", onsubmit: (event) => {
    event.preventDefault();
    const said = fields.map((field) => field.value);
    value(model.columns.length ? Object.fromEntries(model.columns.map((name, at) => [name, said[at]])) : said[0], said.join("\n"));
  } },
    names.map((name, at) => [el("label", { for: `text-${at}` }, names.length > 1 ? name : "Text"), fields[at]]),
    el("p", { class: "row" }, el("button", { class: "main" }, "Ask"), el("label", { class: "button quiet" }, chooser, "Choose a file"), el("span", { class: "hint" }, "Ctrl + Enter asks")));
  return form;
}

function columns(model, { value }) {
  const few = model.columns.length <= FIELDS;
  const fields = few ? model.columns.map((name) => el("input", { id: `column-${name}`, name, autocomplete: "off" })) : [];
  const area = el("textarea", { id: "rows", rows: few ? 3 : 8, placeholder: "A line of column names, then a line of values" });
  const which = el("select", { "aria-label": "Row of the table", hidden: true });
  const note = el("p", { class: "hint", role: "status" });
  let table = [];
  const show = (row) => {
    for (const field of fields) field.value = row[field.name] ?? "";
  };
  const read = (text) => {
    table = rows(text);
    fill(which, table.map((_, at) => el("option", { value: at }, `row ${at + 1}`)));
    which.hidden = table.length < 2;
    if (table.length) show(table[0]);
    note.textContent = table.length ? `${table.length} ${table.length > 1 ? "rows" : "row"} read.` : "";
  };
  which.addEventListener("change", () => show(table[Number(which.value)]));
  area.addEventListener("input", () => read(area.value));
  const cell = (text) => (text !== "" && Number.isFinite(Number(text)) ? Number(text) : text === "" ? null : text);
  const form = el("form", { class: "columns", onsubmit: (event) => {
    event.preventDefault();
    const row = few ? Object.fromEntries(fields.map((field) => [field.name, field.value.trim()])) : table[Number(which.value || 0)] ?? {};
    value(Object.fromEntries(model.columns.map((name) => [name, cell(row[name] ?? "")])));
  } },
    dropzone({ title: "Drop a table here", hint: "or choose one; its first row is read", accept: MEDIA.vector, take: async (found) => read(await found[0].file.text()) }),
    el("details", { open: !few }, el("summary", {}, "Paste a table"), el("label", { for: "rows", class: "unseen" }, "Table"), area),
    el("p", { class: "row" }, which, note),
    few && el("div", { class: "fields" }, fields.map((field) => el("div", {}, el("label", { for: field.id }, field.name), field))),
    el("p", { class: "row" }, el("button", { class: "main" }, "Ask")));
  return form;
}

function nearest(found, model) {
  if (!found?.length) return [];
  return [
    el("h3", {}, "Most like it, of what the model learned from"),
    el("ul", { class: "cards" }, found.map((one) => el("li", {},
      one.preview && (model.modality === "image"
        ? el("img", { src: `data:image/jpeg;base64,${one.preview}`, alt: "" })
        : el("blockquote", {}, one.preview)),
      el("span", { class: "name" }, [one.task, one.label].filter(Boolean).join(": ")), el("span", { class: "note" }, `${percent(one.similarity)} alike`),
      el("span", { class: "note file" }, one.name)))),
  ];
}
