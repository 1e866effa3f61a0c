"""Seconds from a float network and samples to an int8 file, and the file's bytes.

Everybody gets the network in its own framework's form with random weights, and the same number of samples; all files
have int8 inputs and outputs, and weights per output channel where the converter's default is so.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.peers.serving import serve

__all__ = ["SAMPLES", "serve_conversions"]

SAMPLES = 100


def serve_conversions(conversion: Callable[[str], Callable[[], bytes]]) -> None:
    """Answer ``start(task)`` and ``turn()``, which returns ``seconds`` and ``bytes`` of one conversion.

    Args:
        conversion: what converts the network of that name, all that is needed for it at hand.
    """
    convert: Callable[[], bytes] | None = None

    def start(task: str) -> None:
        nonlocal convert
        convert = conversion(task)

    def turn() -> dict[str, float]:
        assert convert is not None
        started = time.perf_counter()
        model = convert()
        return {"seconds": time.perf_counter() - started, "bytes": len(model)}

    serve(start=start, turn=turn)
