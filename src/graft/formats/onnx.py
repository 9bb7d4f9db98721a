"""ONNX: the whole network, normalisation included, for any batch size; read by ONNX Runtime without torch."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.core.cores import cores

if TYPE_CHECKING:
    from torch import Tensor, nn

FILES = ("model.onnx",)


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

    from graft.model.exporting import free, quiet

    network = network.eval().cpu()
    inputs = {name: value.cpu() for name, value in example.items()}
    with quiet():
        program = torch.onnx.export(
            network, (), kwargs=inputs, dynamic_shapes=free(network, inputs, shapes),
            input_names=list(inputs), output_names=list(outputs), dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
        assert program is not None
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()  # where the code stood that made it
        program.save(str(path), external_data=False)


def read(path: Path) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """The function that a file holds: prepared examples (B, …) to all that it gives, by name.

    Those are logits (B, outputs), and perhaps features and novelty (B,) of the examples.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave cores to decoding
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, map(np.asarray, session.run(names, dict(inputs))), strict=True))

    return run
