"""Every number that a recipe's data, network or features take, at values that nobody means: refused or used."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from qtorch.bounds import LARGEST_SEED, require_number, require_whole
from qtorch.data.log_mel import LogMel, log_mel, mel_filters
from qtorch.errors import BadConfiguration, BadData, BadInput
from qtorch.lightning.data import ArrayDataModule
from recipes.anomaly_qat.data import AnomalyData
from recipes.anomaly_qat.model import Anomaly
from recipes.digits_qat.data import DigitsData
from recipes.digits_qat.model import Digits
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.model import FuelConsumption
from recipes.gesture_qat.data import GestureData
from recipes.gesture_qat.model import Gesture
from recipes.keyword_qat.data import KeywordData
from recipes.keyword_qat.model import Keyword
from recipes.sine_qat.data import SineData
from recipes.sine_qat.model import Sine

pytestmark = pytest.mark.usefixtures("one_thread")

#: With few samples, so that what is not refused is made at once.
DATA: dict[type[ArrayDataModule], dict[str, Any]] = {
    AnomalyData: {"clips": 16},
    DigitsData: {},
    FuelData: {"rows": 20},
    GestureData: {"recordings": 5},
    KeywordData: {"clips": 5, "words": ("tone", "hiss")},
    SineData: {"samples": 20},
}
MODELS: tuple[type, ...] = (Anomaly, Digits, FuelConsumption, Gesture, Keyword, Sine)
NOBODY_MEANS = (
    0, -1, 2.5, math.nan, math.inf, -math.inf, True, "3", None, 10**9, 2**63, 2**64, 2**64 - 1, 1e308, 10**400,
    10**5000,
)  # fmt: skip
SETTINGS = LogMel(rate=16000, window=640, hop=320, fft=1024, bands=10, low=100.0, high=7600.0)


def numbers(made: type) -> Iterator[str]:
    """Names of the arguments whose default is a number, or several."""
    for name, parameter in inspect.signature(made).parameters.items():
        default = parameter.default
        if isinstance(default, (int, float)) or (isinstance(default, tuple) and default):
            yield name


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in DATA for name in numbers(module)])
def test_numbers_of_data(module: type[ArrayDataModule], name: str) -> None:
    refused: list[str] = []
    for value in NOBODY_MEANS:
        try:
            data = module(**{**DATA[module], name: value})
            # 10**9 rows to a batch are all rows.
            arrays = data.arrays
            assert len(next(iter(data.train_dataloader()))[0]) == min(len(arrays.train[0]), data.batch_size)
        except BadInput as error:
            refused.append(str(error))
    assert all(f"data.{name}" in each and len(each) < 300 for each in refused)
    assert len(refused) >= 10, "a check that refuses nothing is none"


@pytest.mark.parametrize(("model", "name"), [(model, name) for model in MODELS for name in numbers(model)])
def test_numbers_of_networks(model: Any, name: str) -> None:
    default = inspect.signature(model).parameters[name].default
    refused: list[str] = []
    for value in NOBODY_MEANS:
        several = isinstance(default, tuple)
        for given in (value, (value, *default[1:])) if several else (value,):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    made = model(**{name: given})
                made(made.example_input_array.expand(2, *made.example_input_array.shape[1:]))
            except BadInput as error:
                refused.append(str(error))
    assert all(f"model.{name}" in each and len(each) < 300 for each in refused)
    assert len(refused) >= 5


@pytest.mark.parametrize("module", DATA)
def test_what_is_meant_passes(module: type[ArrayDataModule]) -> None:
    for seed in (0, 1, 2**32, LARGEST_SEED):
        arrays = module(**{**DATA[module], "seed": seed, "batch_size": 1}).arrays
        assert min(len(part[0]) for part in (arrays.train, arrays.validation, arrays.test)) >= 1


@pytest.mark.parametrize("name", list(inspect.signature(LogMel).parameters))
def test_numbers_of_log_mel_energies(name: str) -> None:
    clips, refused = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0)), 0
    for value in (*NOBODY_MEANS, 1e-46, -1e-7, 5000):
        try:
            settings = LogMel(**{**SETTINGS.__dict__, name: value})
            features = log_mel(clips * 0, settings), log_mel(clips, settings)
            assert all(len(each) == 2 and bool(torch.isfinite(each).all()) for each in features), (name, value)
            assert features[0].shape[1] == settings.frames(2000)
        except BadInput:
            refused += 1
    assert refused >= 8


def test_frames_are_those_that_fit() -> None:
    for window, hop in ((640, 320), (1, 1), (3, 7)):
        settings = LogMel(16000, window, hop, 1024, 10, 100.0, 7600.0)
        for samples in (0, 1, window - 1, window, window + hop - 1, window + hop, 5000):
            counted = sum(begin + window <= samples for begin in range(0, samples + 1, hop))
            assert settings.frames(samples) == counted
    with pytest.raises(BadConfiguration, match="samples of a clip"):
        SETTINGS.frames(-1)


@pytest.mark.parametrize(
    "clips", [torch.zeros(0, 2000), torch.zeros(2000), torch.zeros(2, 2000, dtype=torch.int16), torch.zeros(2, 3, 2000)]
)
def test_clips_that_are_none(clips: torch.Tensor) -> None:
    with pytest.raises(BadData, match="clips"):
        log_mel(clips, SETTINGS)


def test_more_bands_than_bins() -> None:
    with pytest.raises(BadConfiguration, match="at most 33 bands"):
        mel_filters(LogMel(16000, 64, 32, 64, 34, 0.0, 8000.0))


def test_bounds_are_within() -> None:
    require_whole("here", 3, 3, 3, "none")
    require_number("here", 3, 3.0, 3.0, "none")
    for value, words in ((2, "at least 3"), (4, "at most 3"), (3.0, "a whole number from 3 to 3"), (True, "whole")):
        with pytest.raises(BadConfiguration, match=words):
            require_whole("here", value, 3, 3, "none")
    for number in (2.999, 3.001, math.nan, True, "3", None):
        with pytest.raises(BadConfiguration, match="from 3 to 3"):
            require_number("here", number, 3.0, 3.0, "none")
