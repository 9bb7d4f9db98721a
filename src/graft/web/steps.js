// The steps of a project, one section each.

import { ask, bars, el, fill } from "./dom.js";
import { question } from "./ask.js";

const TIMES = [[120, "2 minutes", "a quick look"], [600, "10 minutes", "as a rule enough"], [3600, "1 hour", "for larger data"]];
const KINDS = { "": "what they look like", image: "photos", text: "texts", audio: "sounds", signal: "signals", vector: "rows of numbers" };
const HEADS = {
  "": "what the labels look like", classification: "one of several labels", multilabel: "several labels at once",
  regression: "a quantity", tagging: "a tag for each word", grouping: "groups, without labels",
};
const VERDICTS = { positive: "Yes, it helped.", negative: "No, it hurt: the better model ships.", inconclusive: "It cannot be told." };

const ended = (done) => (job) => ({ done, failed: `That did not work. ${job.why ?? ""}`, running: "Begun.", stopped: "Stopped.", interrupted: "Interrupted." })[job.state] ?? "";

export const STEPS = [
  { verb: "load", job: "load", title: "Your data", short: "Data", draw: data, quiet: true, shown: () => true,
    of: (view) => [view.jobs.load, view.audit, view.seconds, view.builtin, view.jobs.rank.state], says: ended("The data have been read.") },
  { verb: "rank", job: "rank", title: "Starting points", short: "Starting point", draw: ranking, quiet: true,
    shown: (view) => view.jobs.rank.state !== "absent", of: (view) => [view.jobs.rank, view.ranking, view.jobs.plan.state], says: ended("The starting points are compared.") },
  { verb: "plan", job: "plan", title: "The plan", short: "Plan", draw: plan, quiet: true,
    shown: (view) => view.jobs.plan.state !== "absent", of: (view) => [view.jobs.plan, view.plan, view.jobs.transfer.state], says: ended("The plan is made.") },
  { verb: "transfer", job: "transfer", title: "The work", short: "Work", draw: work, quiet: true,
    shown: (view) => view.jobs.transfer.state !== "absent", of: (view) => [view.jobs.transfer, view.training], says: ended("The model is ready.") },
  { verb: "verdict", title: "Did it help?", short: "Verdict", draw: verdict, shown: (view) => Boolean(view.verdict), of: (view) => view.verdict },
];

/** Draw a step into its place. */
export function step(place, one, view, known, acts) {
  const job = view.jobs[one.job];
  fill(place,
    el("h2", { id: `title-${one.verb}`, tabindex: "-1" }, el("span", { class: "count", "aria-hidden": "true" }, STEPS.indexOf(one) + 1), one.title),
    job ? standing(job, one, view, acts) : null,
    one.draw(view, known, acts));
}

function standing(job, one, view, { go, stop }) {
  const again = el("button", { type: "button", class: "main", onclick: () => go(view, one.job, {}) }, "Go on");
  if (job.state === "running")
    return [el("progress", { "aria-label": one.title }), el("p", { class: "log", "aria-hidden": "true" }), el("p", {}, el("button", { type: "button", id: `stop-${one.verb}`, onclick: () => stop(view) }, "Stop"))];
  if (job.state === "failed") return el("p", { class: "notice" }, job.why || "It ended with an error.");
  if (job.state === "stopped" || job.state === "interrupted")
    return el("p", { class: "row" }, el("span", {}, job.state === "stopped" ? "Stopped. Nothing that was computed is lost." : "Interrupted. It goes on from where it was."), again);
  return null;
}

const facts = (pairs) => el("dl", { class: "facts" }, pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
const sentences = (texts) => el("ul", { class: "plain-list" }, texts.map((text) => el("li", {}, text)));

function data(view, known, { go }) {
  const { audit, jobs } = view;
  const parts = [];
  if (audit) {
    const most = Math.max(...audit.labels.map((one) => one.count));
    const examples = el("ul", { class: "strip", "aria-label": "Some of the examples" });
    ask(`projects/${view.id}/examples`).then((found) => fill(examples, found.map((one) => el("li", {}, el("span", { class: "name" }, one.label),
      one.image ? el("div", { class: "thumbs" }, one.image.map((source) => el("img", { src: source, alt: "" }))) : (one.text ?? []).slice(0, 2).map((text) => el("p", {}, text)))))).catch(() => {});
    parts.push(
      el("p", { class: "answer" }, `${audit.total.toLocaleString()} ${audit.several} were read.`),
      facts(audit.parts.map(([name, count]) => [name, count.toLocaleString()])),
      audit.labels.length ? [
        bars(audit.labels.slice(0, 20).map((one) => ({ name: one.name, share: one.count / most, shown: String(one.count) })), "Examples of each label"),
        el("p", { class: "hint" }, `Counted without the ${audit.parts.at(-1)[1].toLocaleString()} that the model is judged by in the end: nothing is told of them until then.`),
      ] : el("p", {}, audit.sentence),
      examples,
      ...audit.lists.map((one) => el("details", {}, el("summary", {}, one.what), sentences([...one.some, ...(one.more ? [`and ${one.more} more`] : [])]))),
      audit.notes.length ? sentences(audit.notes) : null);
  }
  if (audit || jobs.load.state === "failed") parts.push(reading(view, known, go));
  if (audit && jobs.rank.state !== "running") parts.push(effort(view, go));
  return parts;
}

function choice(name, label, options, value) {
  return el("div", {}, el("label", { for: name }, label),
    el("select", { id: name, name }, Object.entries(options).map(([key, text]) => el("option", { value: key, selected: key === value }, text))));
}

function reading(view, known, go) {
  const named = (names, words) => Object.fromEntries(["", ...names].map((name) => [name, words[name] ?? name]));
  const form = el("form", { class: "fields", onsubmit: (event) => {
    event.preventDefault();
    go(view, "load", Object.fromEntries(new FormData(form)));
  } },
    choice("modality", "The examples are", named(known.modalities, KINDS), view.modality),
    choice("head", "The answer is", named(known.heads, HEADS), view.head),
    el("div", {}, el("label", { for: "label" }, "Column of labels, in a table"), el("input", { id: "label", name: "label", value: view.label, autocomplete: "off" })),
    el("p", { class: "row" }, el("button", {}, "Read them again")));
  return el("details", { open: view.jobs.load.state === "failed" }, el("summary", {}, "Were they read wrongly?"), form);
}

function effort(view, go) {
  const again = view.jobs.rank.state === "done";
  const form = el("form", { class: "options", onsubmit: (event) => {
    event.preventDefault();
    const chosen = new FormData(form);
    go(view, "rank", { seconds: Number(chosen.get("seconds")), builtin: chosen.has("builtin"), backbone: "", strategy: "auto" });
  } },
    el("fieldset", {}, el("legend", {}, "How long may it take?"), el("div", { class: "across" }, TIMES.map(([seconds, name, note]) =>
      el("label", {}, el("input", { type: "radio", name: "seconds", value: seconds, checked: seconds === view.seconds }), el("span", {}, name, " ", el("span", { class: "hint" }, note)))))),
    el("label", {}, el("input", { type: "checkbox", name: "builtin", checked: view.builtin }), el("span", {}, "Only the small built-in networks"),
      el("span", { class: "hint" }, "For a first try, without a download. Otherwise the networks at hand are compared, and fetched where they are not here yet.")),
    el("p", {}, el("button", { class: again ? "" : "main", id: "compare" }, again ? "Compare again" : "Compare starting points")));
  return form;
}

function ranking(view, known, { go }) {
  if (!view.ranking) return null;
  const { rows, why, live, left } = view.ranking;
  if (live) return rows.length ? bars(rows.map((one, at) => ({ name: one.id, share: one.share, shown: one.shown, strong: !at, note: one.facts })), "Starting points so far") : null;
  const form = el("form", { class: "options", onsubmit: (event) => {
    event.preventDefault();
    go(view, "plan", { backbone: new FormData(form).get("backbone"), strategy: "auto" });
  } },
    el("fieldset", {}, el("legend", {}, "Networks to start from, best first"), rows.map((one, at) => {
      const bar = el("span", { class: "bar" });
      bar.style.setProperty("--share", one.share);
      return el("label", {}, el("input", { type: "radio", name: "backbone", value: one.id, checked: view.backbone ? view.backbone === one.id : !at }),
        el("span", { class: at ? "starting" : "starting strong" }, el("span", { class: "name" }, one.id), el("span", { class: "value" }, one.shown), el("span", { class: "track", "aria-hidden": "true" }, bar)),
        el("span", { class: "hint" }, one.facts));
    })),
    el("p", {}, el("button", { class: view.jobs.plan.state === "done" ? "" : "main", id: "make-plan" }, "Make a plan")));
  return [form, el("details", {}, el("summary", {}, "Why this order?"), sentences(why), left.length ? [el("p", {}, "Left out:"), sentences(left)] : null)];
}

function plan(view, known, { go }) {
  if (!view.plan) return null;
  const made = view.plan;
  const others = el("form", { class: "row", onsubmit: (event) => {
    event.preventDefault();
    go(view, "plan", { strategy: new FormData(others).get("strategy") });
  } },
    el("label", { for: "strategy" }, "Another way"),
    el("select", { id: "strategy", name: "strategy" }, made.others.map((one) => el("option", { value: one.name }, `${one.name.replaceAll("_", " ")}: ${one.cost}`))),
    el("button", {}, "Plan with this"));
  return [
    el("p", { class: "lead" }, `Start from ${made.backbone}, which ${made.learned}.`),
    el("ol", { class: "plain-list" }, made.steps.map((text) => el("li", {}, text))),
    facts(made.cost),
    el("p", { class: "hint" }, `It is computed on this machine and costs no money. Licence of the weights: ${made.license}; whether it allows your use is yours to check.`),
    el("details", {}, el("summary", {}, "Why, and what else could be done"), sentences(made.why), others),
    view.jobs.transfer.state === "running" ? null : el("p", {}, el("button", { type: "button", id: "accept", class: view.verdict ? "" : "main", onclick: () => go(view, "transfer", {}) }, view.verdict ? "Do it again" : "Accept and begin")),
  ];
}

function work(view) {
  if (!view.training) return null;
  const { nets, compared, metric } = view.training;
  if (view.jobs.transfer.state === "done") {
    const longest = nets.reduce((a, b) => (b.epochs.length > a.epochs.length ? b : a), { epochs: [] });
    return [
      el("p", {}, `${nets.length ? `${nets.length} networks learned, and these` : "These"} were compared: ${compared.join(", ")}.`),
      longest.epochs.length > 1 ? el("details", {}, el("summary", {}, `How ${longest.name} learned`), curve(longest.epochs, metric)) : null,
    ];
  }
  const now = nets.at(-1);
  return [
    now ? el("p", {}, "Learning now: ", el("strong", {}, now.name), now.epochs.length ? `, round ${now.epochs.length}, ${metric} on validation ${now.epochs.at(-1)[2].toFixed(3)}` : "") : el("p", { class: "calm" }, "Preparing…"),
    now && now.epochs.length > 1 ? curve(now.epochs, metric) : null,
    compared.length ? el("p", {}, `Compared so far: ${compared.join(", ")}.`) : null,
  ];
}

function curve(epochs, metric) {
  const scores = epochs.map(([, , score]) => score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const place = (score, at) => `${(300 * at) / (scores.length - 1)} ${94 - (88 * (score - low)) / (high - low || 1)}`;
  return el("svg", { class: "epochs", viewBox: "0 0 300 100", preserveAspectRatio: "none", role: "img", "aria-label": `${metric} on validation, from ${scores[0].toFixed(3)} to ${scores.at(-1).toFixed(3)} after ${scores.length} rounds` },
    el("path", { d: `M${scores.map(place).join("L")}` }));
}

function verdict(view) {
  const told = view.verdict;
  const place = el("div");
  ask(`projects/${view.id}/model`).then((model) => fill(place, question(model, `projects/${view.id}/explain`))).catch((error) => fill(place, el("p", { class: "notice" }, error.message)));
  return [
    el("p", { class: "answer" }, VERDICTS[told.verdict] ?? told.verdict),
    el("p", {}, told.sentence),
    bars(told.rows.map((row) => ({ name: row.name, share: row.share, low: row.low, high: row.high, shown: row.shown, strong: row.ships, note: `${row.interval}${row.ships ? ", this one ships" : ""}` })), `${told.metric} on ${told.tests} examples kept apart, with 95 % intervals`),
    el("p", { class: "row" },
      el("a", { class: "button main", href: `projects/${view.id}/model.zip`, download: "" }, `Download the model (${told.size})`),
      told.report ? el("a", { class: "button", href: `projects/${view.id}/report`, target: "_blank", rel: "noopener" }, "Open the report") : null),
    told.report ? el("iframe", { title: "Report", src: `projects/${view.id}/report`, loading: "lazy" }) : null,
    el("h3", {}, "Try it"),
    place,
  ];
}
