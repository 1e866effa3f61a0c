"""``python -m benchmarks.files.one FILE ASKED``: one file measured in this process; prints a JSON object.

Read, held against TFLite Micro, in plain C on this machine and on emulated ones, and in TFLite Micro there.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.files.tflm import counted_tflm
from benchmarks.interpreter import chosen
from export.c.compiled import compiled_c
from export.c.network import c_network
from export.c.optimize import Optimize
from export.c.source import c_source
from export.compiled_file.compared_inputs import compared_inputs
from export.compiled_file.model_in_file import ModelInFile, model_in_file
from export.compiled_file.proof import judged_c, judged_file, require_judge
from export.cost.macs import all_multiply_accumulates, multiply_accumulates
from export.cost.rig_ends import NAME, rig_sources, rows_of_bytes
from export.graph.ir import Graph, Node
from export.parity.reference import interpreted
from export.parity.shifted_ends import in_other_codes
from export.tflite.summary import summarize
from export.tflite.writer import write_tflite
from firmware.emulation import (
    MACHINES,
    ROOMIER,
    EmulationFailure,
    Library,
    Machine,
    Options,
    Replay,
    available,
    replay,
)
from qtorch.errors import BadInput, ParityError, UnsupportedLayer

__all__ = ["Asked", "measured"]

#: Ways to build the C.
BUILDS: tuple[Optimize, ...] = ("size", "balanced", "speed")


@dataclass(frozen=True)
class Asked:
    """What is measured.

    Attributes:
        inputs: drawn ones on this machine; ``None``: as many as take some seconds.
        samples: of them on each emulated machine, at most.
        work: multiply-accumulates of all samples on a machine together, at most; two samples at least.
        machines: emulated ones with plain C.
        tflm: those with TFLite Micro's optimized kernels, where ``TFLM_ROOT`` has a library.
        layers: also each layer by itself, on the first of ``tflm``.
        seconds: that an emulated program may take.
    """

    inputs: int | None = None
    samples: int = 256
    work: float = 2e8
    machines: tuple[str, ...] = (
        "cortex_m0",
        "cortex_m3",
        "cortex_m4",
        "cortex_m7",
        "cortex_m33",
        "cortex_m55",
        "riscv32",
    )
    tflm: tuple[str, ...] = ("cortex_m4",)
    layers: bool = False
    seconds: float = 600.0


def measured(data: bytes, where: str, asked: Asked) -> dict[str, Any]:
    """What is found of one file: always a verdict, and what was found until then."""
    found: dict[str, Any] = {"file": where, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    try:
        for part in _parts(data, where, asked):
            found |= part
    except (BadInput, UnsupportedLayer) as error:
        return {**found, "verdict": "refused", "why": str(error)}
    except ParityError as error:
        return {**found, "verdict": "differs", "why": str(error)}
    except EmulationFailure as error:
        return {**found, "verdict": "fails", "why": str(error)}
    return {**found, "verdict": "exact"}


def _parts(data: bytes, where: str, asked: Asked) -> Iterator[dict[str, Any]]:
    summary = summarize(data, where)
    yield {"operators": dict(Counter(op.op for graph in summary.subgraphs for op in graph.ops))}
    model = model_in_file(data, where)
    judge = require_judge(where)
    core = model.core
    macs = all_multiply_accumulates(core)
    yield {"products": macs, "states": len(core.states)}
    inputs = compared_inputs(model, None, asked.inputs)
    agreement = judged_file(model, inputs, judge)
    yield {"judge": f"{judge.name} {judge.version}", "inputs": agreement.inputs, "outputs": agreement.outputs}
    compiled = compiled_c("net", c_source("net", c_network(core)).files, core)
    if compiled is not None:
        judged_c(compiled, model, inputs)
        yield {"compiled": compiled.version}
    samples = _samples(model, inputs.outer, max(2, min(asked.samples, int(asked.work / max(1, macs)))))
    machines: dict[str, Any] = {}
    for name in asked.machines:
        machines[name] = _on_machine(core, MACHINES[name], samples, asked.seconds)
        yield {"machines": machines}
    tflm: dict[str, Any] = {}
    for library in _libraries(asked.tflm):
        tflm[library.machine.name] = _in_tflm(data, library, samples, asked.seconds)
        yield {"tflm": tflm}
    if asked.layers and tflm:
        library = _libraries(asked.tflm[:1])[0]
        yield {"layers": [_layer(core, i, library, asked.seconds) for i in range(len(core.nodes))]}


@dataclass(frozen=True)
class _Samples:
    """For emulated machines: bytes of inputs and outputs, of the file and of its integers."""

    count: int
    outer: np.ndarray
    outer_outputs: np.ndarray
    codes: np.ndarray
    outputs: np.ndarray


def _samples(model: ModelInFile, outer: tuple[np.ndarray, ...], count: int) -> _Samples:
    """The last of the inputs, and what is expected of them from the first states on."""
    graph, core = model.graph, model.core
    batches = [graph.values[name].rows for name in graph.inputs]
    count = min(count, len(outer[0]) // batches[0])
    run = tuple(array[-count * batch :] for array, batch in zip(outer, batches, strict=True))
    wanted = tuple(dict.fromkeys((*graph.outputs, *core.inputs, *core.outputs)))
    every = interpreted(replace(graph, outputs=wanted), run) | dict(zip(graph.inputs, run, strict=True))

    def of(names: tuple[str, ...]) -> tuple[np.ndarray, ...]:
        return tuple(every[name] for name in names)

    return _Samples(
        count,
        rows_of_bytes(in_other_codes(graph, graph.inputs, of(graph.inputs)), count),
        rows_of_bytes(in_other_codes(graph, graph.outputs, of(graph.outputs)), count),
        rows_of_bytes(of(core.inputs), count),
        rows_of_bytes(of(core.outputs), count),
    )


def _on_machine(core: Graph, machine: Machine, samples: _Samples, seconds: float) -> dict[str, Any]:
    """All builds that differ from the one before, or why there is none.

    Raises:
        ParityError: an output differs.
    """
    if why := available(machine):
        return {"absent": why}
    found: dict[str, Any] = {}
    before: Mapping[str, str] | None = None
    for build in BUILDS:
        network = c_network(core, machine.cpu, build)
        files = c_source("net", network).files
        if files == before:
            continue
        before = files
        try:
            found[build] = {**_counted(core, files, machine, samples, seconds), "memory": network.plan.peak}
        except EmulationFailure as error:
            found[build] = {"absent": error.reason}
    return found


def _counted(
    core: Graph, files: Mapping[str, str], machine: Machine, samples: _Samples, seconds: float
) -> dict[str, Any]:
    sources = {**files, **rig_sources(core, "net")}
    options = Options(seconds=seconds)
    roomy = ROOMIER.get(machine.name)
    try:
        run, board = replay(machine, sources, NAME, samples.codes, samples.outputs, options), ""
    except EmulationFailure:
        if roomy is None:
            raise
        run, board = replay(roomy, sources, NAME, samples.codes, samples.outputs, options), roomy.description
    if run.first is not None:
        raise ParityError(f"{machine.name} differs on {run.mismatches} of {samples.count} samples: {run.first}")
    assert run.cost is not None
    assert run.firmware is not None
    return {
        "samples": samples.count,
        "unit": run.cost.unit,
        "median": round(run.cost.median),
        "most": run.cost.max,
        "flash": run.firmware.flash,
        "ram": run.firmware.ram,
        "stack": run.stack,
        **_cycles(run),
        **({"board": board} if board else {}),
    }


def _cycles(run: Replay) -> dict[str, Any]:
    """Of the machine's own processor, or why they are unknown; nothing where cycles were counted."""
    if run.counted is None or not run.counted.cycles:
        return {"uncounted": run.uncounted} if run.uncounted else {}
    return {"cycles": asdict(run.counted.cycles[0])}


def _libraries(machines: tuple[str, ...]) -> list[Library]:
    if not machines or not os.environ.get("TFLM_ROOT"):
        return []
    return [each for each in chosen() if each.machine.name in machines and each.kernels == "cmsis_nn"]


def _in_tflm(data: bytes, library: Library, samples: _Samples, seconds: float) -> dict[str, Any]:
    """Counted, or why it isn't: what runs in its Python package need not with the kernels of a library."""
    summary = summarize(data)
    try:
        count = counted_tflm(data, summary, library, samples.outer, samples.outer_outputs, seconds)
    except (EmulationFailure, BadInput) as error:
        return {"kernels": library.kernels, "absent": str(error)[:400]}
    return {"kernels": library.kernels, "samples": samples.count, **count}


def _layer(core: Graph, index: int, library: Library, seconds: float) -> dict[str, Any]:
    """A node in a file of its own: plain C for speed, and TFLite Micro."""
    node = core.nodes[index]
    found: dict[str, Any] = {
        "index": index,
        "op": node.op,
        "shape": list(core.values[node.output].shape),
        "products": multiply_accumulates(core, node) or 0,
    }
    try:
        data = write_tflite(_alone(core, node))
        model = model_in_file(data, node.op)
        samples = _samples(model, compared_inputs(model, None, 2).outer, 2)
        machine = MACHINES[library.machine.name]
        plain = dict[str, Any]()
        for build in BUILDS:
            files = c_source("net", c_network(model.core, machine.cpu, build)).files
            plain[build] = _counted(model.core, files, machine, samples, seconds)["median"]
        beside = _in_tflm(data, library, samples, seconds)
    except (BadInput, UnsupportedLayer, EmulationFailure, ParityError, ValueError, KeyError) as error:
        return {**found, "absent": str(error)[:200]}
    return {**found, **plain, "tflm": beside.get("instructions"), "absent": beside.get("absent", "")}


def _alone(graph: Graph, node: Node) -> Graph:
    names = dict.fromkeys((*node.inputs, *node.outputs))
    running = tuple(dict.fromkeys(name for name in node.inputs if graph.values[name].data is None))
    return Graph({name: graph.values[name] for name in names}, (node,), running, node.outputs)


def main() -> None:
    """Print what is found of the file named, on the last line."""
    path, asked = Path(sys.argv[1]), Asked(**json.loads(sys.argv[2]))
    asked = replace(asked, machines=tuple(asked.machines), tflm=tuple(asked.tflm))
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    try:
        found = measured(path.read_bytes(), path.name, asked)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        why = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
        found = {"file": path.name, "verdict": "error", "why": why[:400]}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
