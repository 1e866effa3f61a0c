"""Plans of TFLite Micro's arena in others' files: taken and shown where they hold, refused by name where they don't."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from export.engines import TFLM
from export.engines.unplanned import without_plan
from export.tflite.offline_plan import NAME, ONLINE, encoded_plan
from export.tflite.reader import read_tflite
from export.tflite.summary import summarize
from qtorch.errors import BadModelFile
from tests.schema_file import SchemaFile, with_metadata


def chain() -> SchemaFile:
    """A file of four tensors: an input of 32 codes, two RELUs behind it, and a RESHAPE at the end."""
    made = SchemaFile()
    source = made.tensor((1, 32), scale=0.5, end="input")
    first, second = (made.tensor((1, 32), scale=0.5) for _ in range(2))
    sink = made.tensor((2, 16), scale=0.5, end="output")
    made.operator("RELU", [source], [first])
    made.operator("RELU", [first], [second])
    shape = made.constant(np.array([2, 16], np.int32))
    made.operator("RESHAPE", [second, shape], [sink])
    return made


def with_offsets(offsets: Sequence[int], count: int | None = None) -> bytes:
    data = np.array([1, 1, len(offsets) if count is None else count, *offsets], "<i4")
    return with_metadata(chain().written(), data.tobytes())


GOOD: dict[str, Sequence[int]] = {
    "all apart": (0, 32, 64, 96, ONLINE),
    "places that are used again": (0, 32, 0, 32, ONLINE),
    "a RESHAPE where it was": (0, 32, 64, 64, ONLINE),
    "some by TFLite Micro": (0, ONLINE, 0, ONLINE, ONLINE),
}
BAD: dict[str, tuple[Sequence[int], str, int | None]] = {
    "before the arena": ((-16, 32, 64, 96, ONLINE), "offset -16 for its 32 bytes", None),
    "behind all arenas": ((2**31 - 16, 32, 64, 96, ONLINE), "offset 2,147,483,632 for its 32 bytes", None),
    "over each other": ((0, 16, 64, 96, ONLINE), "at 0 to 32, tensor 1 'tensor_1' at 16 to 48", None),
    "in place": ((0, 0, 64, 96, ONLINE), "at 0 to 32, tensor 1 'tensor_1' at 0 to 32", None),
    "a RESHAPE half where it was": ((0, 32, 64, 80, ONLINE), "at 64 to 96, tensor 3 'tensor_3' at 80", None),
    "too few": ((0, 32, 64, 96), "28 bytes with 4 of them", None),
    "another count": ((0, 32, 64, 96, ONLINE), "32 bytes with 4 of them", 4),
    "fewer than it says": ((0, 32), "20 bytes with 5 of them", 5),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_plan_of_others_that_holds_is_taken_and_shown(case: str) -> None:
    model = with_offsets(GOOD[case])
    graph = read_tflite(model, aligned=False)
    found = summarize(model)
    assert not found.unsound
    assert found.planned_bytes == max(at + 32 for at in GOOD[case] if at >= 0)
    shown = [tensor.offset for tensor in found.subgraphs[0].tensors]
    assert shown == [None if at == ONLINE else at for at in GOOD[case]]
    codes = np.arange(-16, 16, dtype=np.int8)[None]
    np.testing.assert_array_equal(TFLM.run(model, (codes,))[0].ravel(), np.maximum(codes, 0).ravel())
    assert graph.nodes


@pytest.mark.parametrize("case", BAD)
def test_a_plan_of_others_that_does_not_hold_is_refused_by_name(case: str) -> None:
    offsets, got, count = BAD[case]
    model = with_offsets(offsets, count)
    with pytest.raises(BadModelFile) as refused:
        read_tflite(model, aligned=False)
    assert "plan of the arena" in str(refused.value)
    assert got in str(refused.value)
    assert NAME in str(refused.value)
    assert any("plan of the arena" in each for each in summarize(model).unsound)


def test_tflite_micro_computes_wrong_codes_by_such_a_plan_without_a_word() -> None:
    # Two inputs of an addition, one over the other.
    made = SchemaFile()
    one, other = (made.tensor((1, 32), scale=0.5, end="input") for _ in range(2))
    sink = made.tensor((1, 32), scale=0.5, end="output")
    made.operator("SUB", [one, other], [sink], "SubOptions")
    model = with_metadata(made.written(), encoded_plan((0, 16, 64)))
    codes = tuple(np.full((1, 32), value, np.int8) for value in (3, 5))
    assert set(TFLM.run(model, codes)[0].ravel().tolist()) != {-2}
    assert set(TFLM.run(without_plan(model), codes)[0].ravel().tolist()) == {-2}
