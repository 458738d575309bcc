"""CUDA gates: compile the CUDA encoder for every architecture, without a card, and judge what the compiler made of it.

    python scripts/cuda_gates.py                  every architecture: what `make gates` asks
    python scripts/cuda_gates.py --arch sm_90     one of them

A kernel fails that spills more than 16 bytes, asks for more registers than a multiprocessor has, has static shared
memory, works in local memory, or makes its products without tensor cores in its precision. How much shared memory a
network gets is decided when it runs (`buffers_of` in csrc/cuda/operands.cpp), and tests/csrc/cuda/ looks at that.

Outcomes are kept in build/, by the hash of the sources and of the compiler's version, so that the next run compiles
only what has changed. Disassembly takes nvdisasm, which Triton's wheel brings along.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mixsynth_stream.reports import table

ROOT = Path(__file__).parent.parent
ARCHS = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
UNITS = ("general", "shapes")
MOST_SPILLED = 16
REGISTERS = 65536  # of a multiprocessor, in all these architectures
OUTCOMES = ROOT / "build" / "cuda-gates.json"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the compiler made of a kernel."""

    kernel: str
    arch: str
    precision: str
    threads: int
    registers: int
    spilled: int  # bytes, the larger of stores and loads
    static_shared: int
    tensor_cores: int  # instructions with operands of the precision
    local: int  # accesses to local memory

    def faults(self) -> list[str]:
        """What is wrong, in words."""
        faults = []
        if self.spilled > MOST_SPILLED:
            faults.append(f"{self.spilled} bytes spilled, of {MOST_SPILLED}")
        if self.registers * self.threads > REGISTERS:
            faults.append(f"{self.registers} registers for each of {self.threads} threads, of {REGISTERS} in all")
        if self.static_shared:
            faults.append(f"{self.static_shared} bytes of static shared memory")
        if not self.tensor_cores:
            faults.append("no tensor-core instruction with operands of the precision")
        if self.local and not self.spilled:
            faults.append(f"{self.local} accesses to local memory: an array is indexed where it cannot be in registers")
        return faults


def nvcc() -> str | None:
    """The compiler, if there is one."""
    return shutil.which("nvcc")


def disassembler() -> str | None:
    """nvdisasm of the toolkit, or the one that Triton's wheel brings along."""
    if tool := shutil.which("nvdisasm"):
        return tool
    try:
        import triton
    except ImportError:
        return None
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/nvdisasm"
    return str(tool) if tool.is_file() else None


def command(compiler: str, unit: str, arch: str, out: Path) -> list[str]:
    """Compile one file for one architecture."""
    options = ["-std=c++17", "-O3", f"-arch={arch}", f"-I{ROOT / 'csrc'}", "-Xptxas", "-v", "-cubin"]
    return [compiler, *options, "-o", str(out), str(ROOT / f"csrc/cuda/{unit}.cu")]


def key_of(compiler: str, unit: str, arch: str, version: str) -> str:
    """A hash of all that decides what is compiled: options, version, and every file of ours that is included."""
    listing = [compiler, "-std=c++17", f"-I{ROOT / 'csrc'}", "-MM", str(ROOT / f"csrc/cuda/{unit}.cu")]
    rule = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    sources = sorted({word for word in rule.split() if word.startswith(str(ROOT))})
    text = "".join(Path(source).read_text(encoding="utf-8") for source in sources)
    options = [word for word in command("nvcc", unit, arch, Path("out")) if str(ROOT) not in word]
    return hashlib.sha256(f"{options} {version}{text}".encode()).hexdigest()


def outcomes_of(log: str, code: str, arch: str) -> list[Outcome]:
    """Read the assembler's log and the disassembly of one file, which list the kernels by their mangled names."""
    instructions: dict[str, collections.Counter[str]] = {}
    counter: collections.Counter[str] = collections.Counter()
    for line in code.splitlines():
        if start := re.match(r"\.text\.(\S+):", line):
            counter = instructions.setdefault(start[1], collections.Counter())
        elif operation := re.search(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", line):
            counter[operation[1]] += 1
    outcomes = []
    for part in log.split("Compiling entry function '")[1:]:
        name = part.split("'")[0]
        numbers = [int(number) for number in re.findall(r"(\d+) bytes spill", part)]
        registers, shared = re.search(r"Used (\d+) registers", part), re.search(r"(\d+) bytes smem", part)
        assert registers is not None and numbers, f"the assembler said nothing of the registers of {name}"
        title, precision, warps = title_of(name)
        operands = "BF16" if precision == "bf16" else "TF32"
        counter = instructions.get(name, collections.Counter())
        outcomes.append(
            Outcome(
                kernel=title,
                arch=arch,
                precision=precision,
                threads=32 * warps,
                registers=int(registers[1]),
                spilled=max(numbers),
                static_shared=int(shared[1]) if shared else 0,
                tensor_cores=sum(n for op, n in counter.items() if op.startswith("HMMA") and op.endswith(operands)),
                local=sum(n for op, n in counter.items() if op.split(".")[0] in ("LDL", "STL")),
            )
        )
    return outcomes


def title_of(name: str) -> tuple[str, str, int]:
    """Title, precision and warps of a kernel, from its mangled name."""
    flags = re.search(r"(Bf16|Float)I((?:Lb[01]E)+)E", name)
    sizes = re.search(r"FixedSizesI((?:Li\d+E)+)E", name)
    warps = re.search(r"Li(\d+)EEEvNS", name)
    assert flags is not None and warps is not None, f"no kernel of the encoder: {name}"
    *strict, all_shared = re.findall(r"Lb([01])E", flags[2])
    precision = "bf16" if flags[1] == "Bf16" else "strict" if strict == ["1"] else "tf32"
    if sizes:
        tokens, channels, *_ = re.findall(r"Li(\d+)E", sizes[1])
        return f"T {tokens}, C {channels}", precision, int(warps[1])
    return "any shape" + ("" if all_shared == "1" else ", with a workspace"), precision, int(warps[1])


def judge(archs: Sequence[str], outcomes: Path = OUTCOMES) -> list[Outcome]:
    """Every kernel for every architecture; compiles what `outcomes` does not hold, and adds it there."""
    compiler, tool = nvcc(), disassembler()
    if compiler is None or tool is None:
        raise SystemExit("the gates need nvcc and nvdisasm: install the CUDA toolkit, and Triton for nvdisasm")
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    known = json.loads(outcomes.read_text(encoding="utf-8")) if outcomes.is_file() else {}
    keys = {(unit, arch): key_of(compiler, unit, arch, version) for arch in archs for unit in UNITS}
    unknown = [names for names, key in keys.items() if key not in known]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        judgements = pool.map(lambda names: _compiled(compiler, tool, *names), unknown)
        for names, of_unit in zip(unknown, judgements, strict=True):
            known[keys[names]] = [dataclasses.asdict(outcome) for outcome in of_unit]
            outcomes.parent.mkdir(exist_ok=True)
            outcomes.write_text(json.dumps(known, indent=0), encoding="utf-8")
    return [Outcome(**fields) for key in keys.values() for fields in known[key]]


def _compiled(compiler: str, tool: str, unit: str, arch: str) -> list[Outcome]:
    print(f"compiling csrc/cuda/{unit}.cu for {arch}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / f"{unit}.cubin"
        log = subprocess.run(command(compiler, unit, arch, cubin), capture_output=True, text=True, check=False)
        if log.returncode:
            raise SystemExit(f"csrc/cuda/{unit}.cu does not compile for {arch}: {log.stderr[-2000:]}")
        code = subprocess.run([tool, "-c", str(cubin)], capture_output=True, text=True, check=True).stdout
    return outcomes_of(log.stderr + log.stdout, code, arch)


def report(judged: Sequence[Outcome]) -> tuple[str, int]:
    """The table, and how many kernels fail."""
    rows = [["kernel", "precision", "arch", "threads", "registers", "spilled", "tensor cores", "verdict"]]
    wrong = 0
    for outcome in judged:
        faults = outcome.faults()
        wrong += bool(faults)
        numbers = [outcome.threads, outcome.registers, outcome.spilled, outcome.tensor_cores]
        rows.append([outcome.kernel, outcome.precision, outcome.arch, *map(str, numbers), "; ".join(faults) or "fine"])
    return table(rows), wrong


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="compile the CUDA encoder and judge its kernels")
    parser.add_argument("--arch", nargs="+", choices=ARCHS, default=ARCHS, help="default: all of them")
    args = parser.parse_args(arguments)
    start = time.monotonic()
    text, wrong = report(judge(args.arch))
    print(text)
    print(f"{wrong} kernels fail" if wrong else "every kernel is fine", f"(after {time.monotonic() - start:.0f} s)")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
