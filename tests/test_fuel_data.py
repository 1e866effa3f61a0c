"""The fuel table: reading, refusing, splitting, scaling, generating."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from qtorch.errors import BadConfiguration, BadData
from qtorch.lightning.regression import linear_regression, regression_metrics
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.table import generate, read_csv

HEADER = "MAKE,ENGINE SIZE,CYLINDERS,FUEL CONSUMPTION,COEMISSIONS "


def table(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "cars.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


ROWS = [f"A{i},{1 + i / 10:.1f},{4 + i % 3},{8 + i / 5},{200 + 3 * i}" for i in range(30)]


def test_missing_values_and_duplicates_are_dropped_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = table(tmp_path, *ROWS, ROWS[3], "B,,4,9,200", "C,2,4,NA,200", "D,2,4")
    read = read_csv(path)
    assert (len(read.values), read.dropped) == (30, 4)
    assert "30 rows kept, 3 with missing values and 1 duplicates dropped" in capsys.readouterr().err
    assert read.values[0].tolist() == [1.0, 4.0, 200.0, 8.0]


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        (ROWS, "MAKE,ENGINE SIZE,CYL,FUEL CONSUMPTION,COEMISSIONS", ["CYLINDERS", "'CYL'"]),
        ([*ROWS, "B,two,4,9,200"], HEADER, ["ENGINE SIZE", "'two'", "line 32"]),
        ([*ROWS, "B,inf,4,9,200"], HEADER, ["'inf'", "line 32"]),
        (ROWS[:3], HEADER, ["at least 10", "got 3"]),
        ([r.split(",")[0] + "," + ",".join(["2.0", *r.split(",")[2:]]) for r in ROWS], HEADER, ["ENGINE SIZE", "2"]),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, rows: list[str], header: str, words: list[str]) -> None:
    with pytest.raises(BadData) as error:
        _ = FuelData(str(table(tmp_path, *rows, header=header))).arrays
    assert all(word in str(error.value) for word in words)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"ENGINE SIZE,\xff\xfe\n")
    for path in (empty, latin, tmp_path / "absent.csv", tmp_path):
        with pytest.raises(BadData, match="Remedy"):
            read_csv(path)


def test_split_and_scaling_follow_the_training_part(tmp_path: Path) -> None:
    order = np.random.RandomState(42).permutation(30)
    held_out = set(order[: math.ceil(0.3 * 30)].tolist())
    outlier = min(held_out)
    rows = list(ROWS)
    rows[outlier] = f"X,9.9,5,20,{900}"
    data = FuelData(str(table(tmp_path, *rows)))
    arrays = data.arrays
    assert (arrays.summary.train, arrays.summary.test) == (21, 9)
    assert float(arrays.train[0].min()) == 0
    assert float(arrays.train[0].max()) == 1
    assert float(arrays.test[0].max()) > 1, "the test part's outlier must not take part in the scaling"
    sizes = np.array([float(r.split(",")[1]) for r in rows])
    feature = arrays.interface.inputs[0]
    train = np.array([i for i in range(30) if i not in held_out])
    assert feature.offset == sizes[train].min()
    assert feature.offset + feature.span == pytest.approx(sizes[train].max())


def test_the_synthetic_table_resembles_a_real_one() -> None:
    values = generate(4000, 1).values
    assert values.mean(0) == pytest.approx([3.26, 5.80, 297, 14.7], rel=0.04)
    assert values.std(0) == pytest.approx([1.23, 1.62, 65.4, 3.30], rel=0.1)
    assert np.corrcoef(values.T)[-1] == pytest.approx([0.858, 0.825, 0.983, 1], abs=0.03)
    np.testing.assert_array_equal(values, generate(4000, 1).values)
    assert not np.array_equal(values, generate(4000, 2).values)


def test_a_line_is_as_good_on_it_as_on_the_real_one() -> None:
    arrays = FuelData().arrays
    mse = regression_metrics(linear_regression(arrays.train, arrays.test[0]), arrays.test[1])["mse"]
    assert 0.2 < mse < 0.4


def test_too_few_rows() -> None:
    with pytest.raises(BadConfiguration, match="got 3"):
        FuelData(rows=3)
