// The page of a server: which model is asked, and its report.

import { ask, el, fill, list } from "./dom.js";
import { question } from "./ask.js";

const at = (id) => document.getElementById(id);

async function start() {
  try {
    const models = await ask("models");
    fill(at("models"), el("ul", {}, models.map((one) =>
      el("li", {}, el("a", { href: `#model=${encodeURIComponent(one.name)}` }, one.name)))));
    at("models").hidden = models.length < 2;
    const show = () => chosen(models, new URLSearchParams(location.hash.slice(1)).get("model"));
    addEventListener("hashchange", show);
    show();
  } catch (error) {
    fill(at("ask"), el("p", { class: "notice", role: "alert" }, error.message));
  }
}

function chosen(models, name) {
  const model = models.find((one) => one.name === name) ?? models[0];
  for (const link of at("models").querySelectorAll("a")) {
    if (link.textContent === model.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const end = models.length > 1 ? `/${encodeURIComponent(model.name)}` : "";
  const what = model.head === "classification" ? ` It answers with one of ${model.labels.length} labels.`
    : model.tasks.length ? ` It answers ${model.tasks.length} questions at once: ${list(model.tasks.map((one) => one.name), "and")}.` : "";
  at("title").textContent = `Ask about a ${model.one}`;
  document.title = `${model.task} · graft`;
  at("lead").textContent = `This model learned from “${model.task}”.${what}`;
  fill(at("ask"), question(model, `explain${end}`));
  at("sentence").textContent = model.sentence;
  at("report").hidden = false;
  at("report-link").hidden = false;
  const frame = at("report-frame");
  frame.hidden = !model.report;
  at("report-open").hidden = !model.report;
  if (model.report) {
    at("report-open").href = `report${end}`;
    frame.src = `report${end}`;
  }
}

start();
