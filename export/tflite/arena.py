"""The smallest tensor arena that TFLite Micro accepts for a model, found by trying.

TFLM's own ``arena_used_bytes`` understates what allocation needs at its peak. And a failed allocation can take the
process down with it, so the attempts run in another one; an attempt that kills it counts as a failure.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from pathlib import Path

from qtorch.progress import Stage, stage

__all__ = ["LARGEST_ARENA", "smallest_arena"]

#: Arenas are tried at this granularity, in bytes; it is also their alignment.
STEP = 16
#: What is tried at most, 16 MiB: more than a microcontroller has.
LARGEST_ARENA = 2**24

_PROBE = """
import sys
from tflite_micro import runtime
model = open(sys.argv[1], "rb").read()
for line in sys.stdin:
    try:
        runtime.Interpreter.from_bytes(model, arena_size=int(line))
    except RuntimeError:
        print("refused", flush=True)
    else:
        print("accepted", flush=True)
"""


class _Probe:
    """A process that tries arena sizes, started again when a try kills it."""

    def __init__(self, model: Path) -> None:
        self.model = model
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _PROBE, str(self.model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def accepts(self, size: int) -> bool:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(size, file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline().strip()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.close()
            self.process = self._start()
        return answer == "accepted"

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue


def smallest_arena(model: bytes) -> int:
    """Bytes, a multiple of 16, on this machine's word size with TFLM's reference kernels.

    Doubles until an arena is accepted, then bisects.

    Raises:
        MemoryError: not even 16 MiB are enough, or the model can't be loaded at all.
    """
    with tempfile.TemporaryDirectory() as folder, stage("trying arenas") as progress:
        path = Path(folder) / "model.tflite"
        path.write_bytes(model)
        probe = _Probe(path)
        try:
            return _searched(probe, progress)
        finally:
            probe.close()


def _searched(probe: _Probe, progress: Stage) -> int:
    """See :func:`smallest_arena`."""
    high = 1024
    while not probe.accepts(high):
        high *= 2
        if high > LARGEST_ARENA:
            raise MemoryError(f"no arena up to {LARGEST_ARENA} bytes lets TFLite Micro load the model")
    low = high // 2 if high > 1024 else 0
    # From here on each try halves what is left.
    progress.total = math.ceil(math.log2((high - low) / STEP))
    while high - low > STEP:
        middle = (low + high) // 2 // STEP * STEP
        low, high = (low, middle) if probe.accepts(middle) else (middle, high)
        progress.advance()
    return high
