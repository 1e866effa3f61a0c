"""Working memory of plain C computed row by row, beside operator by operator, what no plan can go below, and peers.

MLPerf Tiny's reference files with their weights, of which ``MLPERF_TINY`` names a folder, the recipes' networks, and
convolutional networks drawn at random. Every plan is run with canaries on this machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import qtorch
from benchmarks.drawn_images import drawn_images
from benchmarks.files.references import COMMIT, reference_files
from benchmarks.plans import recipe_networks
from benchmarks.suite import Suite, markdown_table
from export.c.canaries import require_sound_plan
from export.c.network import CNetwork, RowLoop, c_network
from export.c.optimize import Optimize
from export.compiled_file.fewer_operators import fewer_operators
from export.compiled_file.model_in_file import model_in_file
from export.cost import machines as machine_profile
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.parity.outputs import corner_codes
from export.tflite.arena import smallest_arena
from export.tflite.writer import write_tflite
from firmware.emulation import MACHINES, EmulationFailure, available

__all__ = ["MEMORY", "figures"]

_DRAWN = int(os.environ.get("QTORCH_MEMORY_NETWORKS", "300"))
_MACHINE, _SAMPLES, _PROVEN_ON = "cortex_m4", 2, 3
#: More than this above what tensors and kernels need is named.
_NEAR = 1.05


@dataclass(frozen=True)
class _Published:
    """What others say that a network takes."""

    network: str
    who: str
    bytes: int
    what: str


_PUBLISHED = (
    _Published("DS-CNN", "microTVM", 17_232, "workspace"),
    _Published("MobileNetV1 0.25", "microTVM", 64_800, "workspace"),
    _Published("MobileNetV1 0.25", "ST Edge AI", 68_567, "activations, 66.96 KiB with input and output inside"),
    _Published("ResNet-8", "microTVM", 66_112, "workspace"),
    _Published("autoencoder", "microTVM", 1_160, "workspace"),
)


def figures(graph: Graph) -> dict[str, Any]:
    """Bytes and seconds of one network; its plan has been run with canaries.

    Raises:
        ParityError: a kernel writes elsewhere than the plan says, or reads what it gives away.
    """
    began = time.process_time()
    network = c_network(graph, optimize="ram")
    seconds = time.process_time() - began
    codes = tuple(each[-_PROVEN_ON:] for each in corner_codes(graph, _PROVEN_ON))
    require_sound_plan("net", network, codes)
    return {
        "operators": len(graph.nodes),
        "whole": network.whole,
        "rows": network.plan.peak,
        "bound": network.bound,
        "needed": network.placement.lifetimes.most,
        "by_rows": sum(len(item.part.section.nodes) for item in network.run if isinstance(item, RowLoop)),
        "keeps_inputs": _keeps(network),
        "seconds": seconds,
    }


def _keeps(network: CNetwork) -> bool:
    return all(network.survives(index) for index in range(len(network.graph.inputs)))


def _named() -> Iterator[tuple[str, Graph, bytes]]:
    """Label, graph and file."""
    for label, file in reference_files(os.environ.get("MLPERF_TINY")).items():
        model = fewer_operators(model_in_file(file.read_bytes(), label))
        yield label, model.core, file.read_bytes()
    for label, graph in recipe_networks():
        yield f"recipe: {label}", graph, write_tflite(graph)


def _instructions(graph: Graph) -> dict[str, Any]:
    """By build, on the emulated machine; every output is the reference's."""
    machine, found = MACHINES[_MACHINE], dict[str, Any]()
    if why := available(machine):
        return {"absent": why}
    builds: tuple[Optimize, ...] = ("size", "ram")
    for build in builds:
        try:
            found[build] = round(machine_profile.replayed(graph, machine, _SAMPLES, build).median)
        except EmulationFailure as failure:
            return {"absent": failure.reason}
    return found


def _measure() -> dict[str, Any]:
    named = [
        {"network": label, "arena": smallest_arena(data), "instructions": _instructions(graph), **figures(graph)}
        for label, graph, data in _named()
    ]
    drawn = []
    for seed in range(_DRAWN):
        net, x = drawn_images(seed)
        drawn.append({"seed": seed, **figures(integer_graph(qtorch.quantize(net, x)))})
    return {"commit": COMMIT, "named": named, "drawn": _together(drawn)}


def _together(drawn: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the networks that were drawn: how many, means, and the worst by name."""
    helped = [each for each in drawn if each["by_rows"]]

    def ratios(over: str, of: Sequence[dict[str, Any]]) -> dict[str, Any]:
        every = [each["rows"] / each[over] for each in of]
        worst = int(np.argmax(every))
        return {"mean": float(np.mean(every)), "worst": every[worst], "seed": of[worst]["seed"]}

    return {
        "networks": len(drawn),
        "by_rows": len(helped),
        "operators": [min(each["operators"] for each in drawn), max(each["operators"] for each in drawn)],
        "to_whole": ratios("whole", drawn),
        "least_of_whole": min(each["rows"] / each["whole"] for each in drawn),
        "to_bound": ratios("bound", drawn),
        "to_needed": ratios("needed", drawn),
        "far": [each["seed"] for each in drawn if each["rows"] > _NEAR * each["needed"]],
        "keep_inputs": sum(each["keeps_inputs"] for each in drawn),
        "seconds": max(each["seconds"] for each in drawn),
    }


def _table(found: dict[str, Any]) -> Sequence[str]:
    rows = []
    for each in found["named"]:
        counted = each["instructions"]
        rows.append([
            each["network"], *(f"{each[key]:,}" for key in ("whole", "rows", "bound", "needed")),
            f"{each['rows'] / each['needed']:.3f}", f"{each['arena']:,}",
            f"{counted['ram'] / counted['size']:.3f}" if "ram" in counted else "",
            f"{each['by_rows']} of {each['operators']}", "yes" if each["keeps_inputs"] else "no",
            f"{each['seconds']:.2f}",
        ])  # fmt: skip
    head = [
        *("bytes of working memory", "operator by operator", "rows", "tensors alone", "with what kernels need"),
        *("rows / needed", "TFLite Micro's arena", "instructions, ram / size", "operators by rows", "input kept", "s"),
    ]
    return [*markdown_table(head, rows), "", *_said(found), "", *_beside(found)]


def _said(found: dict[str, Any]) -> list[str]:
    drawn = found["drawn"]
    least, most = drawn["operators"]
    far = ", ".join(map(str, drawn["far"]))
    return [
        "Inputs and outputs lie inside, in TFLite Micro's arena too, which is the least with reference kernels on 64 "
        "bits. Tensors alone: what is needed at once in the order that was chosen, which no plan of it can go below; "
        "with what kernels need: the same with their own memory. Instructions: on an emulated Cortex-M4. Seconds: of "
        f"planning. Files: mlcommons/tiny at {found['commit']}.",
        "",
        f"{drawn['networks']} convolutional networks drawn at random, of {least} to {most} operators: "
        f"{drawn['by_rows']} of them take less by rows. All together take {drawn['to_whole']['mean']:.3f} of what "
        f"operator by operator takes in the mean, {drawn['least_of_whole']:.3f} at best; beside the tensors alone "
        f"{drawn['to_bound']['mean']:.3f} in the mean and {drawn['to_bound']['worst']:.3f} at worst (seed "
        f"{drawn['to_bound']['seed']}), with what kernels need {drawn['to_needed']['mean']:.3f} and "
        f"{drawn['to_needed']['worst']:.3f} (seed {drawn['to_needed']['seed']}). "
        + (f"More than 5 % above that: seeds {far}. " if far else "None is more than 5 % above that. ")
        + f"{drawn['keep_inputs']} leave their input as it is. Planning took {drawn['seconds']:.2f} s at most. Every "
        "plan was run with canaries.",
    ]


def _beside(found: dict[str, Any]) -> list[str]:
    """The published figures of others beside ours."""
    own = {each["network"].split(", ")[-1]: each["rows"] for each in found["named"]}
    rows = [
        [each.network, each.who, f"{each.bytes:,}", each.what, f"{own[each.network]:,}"]
        for each in _PUBLISHED
        if each.network in own
    ]
    return [
        *markdown_table(["network", "published by", "bytes", "of what", "plain C by rows"], rows),
        "",
        "As published: microTVM's of MLPerf Tiny's networks, ST's of MobileNetV1 0.25 on pictures of 96x96x3. Whether "
        "a workspace holds the input and the output is not said there.",
    ]


MEMORY = Suite("memory", __doc__, _measure, _table)
