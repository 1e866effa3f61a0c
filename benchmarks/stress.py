"""Two cases in which quantization without further thought loses accuracy, and what each method brings back.

Every figure is the share of the 359 test pictures of the digits task that TFLite Micro names rightly, in percent. One
picture in one seed is a tenth of a point of the mean, so differences of half a point say nothing. The stresses and all
settings stand in :mod:`benchmarks.stress_cases`. The JSON has how many pictures each seed names rightly.

The last column is of what training computes: of the output codes of its forward pass, on all test pictures, the share
that the exported file gives in TFLite Micro, of the case in which it is least.

First table: 8 bits, weights per channel, under each stress and both.

Second table: 4-bit weights, no stress, on a network of 2, 4 and 4 channels, because the recipe's 16, 16 and 32 lose
next to nothing. Linear layers have 4-bit weights per tensor, as TFLite Micro's do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

from torch import nn

from benchmarks.agreement import agreement, equal_in_training, recorded
from benchmarks.stress_cases import (
    QAT_EPOCHS,
    Case,
    Way,
    accuracy,
    heavy_tailed,
    on_device,
    quantized,
    trained,
    trained_on,
    with_outlier,
)
from benchmarks.suite import Suite, markdown_table
from qtorch import QuantizationConfig
from qtorch.lightning.data import Arrays
from qtorch.post_training.steps import PostTraining
from recipes.digits_qat.data import DigitsData

__all__ = ["EIGHT_BITS", "FOUR_BITS", "STRESS"]

_SEEDS = (0, 1, 2)
#: Channels that 4 bits make a difference to.
_NARROW = (2, 4, 4)
_PLAIN, _EQUALIZED = PostTraining(), PostTraining(equalize=True)
_CORRECTED = replace(_EQUALIZED, correct_biases=True)
_ROUNDED = replace(_CORRECTED, round_adaptively=True)


def _after_training(name: str, steps: PostTraining = _PLAIN, **options: object) -> Way:
    return Way(f"PTQ, {name}", QuantizationConfig(**options), steps)  # type: ignore[arg-type]


def _in_training(name: str, follow: bool = False, steps: PostTraining = _PLAIN, **options: object) -> Way:
    config = QuantizationConfig(**options)  # type: ignore[arg-type]
    return Way(f"QAT, {name}", config, steps, QAT_EPOCHS, follow)


#: Ways to quantize to 8 bits.
EIGHT_BITS = (
    _after_training("weights per tensor, min-max", weights="per_tensor"),
    _after_training("min-max"),
    _after_training("percentile:99.9", observer="percentile:99.9"),
    _after_training("mse", observer="mse"),
    _after_training("entropy", observer="entropy"),
    _after_training("mse, equalized", _EQUALIZED, observer="mse"),
    _after_training("mse, equalized, biases corrected", _CORRECTED, observer="mse"),
    _after_training("mse, equalized, biases corrected, AdaRound", _ROUNDED, observer="mse"),
    _after_training("percentile:99.9, equalized", _EQUALIZED, observer="percentile:99.9"),
    _in_training("min-max"),
    _in_training("moving_average:0.9 that follows", True, observer="moving_average:0.9"),
    _in_training("mse", observer="mse"),
    _in_training("LSQ", scales="lsq"),
    _in_training("LSQ+", scales="lsq+"),
    _in_training("PACT", scales="pact"),
    _in_training("equalized, moving_average:0.9 that follows", True, _EQUALIZED, observer="moving_average:0.9"),
)
#: To 4 bits, and what they are measured against.
FOUR_BITS = (
    _after_training("8 bits"),
    _after_training("4 bits", weight_bits=4),
    _after_training("4 bits, mse for weights", weight_bits=4, weight_observer="mse"),
    _after_training("4 bits, AdaRound", PostTraining(round_adaptively=True), weight_bits=4),
    _in_training("4 bits, min-max", weight_bits=4),
    _in_training("4 bits, LSQ", weight_bits=4, scales="lsq"),
)


def _right(net: nn.Module, data: Arrays) -> int:
    """How many of the test pictures a network names rightly."""
    return round(accuracy(net, data) / 100 * len(data.test[0]))


def _reached(row: Way, cases: Sequence[Case]) -> tuple[list[int], list[dict[str, int]]]:
    """How many pictures a way names rightly, case by case; and how many of training's output codes are the device's."""
    right, training = [], []
    for case in cases:
        network = quantized(case, row)
        right.append(_right(on_device(network), case.data))
        training.append(recorded(agreement(network, case.data.test[0])))
    return right, training


def _under_stresses(row: Way, stresses: Mapping[str, Sequence[Case]]) -> dict[str, Any]:
    reached = {stress: _reached(row, cases) for stress, cases in stresses.items()}
    return {
        "row": row.name,
        "right": {stress: right for stress, (right, _) in reached.items()},
        "training": [each for _, training in reached.values() for each in training],
    }


def _without_stress(row: Way, cases: Sequence[Case]) -> dict[str, Any]:
    right, training = _reached(row, cases)
    return {"row": row.name, "right": right, "training": training}


def _in_float(cases: Sequence[Case]) -> list[int]:
    return [_right(case.net, case.data) for case in cases]


def _stressed(data: Arrays) -> list[dict[str, Any]]:
    nets, pictures = [trained(data, seed) for seed in _SEEDS], data.train[0]
    heavy: list[nn.Module] = [heavy_tailed(net, seed) for seed, net in zip(_SEEDS, nets, strict=True)]
    clean, spoilt = [pictures] * len(_SEEDS), [with_outlier(pictures, seed) for seed in _SEEDS]
    stresses = {
        stress: [Case(net, shown, data, seed) for net, shown, seed in zip(networks, calibration, _SEEDS, strict=True)]
        for stress, networks, calibration in (
            ("no stress", nets, clean),
            ("heavy tails", heavy, clean),
            ("outlier", nets, spoilt),
            ("both", heavy, spoilt),
        )
    }
    return [
        {"row": "float", "right": {stress: _in_float(cases) for stress, cases in stresses.items()}},
        *(_under_stresses(row, stresses) for row in EIGHT_BITS),
    ]


def _narrow(data: Arrays) -> list[dict[str, Any]]:
    cases = [Case(trained(data, seed, _NARROW), data.train[0], data, seed) for seed in _SEEDS]
    further = [replace(case, net=trained_on(case.net, data, case.seed)) for case in cases]
    return [
        {"row": "float", "right": _in_float(cases)},
        {"row": f"float, {QAT_EPOCHS} epochs more", "right": _in_float(further)},
        *(_without_stress(row, cases) for row in FOUR_BITS),
    ]


def _measure() -> dict[str, Any]:
    data = DigitsData().load()
    pictures = len(data.test[0])
    return {"seeds": list(_SEEDS), "pictures": pictures, "eight_bits": _stressed(data), "four_bits": _narrow(data)}


def _table(found: dict[str, Any]) -> Sequence[str]:
    def percent(right: float) -> str:
        return f"{100 * right / found['pictures']:.1f}"

    stresses = list(found["eight_bits"][0]["right"])
    eight = [
        [
            each["row"],
            *(percent(mean(each["right"][stress])) for stress in stresses),
            percent(min(each["right"][stresses[-1]])),
            equal_in_training(each.get("training", ())),
        ]
        for each in found["eight_bits"]
    ]
    four = [
        [
            each["row"],
            percent(mean(each["right"])),
            percent(min(each["right"])),
            equal_in_training(each.get("training", ())),
        ]
        for each in found["four_bits"]
    ]
    return [
        *markdown_table(["8 bits", *stresses, f"{stresses[-1]}, worst seed", "equal in training"], eight),
        "",
        *markdown_table(["4-bit weights, (2, 4, 4) channels", "no stress", "worst seed", "equal in training"], four),
    ]


STRESS = Suite("stress", __doc__, _measure, _table)
