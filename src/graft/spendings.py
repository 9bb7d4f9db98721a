"""What a run cost, in sentences: seconds, passes that the cache spared, energy by a stated guess."""

from graft.core.exhibits import Exhibits, Spent

WATTS = 10.0  # of one busy core: a laptop's takes about 5, a server's about 15; memory and cooling not counted


def total(shown: Exhibits) -> str:
    """Seconds of all steps together, and whether a budget was kept."""
    seconds = sum(one.seconds for one in shown.spent)
    over, longest = seconds - shown.allowed, max(shown.spent, key=lambda one: one.seconds, default=Spent("", 0.0))
    text = f"In all: {seconds:.0f} s."
    if shown.allowed and over >= 1:
        text += f" That is {over:.0f} s more than the budget of {shown.allowed:g} s; the longest step was "
        text += f"{longest.name} ({longest.seconds:.0f} s)."
    return text


def spendings(shown: Exhibits) -> list[str]:
    """Seconds of every step and of all, memory, passes and energy."""
    told = [
        f"{one.name[0].upper()}{one.name[1:]}: {one.seconds:.0f} s"
        + (f" ({one.cpu_seconds:.0f} s of one core)" if one.cpu_seconds else "")
        for one in shown.spent
    ]
    told.append(total(shown))
    if shown.peak_bytes:
        told.append(f"Memory at its highest: {shown.peak_bytes / 1e9:.1f} GB.")
    if shown.passes or shown.saved:
        share = shown.saved / max(1, shown.saved + shown.passes)
        told.append(
            f"{shown.passes} examples went through the frozen part to adapt; the cache spared {shown.saved} "
            f"({100 * share:.0f} %)."
        )
    hours = sum(one.cpu_seconds or one.seconds for one in shown.spent) / 3600
    told.append(
        f"Energy: about {WATTS * hours:.2g} Wh, taking {WATTS:g} W for a busy core (a laptop's takes about 5, a "
        "server's about 15; a GPU, memory and cooling are not counted)."
    )
    return told
