"""Cluster: the Ray that a run uses: the one at an address, or one on this machine for as long as the run lasts."""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixsynth_stream.archive.cores import usable_cores
from mixsynth_stream.archive.temporary import temporary_folder
from mixsynth_stream.errors import BackendUnavailableError
from mixsynth_stream.telemetry import import_ray, keep_ray_at_home, stay_on_loopback

# The first version that the engine was tested with. Older ones know no tokens, so that anybody here could use ours.
OLDEST = (2, 60)
# What has come of a source is some kilobytes, and nothing else goes through Ray's memory. It takes no less than 75 MB.
_STORE_BYTES = 80 * 2**20
_STARTS = 3
_ANSWER_S = 5.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# No workers before there is work, because ours have an environment of their own; and none that give way to all other
# programs, as Ray's do.
_ALONE = {"prestart_worker_first_driver": False, "enable_worker_prestart": False, "worker_niceness": 0}
_INSTALL = "pip install 'mixsynth-stream[ray]', or leave --engine ray out"


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one source takes of a machine, as Ray counts it; fractions let several share a core or a card."""

    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.cpus <= 0:
            raise ValueError(f"--cpus-per-job must be above 0, found {self.cpus:g}: a core has room for so many files")


def require_ray() -> Any:
    """The package ray. Raises `BackendUnavailableError` where it is missing or too old."""
    try:
        ray = import_ray()
    except ImportError as error:
        raise BackendUnavailableError(f"--engine ray needs the package ray ({error}): {_INSTALL}") from error
    if tuple(int(part) for part in ray.__version__.split(".")[:2]) < OLDEST:
        raise BackendUnavailableError(
            f"--engine ray needs ray {OLDEST[0]}.{OLDEST[1]} or newer, found {ray.__version__}: {_INSTALL}"
        )
    return ray


@contextmanager
def connected(address: str | None, share: Share, jobs: int | None) -> Iterator[Any]:
    """The package ray, connected. Without an address it runs on this machine, with cores for `jobs` sources at a time.

    A Ray to which this process is connected already is used as it is, and stays. Raises `BackendUnavailableError`.
    """
    ray = require_ray()
    if ray.is_initialized():
        yield ray
        return
    # Ray takes the handler of SIGTERM; who has called us has one that lets files be completed.
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    with temporary_folder("mixsynth-ray-") if address is None else nullcontext() as folder:
        try:
            if address is not None:
                _connect(ray, address)
            else:
                _start(ray, str(folder), share, jobs)
            if is_main:
                signal.signal(signal.SIGTERM, handler)
            _check_share(ray, share)
            with _silent_threads():
                yield ray
        finally:
            ray.shutdown()
            if is_main:
                signal.signal(signal.SIGTERM, handler)


@contextmanager
def _silent_threads() -> Iterator[None]:
    """A thread of Ray would tell on standard error what befalls its processes; entries of the manifest do so."""
    module: Any = sys.modules["ray._private.worker"]
    before = module.print_to_stdstream
    module.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        module.print_to_stdstream = before


def _start(ray: Any, folder: str, share: Share, jobs: int | None) -> None:
    keep_ray_at_home()
    cpus = usable_cores() if jobs is None else max(math.ceil(jobs * share.cpus), 1)
    # A machine that has much else to do fails to start all of its processes in time, and succeeds at the next try.
    for attempt in range(1, _STARTS + 1):
        try:
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                object_store_memory=_STORE_BYTES,
                _temp_dir=folder,
                _system_config=_ALONE,
            )
            return
        except Exception as error:  # whatever goes wrong in any of its processes
            ray.shutdown()
            if attempt == _STARTS:
                raise BackendUnavailableError(
                    f"Ray cannot be started on this machine ({_first_line(error)}): see that it has memory and time "
                    "for it, or leave --engine ray out"
                ) from error


def _connect(ray: Any, address: str) -> None:
    if "://" in address:
        raise BackendUnavailableError(
            f"--address {address} is that of a proxy: give HOST:PORT of the cluster's head, or auto on one of its "
            "machines"
        )
    place = _announced() if address == "auto" else address
    if place is not None and not _is_answered(ray, place):
        raise BackendUnavailableError(
            f"no Ray answers at {place} within {_ANSWER_S:g} s: start one (`ray start --head`), check --address, or "
            "leave it out for a Ray on this machine"
        )
    # One try: something else may answer there, for which Ray would wait a quarter of an hour.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except Exception as error:  # no cluster, another version, no token
        raise BackendUnavailableError(
            f"the Ray at {address} cannot be used ({_first_line(error)}): check --address, its version and its token, "
            "or leave --address out for a Ray on this machine"
        ) from error


def _is_answered(ray: Any, address: str) -> bool:
    """Whether anybody listens at an address, in whose place Ray takes this machine's own for that of loopback."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if host not in _LOOPBACK:
        return _answers(host, port)
    if _answers(ray.util.get_node_ip_address(), port):
        return True
    if not _answers(host, port):
        return False
    stay_on_loopback()
    return True


def _announced() -> str | None:
    """The address that `auto` stands for; None where Ray looks for it itself."""
    if address := os.environ.get("RAY_ADDRESS"):
        return None if address in ("auto", "local") else address
    try:
        return (Path(tempfile.gettempdir()) / "ray" / "ray_current_cluster").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _answers(host: str, port: str) -> bool:
    try:
        with socket.create_connection((host, int(port)), timeout=_ANSWER_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def _check_share(ray: Any, share: Share) -> None:
    """Refuse what no machine of the cluster has: Ray would wait for one."""
    required = {"CPU": share.cpus, "GPU": share.gpus}
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(machine.get(name, 0) >= count for name, count in required.items()) for machine in machines):
        raise BackendUnavailableError(
            f"no machine of the cluster has {share.cpus:g} cores and {share.gpus:g} cards for a source: give less "
            "(--cpus-per-job, --gpus-per-job)"
        )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
