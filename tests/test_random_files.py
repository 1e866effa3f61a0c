"""Files drawn at random as other converters write them: reader, C and the file written again are TFLite Micro's.

The first 20 always, 600 with ``-m sweep``; ``QTORCH_FILES`` says how many are drawn instead. A failing one is drawn
again with fewer steps.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from export.c.compiled import c_compiler
from qtorch.ops import ROWS
from tests.drawn_files import Found, Judge, compared_in_c, outcome
from tests.foreign_drawing import draw_file

pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install tflite-micro")
pytestmark = [
    pytest.mark.tflm,
    pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc (apt install gcc)"),
    pytest.mark.usefixtures("one_thread"),
]

COUNT = int(os.environ.get("QTORCH_FILES", "600"))
CHUNK = 20
ALWAYS = COUNT if "QTORCH_FILES" in os.environ else CHUNK
#: What is no fault: a refusal in words, by this project or by TFLite Micro.
_SAID = ("exact", "refused", "no kernel")


def _outcomes(seeds: range) -> dict[int, str]:
    """What is said of each seed's file."""
    with Judge() as judge:
        found: dict[str, Found] = {f"net_{s}": outcome(draw_file(s).file.written(), judge, f"net_{s}") for s in seeds}
    said = {name: each.said for name, each in found.items()} | compared_in_c(found)
    return {int(name.removeprefix("net_")): words for name, words in said.items()}


def _shortest(seed: int) -> tuple[list[str], str]:
    """The fewest first steps of a seed's file that are wrong, and what is said of them."""
    for steps in range(1, 9):
        drawing = draw_file(seed, steps)
        with Judge() as judge:
            found = outcome(drawing.file.written(), judge)
        said = compared_in_c({"net": found}).get("net", found.said)
        if not said.startswith(_SAID):
            break
    return drawing.steps, said


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(first, id=f"from {first}", marks=[] if first < ALWAYS else [pytest.mark.sweep])
        for first in range(0, COUNT, CHUNK)
    ],
)
def test_random_files_are_exact(first: int) -> None:
    found = _outcomes(range(first, first + CHUNK))
    for seed, said in found.items():
        if not said.startswith(_SAID):
            steps, words = _shortest(seed)
            pytest.fail(f"seed {seed}: {said}\nwith {len(steps)} operators, {steps}: {words}")
    kinds = Counter(said.split(":")[0] for said in found.values())
    assert kinds["exact"] >= 0.6 * CHUNK, kinds


def test_a_wrong_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drawn files would show a fault in C: here slices begin one element too early."""
    row = ROWS["strided_slice"]

    def early(operands: Any) -> Any:
        call = row.c(operands)  # type: ignore[operator]
        moved = {name: max(n - 1, 0) for name, n in call.arguments.items() if name == "in_first"}
        return replace(call, arguments={**call.arguments, **moved})

    monkeypatch.setitem(ROWS, "strided_slice", replace(row, c=early))
    assert any(said.startswith("C:") for said in _outcomes(range(160, 170)).values())
