"""What runs archives on clusters: the Dockerfile, and the scripts of docs/archives.md for Kubernetes and Slurm."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from mixsynth_stream.cli import parse

ROOT = Path(__file__).resolve().parents[1]
ARCHIVES = (ROOT / "docs" / "archives.md").read_text()


def stages(path: Path = ROOT / "Dockerfile") -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage by its name, after those before the first one (without a name)."""
    result: dict[str, list[tuple[str, str]]] = {"": []}
    for step in DockerfileParser(path=str(path)).structure:
        if step["instruction"] == "COMMENT":
            continue
        if step["instruction"] == "FROM":
            image, word, name = step["value"].split()
            assert word == "AS" and name not in result and ":" in image and not image.endswith(":latest")
            result[name] = []
        result[list(result)[-1]].append((step["instruction"], step["value"]))
    return result


def test_images_run_the_command_without_root():
    for name in ("cpu", "cuda"):
        steps = dict(stages()[name])
        assert json.loads(steps["ENTRYPOINT"]) == ["mixsynth-stream"] and json.loads(steps["CMD"]) == ["--help"]
        assert int(steps["USER"]) > 0, "Kubernetes tells root by the number"
        assert steps["ENV"].startswith("PATH=/opt/mixsynth-stream/bin:")
    assert list(stages())[-1] == "cpu", "what is built where no stage is named"


def test_stages_copy_from_earlier_ones_and_leave_compilers_behind():
    names: list[str] = []
    for name, steps in stages().items():
        texts = [value for instruction, value in steps if instruction == "COPY"]
        sources = [match[1] for text in texts if (match := re.match(r"--from=(\S+)", text))]
        assert set(sources) <= set(names)
        has_compiler = any(instruction == "RUN" and "g++" in value for instruction, value in steps)
        assert has_compiler == name.endswith("build")
        names.append(name)


def test_an_image_has_all_that_is_built_from():
    """.dockerignore lets nothing through that it does not name."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert all((ROOT / name).exists() for name in allowed)
    texts = [(ROOT / name).read_text() for name in ("setup.py", "pyproject.toml", "Dockerfile")]
    needed = {"setup.py", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "NOTICE"}
    needed |= {folder for folder in ("csrc", "kernels", "pipeline", "mixsynth_stream") if f'"{folder}' in texts[0]}
    assert needed == set(allowed)
    assert any(fnmatch.fnmatch("kernels/__pycache__", line) for line in lines[1:] if not line.startswith("!"))


def run_with_stubs(script: str, folder: Path, **environment: str) -> list[str]:
    """The arguments that a shell script gives to mixsynth-stream; srun runs what it is given."""
    for name, text in (("mixsynth-stream", 'printf "%s\\n" "$@"'), ("srun", 'exec "$@"')):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.run(
        ["bash", "-eu", "-c", script], env={**environment, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


def block(kind: str) -> str:
    match = re.search(rf"```{kind}\n(.*?)```", ARCHIVES, re.DOTALL)
    assert match is not None, f"docs/archives.md has no block of {kind}"
    return match[1]


def shards(commands: list[list[str]]) -> list[tuple[int, int]]:
    return [parse(command).shard for command in commands]


def test_an_array_of_slurm_takes_each_shard_once(tmp_path):
    script = block("bash")
    span = re.search(r"^#SBATCH --array=1-(\d+)$", script, re.MULTILINE)
    assert span is not None
    count = int(span[1])
    tasks = range(1, count + 1)
    cores = re.search(r"^#SBATCH --cpus-per-task=(\d+)$", script, re.MULTILINE)
    assert cores is not None
    commands = [run_with_stubs(script, tmp_path, SLURM_ARRAY_TASK_ID=str(task)) for task in tasks]
    assert shards(commands) == [(task, count) for task in tasks]
    assert parse(commands[0]).jobs == int(cores[1])


def test_an_indexed_job_of_kubernetes_takes_each_shard_once(tmp_path):
    job = yaml.safe_load(block("yaml"))
    assert (job["kind"], job["spec"]["completionMode"]) == ("Job", "Indexed")
    count = job["spec"]["completions"]
    assert job["spec"]["parallelism"] <= count
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert job["spec"]["template"]["spec"]["securityContext"]["runAsUser"] > 0
    shell, option, line = container["command"]
    assert (shell, option) == ("sh", "-c")
    commands = [run_with_stubs(line, tmp_path, JOB_COMPLETION_INDEX=str(index)) for index in range(count)]
    assert shards(commands) == [(index + 1, count) for index in range(count)]
    assert parse(commands[0]).jobs == int(container["resources"]["requests"]["cpu"])
    volumes = {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


@pytest.mark.parametrize("line", [line for line in ARCHIVES.splitlines() if line.strip().startswith("docker ")])
def test_docker_commands_name_stages_and_options_that_there_are(line):
    words = shlex.split(line.split("  #")[0])
    if "--target" in words:
        assert words[words.index("--target") + 1] in stages()
    if words[1] == "run":
        parse(words[words.index("run", 2) :])
