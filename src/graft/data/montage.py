"""What recordings have in common: their channels, sampling rate and unit."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graft.core.errors import DataError, nearest
from graft.data.traces import File, places, plain, shown, volts

MICROVOLT = "µV"


@dataclass
class Montage:
    """How all files can be read alike."""

    channels: tuple[str, ...]
    rate: float  # Hz; 0: not known
    resample: float  # Hz; 0: nothing is resampled
    unit: str  # of voltages; "": no file says any
    lacking: dict[str, tuple[str, ...]] = field(default_factory=dict)  # channels that a file lacks
    notes: list[str] = field(default_factory=list)


def common(
    files: Mapping[str, File],
    channels: Sequence[str] = (),
    rate: float = 0.0,
    resample: float = 0.0,
    unit: str = "",
    missing: str = "refuse",
) -> Montage:
    """The channels that all files have, the lowest of their rates, one unit for their voltages.

    Args:
        channels: names that were asked for, in their order: files that lack one are told, unless `missing` fills it.
        rate: Hz, of files that do not say theirs.
        resample: Hz, to which all are to be brought.
        unit: of voltages, to which all are to be brought, and of files that do not say theirs.

    Raises:
        DataError: there is no such channel, or none that all have.
    """
    made = Montage((), 0.0, resample, unit)
    _channels(files, channels, missing, made)
    _rates(files, rate, made)
    _units(files, made)
    return made


def _channels(files: Mapping[str, File], asked: Sequence[str], missing: str, made: Montage) -> None:
    first = next(iter(files.values())).channels
    if asked:
        known = list(dict.fromkeys(name for file in files.values() for name in (*file.channels, *file.others)))
        held = {plain(name) for name in known}
        single = len(asked) == 1 and all(len(file.channels) == 1 for file in files.values())
        if not single and (absent := [name for name in asked if plain(name) not in held]):
            near = nearest(absent[0], known)
            raise DataError(f"No file has the channels {shown(absent)}.{near} There are {shown(known, 40)}.")
        made.channels = tuple(asked)
        if missing == "refuse":
            for path, file in files.items():
                at = places(asked, (*file.channels, *file.others))
                if lost := tuple(name for name, i in zip(asked, at, strict=True) if i is None):
                    made.lacking[path] = lost
        return
    if all(len(file.channels) == 1 for file in files.values()):
        made.channels = first
        return
    counts = Counter(name for file in files.values() for name in {plain(name) for name in file.channels})
    made.channels = tuple(name for name in first if counts[plain(name)] == len(files))
    if not made.channels:
        other = next(
            file.channels for file in files.values() if not {*map(plain, file.channels)} & {*map(plain, first)}
        )
        raise DataError(
            f"The recordings have no channel in common: one has {shown(first)}, others {shown(other)}. Name channels= "
            "that some of them have, or read them apart."
        )
    if partial := sorted(
        {name for file in files.values() for name in file.channels if counts[plain(name)] < len(files)}
    ):
        made.notes.append(
            f"{len(made.channels)} channels are in all {len(files)} recordings; {shown(partial)} are not, and are left "
            "out. Name channels= to have them: recordings that lack one are then left out."
        )
    if any([*map(plain, file.channels)] != [*map(plain, first)] for file in files.values()) and not partial:
        made.notes.append("The channels stand in different orders: they are matched by name.")


def _rates(files: Mapping[str, File], asked: float, made: Montage) -> None:
    counts = Counter(file.rate for file in files.values() if file.rate)
    silent = sum(not file.rate for file in files.values())
    usual = counts.most_common(1)[0][0] if counts else 0.0
    made.rate = asked if asked and (silent or not counts) else usual
    if not made.rate:
        made.notes.append("The sampling rate is not known: durations count samples. Name it, in Hz, with rate=.")
    elif silent and not asked:
        made.notes.append(f"{silent} recordings do not say their sampling rate: it is taken to be {made.rate:g} Hz.")
    elif asked and counts and asked not in counts:
        made.notes.append(
            f"rate={asked:g} was asked for, but {sum(counts.values())} recordings say their own: it counts."
        )
    if silent and made.rate:
        counts[made.rate] += silent
    if len(counts) > 1 and not made.resample:
        # The lowest: what is sampled more finely holds frequencies that the others lack, and would give a class away.
        made.resample = min(counts)
        several = ", ".join(f"{counts[one]} at {one:g} Hz" for one in sorted(counts))
        made.notes.append(
            f"The recordings differ in sampling rate ({several}): all are brought to {made.resample:g} Hz."
        )


def _units(files: Mapping[str, File], made: Montage) -> None:
    kept = {plain(name) for name in made.channels}
    units = Counter(
        unit
        for file in files.values()
        for name, unit in zip(file.channels, file.units, strict=bool(file.units))
        if plain(name) in kept
    )
    voltages = {unit: count for unit, count in units.items() if volts(unit)}
    if voltages and not made.unit:
        made.unit = MICROVOLT
    if others := [unit for unit in voltages if volts(unit) != volts(made.unit)]:
        made.notes.append(f"Values in {shown(others)} are converted to {made.unit}.")
    silent = sum(not any(file.units) for file in files.values())
    if made.unit and silent:
        made.notes.append(f"{silent} recordings do not say their unit: their values are taken as {made.unit}.")
    stranger = sorted({unit for unit in units if unit and not volts(unit)})
    if len(stranger) > 1:
        made.notes.append(f"The channels are in {shown(stranger)}: these are not converted.")
