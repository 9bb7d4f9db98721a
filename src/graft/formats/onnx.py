"""ONNX: the whole network, normalisation included, for any batch size; read by ONNX Runtime without torch."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE = "model.onnx"


def write(network: "nn.Module", example: "Mapping[str, Tensor]", path: Path) -> None:
    """Write `network(**example)` as one self-contained file with a free batch size.

    The example has two rows or more, so that none of its sizes is mistaken for a constant.
    """
    import torch

    network = network.eval().cpu()
    inputs = {name: value.cpu() for name, value in example.items()}
    batch = torch.export.Dim("batch", min=1)
    # The exporter reports its progress on standard output, which is ours, and logs what concerns nobody.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network, (), kwargs=inputs, dynamic_shapes={name: {0: batch} for name in inputs},
            input_names=list(inputs), output_names=["logits"], dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
        assert program is not None
        program.save(str(path), external_data=False)


def read(path: Path) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """The function that a file holds: prepared examples (B, …) by name → logits (B, outputs)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.asarray(session.run(["logits"], dict(inputs))[0])

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
