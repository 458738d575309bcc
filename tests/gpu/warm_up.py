"""Compile what the tests of this folder launch, on all cores, into Triton's cache: one by one it takes minutes."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from card import BATCHES, DROPPED, DROPPED_PRECISIONS, LARGE, TRAINED, why_not

from mixsynth_stream.kernels.tile import PRECISIONS
from mixsynth_stream.presets import published_shapes, shipped_shapes


def launch(name: str, precision: str, what: str) -> str:
    """Run one network once: forward, training, or training with dropout, which other kernels are compiled for.

    The tests say in full what goes wrong.
    """
    import torch

    from mixsynth_stream.bench.kernels.contenders import TRAINING, Case
    from mixsynth_stream.kernels.inference.encoder import Encoder
    from mixsynth_stream.kernels.training.autograd import encode
    from mixsynth_stream.network import MixSynthFormer
    from mixsynth_stream.parameters import random_state

    config = (published_shapes() | shipped_shapes() | LARGE)[name]
    batch = 5 if name in LARGE else max(BATCHES)
    case = Case(name, config, random_state(config), batch, torch.device("cuda"))
    try:
        if what == "training":
            TRAINING[f"kernels {precision}"].make(case)()
        elif what == "dropout":
            network = MixSynthFormer(config, dropout=0.1).to(case.device).train()
            encode(network, case.keyframes, precision=precision).sum().backward()
        else:
            encoder = Encoder(case.state, config, precision=precision)
            for batch in (1, case.batch):
                encoder(case.keyframes[:batch])
        torch.cuda.synchronize()
    except Exception as error:  # whatever it is
        return f"{name}, {precision}, {what}: {' '.join(str(error).split())[-200:]}"
    return ""


def main() -> int:
    if reason := why_not():
        print(f"a CUDA device was expected here, and {reason}", file=sys.stderr)
        return 1
    # The slowest come first, so that no process is left alone with one at the end.
    networks = [(name, precision, "training") for name in (*LARGE, *TRAINED) for precision in PRECISIONS]
    networks += [(name, precision, "dropout") for name in (*LARGE, *DROPPED) for precision in DROPPED_PRECISIONS]
    networks += [
        (name, precision, "forward") for name in published_shapes() | shipped_shapes() for precision in PRECISIONS
    ]
    start, processes = time.monotonic(), min(os.cpu_count() or 1, 16)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        wrong = [sentence for sentence in pool.map(launch, *zip(*networks, strict=True)) if sentence]
    print(f"{len(networks)} networks by {processes} processes in {time.monotonic() - start:.0f} s", *wrong, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
