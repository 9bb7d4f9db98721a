"""Numbers on what a server does, in Prometheus' text format. Counted in the event loop alone, so nothing is locked."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
COUNTERS = {
    "graft_requests_total": "Requests that were answered, by route and status.",
    "graft_examples_total": "Examples that were answered.",
    "graft_answers_total": "Answers by label: the histogram of classes.",
    "graft_unlike_total": "Examples unlike the training data.",
    "graft_odd_total": "Rows with values that were not learned from.",
    "graft_unsure_total": "Examples that the model was not sure of.",
    "graft_unreadable_total": "Examples that could not be read.",
    "graft_faults_total": "Faults that no sentence was written for: please report what the log says.",
    "graft_reloads_total": "New versions of an artifact, taken or refused.",
    "graft_log_lines_dropped_total": "Lines of the access log that nobody read in time.",
}
HISTOGRAMS: dict[str, tuple[str, tuple[float, ...]]] = {
    "graft_request_seconds": ("Time from a request's head to its answer, by route.", SECONDS),
    "graft_batch_examples": ("Examples that were computed together.", SIZES),
    "graft_batch_seconds": ("Time that a batch was computed in.", SECONDS),
}
GAUGES = {
    "graft_waiting_examples": "Examples that were accepted and not yet answered.",
    "graft_queue_limit": "Examples that may wait; beyond it requests are refused with 503.",
    "graft_held_bytes": "Bytes of requests that are being received or answered.",
    "graft_model_info": "The version that answers: the beginning of its card's sha256.",
}
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters and histograms."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[Labels, float]] = {name: {} for name in COUNTERS}
        self._seen: dict[str, dict[Labels, list[float]]] = {name: {} for name in HISTOGRAMS}

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        counts, key = self._counts[name], tuple(labels.items())
        counts[key] = counts.get(key, 0) + by

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        bounds, key = HISTOGRAMS[name][1], tuple(labels.items())
        cells = self._seen[name].setdefault(key, [0.0] * (len(bounds) + 2))
        cells[bisect_left(bounds, value)] += 1
        cells[-1] += value

    def text(self, gauges: Mapping[str, Iterable[tuple[float, Mapping[str, str]]]]) -> str:
        """All of it, and what is measured only now."""
        lines = []
        for name, help in COUNTERS.items():
            lines += _head(name, help, "counter")
            lines += [_line(name, labels, value) for labels, value in self._counts[name].items()]
        for name, (help, bounds) in HISTOGRAMS.items():
            lines += _head(name, help, "histogram")
            for labels, cells in self._seen[name].items():
                total = 0.0
                for bound, cell in zip((*map(str, bounds), "+Inf"), cells, strict=False):
                    total += cell
                    lines.append(_line(f"{name}_bucket", (*labels, ("le", bound)), total))
                lines += [_line(f"{name}_sum", labels, cells[-1]), _line(f"{name}_count", labels, total)]
        for name, help in GAUGES.items():
            lines += _head(name, help, "gauge")
            lines += [_line(name, tuple(labels.items()), value) for value, labels in gauges.get(name, ())]
        return "\n".join(lines) + "\n"


def _head(name: str, help: str, kind: str) -> list[str]:
    return [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]


def _line(name: str, labels: Labels, value: float) -> str:
    said = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{said}}} {value:.10g}" if said else f"{name} {value:.10g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
