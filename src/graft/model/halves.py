"""A compiled graph made ready for bfloat16, whose numbers keep 8 bits: what need not be rounded is not.

Pixels are whole numbers up to 255, which bfloat16 holds exactly; brought to mean 0 and deviation 1 they are not. So the
scale moves into the weights of the first layer. And where rounded weights change a network too much, each of them can
be the sum of two numbers of bfloat16, which keeps 16 bits of it and doubles the products.
"""

from typing import Any

import numpy as np
import torch

LAYERS = {"Convolution": "convolution", "GroupConvolution": "group_convolution", "MatMul": "matmul"}
ALIKE = ("strides", "pads_begin", "pads_end", "dilations", "auto_pad")


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


def in_two(model: Any) -> None:
    """Make each layer the sum of two: of its weights rounded to bfloat16, and of what the rounding left."""
    from openvino import opset13 as ops

    for layer in model.get_ordered_ops():
        weights = _weights(layer)
        if weights is None:
            continue
        near = rounded(weights)
        like = layer.get_attributes()
        names = ("transpose_a", "transpose_b") if layer.get_type_name() == "MatMul" else ALIKE
        made = getattr(ops, LAYERS[layer.get_type_name()])
        rest = made(layer.input_value(0), _constant(weights - near), *(like[name] for name in names))
        takers = list(layer.output(0).get_target_inputs())
        whole = ops.add(layer.output(0), rest)
        for taker in takers:
            taker.replace_source_output(whole.output(0))
        layer.input(1).replace_source_output(_constant(near).output(0))
    model.validate_nodes_and_infer_types()


def rounded(values: np.ndarray) -> np.ndarray:
    """The nearest numbers of bfloat16, of two as near the even one, as float32."""
    near: np.ndarray = torch.tensor(values).bfloat16().float().numpy()
    return near


def _weights(layer: Any) -> np.ndarray | None:
    """A layer's weights, where it has any that stand fast."""
    if layer.get_type_name() not in LAYERS:
        return None
    source = layer.input_value(1).get_node()
    return np.asarray(source.data, np.float32) if source.get_type_name() == "Constant" else None


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
