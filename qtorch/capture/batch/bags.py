"""Bags of rows of a table, which PyTorch takes one behind the other, whatever sample they are of."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from qtorch.capture.batch.calls import MovedCall, Result, rule
from qtorch.capture.batch.layout import layout_of
from qtorch.capture.nodes import operator_name, schema_arguments, source_line
from qtorch.errors import UnsupportedLayer

aten = torch.ops.aten

#: By the number of a mode.
_MODES: tuple[Any, ...] = (aten.sum.dim_IntList, aten.mean.dim, aten.amax.default)


@rule("embedding_bag")
def _embedding_bag(call: MovedCall) -> Result:
    """Of bags that are all of one length.

    Raises:
        UnsupportedLayer: of others; and of a row that is left out of a mean, or of the largest, which no table tells.
    """
    given = call.arguments
    x, length = call.held(given["indices"]), _length(given["offsets"])
    weights, mode, row = given["per_sample_weights"], given["mode"], given["padding_idx"]
    if row is not None and mode:
        raise _refusal(call, "padding_idx with a mean or a maximum, whose count of rows hangs on what comes in")
    if given["scale_grad_by_freq"] or given["sparse"]:
        raise _refusal(call, "gradients of its own, by scale_grad_by_freq or sparse")
    if x is None or x.layout.axis or x.layout.outer > 1 or x.layout.rank != 1 or not length or x.layout.inner % length:
        raise _refusal(call, "bags that are not known to be of one length")
    if given["include_last_offset"]:
        raise _refusal(call, "include_last_offset=True")
    count = x.layout.inner // length
    table = given["weight"]
    if row is not None:
        zeros = call.emit(aten.zeros.default, [table.meta["val"].shape[1]])
        table = call.emit(aten.select_scatter.default, table, zeros, 0, row)
    rows = call.emit(aten.embedding.default, table, call.reshaped(x.node, (count, length)))
    factors = None if weights is None else call.held(weights)
    if weights is not None and factors is None:
        raise _refusal(call, "per_sample_weights that are the same for every sample")
    if factors is not None:
        rows = call.emit(aten.mul.Tensor, rows, call.reshaped(factors.node, (count, length, 1)))
    bags = call.emit(_MODES[mode], rows, [2])
    layout = layout_of(call.shape, 0, 1, count)
    # What else it gives is for gradients.
    return [call.as_held(bags, layout)] * len(call.shapes)


def _refusal(call: MovedCall, got: str) -> UnsupportedLayer:
    line = source_line(call.node)
    return UnsupportedLayer(
        where="embedding_bag" + (f" ({line})" if line else ""),
        expected="bags of one length, whose rows are added up, averaged, or of which the largest numbers are taken",
        got=got,
        remedy="pass indices [N, length] and no offsets, filled up with the index of a row of zeros, and without "
        "padding_idx; of other bags add up in the firmware, or write nn.Embedding and a product with weights that are "
        "an input",
    )


def _length(offsets: fx.Node) -> int:
    """What places are apart that begin with 0 and lie evenly; 0 of others."""
    name, given = operator_name(offsets), schema_arguments(offsets)
    if name == "mul" and isinstance(offsets.args[0], fx.Node) and isinstance(offsets.args[1], int):
        return _length(offsets.args[0]) * offsets.args[1]
    step = given.get("step", 1)
    return step if name == "arange" and not given.get("start", 0) and isinstance(step, int) else 0
