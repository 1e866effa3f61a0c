"""``<name>_layer_checks.h``: a checksum of what each operator gives for each test vector, so that a device can name the
first operator that computes something else."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from export.c_language.names import c_identifier
from export.c_language.text import close_guard, open_guard
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.tflite.contents import read_contents
from qtorch.errors import UnsupportedLayer

__all__ = ["LayerChecks", "layer_checks", "layer_checks_header"]

#: Where it is not known what an operator gives.
_UNKNOWN = 0
#: The checksums of a network take at most so many bytes of flash; with more operators, fewer vectors have them.
_MOST_BYTES = 4096
_FEWEST_VECTORS = 2

#: Names of the operators, in the order of execution; and checksums uint32 ``[vectors, operators]``, of which 0 is none.
LayerChecks = tuple[Sequence[str], np.ndarray]


def layer_checks(model: bytes, graph: Graph, inputs: tuple[np.ndarray, ...]) -> LayerChecks:
    """Computed by the reference: :func:`export.graph.interpret.interpret`.

    Args:
        model: the file of ``graph``, whose first tensors are the graph's values.
        graph: of integers.
        inputs: codes of the test vectors, for each of the graph's inputs; the first of them are checked.

    Returns: CRC-32 of the bytes of all of an operator's outputs, one after another, as they lie in memory.

    Raises:
        UnsupportedLayer: what an operator gives depends on the runs before.
    """
    if graph.states:
        raise UnsupportedLayer(
            where=f"state {graph.states[0].value!r}",
            expected="a network that keeps nothing from one run to the next, for checksums of its layers",
            got=f"{len(graph.states)} states",
            remedy="compare its outputs over a sequence of runs",
        )
    subgraph = read_contents(model).subgraphs[0]
    called = dict(enumerate(graph.values))
    count = max(_FEWEST_VECTORS, _MOST_BYTES // (4 * max(1, len(subgraph.operators))))
    batches = [graph.values[name].rows for name in graph.inputs]
    chosen = tuple(array[: count * batch] for array, batch in zip(inputs, batches, strict=True))
    runs = len(chosen[0]) // batches[0]
    values = interpret(graph, chosen, every=True)
    checks = np.full((runs, len(subgraph.operators)), _UNKNOWN, np.uint32)
    for layer, operator in enumerate(subgraph.operators):
        # What lies between an operator and its preparation is no value of the graph.
        names = [called.get(index, "") for index in operator.outputs]
        if not all(name in values for name in names):
            continue
        for vector, arrays in enumerate(zip(*(np.split(values[name], runs) for name in names), strict=True)):
            checks[vector, layer] = _checksum(arrays)
    return [operator.name for operator in subgraph.operators], checks


def _checksum(arrays: Sequence[np.ndarray]) -> int:
    found = 0
    for array in arrays:
        found = zlib.crc32(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes(), found)
    return found or 1


def layer_checks_header(name: str, checks: LayerChecks) -> str:
    """The header's text.

    Args:
        name: the model's, any string.
        checks: of the first test vectors.

    Raises:
        ValueError: there is no operator or no vector, or nothing is known of what the last operator gives.
    """
    name = c_identifier(name)
    operators, sums = checks
    if sums.ndim != 2 or sums.size == 0 or sums.shape[1] != len(operators):
        raise ValueError(f"layer_checks.sums: expected [>= 1, {len(operators)}], got {list(sums.shape)}")
    if not sums[:, -1].all():
        raise ValueError("layer_checks.sums: expected checksums of the last operator, got 0, which stands for none")
    macro, kinds = name.upper(), tuple(dict.fromkeys(operators))
    names = ", ".join(f'"{kind}"' for kind in kinds)
    numbers = ", ".join(str(kinds.index(operator)) for operator in operators)
    width = "uint8_t" if len(kinds) <= 256 else "uint16_t"
    taken = sums.size * 4 + len(operators) * (1 if width == "uint8_t" else 2) + sum(len(k) + 1 + 4 for k in kinds)
    rows = "\n".join("    {" + ", ".join(f"0x{each:08x}u" for each in row) + "}," for row in sums.tolist())
    return f"""\
// What each operator of the model must give for the first test vectors: CRC-32 of its outputs' bytes. A device that
// computes them finds the first operator at fault; 0 stands where there is nothing to compare with.
//
// They take {taken:,} bytes of flash. Define SELF_TEST_WITHOUT_LAYERS to leave them out of the application.
{open_guard(f"{name}_layer_checks")}
#include <stdint.h>

#define {macro}_LAYER_COUNT {len(operators)}
#define {macro}_LAYER_VECTORS {len(sums)}

#if defined(__GNUC__)
#define {macro}_LAYER_STORAGE __attribute__((unused))
#else
#define {macro}_LAYER_STORAGE
#endif

// Kinds of operators, and which one each of them is, in the order of execution.
static const char* const {macro}_LAYER_STORAGE {name}_layer_kinds[] = {{{names}}};
static const {width} {macro}_LAYER_STORAGE {name}_layer_kind[{macro}_LAYER_COUNT] = {{{numbers}}};

static const uint32_t {macro}_LAYER_STORAGE {name}_layer_checks[{macro}_LAYER_VECTORS][{macro}_LAYER_COUNT] = {{
{rows}
}};
{close_guard(f"{name}_layer_checks")}"""
