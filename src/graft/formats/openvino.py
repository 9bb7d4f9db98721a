"""OpenVINO: the ONNX graph as Intel's runtime wants it (model.xml and model.bin), computed in full precision."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from graft.model.intel import openvino

FILES = ("model.xml", "model.bin")


def convert(onnx: Path, path: Path, samples: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Write the network of an ONNX file; no samples are needed.

    Raises:
        PlanError: OpenVINO is not installed.
    """
    package = openvino()
    package.save_model(package.convert_model(str(onnx)), str(path), compress_to_fp16=False)


def read(path: Path) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """The function that the files hold, with all that it gives, by name."""
    settings = {"INFERENCE_PRECISION_HINT": "f32"}  # where a processor has bfloat16, it would be used
    compiled = openvino().Core().compile_model(str(path), "CPU", settings)
    names = [output.any_name for output in compiled.outputs]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        said = compiled.create_infer_request().infer(dict(inputs))  # one of its own: several threads may ask
        return {name: np.array(said[at]) for at, name in enumerate(names)}

    return run
