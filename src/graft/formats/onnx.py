"""ONNX: the whole network, normalisation included, for any batch size; read by ONNX Runtime without torch."""

import contextlib
import inspect
import io
import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE = "model.onnx"


def write(
    network: "nn.Module",
    example: "Mapping[str, Tensor]",
    path: Path,
    shapes: "Mapping[str, Sequence[int | str]]",
    outputs: Sequence[str] = ("logits",),
) -> None:
    """Write `network(**example)` as one self-contained file; it gives these outputs, logits first.

    Args:
        example: of two examples or more, so that none of its sizes is mistaken for a constant.
        shapes: of every input, the sizes that are free by name: ["batch", 3, 224, 224].
    """
    import torch

    network = network.eval().cpu()
    inputs = {name: value.cpu() for name, value in example.items()}
    free = {
        name: {at: torch.export.Dim.DYNAMIC for at, size in enumerate(shapes[name]) if isinstance(size, str)}
        for name in inputs
    }
    # The exporter reports its progress on standard output, which is ours, and logs what concerns nobody.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network, (), kwargs=inputs, dynamic_shapes=_nested(network, free),
            input_names=list(inputs), output_names=list(outputs), dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
        assert program is not None
        program.save(str(path), external_data=False)


def _nested(network: "nn.Module", free: dict[str, Any]) -> dict[str, Any]:
    """The same as the exporter wants them: what a signature takes as **more lies one level deeper."""
    kinds = inspect.signature(network.forward).parameters.values()
    gathering = next((p.name for p in kinds if p.kind is p.VAR_KEYWORD), None)
    named = {p.name for p in kinds}
    if gathering is None:
        return free
    deeper = {name: dims for name, dims in free.items() if name not in named}
    return {**{n: d for n, d in free.items() if n in named}, **({gathering: deeper} if deeper else {})}


def read(path: Path) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """The function that a file holds: prepared examples (B, …) by name → logits (B, outputs)."""
    run = read_all(path)
    return lambda inputs: run(inputs)["logits"]


def read_all(path: Path) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """The same with all that it gives, by name: logits, and perhaps the novelty (B,) of the examples."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    options.intra_op_num_threads = len(allowed) or os.cpu_count() or 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave cores to decoding
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, map(np.asarray, session.run(names, dict(inputs))), strict=True))

    return run


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
