"""A strategy of one's own, top_two.py, beside two that graft has: the same task and evidence, three plans, three runs.

    python examples/02_own_strategy.py

On the command line it is `graft transfer photos/ --strategy examples/top_two.py`.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import graft
from photos import photos

BUDGET = graft.Budget(seconds=15)


def main(folder: Path) -> None:
    task = graft.load(photos(folder / "photos"))
    evidence = graft.rank(task, ["tiny/shapes"], BUDGET)[0]
    for strategy in ("linear_probe", "lp_ft", str(Path(__file__).with_name("top_two.py"))):
        plan = graft.plan(task, evidence, strategy, BUDGET)  # nothing is run yet
        print(graft.explain(plan))
        run = graft.adapt(task, plan)  # asked twice, it answers once
        print(
            f"  validation {run.score:.3f}; {run.cost.prefix_passes} examples went through a frozen prefix, "
            f"{run.cost.prefix_hits} were found stored\n"
        )


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        os.environ.setdefault("GRAFT_HOME", f"{place}/home")
        main(Path(place))
