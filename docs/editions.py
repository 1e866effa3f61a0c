"""The table of editions of TFLite Micro in ``docs/which_tflm.md``, made of their records."""

from __future__ import annotations

from pathlib import Path

from export.faults.found import all_faults
from qtorch.editions.known import EDITIONS

__all__ = ["PAGE", "editions_table"]

PAGE = Path(__file__).with_name("which_tflm.md")

_LIBRARIES = {"reference": "TFLite Micro's own", "cmsis_nn": "CMSIS-NN", "esp_nn": "ESP-NN"}


def editions_table() -> str:
    """A row for each edition: its name, what it is, days of its sources, how many faults are known, who says so."""
    rows = []
    for each in EDITIONS.values():
        kernels = _LIBRARIES[each.library]
        if each.library_source is not None:
            kernels += f" of {each.library_source}"
        there = [fault for fault in all_faults() if fault.is_in(each, "host")]
        names = {fault.name for fault in there}
        faults = [fault for fault in there if names.isdisjoint(fault.repeats)]
        missing = sum(fault.name.startswith("no_") for fault in faults)
        known = f"{len(faults) - missing} and {missing}"
        cells = (f"`{each.name}`", each.description, str(each.source), kernels, known, each.facts)
        rows.append(f"| {' | '.join(cells)} |")
    head = "| name | what it is | source | kernels | forms computed otherwise, and absent | read in |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])
