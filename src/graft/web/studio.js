// The studio: what was begun, and one project from its data to its model.

import { announce, ask, el, fill, json } from "./dom.js";
import { dropzone } from "./files.js";
import { STEPS, step } from "./steps.js";

const OFTEN = 700; // milliseconds between two looks while something runs
const SELDOM = 4000;
const AT_ONCE = 6; // files on their way together
const main = document.getElementById("main");
const lost = document.getElementById("lost");
let known = { projects: [], modalities: [], heads: [] };
let timer = 0;
let drawn = {}; // step → what it was drawn from

addEventListener("hashchange", route);
route();

async function route() {
  clearTimeout(timer);
  drawn = {};
  const id = location.hash.slice(1).split("/")[0];
  try {
    known = await ask("projects");
    lost.hidden = true;
    if (id) await look(id);
    else home();
  } catch (error) {
    if (error instanceof TypeError) {
      lost.hidden = false;
      timer = setTimeout(route, SELDOM);
    } else fill(main, el("p", { class: "notice", role: "alert" }, error.message), el("p", {}, el("a", { href: "#" }, "To the beginning")));
  }
}

function home() {
  document.title = "graft studio";
  document.getElementById("steps").hidden = true;
  const status = el("p", { class: "hint", role: "status" });
  fill(main,
    el("h1", {}, "Begin with examples"),
    el("p", { class: "lead" }, "Put each kind into a folder of its own (photos/cat, photos/dog) and drop the folder here, or a zip of it, or a table. You will see what was found, choose a starting point, and get a model with a verdict on how good it is. Nothing leaves this machine."),
    el("div", { class: "ask" }, dropzone({
      title: "Drop a folder, a zip or a table here", hint: "photos, texts, sounds, signals or rows of numbers", several: true, folders: true,
      take: (files) => begin(files, status),
    }), status),
    known.projects.length ? [el("h2", {}, "Begun before"), el("ul", { class: "projects" }, known.projects.map((one) => el("li", {},
      el("a", { href: `#${one.id}` }, one.name),
      el("span", { class: "note" }, `${one.done ? "finished" : "begun"} · ${new Date(1000 * one.made).toLocaleDateString(undefined, { day: "numeric", month: "long" })}`),
      el("button", { type: "button", class: "plain", "aria-label": `Remove ${one.name}`, onclick: () => remove(one) }, "Remove"))))] : null);
}

async function begin(files, status) {
  const name = files[0].path.split("/")[0].replace(/\.(zip|csv|tsv|jsonl|parquet|npz|npy)$/i, "");
  try {
    const { id } = await ask("projects", json({ name }));
    const waiting = [...files];
    let sent = 0;
    const send = async () => {
      for (let one = waiting.pop(); one; one = waiting.pop()) {
        await ask(`projects/${id}/files?path=${encodeURIComponent(one.path)}`, { method: "PUT", body: one.file });
        sent += 1;
        status.textContent = `${sent} of ${files.length} files handed over`;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, send));
    status.textContent = "Unpacking…";
    await ask(`projects/${id}/settle`, { method: "POST" });
    await ask(`projects/${id}/jobs/load`, json({}));
    location.hash = id;
  } catch (error) {
    fill(status, el("span", { class: "doubt" }, error.message));
  }
}

function remove(one) {
  const asked = el("dialog", { "aria-labelledby": "remove" },
    el("h2", { id: "remove" }, `Remove ${one.name}?`),
    el("p", {}, "Its data, its model and its report are deleted from this machine."),
    el("form", { method: "dialog", class: "row" },
      el("button", { value: "" }, "Keep it"), el("button", { class: "main", value: "yes" }, "Remove")));
  asked.addEventListener("close", async () => {
    asked.remove();
    if (asked.returnValue === "yes") await ask(`projects/${one.id}`, { method: "DELETE" }).then(() => announce(`${one.name} is removed.`), () => {});
    route();
  });
  document.body.append(asked);
  asked.showModal();
}

async function look(id) {
  clearTimeout(timer);
  let wait = SELDOM;
  try {
    const view = await ask(`projects/${id}`);
    if (location.hash.slice(1).split("/")[0] !== id) return;
    lost.hidden = true;
    show(view);
    if (Object.values(view.jobs).some((job) => job.state === "running") || view.busy) wait = OFTEN;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    lost.hidden = false;
    wait = OFTEN;
  }
  timer = setTimeout(() => look(id).catch(route), wait);
}

/** Draw what has changed; what a person is about to use stays as it is. */
function show(view) {
  if (drawn.id !== view.id) {
    drawn = { id: view.id };
    document.title = `${view.name} · graft studio`;
    fill(main, el("p", {}, el("a", { href: "#" }, "All projects")), el("h1", {}, view.name),
      STEPS.map((one) => el("section", { class: "step", id: `step-${one.verb}`, "aria-labelledby": `title-${one.verb}`, hidden: true })));
  }
  const reached = STEPS.filter((one) => one.shown(view));
  const links = STEPS.map((one) => el("li", {}, reached.includes(one)
    ? el("a", { href: `#${view.id}/${one.verb}`, "aria-current": one === reached.at(-1) ? "step" : null, onclick: (event) => {
      event.preventDefault();
      to(one.verb);
    } }, one.short) : el("span", {}, one.short)));
  const nav = document.getElementById("steps");
  if (drawn.nav !== (drawn.nav = reached.map((one) => one.verb).join())) fill(nav, el("ol", {}, links));
  nav.hidden = false;
  for (const one of STEPS) {
    const place = document.getElementById(`step-${one.verb}`);
    place.hidden = !one.shown(view);
    const now = JSON.stringify(one.of(view), (name, value) => (["seconds", "said"].includes(name) && one.quiet ? undefined : value));
    if (!place.hidden && drawn[one.verb] !== now) {
      const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
      step(place, one, view, known, { go, stop });
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
      drawn[one.verb] = now;
    }
    const said = place.querySelector(".log");
    const job = view.jobs[one.verb];
    if (said && job?.state === "running") said.textContent = `${clock(job.seconds)}  ${job.said ?? ""}`;
  }
  for (const [verb, job] of Object.entries(view.jobs)) {
    const before = drawn.states?.[verb];
    if (before && before !== job.state) announce(STEPS.find((one) => one.job === verb).says(job, view));
  }
  drawn.states = Object.fromEntries(Object.entries(view.jobs).map(([verb, job]) => [verb, job.state]));
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

/** Begin a step with these choices, and bring the person to where it is seen. */
async function go(view, verb, choice, target) {
  try {
    await ask(`projects/${view.id}/jobs/${verb}`, json(choice));
    await look(view.id);
    to(target ?? verb);
  } catch (error) {
    const place = document.getElementById(`step-${target ?? verb}`);
    const where = place.hidden ? main.lastElementChild : place;
    where.querySelector(":scope > .refused")?.remove();
    where.append(el("p", { class: "notice refused", role: "alert" }, error.message));
  }
}

async function stop(view) {
  await ask(`projects/${view.id}/stop`, { method: "POST" }).catch(() => {});
  await look(view.id);
}

function to(verb) {
  const title = document.getElementById(`title-${verb}`);
  if (!title) return;
  title.focus({ preventScroll: true });
  title.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "start" });
}
