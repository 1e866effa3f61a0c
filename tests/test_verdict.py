"""Ship or not: intervals against another bootstrap, data that give each answer, and what a run's page says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from export.bundle.make import make_bundle
from export.bundle.outcome_page import verdict_page, written_page
from export.console.page import plain_text
from export.figures.verdict import Candidate, Verdict, intervals, verdict
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from qtorch.errors import BadConfiguration
from qtorch.lightning.classification import Classification
from qtorch.lightning.reconstruction import Reconstruction
from qtorch.lightning.regression import Regression
from tests.plain_lightning import TRAINED, Plain, PlainData, X, Y, calibrated_run

RNG = np.random.default_rng


def squares(noise: float, count: int, seed: int) -> np.ndarray:
    return (noise * RNG(seed).normal(size=count)) ** 2


def judged(
    device: np.ndarray, real: np.ndarray, constant: np.ndarray, *others: Candidate, better: Any = "lower"
) -> Verdict:
    given = [Candidate("float", "float", real), Candidate("constant", "constant", constant), *others]
    return verdict("figure", better, Candidate("int8", "device", device), given)


@pytest.mark.parametrize("count", [40, 900, 5_000])
def test_intervals_are_those_of_another_bootstrap(count: int) -> None:
    columns = np.stack([squares(1, count, 0), squares(2, count, 1)], 1)
    low, high = intervals(columns)
    for column, ends in zip(columns.T, zip(low, high, strict=True), strict=True):
        rng = RNG(1)
        means = sorted(float(rng.choice(column, count).mean()) for _ in range(2_000))
        assert ends == pytest.approx((means[50], means[1949]), abs=0.12 * (means[1949] - means[50]))
    assert np.array_equal(low, intervals(columns)[0])


def test_differences_are_of_the_same_samples() -> None:
    """Two networks that are wrong by much on the same samples differ by little: the interval is narrow."""
    real = squares(1, 500, 0)
    found = judged(real + 1e-3, real, squares(3, 500, 1)).comparisons[0]
    assert found.low == pytest.approx(1e-3)
    assert found.high == pytest.approx(1e-3)
    assert (found.outcome, found.against) == ("met", "float")


def test_every_answer() -> None:
    real, constant = squares(1, 500, 0), squares(4, 500, 1)
    assert judged(real * 1.01, real, constant).answer == "ship"
    worse = judged(real * 2, real, constant)
    assert (worse.answer, worse.comparisons[0].outcome) == ("do not ship", "not met")
    assert "float" in worse.reason
    few = judged(real[:20] * 1.01, real[:20], constant[:20])
    assert (few.answer, few.samples) == ("test set too small to tell", 20)
    unsure = judged(squares(1.1, 500, 2), real, constant)
    assert (unsure.answer, unsure.comparisons[0].outcome) == ("test set too small to tell", "open")
    assert judged(real, constant, constant).answer == "do not ship"


def test_a_straight_line_that_is_as_good_is_said() -> None:
    real, constant = squares(1, 500, 0), squares(4, 500, 1)
    found = judged(real * 1.001, real, constant, Candidate("linear regression", "baseline", real))
    assert found.answer == "do not ship"
    assert "linear regression is at least as good" in found.reason
    assert any("linear regression is better" in remark for remark in found.remarks)
    assert judged(real, real, constant, Candidate("linear regression", "baseline", real * 1.5)).answer == "ship"


def test_post_training_that_is_better_is_said_and_decides_where_it_is_much_better() -> None:
    real, constant = squares(1, 500, 0), squares(4, 500, 1)
    little = judged(real * 1.002, real, constant, Candidate("ptq", "quantized", real * 1.001))
    assert little.answer == "ship"
    assert "ptq is better than int8" in little.remarks[0]
    assert "by post_training" in little.remarks[0]
    chance = judged(
        real * 1.002, real, constant, Candidate("ptq", "quantized", np.random.default_rng(2).permutation(real) * 1.001)
    )
    assert chance.remarks[0].endswith("a difference that may be chance)")
    much = judged(real * 2, real * 1.99, constant, Candidate("ptq", "quantized", real))
    assert (much.answer, "ptq" in much.reason) == ("do not ship", True)


def test_the_best_float_network_is_the_bar() -> None:
    real, constant = squares(1, 500, 0), squares(4, 500, 1)
    found = judged(real * 1.5, real * 1.5, constant, Candidate("trained on", "float", real))
    assert found.answer == "do not ship"
    assert "(trained on)" in found.criterion


@pytest.mark.parametrize(("count", "answer"), [(100, "test set too small to tell"), (600, "ship")])
def test_no_difference_in_few_samples_is_no_proof_of_none(count: int, answer: str) -> None:
    """Of counts a bootstrap knows no error that it has not seen; the binomial's limit does."""
    right = (np.arange(count) % 20 > 0).astype(float)
    constant = (np.arange(count) % 2 > 0).astype(float)
    found = judged(right, right, constant, better="higher")
    assert found.answer == answer
    # Were it the true share, none of the samples would show it once in forty times.
    assert (1 - found.comparisons[0].high) ** count == pytest.approx(0.025)


def test_candidates_of_other_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="samples"):
        judged(squares(1, 10, 0), squares(1, 9, 0), squares(1, 10, 0))


def drawn(columns: int, seed: int) -> Tensor:
    return torch.randn(90, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("task", "output", "target"),
    [
        (Regression, drawn(2, 1), drawn(2, 2)),
        (Classification, drawn(3, 3).softmax(1), torch.arange(90) % 3),
        (Reconstruction, drawn(4, 4), (torch.arange(90) % 3 == 0).long()),
    ],
)
def test_contributions_have_the_figures_as_means(task: Any, output: Tensor, target: Tensor) -> None:
    """And a figure without one sample changes as that sample's contribution says."""
    x = drawn(4, 0)
    figures, found = (getattr(task, name)(None, x, output, target) for name in ("metrics", "contributions"))
    assert set(task.columns) <= set(found) <= set(figures)
    for name, values in found.items():
        assert values.shape == (90,)
        assert float(values.mean()) == pytest.approx(figures[name], rel=1e-9)
        if name == "errors":
            continue
        rest = torch.arange(90) != 7
        without = task.metrics(None, x[rest], output[rest], target[rest])[name]
        assert figures[name] - without == pytest.approx((float(values[7]) - figures[name]) / 89, abs=2e-3)


# Of a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain() -> Any:
    return make_bundle(subject_of(calibrated_run(Plain, PlainData())), "plain", ExportOptions(), checkpoint=b"kept")


def test_a_plain_modules_figure_is_recognized_and_judged(plain: Any) -> None:
    found, test = plain.verdict, plain.metrics["test"]
    assert (found.figure, found.better, found.samples) == ("mse", "lower", len(X) - TRAINED)
    assert found.device == pytest.approx(test["qat_int8"]["mse"], rel=1e-5)
    named = {each.against: each.figure for each in found.comparisons}
    assert named["half-trained float network, after 1 epoch"] == pytest.approx(test["float"]["mse"], rel=1e-5)
    assert named["the mean of the targets"] == pytest.approx(float(Y[TRAINED:].var(correction=0)), rel=1e-5)
    design = np.c_[X.double().numpy(), np.ones(len(X))]
    line = np.linalg.lstsq(design[:TRAINED], Y[:TRAINED].double().numpy(), rcond=None)[0]
    error = ((design[TRAINED:] @ line - Y[TRAINED:].double().numpy()) ** 2).mean()
    assert named["linear regression"] == pytest.approx(error, rel=1e-4)
    assert any("no float network was trained for all epochs" in remark for remark in found.remarks)


def test_the_answer_is_the_last_line_and_on_the_page(plain: Any, tmp_path: Any) -> None:
    last = plain_text(written_page(plain, tmp_path, ExportOptions())).splitlines()
    assert last[-1] == f"verdict: {plain.verdict.answer}: {plain.verdict.reason}"
    assert last[-2].startswith("criterion: ship if, with 95% confidence, mse on the device is less than")
    html = plain.files["report.html"].decode()
    assert f"Verdict: {plain.verdict.answer}" in html
    assert "64 test samples" in html
    said = json.loads(plain.files["metrics.json"])["verdict"]
    assert (said["answer"], said["samples"]) == (plain.verdict.answer, 64)
    assert "half-trained float network" in html


def test_the_report_says_of_what_it_is(plain: Any, tmp_path: Any, monkeypatch: Any) -> None:
    from hashlib import sha256

    hashes = json.loads(plain.files["metrics.json"])["sha256"]
    assert hashes["tflite"] == sha256(plain.files["plain.tflite"]).hexdigest()
    assert hashes["checkpoint"] == sha256(b"kept").hexdigest()
    html = plain.files["report.html"].decode()
    assert all(digest in html for digest in hashes.values())
    assert "Made on 2023-11-14 (UTC)" in html
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert "1970-01-02, SHA-256: tflite" in plain_text(written_page(plain, tmp_path, ExportOptions()))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(BadConfiguration, match="SOURCE_DATE_EPOCH"):
        plain_text(written_page(plain, tmp_path, ExportOptions()))


class OtherSamples(PlainData):
    """Draws its test part from a generator of its own that goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(0)

    def test_dataloader(self) -> Any:
        rows = self.rng.permutation(len(X))[:64]
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X[rows], Y[rows]), batch_size=32)


class Shuffled(PlainData):
    """As many do, from everybody's generator."""

    def test_dataloader(self) -> Any:
        data = torch.utils.data.TensorDataset(X[TRAINED:], Y[TRAINED:])
        return torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)


def test_every_network_is_tested_on_the_same_samples_in_the_same_order() -> None:
    bundle = make_bundle(subject_of(calibrated_run(Plain, Shuffled())), "plain", ExportOptions())
    assert bundle.verdict is not None
    assert bundle.verdict.samples == 64
    other = make_bundle(subject_of(calibrated_run(Plain, OtherSamples())), "plain", ExportOptions()).verdict
    assert other is not None
    assert other.samples == 64
    assert other.answer != "no verdict"


class Unknown(Plain):
    """A figure that is a mean of nothing known."""

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("odd", mse_loss(self(batch[0]), batch[1]) ** 0.25)


class Told(Unknown):
    better: ClassVar = {"odd": "lower"}

    def contributions(self, x: Tensor, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        parts = (output - target).flatten().square().reshape(2, 32).mean(1) ** 0.25
        return {"odd": parts.repeat_interleave(32)}


class Wrong(Told):
    def contributions(self, x: Tensor, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"odd": torch.ones(len(x))}


def test_a_figure_that_is_not_known_says_what_is_missing() -> None:
    found = make_bundle(subject_of(calibrated_run(Unknown, PlainData())), "plain", ExportOptions()).verdict
    assert found is not None
    assert (found.answer, "better = {'odd'" in found.reason) == ("no verdict", True)
    told = make_bundle(subject_of(calibrated_run(Told, PlainData())), "plain", ExportOptions()).verdict
    assert told is not None
    assert (told.figure, told.samples) == ("odd", 64)
    with pytest.raises(BadConfiguration, match=r"Wrong.contributions: expected 64 numbers whose mean is odd"):
        make_bundle(subject_of(calibrated_run(Wrong, PlainData())), "plain", ExportOptions())


class Gone(PlainData):
    def test_dataloader(self) -> Any:
        raise FileNotFoundError("test.csv")


def test_without_test_data_there_is_no_verdict() -> None:
    bundle = make_bundle(subject_of(calibrated_run(Plain, Gone())), "plain", ExportOptions())
    assert bundle.verdict is not None
    assert (
        plain_text(verdict_page(bundle.verdict)).splitlines()[-1].startswith("verdict: no verdict: no test data: File")
    )


def test_a_float_format_is_judged_too() -> None:
    found = make_bundle(
        subject_of(calibrated_run(Plain, PlainData())), "plain", ExportOptions(format="float32")
    ).verdict
    assert found is not None
    assert found.comparisons[0].worse_by == pytest.approx(0, abs=1e-6)


def test_a_network_that_had_not_begun_is_called_untrained() -> None:
    run = calibrated_run(Plain, PlainData())
    run.qat.began = 0
    found = make_bundle(subject_of(run), "plain", ExportOptions())
    assert found.metrics["float_network"] == "untrained float network"
    run.qat.began, run.qat.losses = 3, {"training": dict.fromkeys(range(9), 1.0), "validation": {}}
    again = make_bundle(subject_of(replace(run)), "plain", ExportOptions())
    assert again.metrics["float_network"] == "half-trained float network, after 3 of 9 epochs"


class OneDirection(Plain):
    """Says of all its figures at once which way they are better."""

    better = "lower"


def test_one_direction_may_be_said_of_all_figures() -> None:
    bundle = make_bundle(subject_of(calibrated_run(OneDirection, PlainData())), "plain", ExportOptions())
    assert bundle.metrics["verdict"]["better"] == "lower"
    assert "mse by stage; the lower the better" in bundle.files["report.html"].decode()
