"""Kernel gates: compile the Triton kernels ahead of time, without a GPU, and judge what the compiler made of them.

    python scripts/kernel_gates.py         sm_90, bf16, published shapes: what `make test` asks
    python scripts/kernel_gates.py --all   every architecture and shape, and strict too: what `make gates` asks
    python scripts/kernel_gates.py --arch sm_89 --precision strict --shape jhmdb image-n10

A kernel fails that spills registers, wants more shared memory than a card has, leaves a product to the ordinary cores,
or takes more than a minute of processor time to compile (of processor time, so that a busy machine decides nothing).

Kernels that come out of Triton's front end alike are compiled once, whichever shapes they belong to. Outcomes are kept
in build/, by the hash of that front end's text, so that the next run compiles only what has changed. Triton's own cache
is left out, because it would keep no log of the assembler.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import io
import itertools
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from mixsynth_stream.config import ModelConfig
from mixsynth_stream.kernels.plan import FUSED_PROGRAMS
from mixsynth_stream.kernels.tile import PRECISIONS
from mixsynth_stream.presets import published_shapes, shipped_shapes
from mixsynth_stream.reports import table

# Shared memory that one block may have, in bytes (CUDA C++ Programming Guide, compute capabilities), and the
# multiprocessors of a card of the kind: A100, L40S, H100.
SHARED = {"sm_80": 163 * 1024, "sm_89": 99 * 1024, "sm_90": 227 * 1024}
PROGRAMS = {"sm_80": 108, "sm_89": 142, "sm_90": FUSED_PROGRAMS}
# One window, and a batch that fills every card: whatever lies between is launched as one of the two.
BATCHES = (1, 4096)
PARTS = ("forward", "training")
# The largest window that training takes, with nothing reduced.
LARGE = {"large": ModelConfig(sample_interval=100, step=5, horizon=11, joint_dim=51, emb_dim=256, num_encoder_layers=1)}
MOST_COMPILE_S = 60.0
OPERANDS = {"strict": "tf32", "tf32": "tf32", "bf16": "bf16", "fp16": "f16"}
# Read when a kernel is defined and when it is compiled, in the workers too.
ENVIRONMENT = {"TRITON_INTERPRET": "0", "TRITON_ALWAYS_COMPILE": "1", "TRITON_DUMP_PTXAS_LOG": "1"}
OUTCOMES = Path(__file__).parent.parent / "build" / "kernel-gates.json"


@dataclasses.dataclass(frozen=True)
class Job:
    """One kernel of one shape, by its number, because Triton's own objects do not travel between processes."""

    shape: str
    config: ModelConfig
    precision: str
    arch: str
    part: str
    batch: int
    number: int

    def specialisation(self) -> Any:
        return _specialisations(self.config, self.precision, self.arch, self.part, self.batch)[self.number]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the compiler made of a kernel. `products` without tensor cores should be none."""

    registers: int = 0
    spills: int = 0  # bytes, stores and loads
    shared: int = 0  # bytes
    tensor_cores: int = 0  # instructions with operands of the precision's type
    products: int = 0
    plain_products: int = 0
    compile_s: float = 0.0
    error: str = ""

    def faults(self, arch: str) -> list[str]:
        """What is wrong, in words."""
        if self.error:
            return [f"does not compile: {self.error}"]
        faults = []
        if self.spills:
            faults.append(f"{self.spills} bytes spilled")
        if self.shared > SHARED[arch]:
            faults.append(f"{self.shared} bytes of shared memory, of {SHARED[arch]}")
        if self.plain_products:
            faults.append(f"{self.plain_products} of {self.products} products without tensor cores")
        if self.products and not self.tensor_cores:
            faults.append("no tensor-core instruction with operands of the precision")
        if self.compile_s > MOST_COMPILE_S:
            faults.append(f"{self.compile_s:.0f} s to compile, of {MOST_COMPILE_S:.0f}")
        return faults


def jobs_for(
    shapes: dict[str, ModelConfig], precisions: Sequence[str], archs: Sequence[str], parts: Sequence[str] = PARTS
) -> Iterator[Job]:
    """Every kernel that these shapes launch; equal layouts of one shape once."""
    for arch, precision, (shape, config) in itertools.product(archs, precisions, shapes.items()):
        layouts = set()
        for part, batch in itertools.product(parts, BATCHES):
            for number, kind in enumerate(_specialisations(config, precision, arch, part, batch)):
                layout = kind.kernel.__name__, repr(kind.constexprs), kind.num_warps
                if layout not in layouts:
                    layouts.add(layout)
                    yield Job(shape, config, precision, arch, part, batch, number)


def judge(jobs: Sequence[Job], processes: int, outcomes: Path = OUTCOMES) -> dict[str, tuple[Outcome, list[Job]]]:
    """Each kernel once, with the jobs that share it. Compiles what `outcomes` does not hold, and adds it there."""
    known = {key: Outcome(**fields) for key, fields in _read(outcomes).items()}
    sharing: dict[str, list[Job]] = {}
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for job, (key, error) in zip(jobs, pool.map(keyed, jobs, chunksize=8), strict=True):
            sharing.setdefault(key, []).append(job)
            if error:
                known[key] = Outcome(error=error)
        new = [key for key in sharing if key not in known]
        print(f"{len(sharing)} kernels, {len(new)} of them to compile", file=sys.stderr, flush=True)
        waiting = {pool.submit(compiled, sharing[key][0]): key for key in new}
        for count, outcome in enumerate(as_completed(waiting), 1):
            key = waiting[outcome]
            known[key] = outcome.result()
            _write(outcomes, {**_read(outcomes), key: dataclasses.asdict(known[key])})
            faults = "; ".join(known[key].faults(sharing[key][0].arch)) or "fine"
            print(f"{count}/{len(new)} {_title(sharing[key])}: {faults}", file=sys.stderr, flush=True)
    return {key: (known[key], shared) for key, shared in sharing.items()}


def keyed(job: Job) -> tuple[str, str]:
    """The job's key and no error, or a key of its own and the front end's error."""
    try:
        return key_of(job), ""
    except Exception as error:  # as in `compiled`
        return str(job), _sentence(error)


def key_of(job: Job) -> str:
    """A hash of all that decides what is compiled: the front end's text, the options, the card, Triton's version."""
    import triton

    kind = job.specialisation()
    text = re.sub(r"loc\(.*?\)|#loc.*", "", _front_end(job))
    # Names of functions hold what they are specialised for, and those of values are the variables of the source.
    names: dict[str, str] = {}
    text = re.sub(
        r'@("[^"]*"|[\w.$]+)|%[\w.$-]+', lambda name: names.setdefault(name[0], f"{name[0][0]}{len(names)}"), text
    )
    rest = (job.arch, kind.num_warps, kind.num_stages, kind.maxnreg, OPERANDS[job.precision], triton.__version__)
    return hashlib.sha256(f"{text}{rest}".encode()).hexdigest()


def compiled(job: Job) -> Outcome:
    """Compile one kernel, to the machine's code, and read what came out."""
    import triton

    kind, log = job.specialisation(), io.StringIO()
    before = _processor_s()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(log):
        os.environ["TRITON_CACHE_DIR"] = folder
        try:
            options = {"num_warps": kind.num_warps, "num_stages": kind.num_stages, "maxnreg": kind.maxnreg}
            kernel = triton.compile(_source(kind), target=_target(job.arch), options=options)
        except Exception as error:  # Triton's passes raise whatever they like, and every kernel has to be judged
            return Outcome(compile_s=_processor_s() - before, error=_sentence(error))
    return outcome_of(
        log.getvalue(),
        kernel.asm["ttgir"],
        kernel.asm["ptx"],
        kernel.metadata.shared,
        OPERANDS[job.precision],
        _processor_s() - before,
    )


def outcome_of(log: str, ttgir: str, ptx: str, shared: int, operand: str, compile_s: float) -> Outcome:
    """Read the assembler's log and what the compiler wrote on the way."""
    registers = re.search(r"Used (\d+) registers", log)
    spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", log)
    if registers is None or not spills:
        return Outcome(compile_s=compile_s, error=f"the assembler said nothing of registers: {log.strip()[:120]}")
    products = re.findall(r"= (?:tt\.dot|ttng\.warp_group_dot) .*-> tensor<[^#]*(#\w+)", ttgir)
    instructions = re.findall(rf"(?:wgmma\.mma_async|mma)\.sync\S*\.{operand}\.{operand}\b", ptx)
    return Outcome(
        registers=int(registers[1]),
        spills=sum(map(int, spills)),
        shared=shared,
        tensor_cores=len(instructions),
        products=len(products),
        plain_products=sum(not layout.startswith("#mma") for layout in products),
        compile_s=round(compile_s, 1),
    )


def _specialisations(config: ModelConfig, precision: str, arch: str, part: str, batch: int) -> list[Any]:
    """What a card launches in the forward, or in a training step of whichever batch."""
    from mixsynth_stream.kernels.inference.encoder import specialisations
    from mixsynth_stream.kernels.training.specialisations import layer_specialisations

    if part == "training":
        return list(layer_specialisations(config, precision))
    capability = divmod(int(arch.removeprefix("sm_")), 10)
    return list(specialisations(config, precision, batch, PROGRAMS[arch], capability))


def _target(arch: str) -> Any:
    from triton.backends.compiler import GPUTarget

    return GPUTarget("cuda", int(arch.removeprefix("sm_")), 32)


def _source(kind: Any) -> Any:
    from triton.compiler import ASTSource

    aligned = {(place,): [["tt.divisibility", 16]] for place in kind.aligned}
    return ASTSource(kind.kernel, dict(kind.signature), dict(kind.constexprs), aligned)


def _front_end(job: Job) -> str:
    """The kernel as Triton's front end hands it to the compiler, before any optimisation."""
    from triton._C.libtriton import ir
    from triton.compiler.compiler import make_backend

    kind, target = job.specialisation(), _target(job.arch)
    backend = make_backend(target)
    options = backend.parse_options({"num_warps": kind.num_warps, "num_stages": kind.num_stages})
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    functions, modules = backend.get_codegen_implementation(options), backend.get_module_map()
    return str(_source(kind).make_ir(target, options, functions, modules, context))


def _processor_s() -> float:
    """Of this process and of those it has waited for: the assembler."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _read(path: Path) -> dict[str, Any]:
    try:
        outcomes: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return outcomes


def _write(path: Path, known: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    # The part has a name of its own, because two runs may be under way.
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(json.dumps(known, indent=0), encoding="utf-8")
    part.replace(path)


def _sentence(error: Exception) -> str:
    """The last cause: Triton wraps an error once for every function that it is in."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return " ".join(str(error).split())[-200:] or type(error).__name__


def _title(jobs: Sequence[Job]) -> str:
    job = jobs[0]
    others = len({other.shape for other in jobs} - {job.shape})
    return f"{job.arch} {job.precision} {job.shape}{f' +{others}' if others else ''} {_what(job)}"


def _what(job: Job) -> str:
    """The kernel and its stages."""
    kind = job.specialisation()
    stages = kind.constexprs.get("STAGES")
    parts = [field.name for field in dataclasses.fields(stages) if getattr(stages, field.name)] if stages else []
    # Only the fused forward takes groups.
    windows = kind.constexprs["tile"].windows if stages else 1
    name = "+".join(parts) or kind.kernel.__name__.removesuffix("_kernel")
    return name + (f" x{windows}" if windows > 1 else "")


def report(judged: dict[str, tuple[Outcome, list[Job]]]) -> tuple[str, int]:
    """The table, and how many kernels fail."""
    rows = [["kernel", "registers", "spilled", "shared KB", "tensor cores", "compile s", "verdict"]]
    wrong = 0
    for outcome, jobs in judged.values():
        faults = outcome.faults(jobs[0].arch)
        wrong += bool(faults)
        numbers = [outcome.registers, outcome.spills, f"{outcome.shared / 1024:.0f}", outcome.tensor_cores]
        rows.append([_title(jobs), *map(str, numbers), f"{outcome.compile_s:.1f}", "; ".join(faults) or "fine"])
    return table(rows), wrong


def main(arguments: Sequence[str] | None = None) -> int:
    shapes = published_shapes() | shipped_shapes() | LARGE
    parser = argparse.ArgumentParser(description="compile the Triton kernels ahead of time and judge them")
    parser.add_argument(
        "--all", action="store_true", help="sm_80, sm_89 and sm_90; bf16 and strict; every shape and a large one"
    )
    parser.add_argument("--arch", nargs="+", choices=list(SHARED), help="default: sm_90")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, help="default: bf16")
    parser.add_argument("--shape", nargs="+", choices=list(shapes), help="default: the published ones")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="default: both")
    parser.add_argument("--processes", type=int, default=2, help="compilers at once (default: 2)")
    parser.add_argument("--outcomes", type=Path, default=OUTCOMES, help="outcomes of earlier runs (default: in build/)")
    args = parser.parse_args(arguments)
    os.environ.update(ENVIRONMENT)
    names = args.shape or list(shapes if args.all else published_shapes())
    archs, precisions = (list(SHARED), ["bf16", "strict"]) if args.all else (["sm_90"], ["bf16"])
    chosen = {name: shapes[name] for name in names}
    jobs = list(jobs_for(chosen, args.precision or precisions, args.arch or archs, args.part))
    start = time.monotonic()
    text, wrong = report(judge(jobs, args.processes, args.outcomes))
    print(text)
    print(f"{wrong} kernels fail" if wrong else "every kernel is fine", f"(after {time.monotonic() - start:.0f} s)")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
