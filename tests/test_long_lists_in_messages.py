"""Messages that would name everything there is: the first are named, the others counted."""

from __future__ import annotations

import pytest

from export.faults.avoided import in_a_line, refusal
from export.faults.cmsis_nn import FAULTS
from export.faults.found import Finding
from export.tflite.reader import read_tflite
from qtorch.editions.known import EDITIONS
from qtorch.errors import BadModelFile
from tests.schema_file import SchemaFile


def found(*counts: int, alike: bool = True) -> tuple[Finding, ...]:
    """As many operators of one fault after another."""
    return tuple(
        Finding(100 * kind + number, "CONV_2D", "", fault, "a form" if alike else f"form {number}")
        for kind, (fault, count) in enumerate(zip(FAULTS, counts, strict=False))
        for number in range(count)
    )


def test_operators_of_one_fault_are_counted() -> None:
    assert in_a_line(found(1)).startswith("operator 0 (CONV_2D): a form; ")
    assert in_a_line(found(3)).startswith("operators 0, 1 and 2 (CONV_2D): a form; ")
    assert in_a_line(found(50)).startswith("operators 0, 1, 2, 3, 4, 5 and 44 more (CONV_2D): a form; ")
    assert in_a_line(found(50, alike=False)).startswith("50 CONV_2D, the first of them operator 0 (CONV_2D): form 0; ")
    said = in_a_line(found(*[3] * 7))
    assert said.count("(CONV_2D)") == 4
    assert said.endswith("; and 3 kinds more, which qtorch lint lists")


def test_a_refusal_names_every_fault_and_some_operators_of_each() -> None:
    said = str(refusal(found(50, 40), next(iter(EDITIONS.values()))))
    assert "operators 0, 1, 2, 3, 4, 5 and 44 more (CONV_2D)" in said
    assert "operators 100, 101, 102, 103, 104, 105 and 34 more (CONV_2D)" in said


def test_an_unknown_operator_is_told_beside_the_number_of_those_that_are_known() -> None:
    file = SchemaFile()
    x = file.tensor([1, 3], "int8", 0.05, 0, name="x", end="input")
    file.operator("RANK", [x], [file.tensor([1, 3], "int8", 0.05, 0, name="y", end="output")])
    with pytest.raises(BadModelFile, match=r"operator 0 \(RANK\): RANK is none of the \d\d+ operators") as refused:
        read_tflite(file.written(), "m", aligned=False)
    assert len(str(refused.value)) < 400
