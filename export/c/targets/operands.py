"""What a call's arguments hold, by kind: numbers, weights, and what makes codes of sums."""

from __future__ import annotations

import numpy as np

from qtorch.row.kernel_call import Accumulators, ConstantTable, KernelCall

__all__ = ["accumulators", "number", "numbers", "weights"]


def number(call: KernelCall, name: str, default: int = 1) -> int:
    """A number among the arguments."""
    found = call.arguments.get(name, default)
    assert isinstance(found, int)
    return found


def numbers(call: KernelCall) -> dict[str, int]:
    """All of them."""
    return {name: argument for name, argument in call.arguments.items() if isinstance(argument, int)}


def weights(call: KernelCall) -> np.ndarray:
    """As the call has them."""
    table = call.arguments["weights"]
    assert isinstance(table, ConstantTable)
    return table.data


def accumulators(call: KernelCall) -> Accumulators:
    """Of a call whose outputs are sums."""
    sums = call.arguments["channels"]
    assert isinstance(sums, Accumulators)
    return sums
