"""What the formats share that are made from torch: a network's inputs, their free sizes, and the program it becomes."""

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")


def free(network: nn.Module, example: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int | str]]) -> Any:
    """The sizes that are free, as torch's exporters want them: what a signature takes as **more lies one level deeper.

    Args:
        shapes: of every input, the sizes that are free by name: ["batch", 3, 224, 224].
    """
    dims = {
        name: {at: torch.export.Dim.DYNAMIC for at, size in enumerate(shapes[name]) if isinstance(size, str)}
        for name in example
    }
    kinds = inspect.signature(network.forward).parameters.values()
    gathering = next((p.name for p in kinds if p.kind is p.VAR_KEYWORD), None)
    named = {p.name for p in kinds}
    if gathering is None:
        return dims
    deeper = {name: sizes for name, sizes in dims.items() if name not in named}
    return {**{n: d for n, d in dims.items() if n in named}, **({gathering: deeper} if deeper else {})}


def program(
    network: nn.Module, example: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int | str]]
) -> torch.export.ExportedProgram:
    """The network as a program of torch's own operations, without a trace of where its code stood."""
    with quiet():
        made = torch.export.export(network, (), dict(example), dynamic_shapes=free(network, example, shapes))
    for node in made.graph.nodes:
        node.meta.pop("stack_trace", None)
    return made


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The exporters report their progress on standard output, which is ours, and log what concerns nobody."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
