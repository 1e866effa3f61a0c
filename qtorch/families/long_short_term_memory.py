"""The LSTM cell, step by step: in floats, with what its cell state was, and in TFLM's integers.

Gates lie on a grid of 2**-12 before their function and of 2**-15 behind it, both int16; the cell state is int16 on a
power of two; the hidden state lies on the output's grid. Weights have one scale each.
Source: TFLM ``micro/kernels/lstm_eval.h``, ``lstm_eval.cc``, ``lstm_eval_common.cc``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function

from qtorch.families.accumulator import sum_factor
from qtorch.families.sigmoids import sigmoid_of_table, tanh_of_table
from qtorch.numbers.fixedpoint import Multiplier, Rounding, fits_int32, quantize_multiplier, requantize, requantize_wide
from qtorch.numbers.grid import CODE_RANGE, Grid

__all__ = [
    "BIASES",
    "CELL_EXPONENTS",
    "GATES",
    "INPUT_WEIGHTS",
    "STATE_WEIGHTS",
    "cell_limits",
    "gate_multiplier",
    "lstm_codes",
    "lstm_of_floats",
    "output_multiplier",
    "sequence_lstm",
    "table_factor",
]

#: In TFLite's order: input, forget, cell, output; PyTorch calls the third one g, and has them in the same order.
GATES = ("i", "f", "g", "o")
INPUT_WEIGHTS = tuple(f"weight_i{gate}" for gate in GATES)
STATE_WEIGHTS = tuple(f"weight_h{gate}" for gate in GATES)
BIASES = tuple(f"bias_{gate}" for gate in GATES)

#: Powers of two that a step of the cell state may be. Above, three times a code leaves int32; below, products of gates
#: are shifted to the left by more than the kernel has room for.
CELL_EXPONENTS = (-29, 1)


def sequence_lstm(
    input: Tensor,
    weight_ii: Tensor, weight_if: Tensor, weight_ig: Tensor, weight_io: Tensor,
    weight_hi: Tensor, weight_hf: Tensor, weight_hg: Tensor, weight_ho: Tensor,
    bias_i: Tensor, bias_f: Tensor, bias_g: Tensor, bias_o: Tensor,
) -> Tensor:  # fmt: skip
    """The hidden states ``[N, T, H]`` of one layer in one direction, from zeros; one op on the device.

    Of the input ``[N, T, I]``, weights ``[H, I]`` and ``[H, H]`` for each gate, and biases ``[H]``. More axes in
    front of the steps are sequences of a sample.
    """
    tensors = (
        input, weight_ii, weight_if, weight_ig, weight_io, weight_hi, weight_hf, weight_hg, weight_ho,
        bias_i, bias_f, bias_g, bias_o,
    )  # fmt: skip
    if has_torch_function(tensors):
        # One call to whoever looks, as a function of torch is.
        return handle_torch_function(sequence_lstm, tensors, *tensors)
    roles = ("input", *INPUT_WEIGHTS, *STATE_WEIGHTS, *BIASES)
    return lstm_of_floats(dict(zip(roles, tensors, strict=True)))[0]


def lstm_of_floats(x: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Hidden states and cell states of all steps, ``[..., T, H]``, of tensors by role, the input ``[..., T, I]``."""
    weight, state_weight, bias = (
        torch.cat([x[role] for role in roles]) for roles in (INPUT_WEIGHTS, STATE_WEIGHTS, BIASES)
    )
    several = x["input"].shape[:-2]
    of_inputs = F.linear(x["input"].flatten(0, -3), weight, bias)
    hidden = of_inputs.new_zeros((len(of_inputs), state_weight.shape[1]))
    cell, hiddens, cells = hidden, [], []
    for step in range(of_inputs.shape[1]):
        gates = of_inputs[:, step] + F.linear(hidden, state_weight)
        opened, kept, candidate, shown = gates.chunk(4, 1)
        cell = torch.sigmoid(kept) * cell + torch.sigmoid(opened) * torch.tanh(candidate)
        hidden = torch.sigmoid(shown) * torch.tanh(cell)
        hiddens.append(hidden)
        cells.append(cell)
    return torch.stack(hiddens, 1).unflatten(0, several), torch.stack(cells, 1).unflatten(0, several)


def gate_multiplier(source: Tensor, weight: Tensor, rounding: Rounding = Rounding.DOUBLE) -> Multiplier:
    """From sums of products to the grid of a gate before its function, of float32 scales."""
    return quantize_multiplier(sum_factor(source, weight, torch.tensor(2.0**-12), rounding=rounding))


def output_multiplier(hidden: Tensor) -> Multiplier:
    """From products of two numbers on 2**-15 to the hidden state's grid, whose scale is float32."""
    return quantize_multiplier(torch.tensor(2.0**-30, dtype=torch.float64) / hidden.to(torch.float64))


def table_factor(exponent: int) -> tuple[int, int, int]:
    """Factor, addend and right shift from a code on ``2**exponent`` to units of ``1 / (24 * 512)``."""
    shift = exponent + 12
    return (3 << shift, 0, 0) if shift >= 0 else (3, 1 << (-shift - 1), -shift)


def cell_limits(clip: float, exponent: int) -> tuple[int, int]:
    """Least and greatest code of the cell state on ``2**exponent``; a clip of 0 is none."""
    if clip <= 0:
        return -(2**15), 2**15 - 1
    # As the kernel has it: the float32 over the scale in double, held, and cut to a whole number.
    most = int(min(float(np.float32(clip)) / 2.0**exponent, 2**15 - 1))
    return -most, most


def lstm_codes(
    codes: Mapping[str, Tensor], grids: Mapping[str, Grid], exponent: int, rounding: Rounding, clip: float = 0.0
) -> tuple[Tensor, Tensor]:
    """int64 codes of the hidden states and of the cell states, both ``[..., T, H]``.

    Each gate is the sum, held to int16, of two requantized sums of products, the first with the bias: int32 sums of
    int8 codes, 48 bits of int16 codes. Each product of two gates, or of a gate and the cell state, is requantized and
    held, and so is the sum of two. States start with zeros where they are not among the codes.

    Args:
        codes: int64 by role, input ``[..., T, I]``; states, ``"hidden"`` and ``"cell"``, ``[N, H]`` or ``[N * H]``.
        grids: by role, with the output's.
        exponent: of the cell state's scale.
        rounding: of int8 activations.
        clip: greatest number of the cell state, either way; 0 for none.

    Raises:
        AccumulatorOverflow: a sum of products leaves its type.
    """
    source, output = grids["input"], grids["output"]
    cell_scale = torch.tensor(2.0**exponent, dtype=torch.float64)
    to_cell = quantize_multiplier(2.0**-30 / cell_scale)
    kept_of_cell = quantize_multiplier(torch.tensor(2.0**-15, dtype=torch.float64))
    to_hidden = output_multiplier(output.scale)
    factor, half, shift = table_factor(exponent)
    several = codes["input"].shape[:-2]
    of_inputs = {
        gate: _sums(
            codes["input"].flatten(0, -3),
            source,
            codes[weight],
            codes[bias],
            gate_multiplier(source.scale, grids[weight].scale, rounding),
            rounding,
        )
        for gate, weight, bias in zip(GATES, INPUT_WEIGHTS, BIASES, strict=True)
    }
    count, steps, width = of_inputs["i"].shape
    hidden = torch.zeros((count, width), dtype=torch.int64, device=codes["input"].device) + output.zero_point
    cell, hiddens, cells = torch.zeros_like(hidden), [], []
    if "hidden" in codes:
        hidden, cell = (codes[role].reshape(count, width) for role in ("hidden", "cell"))
    least, most = cell_limits(clip, exponent)
    # The four gates at once, one behind the other: each number is what it is by itself.
    before = torch.cat([of_inputs[gate] for gate in GATES], 2)
    weight = torch.cat([codes[role] for role in STATE_WEIGHTS]).to(torch.float64)
    of_state = _joined([gate_multiplier(output.scale, grids[role].scale, rounding) for role in STATE_WEIGHTS], width)
    for step in range(steps):
        gates = _int16(before[:, step] + _sums(hidden, output, weight, None, of_state, rounding))
        sigmoids, candidate = sigmoid_of_table(3 * gates), tanh_of_table(3 * gates[:, 2 * width : 3 * width])
        opened, kept, _, shown = sigmoids.chunk(4, 1)
        cell = _int16(requantize(kept * cell, kept_of_cell)) + _int16(requantize(opened * candidate, to_cell))
        cell = cell.clamp(least, most)
        bounded = tanh_of_table((cell * factor + half) >> shift)
        hidden = (requantize(bounded * shown, to_hidden) + output.zero_point).clamp(*CODE_RANGE[output.dtype])
        hiddens.append(hidden)
        cells.append(cell)
    return torch.stack(hiddens, 1).unflatten(0, several), torch.stack(cells, 1).unflatten(0, several)


def _joined(multipliers: Sequence[Multiplier], width: int) -> Multiplier:
    """One for ``width`` numbers each, ``[G * H]``."""
    mantissas, shifts = zip(*multipliers, strict=True)
    each = [torch.cat([number.reshape(1) for number in numbers]) for numbers in (mantissas, shifts)]
    return Multiplier(*(numbers.repeat_interleave(width) for numbers in each))


def _sums(
    codes: Tensor, grid: Grid, weight: Tensor, bias: Tensor | None, multiplier: Multiplier, rounding: Rounding
) -> Tensor:
    # Sums of up to 2**53, of which float64 holds every one.
    sums = F.linear((codes - grid.zero_point).to(torch.float64), weight.to(torch.float64)).to(torch.int64)
    sums = sums if bias is None else sums + bias
    if grid.dtype == "int16":
        return _int16(requantize_wide(sums, multiplier))
    return _int16(requantize(fits_int32(sums, "accumulator"), multiplier, rounding))


def _int16(x: Tensor) -> Tensor:
    return x.clamp(-(2**15), 2**15 - 1)
