"""The wall time of a verify: what each part of it took, and what a firm budget leaves out, which is told."""

import logging
import math
import time

from graft.core.nouns import Budget
from graft.core.reports import Spent

log = logging.getLogger("graft")
WHOLE = "asking every labelled example, in folds"  # what may be left out, and would show smaller gains


class Clock:
    """Runs from when it is made, on top of what was spent before; under a budget that is not firm, time has no end."""

    def __init__(self, budget: Budget, spent: float = 0.0) -> None:
        self.seconds, self.spent, self.firm = budget.seconds, spent, budget.firm
        self.began, self.last = time.perf_counter(), (time.perf_counter(), time.process_time())
        self.parts: dict[str, Spent] = {}
        self.out: dict[str, float] = {}  # what was left out, and the seconds that it would take

    @property
    def left(self) -> float:
        """Seconds."""
        return self.seconds - self.spent - (time.perf_counter() - self.began) if self.firm else math.inf

    def holds(self, what: str, seconds: float, beside: float = 0.0) -> bool:
        """Whether there is time for this, and for what counts more and is yet to come; if not, it is left out."""
        if fits := seconds + beside <= self.left:
            self.out.pop(what, None)
        else:
            self.leave(what, seconds)
        return fits

    def leave(self, what: str, seconds: float) -> None:
        """Leave out what would take so many seconds."""
        self.out[what] = seconds
        log.info("Left out for time: %s (about %.0f s).", what, seconds)

    def lap(self, part: str) -> None:
        """What was spent since the last time went into this part."""
        now, before = (time.perf_counter(), time.process_time()), self.parts.get(part, Spent(part, 0.0))
        wall, cpu = now[0] - self.last[0], now[1] - self.last[1]
        self.parts[part] = Spent(part, before.seconds + wall, before.cpu_seconds + cpu)
        self.last = now

    def told(self) -> tuple[str, ...]:
        """A sentence on what was left out."""
        if not self.out:
            return ()
        named = "; ".join(f"{what} (about {seconds:.0f} s)" for what, seconds in self.out.items())
        return (f"Left out for time (a budget of {self.seconds:g} s): {named}. Without --budget nothing is left out.",)
