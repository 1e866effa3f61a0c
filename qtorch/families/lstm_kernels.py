"""The C cell of UNIDIRECTIONAL_SEQUENCE_LSTM, of int8 and of int16."""

from __future__ import annotations

import numpy as np
import torch

from qtorch.families.long_short_term_memory import (
    BIASES,
    INPUT_WEIGHTS,
    STATE_WEIGHTS,
    cell_limits,
    gate_multiplier,
    output_multiplier,
    table_factor,
)
from qtorch.families.sigmoids import sigmoid_table
from qtorch.numbers.fixedpoint import quantize_multiplier, reduced_mantissa
from qtorch.row.kernel_call import Argument, ConstantTable, KernelCall, NoKernel, Operands, TensorArgument

__all__ = ["lstm_kernel"]

#: Of a node that carries its states.
_CARRIED = ("hidden", "cell", "next_hidden", "next_cell")


def lstm_kernel(operands: Operands) -> KernelCall:
    """One call for all steps; the cell state is working memory where it is not carried.

    Raises:
        NoKernel: some order of summation leaves the kernel's integers.
    """
    wide = operands.grid("input").dtype == "int16"
    sequences, steps, inputs = operands.shapes["input"]
    carried = "hidden" in operands.shapes
    low, high = cell_limits(operands.attrs["cell_clip"], operands.attrs["cell_exponent"])
    size = operands.shapes["output"][-1]
    output = operands.grid("output")
    exponent = operands.attrs["cell_exponent"]
    to_cell = quantize_multiplier(torch.tensor(2.0 ** (-30 - exponent), dtype=torch.float64))
    to_hidden = output_multiplier(output.grid.scale)
    factor, half, shift = table_factor(exponent)
    weights, state_weights = (
        np.stack([operands.constants[role] for role in roles]) for roles in (INPUT_WEIGHTS, STATE_WEIGHTS)
    )
    arguments: dict[str, Argument] = {
        "in": TensorArgument("input"),
        "weights": ConstantTable(_beside(weights)),
        "state_weights": ConstantTable(_beside(state_weights)),
        **(_wide_sums if wide else _sums)(operands, weights, state_weights),
        "table": ConstantTable(sigmoid_table().numpy().astype(np.uint16).view(np.int16)),
        **{role: TensorArgument(role) if carried else 0 for role in _CARRIED},
        "out": TensorArgument("output"),
        "sequences": sequences,
        "steps": steps,
        "in_size": inputs,
        "size": size,
        "cell_mantissa": int(to_cell.mantissa),
        "cell_shift": int(to_cell.shift),
        "out_mantissa": int(to_hidden.mantissa),
        "out_shift": int(to_hidden.shift),
        "factor": factor,
        "half": half,
        "shift": shift,
        "low": low,
        "high": high,
    }
    if carried:
        arguments["scratch"] = 0
    if not wide:
        arguments["zero_point"] = output.zero_point[0]
    return KernelCall(
        f"unidirectional_sequence_lstm_s{16 if wide else 8}", arguments, scratch=0 if carried else 2 * size
    )


def _beside(weights: np.ndarray) -> np.ndarray:
    """Weights ``[4, H, K]`` as ``[H, 4, K]``: the four gates of a unit have the same codes to multiply."""
    return np.ascontiguousarray(weights.swapaxes(0, 1))


def _multipliers(operands: Operands) -> list[tuple[int, int]]:
    """Mantissas and shifts of the gates' inputs, and of their states."""
    sides = (("input", INPUT_WEIGHTS), ("output", STATE_WEIGHTS))
    multipliers = [
        gate_multiplier(operands.grid(source).grid.scale, operands.grid(weight).grid.scale)
        for source, weights in sides
        for weight in weights
    ]
    return [(int(mantissa), int(shift)) for mantissa, shift in multipliers]


def _sums(operands: Operands, weights: np.ndarray, state_weights: np.ndarray) -> dict[str, Argument]:
    """Zero points go into the biases."""
    biases = np.stack([operands.constants[role] for role in BIASES]).astype(np.int64)
    sides = (("biases", "input", weights, biases), ("state_biases", "output", state_weights, np.zeros_like(biases)))
    tables: dict[str, Argument] = {"multipliers": ConstantTable(np.array(_multipliers(operands), np.int32))}
    for name, role, weight, bias in sides:
        wide = weight.astype(np.int64)
        starts = bias - operands.grid(role).zero_point[0] * wide.sum(2)
        largest = int((np.abs(starts) + 128 * np.abs(wide).sum(2)).max())
        if largest >= 2**31:
            raise NoKernel(f"sums of up to {largest}, which int32 does not hold")
        tables[name] = ConstantTable(starts.astype(np.int32))
    return tables


def _wide_sums(operands: Operands, weights: np.ndarray, state_weights: np.ndarray) -> dict[str, Argument]:
    biases = np.stack([operands.constants[role] for role in BIASES]).astype(np.int64)
    largest = int((np.abs(biases) + 2**15 * np.abs(weights.astype(np.int64)).sum(2)).max())
    multipliers = _multipliers(operands)
    if largest >= 2**47 or max(shift for _, shift in multipliers) > 7:
        raise NoKernel(f"sums of up to {largest} and multipliers {multipliers}, beyond 48 bits and shifts of 7")
    reduced = [(int(reduced_mantissa(torch.tensor(mantissa))), 15 - shift) for mantissa, shift in multipliers]
    channels = [
        [[bias & 0xFFFFFFFF, bias >> 32, *by] for bias in row.tolist()]
        for row, by in zip(biases, reduced[:4], strict=True)
    ]
    states = [[0, 0, *by] for by in reduced[4:]]
    return {name: ConstantTable(np.array(words, np.int64).astype(np.uint32).astype(np.int32))
            for name, words in (("channels", channels), ("states", states))}  # fmt: skip
