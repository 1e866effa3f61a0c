"""Rows of a table by their numbers: one call, whatever a person wrote."""

from __future__ import annotations

from typing import Any

from qtorch.capture.compositions.table import decomposes, is_constant
from qtorch.families.table_rows import rows_of_table


@decomposes("embedding")
def _embedding(
    weight: Any, indices: Any, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Any:
    """Of a table that is known, by indices that are not; gradients that others would have are refused."""
    if is_constant(indices) or not is_constant(weight) or scale_grad_by_freq or sparse:
        return None
    padding = None if padding_idx < 0 else padding_idx
    arguments = (indices, weight, padding)
    return indices.tracer.create_proxy("call_function", rows_of_table, arguments, {}, name="embedding")
