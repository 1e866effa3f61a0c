"""A file in TFLite Micro on an emulated Cortex-M, with the kernels of a library that was built for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.interpreter import int8_only, interpreted_figures
from export.cost.rig_ends import NAME
from export.device import headers
from export.tflite.summary import ModelSummary
from firmware.emulation import Library, Options, interpreted
from qtorch.errors import BadModelFile

__all__ = ["counted_tflm", "resolver_methods"]

_RESOLVER = "tensorflow/lite/micro/micro_mutable_op_resolver.h"
_MIB = 1024 * 1024
#: Bytes of the largest arena that is tried, by the machine's memory.
_ARENAS = {"cortex_m55": _MIB // 4}


def resolver_methods(header: str, operators: list[str]) -> tuple[str, ...]:
    """The methods of ``MicroMutableOpResolver`` that register operators.

    Args:
        header: upstream's text of that class.
        operators: as the schema calls them, custom ones as ``CUSTOM:Name``.

    Raises:
        BadModelFile: one has no method.
    """
    builtin = re.findall(r"TfLiteStatus (Add\w+)\([^{]*\{\s*return AddBuiltin\(\s*BuiltinOperator_(\w+)", header)
    custom = re.findall(r'TfLiteStatus (Add\w+)\([^{]*\{[^}]*?AddCustom\(\s*"(\w+)"', header)
    known = {**{name: method for method, name in builtin}, **{f"CUSTOM:{name}": method for method, name in custom}}
    absent = [each for each in operators if each not in known]
    if absent:
        raise BadModelFile(
            where="MicroMutableOpResolver", expected=f"a method for {', '.join(absent)}", got="none",
            remedy="register it by hand",
        )  # fmt: skip
    return tuple(dict.fromkeys(known[each] for each in operators))


def counted_tflm(
    data: bytes, summary: ModelSummary, library: Library, inputs: np.ndarray, expected: np.ndarray, seconds: float
) -> dict[str, Any]:
    """What an inference takes; with ``differs`` in words where an output is not the expected one.

    Args:
        data: the file.
        summary: of it.
        library: of TFLite Micro.
        inputs: bytes of each sample's inputs, int8 ``[samples, bytes]``.
        expected: likewise.
        seconds: that a program may take.

    Raises:
        EmulationFailure: it does not fit, or ends otherwise than by saying whether all outputs agree.
    """
    graphs = summary.subgraphs
    operators = list(dict.fromkeys(op.op for graph in graphs for op in graph.ops))
    methods = resolver_methods((library.root / Path(_RESOLVER)).read_text(), operators)
    resolver = headers.op_resolver(NAME, methods)
    if {tensor.dtype for tensor in graphs[0].tensors} <= {"int8", "int32"}:
        resolver = int8_only(resolver)
    sources = {**headers.model_data(NAME, data), "rig_op_resolver.h": resolver}
    found = interpreted(
        library, sources, NAME, inputs, expected, Options(seconds=seconds),
        tensors=(len(graphs[0].inputs), len(graphs[0].outputs)),
        variables=sum(op.op == "VAR_HANDLE" for graph in graphs for op in graph.ops),
        largest=_ARENAS.get(library.machine.name, _MIB),
    )  # fmt: skip
    made = found.replay
    differs = {"differs": f"{made.mismatches} samples, first {made.first}"} if made.first else {}
    return {**interpreted_figures(found), **differs}
