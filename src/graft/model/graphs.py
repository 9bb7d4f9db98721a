"""ONNX graphs of one task each → one graph of all: what they compute alike is computed once.

Two tensors are the same where their bytes are, and two operations where they do the same to the same tensors. So the
frozen part that heads share is found, not declared: to the layer where the networks begin to differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import onnx

WORK = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Attention", "LSTM", "GRU")  # operations that take the time


@dataclass(frozen=True)
class Merged:
    """What became of several graphs."""

    model: onnx.ModelProto
    once: int  # operations that take the time, in the merged graph
    apart: int  # the same in all the graphs together
    shared: int  # bytes of tensors that are kept once and were there several times


def merge(graphs: Mapping[str, Path], common: str = "features") -> Merged:
    """One graph that gives each one's outputs as output.NAME; `common` keeps its name where all have the same one.

    Raises:
        ValueError: a graph holds what cannot be merged: branches, functions of its own, other inputs than the first.
    """
    loaded = {name: onnx.load(path, load_external_data=False) for name, path in graphs.items()}
    first = next(iter(loaded.values()))
    whole = onnx.ModelProto()
    whole.CopyFrom(first)
    whole.graph.ClearField("node")
    for field in ("initializer", "output", "value_info"):
        whole.graph.ClearField(field)
    kept = _Kept(whole.graph)
    outputs: dict[str, dict[str, str]] = {}
    apart = 0
    for name, model in loaded.items():
        _check(name, model, first)
        names = kept.add(model.graph)
        outputs[name] = {output.name: names[output.name] for output in model.graph.output}
        apart += sum(node.op_type in WORK for node in model.graph.node)
    alike = len({said.get(common) for said in outputs.values()}) == 1
    for name, model in loaded.items():
        for output in model.graph.output:
            if output.name == common and alike:
                if name == next(iter(loaded)):
                    kept.give(outputs[name][common], common, output)
            else:
                kept.give(outputs[name][output.name], f"{output.name}.{name}", output)
    once = sum(node.op_type in WORK for node in whole.graph.node)
    return Merged(whole, once, apart, kept.shared)


class _Kept:
    """What is in the merged graph already: tensors and operations by what they hold and do."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph, self.shared = graph, 0
        self.known: dict[bytes, list[str]] = {}

    def add(self, graph: onnx.GraphProto) -> dict[str, str]:
        """Take a graph in; returns under which name each of its tensors is known."""
        names = {"": "", **{one.name: one.name for one in graph.input}}
        for tensor in graph.initializer:
            bare = onnx.TensorProto()
            bare.CopyFrom(tensor)
            bare.name = ""
            digest = sha256(b"tensor" + bare.SerializeToString(deterministic=True)).digest()
            if digest not in self.known:
                self.known[digest] = [f"t{len(self.known)}"]
                self.graph.initializer.add().CopyFrom(tensor)
                self.graph.initializer[-1].name = self.known[digest][0]
            else:
                self.shared += tensor.ByteSize()
            names[tensor.name] = self.known[digest][0]
        for node in graph.node:
            mine = onnx.NodeProto()
            mine.CopyFrom(node)
            mine.name, mine.doc_string = "", ""
            mine.ClearField("metadata_props")
            mine.input[:] = [names[one] for one in node.input]
            mine.output[:] = ["" if not one else "." for one in node.output]
            digest = sha256(b"node" + mine.SerializeToString(deterministic=True)).digest()
            if digest not in self.known:
                at = len(self.known)
                self.known[digest] = [f"t{at}.{place}" if one else "" for place, one in enumerate(node.output)]
                mine.name, mine.output[:] = f"n{at}", self.known[digest]
                self.graph.node.add().CopyFrom(mine)
            names.update(zip(node.output, self.known[digest], strict=True))
        return names

    def give(self, tensor: str, name: str, like: onnx.ValueInfoProto) -> None:
        """Make a tensor an output of the merged graph, under a name."""
        self.graph.node.add().CopyFrom(onnx.helper.make_node("Identity", [tensor], [name], name=f"give {name}"))
        self.graph.output.add().CopyFrom(like)
        self.graph.output[-1].name = name


def _check(name: str, model: onnx.ModelProto, first: onnx.ModelProto) -> None:
    if model.functions or any(a.HasField("g") or a.graphs for node in model.graph.node for a in node.attribute):
        raise ValueError(f"{name} holds branches or functions of its own")
    mine, theirs = ([one.SerializeToString() for one in m.graph.input] for m in (model, first))
    if mine != theirs or sorted(map(str, model.opset_import)) != sorted(map(str, first.opset_import)):
        raise ValueError(f"{name} takes other inputs than the first, or was exported by another version")
