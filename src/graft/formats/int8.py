"""ONNX in eight bits: the weights of the backbone and, where it convolves, its activations; a little less accurate."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from graft.core.shelf import take

FILES = ("model.int8.onnx",)
BOUND = 0.02  # of the metric: it loses no more on validation, with 95 % confidence, or it is not kept
BATCH = 8  # samples that are run at once to see how large activations become


def convert(onnx: Path, path: Path, samples: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Write the network of an ONNX file in eight bits; head and novelty stay as they are.

    Convolutions have the ranges that the samples show (static quantisation). Where there are more matrix products than
    convolutions, only these are rounded, and activations as they come (dynamic), which suits transformers better.
    """
    import onnx as graphs
    from onnxruntime import quantization

    model = graphs.load(onnx, load_external_data=False)
    graph, spared = model.graph, _behind(model.graph)
    counts = {kind: sum(node.op_type == kind for node in graph.node) for kind in ("Conv", "MatMul")}
    with _quiet(), TemporaryDirectory() as place:
        if counts["MatMul"] >= counts["Conv"]:
            del graph.value_info[:]  # the quantiser turns weights around, and stumbles over the shapes that they had
            spared += [f"{name}_MatMul" for name in spared]  # what it makes of a Gemm
            quantization.quantize_dynamic(model, path, op_types_to_quantize=["MatMul"], nodes_to_exclude=spared)
            return
        ready = Path(place, "ready.onnx")
        quantization.quant_pre_process(onnx, ready, skip_symbolic_shape=True)
        quantization.quantize_static(
            ready, path, _Samples(samples), op_types_to_quantize=["Conv"], per_channel=True, nodes_to_exclude=spared
        )


def read(path: Path) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """The function that a file holds, as the ONNX format reads it."""
    return take("formats", "onnx").read(path)  # type: ignore[no-any-return]


class _Samples:
    """Prepared examples, as the quantiser asks for them."""

    def __init__(self, samples: Iterable[Mapping[str, np.ndarray]]) -> None:
        self._left = iter(samples)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._left, None)


def _behind(graph: Any) -> list[str]:
    """Names of the nodes that the features are not made of; by word, of those that make the logits."""
    makers = {output: node for node in graph.node for output in node.output}
    goals = [output.name for output in graph.output]
    waiting = ["features"] if "features" in goals else [*makers["logits"].input]
    inside: set[str] = set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in inside:
            inside.add(node.name)
            waiting += node.input
    return [node.name for node in graph.node if node.name not in inside]


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser recommends what it is then given, as a warning of the root logger."""
    before = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(before)
