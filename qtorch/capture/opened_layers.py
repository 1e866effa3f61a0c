"""Torch's own layers that a row stands for in most settings, and that are looked into in the others.

What they call is then composed of what rows stand for, or refused under the layer's name as before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from qtorch.ops import ROWS, of_rows
from qtorch.row.row import Row

__all__ = ["is_of_several_ranks", "is_opened", "is_opened_for"]


def is_opened(layer: nn.Module) -> bool:
    """Whether a layer of torch's own has settings that no row of this project has as a whole."""
    asks: Callable[[Any], bool] = _OPENED.get(type(layer), _is_complex)
    return type(layer) not in _layers_of_others() and asks(layer)


def is_opened_for(layer: nn.Module, x: Any) -> bool:
    """Whether a layer of torch's own, that a row has as a whole, is called with a tensor that the row does not take."""
    return is_of_several_ranks(layer) and isinstance(x, Tensor) and x.dim() != _RANKS[type(layer)]


def is_of_several_ranks(layer: nn.Module) -> bool:
    """Whether a layer takes tensors of other ranks than what stands for it."""
    return type(layer) in _RANKS and type(layer) not in _layers_of_others()


#: By class: the rank of what a row takes of several that the layer takes.
_RANKS: Mapping[Any, int] = {nn.Upsample: 4}


@of_rows
def _layers_of_others(rows: Mapping[str, Row]) -> frozenset[Any]:
    """The classes that rows of other packages stand for: these know what to do with every setting."""
    others = [row for name, row in rows.items() if not ROWS.owners[name].startswith("qtorch.ops")]
    return frozenset(match.target for row in others for match in row.matches if match.kind == "module")


def _all_are(given: Any, wanted: Any) -> bool:
    return all(each == wanted for each in (given if isinstance(given, tuple | list) else (given,)))


def _average(layer: Any) -> bool:
    counts = layer.count_include_pad or _all_are(layer.padding, 0)
    return layer.ceil_mode or not counts or getattr(layer, "divisor_override", None) is not None


def _maximum(layer: Any) -> bool:
    return layer.return_indices or not _all_are(layer.dilation, 1)


def _adaptive(layer: Any) -> bool:
    size = layer.output_size
    sizes = size if isinstance(size, tuple | list) else (size,)
    return getattr(layer, "return_indices", False) or not all(each in (1, None) for each in sizes)


def _transposed(layer: Any) -> bool:
    return layer.groups != 1 or not _all_are(layer.dilation, 1)


def _upsample(layer: Any) -> bool:
    factors = layer.scale_factor if isinstance(layer.scale_factor, tuple) else (layer.scale_factor or 1.0,)
    return layer.mode not in ("nearest", "bilinear") or not all(float(each).is_integer() for each in factors)


def _cuts(layer: Any) -> bool:
    return any(each < 0 for each in layer.padding)


def _along_any_axis(layer: Any) -> bool:
    return layer.dim is not None and layer.dim != -1


def _is_complex(layer: nn.Module) -> bool:
    return any(each.is_complex() for each in layer.parameters(recurse=False))


#: By class: whether a layer's settings are such; of all others complex weights are.
_OPENED: dict[Any, Callable[[Any], bool]] = {
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d), _average),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d), _maximum),
    **dict.fromkeys(
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d), _adaptive
    ),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d), _transposed),
    nn.Upsample: _upsample,
    **dict.fromkeys((nn.ZeroPad1d, nn.ZeroPad2d, nn.ConstantPad1d, nn.ConstantPad2d), _cuts),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax), _along_any_axis),
}
