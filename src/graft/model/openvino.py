"""A frozen prefix in OpenVINO: the same outputs from a compiled graph, where the processor runs that faster.

A network is traced once, with the outputs of all its stages. The graph is kept in the home and found there under the
content key of each stage: the stages before a boundary need no new one when what comes after them has learned.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from graft.core import home
from graft.core.errors import GraftError, PlanError
from graft.core.keys import key
from graft.model.cuts import first
from graft.model.halves import PRECISE, precise, unbiased, unbiased_keys, unmoved, whole_pixels
from graft.model.intel import openvino
from graft.model.modes import evaluating
from graft.model.prefix import Asked, Tensors, reached

MOST = 4_000_000_000  # bytes of graphs that are kept
LEAST = 8  # rows that a stream has at least: with fewer it would read the weights more often than it is worth
SQUARE = 8  # positions to a side that are summed up by a layer
PRECISION = {"float32": "f32", "bfloat16": "bf16"}


@cache
def dtypes() -> tuple[str, ...]:
    """In which numbers this machine's processor computes at full speed, none where OpenVINO is not installed."""
    try:
        able = openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except (PlanError, RuntimeError):
        return ()
    return tuple(PRECISION) if "BF16" in able else ("float32",)


def compiled(
    network: nn.Module, ids: Mapping[str, str], inputs: Tensors, wanted: Sequence[Asked], dtype: str
) -> Callable[[Tensors], dict[str, torch.Tensor]]:
    """The function from inputs to the outputs of some stages.

    Args:
        ids: stage → content key of its output, all stages in order.
        inputs: an example of them, of the one batch size that the function will see.
        wanted: the stages asked for, in order.

    Raises:
        PlanError: OpenVINO is not installed, or cannot run this network.
    """
    package, threads = openvino(), torch.get_num_threads()
    rows = len(next(iter(inputs.values())))
    # Threads that each have rows of their own wait for one another once a batch, not at every layer.
    streams = max(count for count in range(1, max(1, min(threads, rows // LEAST)) + 1) if rows % count == 0)
    parts = [slice(at, at + rows // streams) for at in range(0, rows, rows // streams)]
    try:
        whole = _read(package, network, ids, {name: value[parts[0]] for name, value in inputs.items()}, wanted[-1].name)
        kept = [_given(whole.output(one.name).get_node().input_value(0), one) for one in wanted]
        part = package.Model(kept, whole.get_parameters())
        if dtype != "float32":
            whole_pixels(part)
            unbiased_keys(part)
            unbiased(part)
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISION[dtype],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": str(streams),
        }
        graph = package.Core().compile_model(part, "CPU", settings)
        asks = [graph.create_infer_request() for _ in parts]
    except GraftError:
        raise
    except Exception as error:  # tracing runs the network's own code, and conversion knows no list of what it refuses
        raise PlanError(f"OpenVINO cannot run this network: {type(error).__name__}: {error}") from error

    def run(batch: Tensors) -> dict[str, torch.Tensor]:
        fed = [batch[name].contiguous().numpy() for name in inputs]
        for ask, at in zip(asks, parts, strict=True):
            ask.start_async([value[at] for value in fed], share_inputs=True)
        for ask in asks:
            ask.wait()
        said = [[ask.get_output_tensor(at).data for ask in asks] for at in range(len(wanted))]
        return {one.name: torch.from_numpy(np.concatenate(each)) for one, each in zip(wanted, said, strict=True)}

    return run


def _given(output: Any, asked: Asked) -> Any:
    """A stage's output, or the mean over its positions.

    OpenVINO computes all that lies between the last layer and an output in float32. So that maps of which but the mean
    is wanted are not, a layer of ones sums them up: square by square, of at most 8 × 8.
    """
    count = len(output.get_partial_shape())
    if not asked.pool or count < 3:
        return output
    from openvino import opset13 as ops

    channels, squares = count - 1 if asked.channels else 1, 1
    if count == 4 and channels == 1 and output.get_partial_shape().is_static:
        _, width, *sides = output.get_shape()
        kernel = [max(size for size in range(1, SQUARE + 1) if side % size == 0) for side in sides]
        ones = ops.constant(np.ones((width, 1, 1, *kernel), np.float32))
        output = unmoved(ops.group_convolution(output, ones, kernel, [0, 0], [0, 0], [1, 1]).output(0))
        squares = kernel[0] * kernel[1]
    mean = ops.reduce_mean(output, np.array([at for at in range(1, count) if at != channels]), False)
    return (ops.multiply(mean, np.float32(1 / squares)) if squares > 1 else mean).output(0)


def _read(package: Any, network: nn.Module, ids: Mapping[str, str], inputs: Tensors, last: str) -> Any:
    """A graph that reaches this stage: the one in the home, or a new one of the whole network."""
    shapes = [(name, tuple(value.shape)) for name, value in inputs.items()]
    names = {stage: key(package.__version__, PRECISE, stage, id, shapes) for stage, id in ids.items()}
    place, whole = home.folder("graphs"), names[list(ids)[-1]]
    with home.lock("graphs", whole):
        found = place / f"{names[last]}.txt"  # names the folder of the graph that has this stage
        at = place / (found.read_text(encoding="utf-8") if found.exists() else whole)
        if not (at / "graph.xml").exists():
            at = place / whole
            model = _traced(package, network, list(ids), inputs)
            with home.storage():
                at.mkdir(exist_ok=True)
                package.save_model(model, at / "new.xml", compress_to_fp16=False)
                (at / "new.bin").replace(at / "graph.bin")
                home.write_text(at / "graph.xml", precise((at / "new.xml").read_text(encoding="utf-8")))
                (at / "new.xml").unlink()
            for name in names.values():
                home.write_text(place / f"{name}.txt", at.name)
            home.evict(MOST, "graphs", frozenset({at.name}))
        home.touch(at)
        return package.Core().read_model(at / "graph.xml")


def _traced(package: Any, network: nn.Module, names: Sequence[str], inputs: Tensors) -> Any:
    """The graph with these stages' outputs; two rows are enough to trace it by."""
    some = tuple(value[:2].contiguous() for value in inputs.values())
    with torch.no_grad(), evaluating(network), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that a trace holds fixed: so they are
        body = torch.jit.trace(_Captured(network, names, list(inputs)), some, strict=False, check_trace=False)
        shapes = [package.PartialShape(list(value.shape)) for value in inputs.values()]
        model = package.convert_model(body, example_input=some, input=shapes)
    for output, name in zip(model.outputs, names, strict=True):
        output.get_tensor().set_names({name})
    return model


class _Captured(nn.Module):
    """The network as far as its last stage, with every stage's output for its answer."""

    def __init__(self, network: nn.Module, names: Sequence[str], fed: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names, self.fed = network, names, fed

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The stages' outputs, in order."""
        fed = dict(zip(self.fed, inputs, strict=True))
        # Cloned: a later layer may work in place on it.
        found = reached(self.network, self.names, fed, lambda _, output: first(output).float().clone())
        return tuple(found[name] for name in self.names)
