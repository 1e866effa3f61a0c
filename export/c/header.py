"""``<name>_model.h``, and the functions that it declares."""

from __future__ import annotations

from collections.abc import Sequence

from export.c.network import CNetwork
from export.c.scratch_arrays import array_bytes, declared_shared, scratch_at
from export.c.written_calls import state_bytes
from export.c_language.text import close_guard, open_guard
from export.interface.tensor_code import described
from export.interface.tensor_layout import TensorLayout
from export.interface.tensor_meaning import conversion, meaning

__all__ = ["ends_in_memory", "header_text"]

_RESET = """
// The network keeps states from one run to the next, in memory of its own: what a run gives depends on those before.
// There is one sequence at a time. This begins it anew, with what an interpreter of TFLite Micro has when it is made;
// the first run after power-up begins so too.
void {name}_reset(void);
"""

_SHARED = """\
// Networks may share a working memory, which the program defines: all files are compiled with its size, the largest
// that one of them asks for. A run of one overwrites inputs and outputs of the others; states stay each network's own.
"""


def ends_in_memory(name: str, network: CNetwork) -> str:
    """The functions of a model: where its inputs and outputs lie, and the run with what the caller has."""
    pointers, before, behind = list[str](), list[str](), list[str]()
    for side, copied in (("in", before), ("out", behind)):
        for place, tensor, function, argument in _ends(name, network, side):
            value = network.graph.values[tensor]
            ctype = f"{value.array_dtype}_t"
            there = f"({ctype} *)({scratch_at(network.plan, network.ends[side, place])})"
            pointers.append(f"{ctype} *{function}(void) {{ return {there}; }}")
            to, source = (f"{function}()", argument) if side == "in" else (argument, f"{function}()")
            copied.append(f"  if ({argument} != {function}()) memcpy({to}, {source}, {value.bytes});")
    body = "\n".join([*before, "  run();", *behind])
    return "\n\n".join([*pointers, f"{_prototype(name, network)} {{\n{body}\n}}"])


def _ends(name: str, network: CNetwork, side: str) -> list[tuple[int, str, str, str]]:
    """Of the inputs or the outputs: number, tensor, the function that says where it lies, and the run's parameter."""
    tensors = network.graph.inputs if side == "in" else network.graph.outputs
    numbers = [""] if len(tensors) == 1 else [f"_{i}" for i in range(len(tensors))]
    return [(i, t, f"{name}_{side}put{n}", f"{side}{n}") for i, (t, n) in enumerate(zip(tensors, numbers, strict=True))]


def _prototype(name: str, network: CNetwork) -> str:
    parameters = [
        f"{const}{network.graph.values[tensor].array_dtype}_t *{argument}"
        for side, const in (("in", "const "), ("out", ""))
        for _, tensor, _, argument in _ends(name, network, side)
    ]
    return f"void {name}_invoke({', '.join(parameters)})"


def _pointers(name: str, network: CNetwork) -> str:
    """Declarations of where the inputs and outputs lie, with what becomes of them."""
    lines = []
    for side in ("in", "out"):
        for place, tensor, function, _ in _ends(name, network, side):
            kept = ""
            if side == "in":
                survives = network.survives(place)
                kept = f"  // A run {'leaves it as it is' if survives else 'overwrites it: fill it before each'}."
            lines.append(f"{network.graph.values[tensor].array_dtype}_t *{function}(void);{kept}")
    return "\n".join(lines)


def header_text(name: str, network: CNetwork, constants: int, layouts: Sequence[TensorLayout]) -> str:
    """The header.

    Args:
        name: the model's, an identifier.
        network: that was written.
        constants: bytes of them in flash.
        layouts: of its inputs and outputs, with what their numbers are.
    """
    macro, sizes = name.upper(), []
    for side in ("in", "out"):
        for _, tensor, function, _ in _ends(name, network, side):
            sizes.append(f"#define {function.upper()}_SIZE {network.graph.values[tensor].elements}")
    scratch, held = array_bytes(network.plan), state_bytes(network.graph)
    total, slow = sum(scratch.values()), scratch.get("scratch_slow", 0)
    slow_size = f"#define {macro}_SCRATCH_SLOW_BYTES {slow}\n" if slow else ""
    divided = f" ({slow:,} slow)" if slow else ""
    shared = f"\n{_SHARED}{declared_shared(name, network.plan)}\n" if scratch else ""
    kept = f" and {held:,} bytes of states" if held else ""
    state_size = f"#define {macro}_STATE_BYTES {held}\n" if held else ""
    reset = _RESET.format(name=name) if held else ""
    return f"""\
// The model as plain C: no interpreter, no heap, no float. Bit for bit what TFLite Micro computes.
//
// {constants:,} bytes of constants in flash, {total:,} bytes of working memory{divided}{kept} besides the stack. Inputs
// and outputs lie in the working memory.
{open_guard(f"{name}_model")}
#include <stdint.h>

// Elements.
{chr(10).join(sizes)}
#define {macro}_SCRATCH_BYTES {scratch.get("scratch", 0)}
{slow_size}{state_size}
// Order of the axes, last index fastest; the batch is one sample. The lines are for whoever includes
// {name}_quantization.h, which has their functions.

{described(name, layouts, conversion(name, layouts), meaning)}
#ifdef __cplusplus
extern "C" {{
#endif
{shared}
// Where the codes of inputs and outputs lie in the working memory. They may lie on one another: read the outputs before
// the inputs of the next run are filled.
{_pointers(name, network)}

// Codes in, codes out; {name}_quantization.h converts them to physical values. What lies elsewhere than at these
// addresses is copied there and from there; no other address in the working memory may be handed over. Not reentrant:
// the working memory is static.
{_prototype(name, network)};
{reset}
#ifdef __cplusplus
}}  // extern "C"
#endif
{close_guard(f"{name}_model")}"""
