"""Numbers that somebody hands over as a network's samples, or as their targets, made into tensors or refused in words.

Data are looked at as a whole, so that nothing takes time before all is known to fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from qtorch.capture.call_form import tensors_in
from qtorch.capture.samples import Samples, length
from qtorch.errors import BadData, NotFinite
from qtorch.handed_over.as_called import as_called
from qtorch.handed_over.indices import as_taken
from qtorch.handed_over.words import shown
from qtorch.surroundings import not_finite, require_values

__all__ = ["PASS_NUMBERS", "samples_of", "targets_of"]

#: What to do where there are no numbers.
PASS_NUMBERS = "pass a float32 tensor or NumPy array with a row for each sample, or a tuple of a network's several"

_PASS_TARGETS = "pass numbers; of classes their number, counted from 0, as in [names.index(each) for each in targets]"


def samples_of(where: str, samples: Any, net: nn.Module) -> Samples:
    """A network's inputs, at least one sample: arrays and lists of numbers as tensors, all tensors in float32, but for
    indices, which are int64; of a prepared network in the form in which it is called.

    Args:
        where: the argument that they were handed over as.
        net: whose inputs they are.
        samples: a tensor, array or list of rows; or several in a tuple, list or dict.

    Raises:
        BadData: no tensor is among them, or they have no rows, none at all or not as many each.
        NotFinite: NaN or infinity is among them.
    """
    found = as_called(net, _with_tensors(where, samples))
    tensors = tensors_in(found)
    lengths = {len(each) if each.dim() else None for each in tensors}
    if len(lengths) != 1 or lengths & {None, 0}:
        raise BadData(
            where=where, expected="samples along the first axis, at least one, and of several inputs as many of each",
            got=shown(samples), remedy=PASS_NUMBERS,
        )  # fmt: skip
    for each in tensors:
        bad = not_finite(each)
        if bad:
            raise NotFinite(
                where=where, expected="finite numbers", got=bad,
                remedy="correct or leave out the samples that have them",
            )  # fmt: skip
    return as_taken(net, found)


def targets_of(where: str, targets: Any, inputs: Samples | None, of: str) -> Tensor:
    """Targets as a tensor of as many rows as there are samples; a tensor as it is.

    Args:
        where: the argument that they were handed over as.
        targets: a tensor, an array or a list of numbers.
        inputs: the samples, if they are there.
        of: the argument that those were handed over as.

    Raises:
        BadData: they are no numbers, or more or fewer than the samples.
    """
    if isinstance(targets, list | np.ndarray):
        found = torch.tensor(_array(where, targets, _PASS_TARGETS))
        targets = found.float() if found.is_floating_point() else found
    if not isinstance(targets, Tensor) or not targets.dim():
        raise BadData(
            where=where, expected="a tensor, NumPy array or list with a target for each sample", got=shown(targets),
            remedy="pass such, or leave them out",
        )  # fmt: skip
    _require_plain(where, targets)
    if inputs is not None and len(targets) != length(inputs):
        raise BadData(
            where=where, expected=f"{length(inputs)}, one for each sample of {of}",
            got=f"{len(targets)}, of shape {tuple(targets.shape)}",
            remedy="pass inputs and targets of the same samples",
        )  # fmt: skip
    return targets


def _with_tensors(where: str, samples: Any) -> Samples:
    """The same with tensors in the place of arrays and of lists of rows."""

    def whole(value: Any, *, inside: bool) -> Any:
        # Inside a call a row of numbers may be a constant.
        if isinstance(value, list) and _is_numbers(value) and not (inside and not _is_rows(value)):
            return _plain(where, torch.tensor(_array(where, value)))
        if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
            return type(value)(whole(each, inside=True) for each in value)
        return {key: whole(each, inside=True) for key, each in value.items()} if type(value) is dict else value

    def leaf(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return _plain(where, torch.tensor(_array(where, value)))
        return _plain(where, value) if isinstance(value, Tensor) else value

    found = tree_map(leaf, whole(samples, inside=False))
    if not tensors_in(found):
        raise BadData(where=where, expected="numbers", got=shown(samples), remedy=PASS_NUMBERS)
    return found


def _require_plain(where: str, x: Tensor) -> None:
    if x.is_complex() or x.is_quantized or x.layout is not torch.strided:
        sparse = x.layout is not torch.strided
        raise BadData(
            where=where, expected="real numbers, all of them", got=f"{'sparse ' if sparse else ''}{shown(x)}",
            remedy="call .to_dense() on it" if sparse else PASS_NUMBERS,
        )  # fmt: skip
    require_values(x, where)


def _plain(where: str, x: Tensor) -> Tensor:
    """In float32, or int64 of integers, which may be indices."""
    _require_plain(where, x)
    whole = not x.is_floating_point() and x.dtype is not torch.bool
    return (x.detach() if x.requires_grad else x).to(torch.int64 if whole else torch.float32)


def _is_numbers(value: Any) -> bool:
    return all(map(_is_numbers, value)) if isinstance(value, list | tuple) else isinstance(value, Real)


def _is_rows(value: Sequence[Any]) -> bool:
    return bool(value) and isinstance(value[0], list | tuple)


def _array(where: str, values: Any, remedy: str = PASS_NUMBERS) -> np.ndarray:
    """Real numbers in order, in memory of their own."""
    if isinstance(values, np.ma.MaskedArray):
        raise BadData(
            where=where, expected="numbers, all of them", got=f"{shown(values)}, {np.ma.count_masked(values)} masked",
            remedy="fill what is masked, as in array.filled(0), or leave out the samples that have it",
        )  # fmt: skip
    try:
        array = np.array(values, order="C")
    # NumPy of rows that are not equally long.
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise BadData(where=where, expected="real numbers in rows of one length", got=shown(values), remedy=remedy)
    # Types that PyTorch has not: of other byte orders, and wider ones.
    return array.astype({"f": np.float32, "u": np.int64}.get(array.dtype.kind, array.dtype.newbyteorder("=")))
