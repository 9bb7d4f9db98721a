"""OpenVINO, where it is installed, and silent."""

import sys
from typing import Any

from graft.core.errors import PlanError


def openvino() -> Any:
    """The package. Its converter would tell its makers of each use, unasked, over the network: here it does not.

    Raises:
        PlanError: OpenVINO is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it then takes a stub of its own
    try:
        import openvino
    except ImportError:
        raise PlanError("OpenVINO is not installed: pip install openvino.") from None
    return openvino
