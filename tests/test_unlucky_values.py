"""Values that are none, files that are damaged, streams that lack letters, names that say which way is better."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from export.bundle.make import make_bundle
from export.figures.figure_names import better_by_name
from export.figures.verdict import Candidate, verdict
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from export.pipeline import main
from qtorch.errors import BadData
from recipes.keyword_qat.data import KeywordData
from recipes.keyword_qat.model import Keyword
from recipes.keyword_qat.speech import read_samples
from tests.plain_lightning import TRAINED, Plain, PlainData, X, Y, calibrated_run
from tests.warm_python import warm_python

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")

ROOT = Path(__file__).parents[1]


class Holes(PlainData):
    """One target of the test part is missing."""

    value = float("nan")

    def test_dataloader(self) -> DataLoader[Any]:
        y = Y[TRAINED:].clone()
        y[7] = self.value
        return DataLoader(TensorDataset(X[TRAINED:], y), batch_size=32)


class Infinite(Holes):
    value = float("inf")


@pytest.mark.parametrize("data", [Holes, Infinite])
def test_a_target_that_is_not_finite_is_named(data: type[Holes]) -> None:
    bundle = make_bundle(subject_of(calibrated_run(Plain, data())), "plain", ExportOptions())
    assert bundle.verdict is not None
    assert bundle.verdict.answer == "no verdict"
    assert f"a target of test sample 7 is {data.value}" in bundle.verdict.reason

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    json.loads(bundle.files["metrics.json"], parse_constant=refuse)


def recorded() -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.arange(1_600, dtype="<i2").tobytes())
    return stream.getvalue()


def test_damaged_headers_are_read_or_refused(tmp_path: Path) -> None:
    rng, whole, path, refused = random.Random(0), recorded(), tmp_path / "a.wav", 0
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(44)] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
        if rng.random() < 0.3:
            del content[rng.randrange(len(content)) :]
        path.write_bytes(bytes(content))
        try:
            assert read_samples(path).dtype == np.int16
        except BadData:
            refused += 1
    assert 50 < refused < 300


def test_a_chunk_that_is_longer_than_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(recorded()[:36] + b"LIST" + (5_000).to_bytes(4, "little") + b"x" * 10)
    with pytest.raises(BadData, match=r"a\.wav"):
        read_samples(path)


#: Prints what ASCII has no letters for.
_LETTERS = (
    "import sys; from qtorch.lightning.cli import run_command; "
    "sys.exit(run_command(lambda: [print('\\u2022 \\u2501', file=f) for f in (sys.stdout, sys.stderr)]))"
)


def test_a_locale_that_lacks_letters_ends_no_command() -> None:
    given = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = subprocess.run([sys.executable, "-c", _LETTERS], cwd=ROOT, env=given, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout.split()) == (0, [b"\\u2022", b"\\u2501"])
    assert b"\\u2022 \\u2501" in ended.stderr


def test_a_stream_that_lacks_letters_ends_no_command() -> None:
    ascii_alone = "import sys; [each.reconfigure(encoding='ascii') for each in (sys.stdout, sys.stderr)]; "
    ended = warm_python(["-c", ascii_alone + _LETTERS], ROOT)
    assert (ended.returncode, ended.stdout.split()) == (0, ["\\u2022", "\\u2501"])
    assert "\\u2022 \\u2501" in ended.stderr


@pytest.mark.filterwarnings("ignore:.*LightningCLI's args parameter.*:UserWarning")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "--trainer.max_epchs=3",
            "--trainer.max_epchs: expected an option, got a name that none has. Remedy: write --trainer.max_epochs.",
        ),
        ("--data.words=[no,yes]", '["yes", "no"]'),
        (
            "--trainer.callbacks=[tests.plain_lightning.Gone]",
            "expected a class that can be imported, got tests.plain_lightning.Gone",
        ),
    ],
)
def test_the_error_of_an_option_comes_alone(given: str, said: str, capsys: Any) -> None:
    config = ROOT / "recipes" / "keyword_qat" / "config.yaml"
    with pytest.raises(SystemExit) as left:
        main(Keyword, KeywordData, config, [given])
    found = capsys.readouterr().err.splitlines()
    assert left.value.code == 2
    assert said in found[0]
    assert found[0].startswith("error: ")
    assert len(found) < 12


@pytest.mark.parametrize("name", ["mse", "mae", "RMSE", "test_loss", "mse/dataloader_idx_0", "error_percent", "rmse_x"])
def test_names_of_errors(name: str) -> None:
    assert better_by_name(name) == "lower"


@pytest.mark.parametrize("name", ["accuracy", "acc", "test_f1", "auc", "r2/dataloader_idx_11", "val/top_5", "f1_macro"])
def test_names_of_scores(name: str) -> None:
    assert better_by_name(name) == "higher"


@pytest.mark.parametrize("name", ["odd", "accuracy_error", "", "missing", "place", "relosse"])
def test_names_that_say_nothing(name: str) -> None:
    assert better_by_name(name) is None


class Roots(Plain):
    """A mean of roots, which is no mean over samples."""

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("rmse", mse_loss(self(batch[0]), batch[1]).sqrt())


class Odd(Plain):
    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("odd", mse_loss(self(batch[0]), batch[1]) ** 0.25)


def test_no_verdict_says_why() -> None:
    found = make_bundle(subject_of(calibrated_run(Roots, PlainData())), "plain", ExportOptions()).verdict
    assert found is not None
    assert "higher" not in found.reason
    assert "contributions" in found.reason
    found = make_bundle(subject_of(calibrated_run(Odd, PlainData())), "plain", ExportOptions()).verdict
    assert found is not None
    # Neither is put forward.
    assert "{'odd': 'higher'} or better = {'odd': 'lower'}" in found.reason


def test_ends_of_intervals_that_are_no_more_than_rounding_are_zero() -> None:
    values = np.linspace(0.05, 0.95, 40)
    noise = np.where(np.arange(40) % 2, 5e-17, -5e-17)
    given = [Candidate("float", "float", values), Candidate("constant", "constant", values + 3)]
    found = verdict("mse", "lower", Candidate("int8", "device", values + noise), given)
    assert (found.comparisons[0].worse_by, found.comparisons[0].low, found.comparisons[0].high) == (0, 0, 0)
