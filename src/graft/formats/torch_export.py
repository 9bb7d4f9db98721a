"""torch.export: the whole network as a program that torch loads without its classes (.pt2).

The file is a zip archive. Torch unpickles what stands in some of its places and evaluates what others spell, so nothing
of the kind is written here, and a file that holds any is refused before torch reads it.
"""

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.errors import ExportMismatch

if TYPE_CHECKING:
    from torch import Tensor, nn

FILES = ("model.pt2",)
MEMBERS = re.compile(
    r"[\w-]+/(archive_format|archive_version|byteorder|\.data/(version|serialization_id)|models/model\.json"
    r"|data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json))"
)
SAMPLE = re.compile(r"[\w-]+/data/sample_inputs/model\.pt")  # pickled examples: left empty
CALLS = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|torch\.sym_(max|min|float|int|sqrt|not)|math\.(ceil|floor|trunc)"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_)"
)
SYMBOL = re.compile(r"(Pow\()?Symbol\('[su]\d+'(, \w+=True)*\)(?(1), Integer\(\d\)\))")  # or a small power of it
SIZES = re.compile(
    r"(Add|Mul|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|Integer|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|int_oo|oo|[\d\s()+\-*/,<>=!&|])*"
)


def write(
    network: "nn.Module",
    example: "Mapping[str, Tensor]",
    path: Path,
    shapes: "Mapping[str, Sequence[int | str]]",
    outputs: Sequence[str] = ("logits",),
) -> None:
    """Write `network(**example)` as one file; the arguments are those of the ONNX format."""
    import torch

    from graft.model.exporting import program, quiet

    made = program(network.eval().cpu(), {name: value.cpu() for name, value in example.items()}, shapes)
    made._example_inputs = None
    with quiet():
        torch.export.save(made, path, extra_files={"outputs": json.dumps(list(outputs))})


def read(path: Path) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """The function that a file holds, with all that it gives, by name.

    Raises:
        ExportMismatch: it holds what torch would run.
    """
    check(path)
    import torch

    extra = {"outputs": ""}
    network = torch.export.load(path, extra_files=extra).module()
    names = json.loads(extra["outputs"])

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            said = network(**{name: torch.from_numpy(value) for name, value in inputs.items()})
        several = said if isinstance(said, tuple) else (said,)
        return {name: one.numpy() for name, one in zip(names, several, strict=True)}

    return run


def check(path: Path) -> None:
    """Refuse a file with a member that torch would unpickle or evaluate, or that is not of its place.

    Raises:
        ExportMismatch: which one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            fault = next(_faults(archive), None)
    except (zipfile.BadZipFile, ValueError, KeyError, RecursionError, NotImplementedError) as error:
        raise ExportMismatch(f"{path} is no archive of torch.export: {error}.") from None
    if fault:
        raise ExportMismatch(f"{path} {fault}. Nothing of it was read.")


def _faults(archive: zipfile.ZipFile) -> Iterator[str]:
    for member in archive.infolist():
        name = member.filename
        if member.compress_type != zipfile.ZIP_STORED:
            yield f"holds {name!r} compressed, as torch never writes it"
        if SAMPLE.fullmatch(name):
            if member.file_size:
                yield f"holds pickled examples, {name!r}"
        elif not MEMBERS.fullmatch(name) and not re.fullmatch(r"[\w-]+/extra/outputs", name):
            yield f"holds {name!r}, which is no part of an exported network"
        elif name.endswith(".json"):
            for key, value in _leaves(json.loads(archive.read(member))):
                if key == "use_pickle" and value is not False:
                    yield f"holds a pickle, as {name!r} says"
                if key == "expr_str" and not SIZES.fullmatch(SYMBOL.sub("1", str(value))):
                    yield f"holds an expression that is no size, {str(value)[:60]!r}"
                if key == "target" and isinstance(value, str) and not CALLS.fullmatch(value):
                    yield f"calls {value[:60]!r}, which is no operation of a network"


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no list and no object, beside the name under which it stands."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key)
    else:
        yield key, value
