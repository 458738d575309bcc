"""Telemetry: libraries that would report to their makers, imported so that they do not.

On import OpenVINO tells Google Analytics of it, and writes the id of a client into the home folder. ONNX Runtime (1.32)
tells Microsoft of its sessions, and writes the id of the device there. Ray sends a report an hour; where that is
switched off it reports that, and asks addresses of cloud providers whether it runs there.
"""

from __future__ import annotations

import os
import secrets
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


def import_ray() -> Any:
    """The package ray. Raises ImportError where it is not installed."""
    _switch_off()
    import ray

    return ray


def keep_ray_at_home() -> None:
    """Before a Ray is started on this machine: let it listen on loopback only, and for whoever has its token only.

    The process that reports is not started, nor are those that add machines and collect logs.
    """
    _switch_off()
    if "RAY_AUTH_MODE" not in os.environ:
        # In the environment, because Ray would keep a token of its own in the home folder.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    stay_on_loopback()
    import ray._private.node

    for start in ("start_api_server", "start_monitor", "start_log_monitor"):
        setattr(ray._private.node.Node, start, lambda self, **options: None)


def stay_on_loopback() -> None:
    """Let the Ray of this process, and what it starts, take 127.0.0.1 for the address of this machine.

    It would ask the system which of its addresses leads to a name server of Google.
    """
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray._private.ray_constants
    import ray._raylet

    # For a package that has read the environment already.
    native: Any = ray._raylet
    native.Config.initialize("")
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False


def _switch_off() -> None:
    """For all of them, because one may import another."""
    # Read when the library is loaded; `disable_telemetry_events` comes too late for what loading sends.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # OpenVINO has a stand-in that does nothing for where this package cannot be imported.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
