"""What the commands that take anybody's file make of one, in this process, with the engines apart.

``python -m tests.answers_to_files 10000 FOLDER [FIRST [JUDGE]]`` damages the small files of a folder that often, and
prints who said what, the slowest, and how far memory rose.
"""

from __future__ import annotations

import resource
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import torch

from export.commands.profile import named
from export.commands.summary import as_json
from export.commands.summary_page import summary_page
from export.console.page import plain_text
from export.cost.layers import file_layers, graph_layer
from export.engines.apart import EngineRefused, Limits
from export.faults.found import faults_by_edition
from export.parity.foreign import drawn, judged_by_tflm
from export.tflite.contents import read_contents
from export.tflite.reader import read_tflite
from export.tflite.soundness import require_sound
from export.tflite.stored_proof import require_stored_proof
from export.tflite.summary import summarize
from qtorch.editions.known import EDITIONS
from qtorch.errors import BadModelFile, ParityError
from tests.damaged_files import damaged

__all__ = ["answer"]

_LIMITS = Limits(memory=2**30, seconds=20.0)


def answer(model: bytes, judge: bool = True) -> str:
    """Who stopped at a file: reader, proof, sound, lint, graph, reference, engine or judge; else ``read`` or ``equal``.

    Args:
        model: the file.
        judge: run TFLite Micro, in a process of its own.

    Raises:
        Exception: a defect: whatever is no refusal in words.
    """
    try:
        summary = summarize(model, "damaged.tflite")
        plain_text(summary_page(summary))
        as_json([vars(each) for each in summary.metadata])
    except BadModelFile:
        return "reader"
    try:
        require_stored_proof(model, summary, "damaged.tflite")
    except BadModelFile:
        return "proof"
    list(file_layers(summary.subgraphs[0]))
    try:
        require_sound(read_contents(model), "damaged.tflite")
    except BadModelFile:
        return "sound"
    try:
        faults_by_edition(model, EDITIONS.values(), "cortex-m4")
    except BadModelFile:
        return "lint"
    try:
        graph = read_tflite(model, "damaged.tflite", aligned=False)
    except BadModelFile:
        return "graph"
    shown = named(graph, model)
    for index, node in enumerate(shown.nodes):
        graph_layer(shown, index, node, {})
    if graph.has_float_nodes or not judge:
        return "read"
    try:
        judged_by_tflm(model, graph, drawn(graph, 2), where="damaged.tflite", limits=_LIMITS)
    except EngineRefused as refused:
        return f"engine {refused.kind}"
    except BadModelFile:
        return "reference"
    except ParityError:
        return "judge"
    return "equal"


def main(count: int, folder: Path, first: int = 0, judge: int = 1) -> int:
    """How many files ended otherwise than in words; TFLite Micro runs one of ``judge`` of those that are read."""
    torch.set_num_threads(1)
    models = [path.read_bytes() for path in sorted(folder.glob("*.tflite")) if path.stat().st_size < 64 * 2**10]
    answer(models[0])
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said: Counter[str] = Counter()
    reading: list[tuple[float, int]] = []
    wrong = 0
    for seed in range(first, first + count):
        kind, model = damaged(models, seed)
        try:
            started = time.perf_counter()
            words = answer(model, judge=False)
            reading.append((time.perf_counter() - started, seed))
            said[answer(model) if words == "read" and seed % judge == 0 else words] += 1
        except Exception:
            wrong += 1
            print(f"seed {seed}, {kind}:\n{traceback.format_exc()}", flush=True)
        if seed % 500 == 499:
            risen = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024
            print(seed + 1, dict(said), f"{wrong} tracebacks, slowest {max(reading)}, {risen:.0f} MB", flush=True)
    print(count, dict(said), f"{wrong} tracebacks; read in at most {max(reading)[0]:.2f} s", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])) > 0)
