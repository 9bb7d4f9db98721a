"""What the jobs of a project gave, in everyday words: what the page shows."""

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

from graft import words
from graft.core import figures
from graft.core.codec import from_dict
from graft.core.costs import boundary
from graft.core.nouns import Backbone, Phase, Plan, Ranking, Report, Task
from graft.core.shelf import take
from graft.studio import jobs, projects

SHOWN = 6  # entries of a list of the audit
NAMES = {  # of what is compared beside the baselines, for someone who has never heard of it
    "adapted": "the adapted network", "linear_probe": "only a new last layer", "scratch": "the network from scratch",
    "scratch_small": "a smaller network from scratch", "joint": "both domains together",
    "source_only": "the other domain alone",
}  # fmt: skip
ENDS = {
    "best": "the best of them is kept",
    "soup": "those that agree are averaged",
    "sure": "the last is kept, unless another is clearly better",
    "line": "the best mixture of the two is kept",
}


def project(folder: Path, running: dict[str, Any] | None) -> dict[str, Any]:
    """Everything that is to be seen of a project; its files go by the names that they came with."""
    inside = [json.dumps(f"{place}/")[1:-1] for place in (folder / "data", folder)]
    told = json.dumps(_seen(folder, running)).replace(inside[0], "").replace(inside[1], "")
    view: dict[str, Any] = json.loads(told)
    return view


def _seen(folder: Path, running: dict[str, Any] | None) -> dict[str, Any]:
    states = {verb: jobs.state(folder / "jobs" / verb, running) for verb in projects.VERBS}
    view: dict[str, Any] = {"id": folder.name, **projects.about(folder), "jobs": states}
    view["busy"] = bool(running) and not any(one["state"] == "running" for one in states.values())
    done = {verb for verb, one in states.items() if one["state"] == "done"}
    if "load" not in done:  # what was made before means nothing while the data are read again
        return view
    view["audit"] = audit(loaded(folder))
    if states["rank"]["state"] != "absent":
        view["ranking"] = _ranking(folder, loaded(folder).metric, "rank" in done)
    if "plan" in done:
        view["plan"] = plan(_read(folder, "plan"), view["seconds"])
    if states["transfer"]["state"] != "absent":
        view["training"] = _training(jobs.events(folder / "jobs/transfer"), loaded(folder).metric)
    if "transfer" in done:
        view["verdict"] = verdict(folder)
    return view


def loaded(folder: Path) -> Task:
    """The Task of a project."""
    file = folder / "jobs/load/out.json"
    return _task(str(file), file.stat().st_mtime_ns)


@lru_cache(4)
def _task(file: str, when: int) -> Task:
    return from_dict(Task, json.loads(Path(file).read_text(encoding="utf-8")))


def _read(folder: Path, verb: str) -> Any:
    return jobs.result(folder / "jobs" / verb)


def audit(task: Task) -> dict[str, Any]:
    """What reading the data showed. Of the test part only the size is told: it is sealed."""
    several, seen = take("modalities", task.modality).WORD[1], task.audit
    known = [target for part in (task.train, task.val) for target in part.targets]
    by_label = Counter(known) if all(isinstance(target, int) for target in known) else Counter()
    total = len(task.train) + len(task.val) + len(task.test)
    lists = (
        ("left out", [f"{Path(where).name}: {why}" for where, why in seen.skipped]),
        ("copies, kept in one part", [f"{Path(where).name}: {why}" for where, why in seen.moved]),
        ("look-alikes in different parts", [f"{Path(a).name} and {Path(b).name}" for a, b in seen.near_duplicates]),
    )
    return {
        "several": several, "total": total,
        "sentence": words.task(task).split("\n", 1)[0].partition(": ")[2],
        "parts": [["to learn from", len(task.train)], ["to choose by", len(task.val)], ["to judge by", len(task.test)]],
        "labels": [{"name": name, "count": by_label[index]} for index, name in enumerate(task.outputs)]
        if by_label else [],
        "lists": [{"what": f"{len(each)} {what}", "some": each[:SHOWN], "more": max(0, len(each) - SHOWN)}
                  for what, each in lists if each],
        "notes": list(seen.notes),
    }  # fmt: skip


def _ranking(folder: Path, metric: str, done: bool) -> dict[str, Any]:
    """The candidates as far as they are measured, best first."""
    if not done:
        last = {each["backbone"]: each for each in jobs.events(folder / "jobs/rank") if each["event"] == "measured"}
        rows = [_row(id, each["score"], metric, f"on {each['examples']} examples so far") for id, each in last.items()]
        return {"rows": sorted(rows, key=lambda row: -row["score"]), "why": [], "live": True}
    ranking = from_dict(Ranking, _read(folder, "rank"))
    rows = []
    for one in ranking.evidence:
        each = sum(stage.seconds for stage in one.stage_curve) + one.prepare_seconds
        facts = [_known(one.backbone), f"{1000 * each:.0f} ms an example", one.backbone.license]
        facts += [f"dropped after {one.n_used} examples"] if one.n_used < one.n_train else []
        rows.append(_row(one.backbone.id, one.scores["probe"], metric, ", ".join(facts)))
    left = [*ranking.failed, *ranking.refused, *((id, "there was no time for it") for id in ranking.untried)]
    return {
        "rows": rows, "why": list(ranking.why), "live": False, "left": [f"{id}: {why}" for id, why in left[:SHOWN]],
    }  # fmt: skip


def _known(backbone: Backbone) -> str:
    if backbone.pretrained_on == "nothing":
        return f"has learned nothing ({backbone.note}); only to compare with"
    return f"learned from {backbone.pretrained_on or 'data that are not named'}"


def _row(id: str, score: float, metric: str, facts: str) -> dict[str, Any]:
    share = score if figures.is_share(metric) or metric == "r2" else 0.0
    shown = figures.score(score, metric)
    return {"id": id, "score": score, "share": min(max(share, 0.0), 1.0), "shown": shown, "facts": facts}


def plan(made: dict[str, Any], allowed: float) -> dict[str, Any]:
    """A plan in plain words, with what it would cost of the seconds that are allowed, and what else could be done."""
    chosen = from_dict(Plan, made["chosen"])
    steps = [_step(phase, chosen) for phase in chosen.phases]
    if chosen.alternatives:
        steps.append(f"{len(chosen.alternatives) + 1} variants of this are tried, and {ENDS[chosen.choice]}.")
    others = [
        {"name": name, "seconds": other["seconds"], "cost": f"{_time(other['seconds'])} of training"}
        for name, other in made["considered"].items() if isinstance(other, dict) and name != chosen.strategy
    ]  # fmt: skip
    return {
        "backbone": chosen.backbone.id, "steps": steps, "why": list(chosen.why),
        "license": chosen.backbone.license,
        "learned": _known(chosen.backbone),
        "cost": [["Training", _time(chosen.seconds)], ["Proving it", _time(made["proof"])],
                 ["You allowed", _time(allowed)], ["On disk", words.size(chosen.store_bytes)],
                 ["Memory", f"{chosen.peak_bytes / 1e9:.1f} GB"]],
        "others": sorted(others, key=lambda other: other["seconds"]),
    }  # fmt: skip


def _name(row: str) -> str:
    return NAMES.get(row) or str(take("baselines", row).CALLED)


def _step(phase: Phase, chosen: Plan) -> str:
    """One phase, for someone who has never trained a network."""
    parts = len(chosen.stages)
    first = boundary(phase.train, parts)
    if phase.solver == "exact":
        return "Keep the whole network as it is, and fit a new last layer on what it sees. This has one exact answer."
    held = f"Keep the first {first} of its {parts} parts as they are" if first else "Let the whole network learn"
    if phase.objective == "contrastive":
        return f"{held}, and teach the rest in {phase.steps} steps that examples of one class belong together."
    through = " through small inserted parts" if phase.adapter else ""
    rest = " and let the others learn with the last layer" if first and first < parts else ""
    rest = " and let the last layer learn" if first >= parts else rest
    views = f" Each is shown in {phase.views} variants." if phase.views > 1 else ""
    return f"{held}{rest}{through}: {phase.steps} small steps of {phase.batch} examples.{views}"


def _time(seconds: float) -> str:
    """An expectation is no more exact than this."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 100:
        return f"{round(seconds, -1):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.0f} hours"


def _training(events: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    """The networks that have learned so far, each with its epochs, and what has been compared."""
    nets: list[dict[str, Any]] = []
    for one in events:
        if one["event"] == "training":
            name = one["strategy"].replace("_", " ") if one["pretrained"] else "from scratch, to compare"
            nets.append({"name": f"{name}, seed {one['seed']}", "epochs": []})
        elif one["event"] == "epoch" and nets:
            nets[-1]["epochs"].append([one["epoch"], one["loss"], one["score"]])
    compared = list(dict.fromkeys(_name(one["name"]) for one in events if one["event"] == "compared"))
    return {"nets": nets, "compared": compared, "metric": figures.called(metric)}


def verdict(folder: Path) -> dict[str, Any]:
    """Whether it helped, by how much, and what ships."""
    card = json.loads((folder / "artifact/card.json").read_text(encoding="utf-8"))
    report = from_dict(Report, card["report"])
    shares = figures.is_share(report.metric)
    rows = [
        {"name": f"{_name(row.name)}{row.of}", "shown": figures.score(row.score, report.metric),
         "interval": figures.interval(row.low, row.high, report.metric), "ships": row.name == report.ships,
         **({"share": row.score, "low": row.low, "high": row.high} if shares else {})}
        for row in sorted(report.rows, key=lambda row: -row.score)
    ]  # fmt: skip
    files = {entry.name for entry in (folder / "artifact").iterdir()}
    return {
        "verdict": report.verdict, "sentence": report.sentence, "rows": rows, "metric": figures.called(report.metric),
        "report": "report.html" in files, "tests": report.n_test,
        "size": words.size(sum(entry.stat().st_size for entry in (folder / "artifact").rglob("*") if entry.is_file())),
    }  # fmt: skip
