"""Plain C against TFLite Micro on emulated microcontrollers: instructions, flash, RAM and stack, every output equal.

``TFLM_ROOT`` names TFLite Micro's source tree with its libraries built; all that are found there are measured.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.emulated_networks import trained
from benchmarks.suite import Suite, markdown_table
from export.c.optimize import Optimize
from export.cost import machines as machine_profile
from export.device import headers
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.parity.outputs import corner_codes
from export.tflite.writer import tflite_cell, write_tflite
from firmware.emulation import (
    MACHINES,
    Interpreted,
    Library,
    Machine,
    Options,
    available,
    interpreted,
    libraries,
    optimization,
)
from qtorch.errors import BadConfiguration, ParityError

__all__ = ["INTERPRETER", "chosen", "int8_only", "interpreted_figures", "setting"]

_SAMPLES = 256
_PLAIN: tuple[tuple[str, Optimize], ...] = (("plain C", "size"), ("plain C, speed", "speed"))
_KERNELS = {"reference": "reference kernels", "cmsis_nn": "CMSIS-NN"}
#: Registrations that bring the kernels of other types along, and those that need not.
_INT8 = {
    "AddAdd": "ADD",
    "AddAveragePool2D": "AVERAGE_POOL_2D",
    "AddConv2D": "CONV_2D",
    "AddDepthwiseConv2D": "DEPTHWISE_CONV_2D",
    "AddFullyConnected": "FULLY_CONNECTED",
    "AddMaxPool2D": "MAX_POOL_2D",
    "AddMul": "MUL",
    "AddSoftmax": "SOFTMAX",
}


def int8_only(resolver: str) -> str:
    """A resolver's header, registering int8 kernels alone where optimized kernels have such: less flash for them.

    Example:
        >>> int8_only("resolver.AddConv2D() resolver.AddReshape()")
        'resolver.AddConv2D(tflite::Register_CONV_2D_INT8()) resolver.AddReshape()'
    """

    def registration(found: re.Match[str]) -> str:
        name = _INT8.get(found[1])
        return found[0] if name is None else f"resolver.{found[1]}(tflite::Register_{name}_INT8())"

    return re.sub(r"resolver\.(Add\w+)\(\)", registration, resolver)


def chosen() -> tuple[Library, ...]:
    """One library for each processor, build and kernels under ``TFLM_ROOT``.

    Of two for one processor, that which uses its floating-point registers.

    Raises:
        BadConfiguration: ``TFLM_ROOT`` is not set or has no library, or an emulator or compiler is absent.
    """
    root = os.environ.get("TFLM_ROOT")
    remedy = (
        "clone https://github.com/tensorflow/tflite-micro, run there make -f tensorflow/lite/micro/tools/make/Makefile "
        "TARGET=cortex_m_generic TARGET_ARCH=cortex-m4+fp BUILD_TYPE=release microlite, the same with "
        "OPTIMIZED_KERNEL_DIR=cmsis_nn and for cortex-m3 and cortex-m55, and set TFLM_ROOT to that folder"
    )
    if not root:
        got = "nothing"
    else:
        here = sorted(libraries(Path(root).resolve()), key=lambda each: each.arch)  # cortex-m4+fp behind cortex-m4
        by = {(each.machine.name, each.build, each.kernels): each for each in here}
        got = f"{root}, which has none under gen"
        if by:
            absent = next((why for each in by.values() if (why := available(each.machine))), None)
            if absent is None:
                return tuple(by.values())
            raise BadConfiguration(where="interpreter", expected="an emulator", got="none", remedy=absent)
    expected = "TFLite Micro's source tree with its library built for a Cortex-M"
    raise BadConfiguration(where="TFLM_ROOT", expected=expected, got=got, remedy=remedy)


def _measure() -> dict[str, Any]:
    found = chosen()
    root = found[0].root
    return {
        **setting(),
        "optimization": optimization(root),
        "libraries": [
            {"machine": each.machine.name, "arch": each.arch, "build": each.build, "kernels": each.kernels}
            for each in found
        ],
        "programs": [row for label, graph in trained() for row in _programs(label, graph, _SAMPLES, found)],
    }


def setting() -> dict[str, str]:
    """Compiler and emulator, by their own first lines."""
    return {
        "compiler": _first_line("arm-none-eabi-gcc", "--version"),
        "emulator": _first_line("qemu-system-arm", "--version"),
    }


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def _programs(label: str, graph: Graph, samples: int, found: Sequence[Library]) -> Iterator[dict[str, Any]]:
    """What each program takes."""
    for machine in dict.fromkeys(each.machine.name for each in found):
        runs: list[tuple[str, Callable[[], dict[str, int]]]] = [
            (program, partial(_plain, graph, MACHINES[machine], samples, build)) for program, build in _PLAIN
        ]
        runs += [
            (_label(each, found), partial(_interpreted, graph, each, samples))
            for each in found
            if each.machine.name == machine
        ]
        for program, run in runs:
            yield {"network": label, "machine": machine, "program": program, "samples": samples, **run()}


def _label(library: Library, found: Sequence[Library]) -> str:
    kernels = _KERNELS.get(library.kernels, library.kernels)
    several = len({each.build for each in found}) > 1
    return f"TFLite Micro, {kernels}" + (f", {library.build}" if several else "")


def _plain(graph: Graph, machine: Machine, samples: int, build: Optimize) -> dict[str, int]:
    found = machine_profile.replayed(graph, machine, samples, build)
    return {
        "instructions": round(found.median),
        "most": found.most,
        "flash": found.flash,
        "ram": found.ram,
        "stack": found.stack,
    }


def _interpreted(graph: Graph, library: Library, samples: int) -> dict[str, int]:
    """The same of TFLite Micro, on the same codes; and its arena, which is part of ``ram``."""
    # Those of machine_profile.replayed.
    codes = corner_codes(graph, samples)[0][-samples:]
    expected = interpret(graph, (codes,))[graph.outputs[0]]
    methods = tuple(dict.fromkeys(m for node in graph.nodes for m in tflite_cell(node.op).registered(node.attrs)))
    sources = {
        **headers.model_data("net", write_tflite(graph)),
        "net_op_resolver.h": int8_only(headers.op_resolver("net", methods)),
    }
    flat = [array.reshape(len(codes), -1) for array in (codes, expected)]
    found = interpreted(library, sources, "net", flat[0], flat[1], Options(seconds=300))
    made = found.replay
    if made.first is not None:
        name = f"TFLite Micro with {library.file}"
        raise ParityError(f"{name} differs from the reference on {made.mismatches} samples: {made.first}")
    return interpreted_figures(found)


def interpreted_figures(found: Interpreted) -> dict[str, Any]:
    """What an interpreted model took, as results have it."""
    made = found.replay
    assert made.cost is not None
    assert made.firmware is not None
    return {
        "instructions": round(made.cost.median),
        "most": made.cost.max,
        "flash": made.firmware.flash,
        "ram": made.firmware.ram,
        "stack": made.stack or 0,
        "arena": found.arena,
        **({"cycles": asdict(made.counted.cycles[0])} if made.counted is not None and made.counted.cycles else {}),
    }


def _table(found: dict[str, Any]) -> Sequence[str]:
    by = {(each["network"], each["machine"], each["program"]): each for each in found["programs"]}
    places = list(dict.fromkeys((network, machine) for network, machine, _ in by))
    programs = list(dict.fromkeys(program for _, _, program in by))

    def rows(cell: Callable[[dict[str, Any]], str]) -> list[list[str]]:
        return [
            [
                network,
                machine.replace("cortex_m", "Cortex-M"),
                *(cell(by.get((network, machine, p), {})) for p in programs),
            ]
            for network, machine in places
        ]

    return [
        *markdown_table(["instructions", "on", *programs], rows(_instructions)),
        "",
        *markdown_table(["flash; RAM; stack", "on", *programs], rows(_bytes)),
        "",
        _setting(found),
    ]


def _setting(found: dict[str, Any]) -> str:
    builds, archs = ({each[what] for each in found["libraries"]} for what in ("build", "arch"))
    kernel, third_party, core = (
        found["optimization"].get(part, "an unknown level") for part in ("kernel", "third_party_kernel", "core")
    )
    return (
        f"{found['compiler']}; {found['emulator']}. Plain C at {' '.join(Options().optimize)}; TFLite Micro for "
        f"{', '.join(sorted(archs))} with BUILD_TYPE {', '.join(sorted(builds))}: its kernels at {kernel}, "
        f"CMSIS-NN's at {third_party}, the rest at {core}."
    )


def _instructions(each: dict[str, Any]) -> str:
    return f"{each['instructions']:,}" if "instructions" in each else ""


def _bytes(each: dict[str, Any]) -> str:
    return f"{each['flash']:,}; {each['ram']:,}; {each['stack']:,}" if "flash" in each else ""


INTERPRETER = Suite("interpreter", __doc__, _measure, _table)
