"""No program phones home: no command opens a connection that was not asked for, or leaves an id in the home folder."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support import clips

from mixsynth_stream.telemetry import import_onnxruntime, import_openvino, import_ray

SUPPORT = Path(clips.__file__).parent
# A connection in the words of strace.
ADDRESS = re.compile(r'sa_family=AF_INET6?, sin6?_port=htons\((\d+)\).*?"([^"]+)"')


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that writes down what connections a process opens."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("connections are watched on Linux, with a library that a C++ compiler makes")
    library = tmp_path_factory.mktemp("watcher") / "connections.so"
    source = str(SUPPORT / "connections.cpp")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), source, "-ldl"], check=True)
    return library


def strace_prefix(log: Path) -> list[str]:
    """strace before a command, where it is installed and may trace: it sees what makes its own system calls, too."""
    calls = "trace=connect,sendto,sendmsg,sendmmsg"
    prefix = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", calls, "-o", str(log)]
    if shutil.which("strace") is None or subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        return []
    return prefix


def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def watched(watcher: Path, home: Path, *command: str) -> tuple[str, set[tuple[str, int]]]:
    """Run Python in a home of its own: its connections as the watcher and as strace saw them."""
    log, traced = home.parent / "connections.txt", home.parent / "strace.txt"
    home.mkdir()
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    # Without matplotlib's list of fonts, it would look at every font again.
    places = {"HOME": str(home), "MPLCONFIGDIR": str(caches / "matplotlib"), "PYTHONPATH": str(SUPPORT.parent)}
    watch = ["env", f"LD_PRELOAD={watcher}", f"CONNECTIONS={log}"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")} | places
    process = subprocess.run(
        [*strace_prefix(traced), *watch, sys.executable, *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    addresses = ADDRESS.findall(traced.read_text()) if traced.exists() else []
    return log.read_text() if log.exists() else "", {(address, int(port)) for port, address in addresses}


def test_no_command_opens_a_connection_that_was_not_asked_for(watcher: Path, tmp_path: Path) -> None:
    port, home = closed_port(), tmp_path / "home"
    log, traced = watched(watcher, home, str(SUPPORT / "every_command.py"), str(tmp_path), str(port))
    commands = [part.splitlines() for part in log.split("command ")[1:]]
    assert len(commands) == 15
    assert {lines[0]: lines[1:] for lines in commands[:-1] if len(lines) > 1} == {}
    # The last one is asked for a stream.
    assert set(commands[-1][1:]) == {"getaddrinfo 127.0.0.1 0", f"connect 127.0.0.1 {port}"}
    assert traced <= {("127.0.0.1", port)}
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_what_is_sent_to_a_name_is_seen(watcher: Path, tmp_path: Path) -> None:
    code = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('localhost', 9))"
    log, _ = watched(watcher, tmp_path / "home", "-c", code)
    assert log.splitlines()[-1] == "sendto 127.0.0.1 9"


def test_a_ray_on_this_machine_talks_to_itself_only(watcher: Path, tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    arguments = ["run", "synthetic:seconds=1", "--engine", "ray", "--jobs", "1", "--out", str(out)]
    log, traced = watched(watcher, home, "-m", "mixsynth_stream", *arguments)
    assert (out / "manifest.jsonl").read_text().count('"state":"done"') == 1
    addresses = {line.split()[1] for line in log.splitlines()} | {address for address, _ in traced}
    assert "127.0.0.1" in addresses, "its processes are watched"
    assert {address.removeprefix("::ffff:") for address in addresses} <= {"127.0.0.1", "::1", "localhost"}
    assert [path for path in home.rglob("*") if path.is_file()] == []


# A package that reports when it is imported, unless it is told not to in its own way.
OPENVINO = """
reports = []
try:
    import openvino_telemetry
    reports.append("imported")
except ImportError:
    pass
"""
ONNXRUNTIME = "import os\nreports = [] if os.environ.get('ORT_DISABLE_TELEMETRY') == '1' else ['loaded']"
RAY = "import os\nreports = [] if os.environ.get('RAY_USAGE_STATS_ENABLED') == '0' else ['hourly']"


@pytest.mark.parametrize(
    ("name", "code", "importer"),
    [
        ("openvino", OPENVINO, import_openvino),
        ("onnxruntime", ONNXRUNTIME, import_onnxruntime),
        ("ray", RAY, import_ray),
    ],
)
def test_a_library_that_reports_is_told_not_to(
    name: str, code: str, importer: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(importer)
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "openvino_telemetry", ModuleType("openvino_telemetry"))
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    monkeypatch.delitem(sys.modules, name, raising=False)
    try:
        assert importer().reports == []
    finally:
        sys.modules.pop(name, None)
