"""A compiled graph made ready for bfloat16, whose numbers keep 8 bits: what need not be rounded is not.

Pixels are whole numbers up to 255, which bfloat16 holds exactly; brought to mean 0 and deviation 1 they are not. So the
scale moves into the weights of the first layer. Biases and layer norms stay in float32, the errors of rounded weights
cancel, and keys, which are rounded, lose what all of them have in common.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from graft.model.intel import openvino

# How many of the weights' axes, the first ones, tell outputs apart; 0: all but the last (OpenVINO turns matrices so).
LAYERS = {"Convolution": 1, "GroupConvolution": 2, "MatMul": 0}
TURNED = ("Reshape", "Transpose", "Split", "VariadicSplit", "Squeeze", "Unsqueeze", "Gather", "StridedSlice", "Slice")
PIECE = 64  # weights, at most, over which errors are passed on
MOST = float(np.finfo(np.float32).max)
NORMS = re.compile(r'<layer [^>]*name="[^"]*::layer_norm/[^"]*" type="(MVN|Multiply|Add)"[^>]*>\s*<data [^>]*/>')
PRECISE = '<rt_info><attribute name="precise" version="0" /></rt_info>'


def whole_pixels(model: Any) -> None:
    """Feed a first layer whole numbers instead of scaled ones: Σ (p·s + t)·w = Σ (p − c)·(s·w) + Σ 1·((c·s + t)·w).

    c is the whole number that the scale takes nearest to 0. The second sum is over a channel of ones, so that where the
    picture is padded nothing is added, as before.
    """
    from openvino import opset13 as ops

    for layer in model.get_ordered_ops():
        found = _scaled(layer)
        if found is None:
            continue
        pixels, scale, shift = found
        weights = _weights(layer)
        assert weights is not None
        zero = np.round(-shift / scale)
        batch, _, *size = pixels.get_shape()
        fed = ops.concat([ops.subtract(pixels, _constant(zero)), _constant(np.ones((batch, 1, *size)))], 1)
        rest = ((zero * scale + shift) * weights).sum(1, keepdims=True)
        layer.input(0).replace_source_output(fed.output(0))
        layer.input(1).replace_source_output(_constant(np.concatenate([weights * scale, rest], 1)).output(0))
    model.validate_nodes_and_infer_types()


def precise(graph: str) -> str:
    """A graph as it is saved, its layer norms marked to run in float32.

    What enters them is not rounded, nor what they compute, but once what leaves them. No call sets the mark, but it is
    read from a file.
    """
    return NORMS.sub(lambda found: found[0] + PRECISE, graph)


def unbiased(model: Any) -> None:
    """Round every layer's weights so that their errors cancel, and spare its bias, which would be rounded with it."""
    for layer in model.get_ordered_ops():
        weights = _weights(layer)
        if weights is None:
            continue
        weights = _with_scale(layer, weights)
        outputs = LAYERS[layer.get_type_name()] or weights.ndim - 1
        layer.input(1).replace_source_output(_constant(cancelling(weights, outputs)).output(0))
        takers = list(layer.output(0).get_target_inputs())
        if [taker.get_node().get_type_name() for taker in takers] == ["Add"]:
            takers[0].replace_source_output(unmoved(layer.output(0)))
    model.validate_nodes_and_infer_types()


def unbiased_keys(model: Any) -> None:
    """Take the bias off every attention's keys: it adds the same to what a query says of each, which softmax takes off.

    Learned without a gradient, it may be far larger than what tells keys apart, and the key be rounded for its sake.
    """
    for attention in model.get_ordered_ops():
        if attention.get_type_name() != "ScaledDotProductAttention":
            continue
        total = _biased(attention.input_value(1))
        if total is None:
            continue
        ends = _ends(total.output(0))
        if any(end.get_node().get_friendly_name() != attention.get_friendly_name() for end in ends):
            continue
        seen = _channels(total, ends)
        keys = np.array([end.get_index() == 1 for end in ends])
        bias = _constant(np.where(seen[keys].any(0) & ~seen[~keys].any(0), 0, total.input_value(1).get_node().data))
        total.input(1).replace_source_output(bias.output(0))


def _biased(output: Any) -> Any | None:
    """The sum of a layer and its bias that is merely turned and cut on its way here."""
    node = output.get_node()
    while node.get_type_name() in TURNED:
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Add" or _weights(node.input_value(0).get_node()) is None:
        return None
    plain = _by_channel(node.input_value(1).get_node()) is not None
    return node if plain and node.get_output_partial_shape(0).is_static else None


def _ends(output: Any) -> list[Any]:
    """Where a sum goes, once it has been turned and cut."""
    found = []
    for taker in output.get_target_inputs():
        node = taker.get_node()
        turned = node.get_type_name() in TURNED and taker.get_index() == 0
        found += [end for each in node.outputs() for end in _ends(each)] if turned else [taker]
    return found


def _channels(total: Any, ends: Sequence[Any]) -> np.ndarray:
    """Which channels of a sum come to each end, found by sending their numbers there. Shape: (end, channel)."""
    package = openvino()
    shape = total.output(0).get_shape()
    numbers = package.opset13.parameter(shape, np.float32)
    takers = total.output(0).get_target_inputs()
    for taker in takers:
        taker.replace_source_output(numbers.output(0))
    turned = package.Model([end.get_source_output() for end in ends], [numbers])
    run = package.Core().compile_model(turned, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = run([np.broadcast_to(np.arange(shape[-1], dtype=np.float32), shape)]).values()
    for taker in takers:
        taker.replace_source_output(total.output(0))
    seen = np.zeros((len(ends), shape[-1]), bool)
    for here, channels in zip(seen, found, strict=True):
        here[channels.astype(int).ravel()] = True
    return seen


def unmoved(output: Any) -> Any:
    """A layer's output, one step further: within bounds that no number is beyond.

    A bias right behind a layer becomes a part of it and is rounded with its weights. Behind this step, which costs
    hardly anything, it is added in float32; and a mean behind it is taken of sums in float32.
    """
    from openvino import opset13 as ops

    return ops.clamp(output, -MOST, MOST).output(0)


def cancelling(weights: np.ndarray, outputs: int = 1) -> np.ndarray:
    """Weights in bfloat16, each rounded together with what the rounding of the ones before it has left.

    What they are multiplied with is positive behind a ReLU, and alike from place to place: rounded one by one, their
    errors add up to a shift of the output. The sum of the errors is kept small for the same reason in Guo et al.,
    SQuant, ICLR 2022.

    Args:
        weights: the first axes, `outputs` of them, tell outputs apart; all others belong to one output.
    """
    each = weights.reshape(-1, int(np.prod(weights.shape[outputs:])))
    count = each.shape[1]
    piece = min(count, PIECE)
    lines = np.pad(each, ((0, 0), (0, -count % piece))).reshape(-1, piece).T.copy()
    left = np.zeros_like(lines[0])
    for line in lines:
        aim = line + left
        line[:] = rounded(aim)
        left = aim - line
    return lines.T.reshape(len(each), -1)[:, :count].reshape(weights.shape)


def rounded(values: np.ndarray) -> np.ndarray:
    """The nearest numbers of bfloat16, of two as near the even one, as float32."""
    near: np.ndarray = torch.tensor(values).bfloat16().float().numpy()
    return near


def _weights(layer: Any) -> np.ndarray | None:
    """A layer's weights, where it has any that stand fast."""
    if layer.get_type_name() not in LAYERS:
        return None
    source = layer.input_value(1).get_node()
    if source.get_type_name() != "Constant" or source.data.ndim < 2:
        return None
    return np.asarray(source.data, np.float32)


def _with_scale(layer: Any, weights: np.ndarray) -> np.ndarray:
    """A matrix and the scale of each of its outputs in one: else they would become one later, and be rounded anew."""
    takers = list(layer.output(0).get_target_inputs())
    if weights.ndim != 2 or [taker.get_node().get_type_name() for taker in takers] != ["Multiply"]:
        return weights
    step = takers[0].get_node()
    scale = _by_channel(step.input_value(1).get_node())
    if scale is None:
        return weights
    for taker in step.output(0).get_target_inputs():
        taker.replace_source_output(layer.output(0))
    takers[0].replace_source_output(step.input_value(1))  # so that the layer has no taker but those
    scaled: np.ndarray = weights * scale[:, None]
    return scaled


def _by_channel(node: Any) -> np.ndarray | None:
    """One number for each entry of the last axis, where a node is that. Shape: (channel,)."""
    if node.get_type_name() != "Constant" or node.data.shape[-1:] != (node.data.size,):
        return None
    numbers: np.ndarray = np.asarray(node.data, np.float32).ravel()
    return numbers


def _scaled(layer: Any) -> tuple[Any, np.ndarray, np.ndarray] | None:
    """Whole pixels, and by how much they are scaled and then shifted, channel by channel, before this layer."""
    if layer.get_type_name() != "Convolution":
        return None
    steps = [layer.input_value(0).get_node()]
    for wanted in ("Add", "Multiply", "Convert"):
        if steps[-1].get_type_name() != wanted:
            return None
        steps.append(steps[-1].input_value(0).get_node())
    if steps[-1].get_type_name() != "Parameter" or steps[-1].get_element_type().to_string() != "u8":
        return None
    shift, scale = (step.input_value(1).get_node() for step in steps[:2])
    if any(one.get_type_name() != "Constant" or one.data.ndim != 4 for one in (shift, scale)):
        return None
    return steps[2].output(0), scale.data, shift.data


def _constant(values: np.ndarray) -> Any:
    from openvino import opset13 as ops

    return ops.constant(np.ascontiguousarray(values, np.float32))
