"""Settings for single layers that change nothing: a wish that nobody hears is named."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from qtorch.config import QuantizationConfig

__all__ = ["GRID_SETTINGS", "WEIGHT_SETTINGS", "unheard"]

#: Fields of :class:`qtorch.LayerConfig` that say something of a weight.
WEIGHT_SETTINGS = frozenset({"weights", "weight_bits", "weight_observer", "scales"})
#: Fields that say something of a grid of one's own.
GRID_SETTINGS = frozenset({"observer", "margin", "gradient", "scales"})


def unheard(config: QuantizationConfig, heard: Mapping[str, frozenset[str]]) -> list[str]:
    """A sentence for each entry of ``config.layers`` that changes nothing.

    Args:
        config: of a network.
        heard: by layer, the fields that have an effect on it.
    """
    sentences = []
    for pattern, changes in config.layers.items():
        matched = [name for name in heard if fnmatchcase(name, pattern)]
        if not matched:
            sentences.append(
                f"layers[{pattern!r}] has no effect: no layer is called so, there are {_named(list(heard), 12)}"
            )
            continue
        for field in changes:
            if not any(field in heard[name] for name in matched):
                sentences.append(
                    f"layers[{pattern!r}]: {field} has no effect on {_named(matched, 3)}, "
                    + ("which has no weights" if field in WEIGHT_SETTINGS - GRID_SETTINGS else _WITHOUT_GRID)
                )
    return sentences


def _named(names: list[str], most: int) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


_WITHOUT_GRID = "whose values lie on a grid that another layer or the kernel decides"
