// Files that are dropped, chosen or pasted; of folders every file, with its path.

import { el } from "./dom.js";

/** A field that files are dropped on; Enter and Space open the chooser. take(files: [{path, file}]) */
export function dropzone({ title, hint, accept, several, folders, take }) {
  const input = el("input", { type: "file", class: "unseen", accept, multiple: several, "aria-describedby": "drop-hint" });
  const tree = folders && el("input", { type: "file", class: "unseen", webkitdirectory: true, multiple: true, tabindex: "-1", "aria-hidden": "true" });
  const zone = el("div", { class: "drop" },
    el("label", { class: "choose" }, input, el("span", { class: "title" }, title)),
    el("p", { class: "hint", id: "drop-hint" }, hint),
    folders && el("p", {}, el("button", { type: "button", class: "quiet", onclick: () => tree.click() }, "Choose a folder"), tree));
  for (const field of [input, tree].filter(Boolean)) {
    field.addEventListener("change", () => {
      const chosen = [...field.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
      field.value = "";
      if (chosen.length) take(chosen);
    });
  }
  const over = (on) => (event) => {
    event.preventDefault();
    zone.classList.toggle("over", on);
  };
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", async (event) => {
    over(false)(event);
    const found = await dropped(event.dataTransfer);
    if (found.length) take(found);
  });
  return zone;
}

/** Every file of what was dropped. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ path: file.name, file }));
  return (await Promise.all(entries.map(walk))).flat();
}

async function walk(entry) {
  if (entry.isFile) {
    const file = await new Promise((done, fail) => entry.file(done, fail));
    return [{ path: entry.fullPath.replace(/^\//, ""), file }];
  }
  const reader = entry.createReader();
  const inside = [];
  for (;;) { // a browser hands out a hundred at a time
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!some.length) break;
    inside.push(...some);
  }
  return (await Promise.all(inside.map(walk))).flat();
}

/** The rows of a table in text, by column: commas, semicolons, tabs or bars, quotes doubled within quotes. */
export function rows(text) {
  const mark = [",", ";", "\t", "|"].map((one) => [text.split("\n", 1)[0].split(one).length, one]).sort((a, b) => b[0] - a[0])[0][1];
  const table = [[""]];
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const sign = text[at];
    const row = table.at(-1);
    if (quoted) {
      if (sign === '"' && text[at + 1] === '"') { row[row.length - 1] += '"'; at++; }
      else if (sign === '"') quoted = false;
      else row[row.length - 1] += sign;
    } else if (sign === '"' && row.at(-1) === "") quoted = true;
    else if (sign === mark) row.push("");
    else if (sign === "\n") table.push([""]);
    else if (sign !== "\r") row[row.length - 1] += sign;
  }
  const [head, ...body] = table.filter((row) => row.some((cell) => cell.trim()));
  return (body ?? []).map((row) => Object.fromEntries(head.map((name, at) => [name.trim(), (row[at] ?? "").trim()])));
}
