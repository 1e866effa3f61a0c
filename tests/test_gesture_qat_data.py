"""Gesture recordings: reading, refusing, writing, generating, splitting, scaling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from qtorch.errors import BadConfiguration, BadData, Unwritable
from qtorch.features import Feature
from qtorch.lightning.data import DataSummary
from recipes.gesture_qat.data import GestureData, windows
from recipes.gesture_qat.motions import generate
from recipes.gesture_qat.network import gesture_convolutions, gesture_perceptron
from recipes.gesture_qat.recordings import read_folder, read_recordings, write_folder

HEADER = "aX,aY,aZ"
ROWS = [f"{i},{-i},{i / 2}" for i in range(50)]


def written(folder: Path, *lines: str, name: str = "punch", end: str = "\n") -> Path:
    path = folder / f"{name}.csv"
    path.write_bytes(end.join([*lines, ""]).encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("between", [[], [""], ["", " ", ""]])
@pytest.mark.parametrize("behind", [[], ["", ""]])
def test_recordings_are_read_with_or_without_blank_lines_between(
    tmp_path: Path, between: list[str], behind: list[str], end: str
) -> None:
    read = read_recordings(written(tmp_path, HEADER, *ROWS, *between, *reversed(ROWS), *behind, end=end))
    assert read.dtype == np.float32
    assert read.shape == (2, 50, 3)
    np.testing.assert_array_equal(read[0, 31], [31, -31, 15.5])
    np.testing.assert_array_equal(read[1], read[0][::-1])


def test_the_last_line_needs_no_end(tmp_path: Path) -> None:
    path = tmp_path / "punch.csv"
    path.write_text("\n".join([HEADER, *ROWS]))
    assert read_recordings(path).shape == (1, 50, 3)


def replaced(at: int, row: str) -> list[str]:
    return [*ROWS[:at], row, *ROWS[at + 1 :]]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], ["'aX,aY,aZ'", "empty"]),
        (["", ""], ["'aX,aY,aZ'", "empty"]),
        ([HEADER], ["header only"]),
        (["aX,aY,AZ", *ROWS], ["line 1", "'aX,aY,AZ'"]),
        (["aX,aY,aZ,gX", *ROWS], ["line 1", "gX"]),
        (["aY,aX,aZ", *ROWS], ["line 1", "'aY,aX,aZ'"]),
        (["aX, aY, aZ", *ROWS], ["line 1"]),
        (ROWS, ["line 1", "'0,0,0.0'"]),
        ([HEADER, *replaced(3, "1,2")], ["line 5", "3 columns", "got 2"]),
        ([HEADER, *replaced(3, "1,2,3,4")], ["line 5", "got 4"]),
        ([HEADER, *replaced(7, "1,,3")], ["line 9", "number as aY", "''"]),
        ([HEADER, *replaced(7, "1,x,3")], ["line 9", "number as aY", "'x'"]),
        ([HEADER, *replaced(7, "1,2,nan")], ["line 9", "number as aZ", "'nan'"]),
        ([HEADER, *replaced(7, "1_0,2,3")], ["line 9", "number as aX", "'1_0'"]),
        ([HEADER, *replaced(49, "127.5,2,3")], ["line 51", "aX from -127 to 127", "127.5"]),
        ([HEADER, *replaced(49, "1,2,-128")], ["line 51", "aZ from -127 to 127", "-128"]),
        ([HEADER, *ROWS[:49]], ["line 51", "end of the file", "49 rows that began in line 2"]),
        ([HEADER, *ROWS, "1,2,3"], ["line 53", "51 rows that began in line 2"]),
        (
            [HEADER, *ROWS, "", *ROWS[:20], "", *ROWS[20:]],
            ["line 73", "blank line after 20 rows that began in line 53"],
        ),
        ([HEADER, "", *ROWS], ["line 2", "blank line before the first row"]),
        ([HEADER, *ROWS, HEADER, *ROWS], ["line 52", "number as aX", "'aX'"]),
    ],
)
def test_every_deviation_is_refused_with_its_line(tmp_path: Path, lines: list[str], words: list[str]) -> None:
    written(tmp_path, HEADER, *ROWS * 6, name="flex")
    path = written(tmp_path, *lines)
    for read in (lambda: read_recordings(path), lambda: GestureData(str(tmp_path)).load()):
        with pytest.raises(BadData) as error:
            read()
        assert all(word in str(error.value) for word in [str(path), "Remedy", *words]), str(error.value)


def test_unusable_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no such folder"):
        read_folder(tmp_path / "absent")
    with pytest.raises(BadData, match=r"at least 2 CSV files.*0: none"):
        read_folder(tmp_path)
    flex = written(tmp_path, HEADER, *ROWS * 5, name="flex")
    with pytest.raises(BadData, match=r"1: flex\.csv"):
        read_folder(tmp_path)
    with pytest.raises(BadData, match="no such folder"):
        read_folder(flex)
    punch = written(tmp_path, HEADER, *ROWS * 4)
    with pytest.raises(BadData, match=r"punch\.csv: expected at least 5 recordings.*got 4"):
        read_folder(tmp_path)
    punch.write_bytes(b"aX,aY,aZ\n\xff\n")
    with pytest.raises(BadData, match=r"punch\.csv.*UTF-8"):
        read_folder(tmp_path)
    punch.unlink()
    punch.mkdir()
    with pytest.raises(BadData, match="readable"):
        read_folder(tmp_path)


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    values = {"wave": np.random.default_rng(0).uniform(-127, 127, (5, 50, 3)).astype(np.float32), **generate(6, 1)}
    write_folder(tmp_path / "new", values)
    read = read_folder(tmp_path / "new")
    assert list(read.values) == ["flex", "punch", "wave"]
    assert read.source == "new"
    for name, recordings in values.items():
        np.testing.assert_array_equal(read.values[name], recordings)
    lines = (tmp_path / "new" / "punch.csv").read_text().split("\n")
    assert lines[0] == HEADER
    assert lines[51] == ""
    assert len(lines) == 1 + 6 * 51
    assert lines[1] == ",".join(f"{v:.0f}" for v in values["punch"][0, 0])
    (tmp_path / "file").touch()
    with pytest.raises(Unwritable, match="another folder"):
        write_folder(tmp_path / "file", values)


def test_a_folder_serves_as_the_generator_does(tmp_path: Path) -> None:
    write_folder(tmp_path, generate(10, 3))
    from_files = GestureData(str(tmp_path), recordings=99, seed=3).load()
    made = GestureData(recordings=10, seed=3).load()
    for part in ("train", "validation", "test"):
        for a, b in zip(getattr(from_files, part), getattr(made, part), strict=True):
            assert torch.equal(a, b)
    assert from_files.summary == DataSummary(tmp_path.name, 20, 0, 12, 4)
    assert made.summary == DataSummary("synthetic", 20, 0, 12, 4)


def test_generated_recordings_are_sensor_codes_and_repeat_for_a_seed() -> None:
    values = generate(200, 0)
    for name, recordings in values.items():
        assert recordings.shape == (200, 50, 3)
        assert recordings.dtype == np.float32
        np.testing.assert_array_equal(recordings, np.rint(recordings))
        assert np.abs(recordings).max() <= 127
        np.testing.assert_array_equal(recordings, generate(200, 0)[name])
        assert not np.array_equal(recordings, generate(200, 1)[name])


def test_generated_motions_are_what_they_are_called() -> None:
    values = generate(200, 0)
    steps = {name: np.abs(np.diff(v, axis=1)).max((1, 2)) for name, v in values.items()}
    assert np.median(steps["punch"]) > 2 * np.median(steps["flex"]), "a punch is sharp"
    strength = {name: np.linalg.norm(v, axis=-1).max(-1) for name, v in values.items()}
    assert np.quantile(strength["flex"], 0.95) < 55, "a flex shows gravity, which is 32, and tremor"
    peak = np.abs(values["punch"] - np.median(values["punch"], axis=1, keepdims=True)).max(-1).argmax(-1)
    early, late = np.quantile(peak, [0.1, 0.9])
    assert 5 <= early < early + 8 <= late <= 24, "and comes early, at a varying time"


def test_layouts() -> None:
    recordings = generate(5, 0)["punch"]
    flat, channels = windows(recordings, "flat"), windows(recordings, "channels")
    assert flat.shape == (5, 150)
    assert channels.shape == (5, 3, 50)
    assert flat.dtype == channels.dtype == torch.float32
    for sample, axis in ((0, 1), (17, 2), (49, 0)):
        expected = torch.tensor(recordings[:, sample, axis]) / 127
        assert torch.equal(flat[:, 3 * sample + axis], expected)
        assert torch.equal(channels[:, axis, sample], expected)


def test_parts_keep_the_classes_shares_and_hold_each_recording_once() -> None:
    data = GestureData(recordings=50, seed=2)
    arrays = data.load()
    parts = (arrays.train, arrays.validation, arrays.test)
    assert [torch.bincount(y).tolist() for _, y in parts] == [[30, 30], [10, 10], [10, 10]]
    assert {y.dtype for _, y in parts} == {torch.int64}
    together = torch.cat([x for x, _ in parts])
    assert len(together.unique(dim=0)) == 100
    flex = windows(generate(50, 2)["flex"], "flat")
    for x, y in parts:
        assert torch.equal((x[:, None] == flex).all(-1).any(-1), y == 0), "a label must stay with its recording"
    assert arrays.interface.inputs == (Feature("acceleration", "codes", 0.0, 127.0),)
    assert arrays.interface.outputs == (Feature("flex probability"), Feature("punch probability"))
    expected = {"folder": None, "layout": "flat", "batch_size": 32, "recordings": 50, "seed": 2}
    assert dict(data.hparams) == expected


def test_bad_options() -> None:
    with pytest.raises(BadConfiguration, match=r"data\.recordings.*got 4"):
        GestureData(recordings=4)
    with pytest.raises(BadConfiguration, match=r"data\.layout.*'rows'"):
        GestureData(layout="rows")


def accuracy(net: nn.Module, data: GestureData, epochs: int) -> float:
    """Accuracy on the test part after training with Adam."""
    torch.manual_seed(0)
    arrays = data.load()
    x, y = arrays.train
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(epochs):
        for at in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            nn.functional.nll_loss(net(x[at]).clamp_min(1e-7).log(), y[at]).backward()
            optimizer.step()
    net.eval()
    return float((net(arrays.test[0]).argmax(-1) == arrays.test[1]).float().mean())


@pytest.mark.usefixtures("one_thread")
def test_the_networks_learn_what_a_linear_classifier_does_not() -> None:
    torch.manual_seed(0)
    linear = accuracy(nn.Sequential(nn.Linear(150, 2), nn.Softmax(-1)), GestureData(), 20)
    perceptron = accuracy(gesture_perceptron(), GestureData(), 30)
    convolutions = accuracy(gesture_convolutions(), GestureData(layout="channels"), 15)
    assert linear < 0.92 < 0.95 < min(perceptron, convolutions), (linear, perceptron, convolutions)
    assert sum(p.numel() for p in gesture_perceptron().parameters()) == 1577
    assert gesture_convolutions(4)(torch.zeros(2, 3, 50)).shape == (2, 4)
