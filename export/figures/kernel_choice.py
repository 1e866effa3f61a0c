"""Which kernels the plain C took, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["kernels_in_words", "rows_of_kernels"]


def kernels_in_words(c: Mapping[str, Any]) -> str:
    """What faster kernels cost and save, from the figures of :class:`export.c.model.CModel`; empty without a choice.

    >>> layer = {"saved": 675_322, "instructions": 205_163, "flash": 1138}
    >>> other = {"saved": 0, "instructions": 959_618, "flash": 0}
    >>> both = {"layers": [layer, other], "flash_bytes": 33_956, "least_bytes": 32_818, "budget_bytes": 36_099}
    >>> kernels_in_words({"kernels": both})
    'faster kernels for 1 of 2 layers: 1,138 bytes of flash more of 3,281 allowed, 37 % of their work less, as counted'
    >>> kernels_in_words({"kernels": both | {"flash_bytes": 32_669}})
    'faster kernels for 1 of 2 layers: 149 bytes of flash less, 37 % of their work less, as counted'
    """
    found = c.get("kernels")
    if not found:
        return ""
    layers = found["layers"]
    faster, saved = sum(layer["saved"] > 0 for layer in layers), sum(layer["saved"] for layer in layers)
    before = saved + sum(layer["instructions"] for layer in layers)
    more, budget = found["flash_bytes"] - found["least_bytes"], found["budget_bytes"]
    allowed = "" if budget is None else f" of {max(0, budget - found['least_bytes']):,} allowed"
    if not faster:
        return f"the smallest kernels, though {len(layers)} {'layer has' if len(layers) == 1 else 'layers have'} others"
    less = f"{100 * saved / before:.0f} % of their work less, as counted"
    flash = f"{more:,} bytes of flash more{allowed}" if more > 0 else f"{-more:,} bytes of flash less"
    return f"faster kernels for {faster} of {len(layers)} layers: {flash}, {less}"


def rows_of_kernels(c: Mapping[str, Any]) -> list[list[str]]:
    """A line for each layer that there was a choice for: what it is, its kernel, what that saves and costs, why not."""
    return [
        [
            layer["node"],
            layer["kernel"],
            f"{layer['instructions']:,}",
            f"{layer['saved']:,}",
            f"{layer['flash']:,}",
            f"{layer['scratch']:,}",
            "; ".join(f"{kernel} {why}" for kernel, why in layer["others"].items()),
        ]
        for layer in c.get("kernels", {}).get("layers", ())
    ]
