"""Telemetry: libraries that would report to their makers, imported so that they do not.

On import OpenVINO tells Google Analytics of it, and writes the id of a client into the home folder. ONNX Runtime (1.32)
tells Microsoft of its sessions, and writes the id of the device there.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def import_onnxruntime() -> Any:
    """The package onnxruntime. Raises ImportError where it is not installed."""
    _switch_off()
    import onnxruntime

    return onnxruntime


def import_openvino() -> Any:
    """The package openvino. Raises ImportError where it is not installed."""
    _switch_off()
    import openvino

    return openvino


def _switch_off() -> None:
    """For all of them, because one may import another."""
    # Read when the library is loaded; `disable_telemetry_events` comes too late for what loading sends.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # OpenVINO has a stand-in that does nothing for where this package cannot be imported.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
