"""What recordings mean: unit, rate and axes go with them, and recordings that mean different things are not mixed."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import recipes.gesture_qat
from export.device import headers
from export.html.data_section import data_section
from export.html.facts import Facts
from export.pipeline import main
from qtorch.data.duplicates import duplicates, fingerprints
from qtorch.errors import BadData
from qtorch.lightning.data import DataSummary
from qtorch.numbers.qparams import QParams
from recipes.digits_qat.data import DigitsData
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.table import generate as cars
from recipes.gesture_qat.data import GestureData
from recipes.gesture_qat.model import Gesture
from recipes.gesture_qat.motions import generate
from recipes.gesture_qat.recordings import read_folder, write_folder
from recipes.keyword_qat.data import KeywordData
from tests.test_digits_qat_data import idx, mnist
from tests.test_keyword_qat_data import record, speech

STANDARD = 9.80665  # m/s^2


def motions(count: int = 20, seed: int = 0, gravity: float = 1.0) -> np.ndarray:
    """Recordings of one kind, in g: a tremor around gravity, which lies along aZ."""
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 0.2, (count, 50, 3)) + np.array([0, 0, gravity])).astype(np.float32)


def refusal(folder: Path) -> str:
    with pytest.raises(BadData, match="Remedy") as refused:
        read_folder(folder)
    return str(refused.value)


@pytest.mark.parametrize("factors", [(1, STANDARD), (1, 32), (STANDARD, 32), (32, 1), (STANDARD, 64), (16, 1)])
def test_classes_in_two_units_are_refused(tmp_path: Path, factors: tuple[float, float]) -> None:
    values = {"a": motions() * np.float32(factors[0]), "b": motions(seed=1) * np.float32(factors[1])}
    write_folder(tmp_path, values)
    said = refusal(tmp_path)
    assert all(word in said for word in ("one unit", "20 of 20 of a", "20 of 20 of b", "# unit: g"))


def test_the_command_refuses_before_training(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    made = generate(40, 0)
    write_folder(tmp_path / "mixed", {"flex": made["flex"] / 32, "punch": made["punch"]})
    config = Path(str(recipes.gesture_qat.__file__)).with_name("config.yaml")
    arguments = ["--data.folder", str(tmp_path / "mixed"), "--out", str(tmp_path / "out")]
    assert main(Gesture, GestureData, config, arguments) == 2
    assert "recordings in one unit" in capfd.readouterr().err
    assert not list(tmp_path.glob("out/*.tflite"))


def test_recordings_in_two_units_within_a_class_are_refused(tmp_path: Path) -> None:
    a, b = motions(), motions(seed=1)
    a[7] *= STANDARD
    write_folder(tmp_path, {"a": a, "b": b})
    assert "1 of 20 of a" in refusal(tmp_path)


def test_files_that_state_one_unit_are_believed_and_warned_of(tmp_path: Path) -> None:
    write_folder(tmp_path, {"rest": motions(), "fall": motions(seed=1) * 4}, "g", 50)
    (finding,) = read_folder(tmp_path).findings
    assert "are they in one unit?" in finding
    assert "about 4.11" in finding
    with pytest.warns(UserWarning, match="are they in one unit"):
        assert GestureData(str(tmp_path)).arrays.summary.findings == (finding,)


@pytest.mark.parametrize(("unit", "factor"), [("g", STANDARD), ("m/s^2", 1.0), ("mg", 1.0), ("g", 32.0)])
def test_numbers_that_contradict_the_stated_unit(tmp_path: Path, unit: str, factor: float) -> None:
    write_folder(tmp_path, {"a": motions() * np.float32(factor), "b": motions(seed=1) * np.float32(factor)}, unit)
    findings = read_folder(tmp_path).findings
    assert [f"states {unit}" in finding for finding in findings] == [True, True]


@pytest.mark.parametrize("unit", ["g", "m/s^2", "codes", None, "furlongs"])
def test_plausible_recordings_have_no_findings(tmp_path: Path, unit: str | None) -> None:
    factor = np.float32({"m/s^2": STANDARD, "codes": 32.0}.get(unit or "", 1.0))
    motion = np.linspace(1, 2, 20, dtype=np.float32)[:, None, None]  # from hardly to strongly
    write_folder(tmp_path, {"a": motions() * factor, "b": motions(seed=1) * motion * factor}, unit)
    assert read_folder(tmp_path).findings == ()
    assert GestureData(recordings=200).load().summary.findings == ()


def test_a_class_of_a_dead_sensor_is_refused(tmp_path: Path) -> None:
    dead = np.tile(np.float32([0, 0, 1]), (20, 50, 1))
    write_folder(tmp_path, {"a": motions(), "dead": dead})
    said = refusal(tmp_path)
    assert "class dead" in said
    assert "none in any of 20" in said


def test_dead_axes_are_found(tmp_path: Path) -> None:
    a, b = motions(), motions(seed=1)
    a[:, :, 1] = 0
    b[3, :, 0] = -1
    write_folder(tmp_path, {"a": a, "b": b})
    findings = read_folder(tmp_path).findings
    assert any("aY never changes within 20 of 20 recordings of a" in finding for finding in findings)
    assert any("aX never changes within 1 of 20 recordings of b" in f and "recording 4" in f for f in findings)


@pytest.mark.parametrize("turned", [lambda r: r[..., [2, 1, 0]], lambda r: r[..., [0, 2, 1]], lambda r: -r])
def test_exchanged_columns_are_found(tmp_path: Path, turned: object) -> None:
    write_folder(tmp_path, {"a": motions(), "b": turned(motions(seed=1))}, "g")  # type: ignore[operator]
    (finding,) = read_folder(tmp_path).findings
    assert "are columns exchanged?" in finding
    assert "aZ in a" in finding


def stated(folder: Path, name: str, lines: str, columns: str = "aX,aY,aZ") -> None:
    """Put other lines in front of the rows of one class."""
    path = folder / f"{name}.csv"
    rows = path.read_text().partition("aX,aY,aZ\n")[2]
    path.write_text(f"{lines}{columns}\n{rows}")


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ("# unit: g\n", "# unit: m/s^2\n", ["b.csv", "unit g that a.csv", "got m/s^2"]),
        ("# unit: g\n", "", ["b.csv", "unit g", "got none"]),
        ("", "# unit: g\n", ["b.csv", "no unit", "got g"]),
        ("# rate: 50 Hz\n", "# rate: 104 Hz\n", ["b.csv", "50 Hz", "104 Hz"]),
        ("# rate: 100 Hz\n", "# rate: 104 Hz\n", ["b.csv", "104 Hz"]),
        ("# rate: 50 Hz\n", "", ["b.csv", "50 Hz", "got none"]),
        ("", "# rate: 50 Hz\n", ["b.csv", "no rate"]),
    ],
)
def test_files_that_state_different_things_are_refused(tmp_path: Path, a: str, b: str, words: list[str]) -> None:
    write_folder(tmp_path, {"a": motions(), "b": motions(seed=1)})
    stated(tmp_path, "a", a)
    stated(tmp_path, "b", b)
    said = refusal(tmp_path)
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("a", "b", "unit", "rate"),
    [
        ("# unit: m/s²\n#rate: 50\n", "# Units = m/s/s\n# sampling rate: 0.05 kHz\n", "m/s^2", 50.0),
        ("# unit: G\n", "# note: no more\n# unit: g\n", "g", None),
        ("# unit: LSB\n", "# unit: counts\n", "codes", None),
        ("# axes: aX, aY, aZ\n", "# date: 2020-01-01\n", None, None),
    ],
)
def test_the_same_in_other_words_is_the_same(
    tmp_path: Path, a: str, b: str, unit: str | None, rate: float | None
) -> None:
    values = {"a": motions() * np.float32(STANDARD), "b": motions(seed=1) * np.float32(STANDARD)}
    values = {name: each / np.float32(STANDARD if unit == "g" else 1) for name, each in values.items()}
    write_folder(tmp_path, values)
    stated(tmp_path, "a", a)
    stated(tmp_path, "b", b)
    read = read_folder(tmp_path)
    assert (read.unit, read.rate, read.findings) == (unit, rate, ())
    for name, each in values.items():
        np.testing.assert_array_equal(read.values[name], each)


@pytest.mark.parametrize("step", [20, 40])
def test_rates_are_measured_and_compared(tmp_path: Path, step: int) -> None:
    write_folder(tmp_path, {"a": motions(), "b": motions(seed=1)})
    for name, each in (("a", 20), ("b", step)):
        path = tmp_path / f"{name}.csv"
        _, *rows = [line for line in path.read_text().splitlines() if line]
        timed = [f"{each * i},{row}" for i, row in enumerate(rows)]
        path.write_text("\n".join(["time [ms],aX,aY,aZ", *timed]))
    if step == 20:
        assert read_folder(tmp_path).rate == 50
    else:
        assert "25 Hz" in refusal(tmp_path)


def test_what_is_stated_reaches_interface_header_and_report(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": motions(), "b": motions(seed=1)}, "g", 119)
    arrays = GestureData(str(tmp_path)).arrays
    assert arrays.interface.inputs[0].unit == "g"
    assert arrays.interface.recorded == (("unit", "g"), ("rate", "119 Hz"), ("axes", "aX, aY, aZ"))
    grid = QParams((0.5,), (0,), "int8")
    text = headers.quantization("gesture", arrays.interface, (grid,), (grid,), (150, 2))

    assert '//   rate: "119 Hz"' in text
    page = data_section(
        Facts(
            "gesture",
            "classification",
            {"data": {**arrays.summary.figures(), "recorded": dict(arrays.interface.recorded)}},
            {},
        )
    )
    assert "unit g, rate 119 Hz, axes aX, aY, aZ" in str(page)


def test_generated_recordings_say_what_they_are() -> None:
    interface = GestureData(recordings=5).arrays.interface
    recorded = dict(interface.recorded)
    assert (interface.inputs[0].unit, recorded["unit"], recorded["axes"]) == ("codes", "codes", "aX, aY, aZ")
    # What lies still measures gravity alone.
    values = GestureData(recordings=200).arrays.train[0].reshape(-1, 50, 3) * 127
    still = values.std(1).sum(1).argsort()[:10]
    assert recorded["gravity"] == "32 codes"
    assert float(values[still].mean(1).norm(dim=1).mean()) == pytest.approx(32, rel=0.2)
    assert "50 samples" in recorded["rate"]


def test_findings_stand_in_the_report() -> None:
    summary = DataSummary("mine", 9, 0, 5, 2, ("aX < aY in all",))
    assert summary.figures()["findings"] == ["aX < aY in all"]
    assert "aX &lt; aY in all." in str(data_section(Facts("net", "classification", {"data": summary.figures()}, {})))
    assert "findings" not in DataSummary("mine", 9, 0, 5, 2).figures()


def test_duplicates_between_parts_and_classes() -> None:
    x = torch.arange(12.0).reshape(6, 2)
    a, b, c = (fingerprints(x[at]) for at in ([0, 1, 2, 2], [3], [4, 1, 0]))
    found = duplicates({"training": (a, [0, 0, 1, 1]), "validation": (b, [1]), "test": (c, [0, 0, 1])}, ("u", "v"))
    assert len(found) == 2
    assert found[0].startswith("2 of 3 recordings of the test part occur in the training part")
    assert found[1].startswith("1 recordings stand in more than one class, among u, v")
    assert duplicates({"training": (a, [0, 0, 1, 1]), "test": (b, [1])}, ("u", "v")) == ()


def test_a_class_that_is_a_copy_of_another_is_found(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": motions(), "b": motions(seed=1)})
    shutil.copy(tmp_path / "a.csv", tmp_path / "a (1).csv")
    with pytest.warns(UserWarning, match="more than one class|occur in") as warned:
        _ = GestureData(str(tmp_path)).arrays
    assert any("20 recordings stand in more than one class, among a, a (1)" in str(each.message) for each in warned)


def test_cars_in_both_parts_and_in_miles_per_gallon_are_found(tmp_path: Path) -> None:
    values = cars(200, 0).values

    def findings(rows: np.ndarray) -> tuple[str, ...]:
        lines = [f"M{i},{a},{b:.0f},{d},{c:.0f}" for i, (a, b, c, d) in enumerate(rows)]
        path = tmp_path / "cars.csv"
        path.write_text("\n".join(["MAKE,ENGINE SIZE,CYLINDERS,FUEL CONSUMPTION,COEMISSIONS", *lines]))
        return FuelData(str(path)).load().summary.findings

    unique = np.unique(values, axis=0)
    assert findings(unique) == ()
    order = np.random.RandomState(42).permutation(len(unique))
    again = unique.copy()
    again[order[0]] = again[order[-1]]  # the last of the training part into the test part
    (finding,) = findings(again)
    assert finding.startswith("1 of ")
    american = unique.copy()
    american[:, 3] = (235.2 / american[:, 3]).round(1)
    assert "falls where consumption grows" in findings(american)[0]
    kilograms = unique * np.array([1, 1, 2.5, 1])
    assert "kg of CO2" in findings(kilograms)[0]
    few = unique.copy()
    thirsty = few[:, 3] < 9
    few[thirsty, 3] = (235.2 / few[thirsty, 3]).round(1)
    assert 0 < thirsty.sum() < len(few) / 4
    assert "another CO2 per litre" in findings(few)[0]


def test_words_without_sound_long_ones_copies_and_other_files_are_found(tmp_path: Path) -> None:
    speech(tmp_path)
    record(tmp_path / "yes" / "0001_nohash_0.wav", np.zeros(16000))
    record(tmp_path / "yes" / "0002_nohash_0.wav", np.random.default_rng(5).integers(-99, 99, 20000))
    shutil.copy(tmp_path / "no" / "0004_nohash_0.wav", tmp_path / "yes" / "0005_nohash_0.wav")
    (tmp_path / "no" / "0003_nohash_1.mp3").touch()
    (tmp_path / "no" / "0000_nohash_0.wav").rename(tmp_path / "no" / "0000_nohash_0.WAV")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        arrays = KeywordData(str(tmp_path)).arrays
    findings = arrays.summary.findings
    assert [str(each.message) for each in warned] == [f"data: {finding}" for finding in findings]
    for words in (
        "1 recordings hold no sound at all, as of a dead microphone (1 of yes)",
        "1 recordings are longer than a second, of which only the first is used (1 of yes)",
        "files that do not end in .wav were left out (1 of no)",
        "1 of 4 recordings of the test part occur in the training part too",
        "1 recordings stand in more than one class",
    ):
        assert any(words in finding for finding in findings), (words, findings)
    assert arrays.summary.rows == 20, "a name in capitals is a recording too"
    for path in (tmp_path / "yes").glob("*.wav"):
        record(path, np.zeros(16000))
    with pytest.raises(BadData, match=r"yes: expected a sound, got silence in all 10"):
        KeywordData(str(tmp_path)).load()


def test_odd_pictures_are_found(tmp_path: Path) -> None:
    written = mnist(tmp_path)
    assert DigitsData(str(tmp_path)).load().summary.findings == ()
    train, test = (written[f"{part}-images-idx3-ubyte"] for part in ("train", "t10k"))
    test[1] = train[2]
    train[0] = 7
    for part, pictures in (("train", train // 4), ("t10k", 255 - test // 4)):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(pictures))
    inverted = DigitsData(str(tmp_path)).load().summary.findings
    assert any("1 training pictures show nothing, first picture 0" in finding for finding in inverted)
    assert any("inverted" in finding for finding in inverted)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(test // 4))
    found = DigitsData(str(tmp_path)).load().summary.findings
    assert any("1 of 4 pictures of the test part occur in the training part" in finding for finding in found)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(test * 0))
    with pytest.raises(BadData, match="test pictures that show something"):
        DigitsData(str(tmp_path)).load()
