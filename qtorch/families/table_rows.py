"""Rows of a table by their numbers, as an embedding looks them up: a call that is kept whole for its op."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function

__all__ = ["rows_of_table"]


def rows_of_table(indices: Tensor, table: Tensor, padding_idx: int | None = None) -> Tensor:
    """``[...]`` and ``[R, C]`` to ``[..., C]``; one op on the device.

    Args:
        indices: int64, 0 to R - 1.
        table: of any type.
        padding_idx: of a row that has no gradient, not negative; ``None`` of none.
    """
    if has_torch_function((indices, table)):
        # One call to whoever looks, as a function of torch is.
        return handle_torch_function(rows_of_table, (indices, table), indices, table, padding_idx)
    return F.embedding(indices, table, padding_idx)
