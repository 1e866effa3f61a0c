"""Generated C on emulated microcontrollers: built, replayed against expected outputs, counted and weighed.

Example:
    >>> machine = MACHINES["cortex_m3"]
    >>> if available(machine) is None:
    ...     found = replay(machine, sources, "fuel", inputs, expected)  # int8 [N, I] and [N, O]
    ...     print(found.mismatches, found.cost, found.firmware)
"""

from firmware.emulation.build import Footprint, Options
from firmware.emulation.failure import DidNotBuild, DidNotEnd, EmulationFailure
from firmware.emulation.interpreted import Interpreted, arena_probe, interpreted, smallest_arena
from firmware.emulation.machines import MACHINES, ROOMIER, SAME_CORE, Machine, available
from firmware.emulation.replay import Cost, Mismatch, Replay, footprints, replay
from firmware.emulation.sketch import build_sketch, run_sketch, sketch_available, sketch_size, sketch_source
from firmware.emulation.tflm_library import Library, libraries, optimization
from firmware.emulation.timing import Cycles

__all__ = [
    "MACHINES",
    "ROOMIER",
    "SAME_CORE",
    "Cost",
    "Cycles",
    "DidNotBuild",
    "DidNotEnd",
    "EmulationFailure",
    "Footprint",
    "Interpreted",
    "Library",
    "Machine",
    "Mismatch",
    "Options",
    "Replay",
    "arena_probe",
    "available",
    "build_sketch",
    "footprints",
    "interpreted",
    "libraries",
    "optimization",
    "replay",
    "run_sketch",
    "sketch_available",
    "sketch_size",
    "sketch_source",
    "smallest_arena",
]
