"""All benchmarks, in the order in which they are measured."""

from __future__ import annotations

from benchmarks.conversion import CONVERSION
from benchmarks.editions.command import EDITIONS
from benchmarks.files.command import FILES
from benchmarks.firmware import FIRMWARE
from benchmarks.four_bits import FOUR_BITS
from benchmarks.gpu import GPU
from benchmarks.growth import GROWTH
from benchmarks.interpreter import INTERPRETER
from benchmarks.memory import MEMORY
from benchmarks.mlperf import MLPERF
from benchmarks.opinions import OPINIONS
from benchmarks.overhead import OVERHEAD
from benchmarks.pipeline import PIPELINE
from benchmarks.plans import PLANS
from benchmarks.processes import PROCESSES
from benchmarks.recipes import RECIPES
from benchmarks.sequence_kernels import SEQUENCE_KERNELS
from benchmarks.sequences import SEQUENCES
from benchmarks.stress import STRESS
from benchmarks.training import TRAINING

__all__ = ["SUITES"]

SUITES = {
    suite.name: suite
    for suite in (
        TRAINING,
        GPU,
        OVERHEAD,
        CONVERSION,
        PIPELINE,
        GROWTH,
        PROCESSES,
        RECIPES,
        SEQUENCES,
        STRESS,
        MLPERF,
        FILES,
        FIRMWARE,
        FOUR_BITS,
        INTERPRETER,
        SEQUENCE_KERNELS,
        PLANS,
        MEMORY,
        OPINIONS,
        EDITIONS,
    )
}
