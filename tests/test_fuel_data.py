"""The fuel table: reading, refusing, splitting, scaling, generating."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from qtorch.baselines import linear_regression
from qtorch.errors import BadConfiguration, BadData, NotFinite
from qtorch.features import Feature, Interface
from qtorch.lightning.data import ArrayDataModule, Arrays, DataSummary
from qtorch.lightning.regression import regression_metrics
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.table import generate, read_csv

HEADER = "MAKE,ENGINE SIZE,CYLINDERS,FUEL CONSUMPTION,COEMISSIONS "


def table(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "cars.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


ROWS = [f"A{i},{1 + i / 10:.1f},{4 + i % 3},{8 + i / 5},{200 + 3 * i}" for i in range(30)]


def test_missing_values_and_duplicates_are_dropped_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = table(tmp_path, *ROWS, ROWS[3], "B,,4,9,200", "C,2,4,#N/A,200", "D,2,4")
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
        (["B,,4,9,200"] * 12, HEADER, ["at least 10", "got 0"]),
        ([], HEADER, ["at least 10", "got 0"]),
        (
            [r.split(",")[0] + "," + ",".join(["2.0", *r.split(",")[2:]]) for r in ROWS],
            HEADER,
            ["engine size", "got 2 in all"],
        ),
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


def test_the_same_line_has_the_same_bits_whatever_memory_held() -> None:
    """Its figures stand in reports, which are compared byte by byte."""
    numbers = np.random.default_rng(0).random((48, 5)).astype(np.float32)
    x, y = torch.from_numpy(numbers[:, :3].copy()), torch.from_numpy(numbers[:, 3:].copy())
    found = set()
    for size in range(300):
        held = [torch.full((size % 40 + 1,), size, dtype=torch.int32) for _ in range(40)]
        del held
        found.add(linear_regression((x, y), x).numpy().tobytes())
    assert len(found) == 1


def test_too_few_rows() -> None:
    with pytest.raises(BadConfiguration, match="got 3"):
        FuelData(rows=3)


def test_a_byte_order_mark_is_no_part_of_a_name_and_a_folder_no_part_of_the_source(tmp_path: Path) -> None:
    path = tmp_path / "cars.csv"
    path.write_text("\n".join([HEADER.removeprefix("MAKE,"), *(row.partition(",")[2] for row in ROWS)]), "utf-8-sig")
    assert FuelData(str(path)).arrays.summary == DataSummary("cars.csv", 30, 0, 21, 9)


def test_the_split_is_the_documented_one(tmp_path: Path) -> None:
    order = np.random.RandomState(42).permutation(30)
    consumption = np.array([float(row.split(",")[3]) for row in ROWS], np.float32)
    arrays = FuelData(str(table(tmp_path, *ROWS))).arrays
    np.testing.assert_array_equal(arrays.test[1][:, 0].numpy(), consumption[order[:9]])
    np.testing.assert_array_equal(arrays.train[1][:, 0].numpy(), consumption[order[9:]])
    assert all(torch.equal(a, b) for a, b in zip(arrays.validation, arrays.train, strict=True))
    assert arrays.interface.outputs == (Feature("fuel consumption", "L/100 km"),)


def test_synthetic_values_are_printed_as_real_ones_are() -> None:
    values = generate(4000, 1).values
    np.testing.assert_array_equal(values, values.round(1))
    np.testing.assert_array_equal(values[:, 1:3], values[:, 1:3].round())
    assert values[:, 0].min() >= 1
    assert values[:, 0].max() <= 8
    assert values[:, 3].min() >= 4.9
    assert values[:, 3].max() <= 30.2


def test_data_repeats_for_a_seed() -> None:
    first, again, other = (FuelData(seed=seed).arrays for seed in (3, 3, 4))
    assert torch.equal(first.train[0], again.train[0])
    assert not torch.equal(first.train[1], other.train[1])
    assert first.summary == DataSummary("synthetic", 638, 0, 446, 192)
    assert dict(FuelData(rows=50, seed=3).hparams) == {"csv": None, "batch_size": 32, "rows": 50, "seed": 3}


PARTS = ("train", "validation", "test")


class Counted(ArrayDataModule):
    """Ten rows of two inputs, with one value replaced; counts its loads."""

    def __init__(self, part: str = "train", kind: int = 0, value: float = 0.0) -> None:
        super().__init__(batch_size=4)
        self.part, self.kind, self.value, self.loads = part, kind, value, 0

    def load(self) -> Arrays:
        self.loads += 1
        parts = {name: (torch.arange(20.0).view(10, 2), torch.arange(10.0)[:, None]) for name in PARTS}
        parts[self.part][self.kind][7, -1] = self.value
        interface = Interface((Feature("width"), Feature("height")), (Feature("area"),))
        return Arrays(**parts, interface=interface, summary=DataSummary("made", 30, 0, 10, 10))


def test_loading_happens_once() -> None:
    data = Counted()
    data.setup("fit")
    data.setup("test")
    _ = data.arrays
    assert data.loads == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("kind", "feature"), [(0, "inputs: .*'height'"), (1, "targets: .*'area'")])
@pytest.mark.parametrize("part", PARTS)
def test_what_is_not_finite_is_named(part: str, kind: int, feature: str, value: float) -> None:
    with pytest.raises(NotFinite, match=f"{part} {feature} in row 7") as error:
        Counted(part, kind, value).setup("fit")
    assert f"first {value:g} " in str(error.value)


def test_loaders_serve_every_row_and_shuffle_training_only() -> None:
    data = Counted("train", 0, 19.0)
    torch.manual_seed(0)
    # Validation takes batches of at least 512.
    for loader, part, sizes in (
        (data.val_dataloader(), "validation", [10]),
        (data.test_dataloader(), "test", [4, 4, 2]),
    ):
        batches = list(loader)
        assert [len(x) for x, _ in batches] == sizes
        for column, whole in enumerate(getattr(data.arrays, part)):
            assert torch.equal(torch.cat([batch[column] for batch in batches]), whole)
    assert torch.equal(torch.cat(list(data.predict_dataloader())), data.arrays.test[0])
    x, y = (torch.cat(column) for column in zip(*data.train_dataloader(), strict=True))
    assert not torch.equal(y, data.arrays.train[1])
    order = y[:, 0].argsort()
    assert torch.equal(x[order], data.arrays.train[0]), "inputs must stay with their targets"


def test_a_subclass_without_data_is_named() -> None:
    with pytest.raises(NotImplementedError, match="ArrayDataModule"):
        ArrayDataModule().setup("fit")
