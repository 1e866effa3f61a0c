"""qtorch's conversion, and every engine run on the samples: TFLite Micro computes the very integers, or no file."""

from __future__ import annotations

from functools import partial

from benchmarks.peers.conversions import serve_conversions
from benchmarks.peers.qtorch_conversion import conversion

if __name__ == "__main__":
    serve_conversions(partial(conversion, verified=True))
