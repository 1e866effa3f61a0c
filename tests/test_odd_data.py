"""Every reader of data against odd files: read as a person would, or refused in words; never read as something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qtorch.errors import BadData
from recipes.digits_qat.idx import read_idx
from recipes.fuel_qat.table import read_csv
from recipes.gesture_qat.recordings import read_recordings
from recipes.keyword_qat.speech import read_samples
from tests.odd_files import DIGITS, FUEL, GESTURES, WAVES, Odd

READERS: dict[str, tuple[dict[str, Odd], Callable[[Path], np.ndarray]]] = {
    "cars.csv": (FUEL, lambda path: read_csv(path).values),
    "punch.csv": (GESTURES, lambda path: read_recordings(path)[0]),
    "yes.wav": (WAVES, read_samples),
    "pictures-idx3-ubyte": (DIGITS, lambda path: read_idx(path, 3)),
}
CASES = [(name, title) for name, (files, _) in READERS.items() for title in files]


@pytest.mark.parametrize(("name", "title"), CASES)
def test_odd_files_are_read_as_a_person_reads_them_or_refused(tmp_path: Path, name: str, title: str) -> None:
    files, read = READERS[name]
    odd = files[title]
    path = tmp_path / name
    path.write_bytes(odd.content)
    if odd.read is not None:
        got = read(path)
        np.testing.assert_array_equal(got, odd.read.astype(got.dtype))
        return
    with pytest.raises(BadData) as refused:
        read(path)
    assert all(word in str(refused.value) for word in (str(path), "Remedy", *odd.words)), str(refused.value)
