"""Scratch buffers of ESP-NN: what its own size functions give, release by release, and what a header makes of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from benchmarks.emulated_networks import calibrated
from benchmarks.mlperf_networks import REFERENCES
from export.arena.esp_nn import Target, convolution_scratch, depthwise_scratch, esp_nn, softmax_scratch
from export.arena.esp_nn_releases import LATER, RELEASES, Release
from export.arena.esp_nn_windows import Windows
from export.arena.figures import arena_figures
from export.tflite.writer import write_tflite
from qtorch.editions.known import EDITIONS
from tests.esp_nn_sizes import Sizes, release_of, values
from tests.tflm_projects import require

#: Geometry in the order of :class:`Windows`, and bytes: what the functions of 1.0.0-rc1, 1.1.0, 1.2.0, 1.2.1 and 1.2.3
#: returned, compiled for a PC.
S3_CONVOLUTIONS = {
    "of one place": ((25, 5, 64, 1, 1, 64, 25, 5, 64, 0, 0, 1, 1), (5152, 5152, 5152, 5152, 5184)),
    "of one place, filled": ((8, 8, 20, 1, 1, 20, 8, 8, 12, 0, 0, 1, 1), (2240, 2240, 2240, 2240, 2272)),
    "of the only place": ((1, 1, 64, 1, 1, 64, 1, 1, 10, 0, 0, 1, 1), (672, 672, 672, 672, 704)),
    "first of a camera": ((96, 96, 3, 3, 3, 3, 48, 48, 8, 0, 0, 2, 2), (1216, 1216, 1216, 384, 416)),
    "first of DS-CNN": ((49, 10, 1, 10, 4, 1, 25, 5, 64, 4, 1, 2, 2), (41932, 41932, 41932, 3440, 3472)),
    "of ResNet": ((32, 32, 16, 3, 3, 16, 32, 32, 16, 1, 1, 1, 1), (20896, 20896, 20896, 41696, 41728)),
    "of ResNet, down": ((32, 32, 16, 3, 3, 16, 16, 16, 32, 0, 0, 2, 2), (4768, 4768, 4768, 27872, 27904)),
    "left over": ((10, 11, 16, 3, 3, 16, 4, 5, 24, 0, 0, 2, 2), (3584, 3584, 3584, 8960, 8992)),
    "tiny windows": ((200, 200, 1, 3, 3, 1, 200, 200, 8, 1, 1, 1, 1), (42020, 42020, 42020, 83208, 83240)),
}
P4_CONVOLUTIONS = {
    "of one place": ((25, 5, 64, 1, 1, 64, 25, 5, 64, 0, 0, 1, 1), (0, 5152, 5152, 5152, 5152)),
    "few channels": ((8, 8, 3, 1, 1, 3, 8, 8, 16, 0, 0, 1, 1), (0, 800, 800, 800, 384)),
    "first of DS-CNN": ((49, 10, 1, 10, 4, 1, 25, 5, 64, 4, 1, 2, 2), (0, 41932, 41932, 41932, 328)),
    "of ResNet": ((32, 32, 16, 3, 3, 16, 32, 32, 16, 1, 1, 1, 1), (0, 20896, 20896, 20896, 240)),
    "of ResNet, down": ((32, 32, 16, 3, 3, 16, 16, 16, 32, 0, 0, 2, 2), (0, 4768, 4768, 4768, 4768)),
    "tiny windows": ((200, 200, 1, 3, 3, 1, 200, 200, 8, 1, 1, 1, 1), (0, 42020, 42020, 42020, 36768)),
    "tiny windows of few": ((20, 20, 1, 3, 3, 1, 20, 20, 8, 1, 1, 1, 1), (0, 1700, 1700, 1700, 1700)),
    "tiny windows, not padded": ((20, 20, 1, 2, 2, 1, 19, 19, 4, 0, 0, 1, 1), (0, 304, 304, 304, 6704)),
}
S3_DEPTHWISE = {
    "3x3 of 64": ((25, 5, 64, 3, 3, 64, 25, 5, 64, 1, 1, 1, 1), (12688, 12688, 12688, 12688, 12688)),
    "3x3 of 16, by rows": ((96, 96, 16, 3, 3, 16, 96, 96, 16, 1, 1, 1, 1), (153824, 153824, 153824, 4864, 4864)),
    "3x3 of 16, behind": ((48, 48, 16, 3, 3, 16, 24, 24, 16, 0, 0, 2, 2), (40160, 40160, 40160, 40160, 40160)),
    "3x3 of 24": ((24, 24, 24, 3, 3, 24, 24, 24, 24, 1, 1, 1, 1), (28096, 28096, 28112, 43872, 43872)),
    "3x3 of 8": ((48, 48, 8, 3, 3, 8, 48, 48, 8, 1, 1, 1, 1), (37024, 37024, 37040, 37040, 37040)),
    "5x5 of 32": ((12, 12, 32, 5, 5, 32, 12, 12, 32, 2, 2, 1, 1), (32, 32, 32, 10848, 10848)),
    "5x5 of 32, by rows": ((40, 40, 32, 5, 5, 32, 40, 40, 32, 2, 2, 1, 1), (32, 32, 32, 14432, 14432)),
    "of 12": ((16, 16, 12, 3, 3, 12, 16, 16, 12, 1, 1, 1, 1), (32, 32, 32, 12784, 12784)),
    "of 3": ((16, 16, 3, 3, 3, 3, 16, 16, 3, 1, 1, 1, 1), (32, 32, 32, 32, 32)),
    "four outputs each": ((16, 16, 8, 3, 3, 32, 16, 16, 32, 1, 1, 1, 1, 4), (4688, 4688, 4704, 4704, 4704)),
    "two outputs each": ((16, 16, 8, 3, 3, 16, 16, 16, 16, 1, 1, 1, 1, 2), (32, 32, 32, 32, 32)),
}


@pytest.mark.parametrize("name", S3_CONVOLUTIONS)
def test_a_convolution_on_esp32_s3(name: str) -> None:
    geometry, sizes = S3_CONVOLUTIONS[name]
    assert tuple(convolution_scratch("esp32s3", each, Windows(*geometry)) for each in RELEASES) == sizes


@pytest.mark.parametrize("name", P4_CONVOLUTIONS)
def test_a_convolution_on_esp32_p4(name: str) -> None:
    geometry, sizes = P4_CONVOLUTIONS[name]
    assert tuple(convolution_scratch("esp32p4", each, Windows(*geometry)) for each in RELEASES) == sizes


@pytest.mark.parametrize("name", S3_DEPTHWISE)
def test_a_depthwise_convolution_on_esp32_s3(name: str) -> None:
    geometry, sizes = S3_DEPTHWISE[name]
    assert tuple(depthwise_scratch("esp32s3", each, Windows(*geometry)) for each in RELEASES) == sizes


@pytest.mark.parametrize("release", [*RELEASES, LATER], ids=lambda release: release.name)
def test_other_processors_take_nothing_for_convolutions(release: Release) -> None:
    for geometry, _ in (*S3_CONVOLUTIONS.values(), *S3_DEPTHWISE.values()):
        assert convolution_scratch("generic", release, Windows(*geometry)) == 0
        assert depthwise_scratch("generic", release, Windows(*geometry)) == 0


def _output(size: int, window: int, stride: int, same: bool) -> tuple[int, int]:
    """Of one axis: how many windows, and what is padded in front."""
    if same:
        count = -(-size // stride)
        return count, max(0, (count - 1) * stride + window - size) // 2
    return (size - window) // stride + 1, 0


def drawn(count: int, *, depthwise: bool) -> Iterator[Windows]:
    """Geometries, with those that the functions ask about drawn often."""
    rng = np.random.default_rng(0)
    while count:
        height, width = (int(rng.choice([1, 2, 7, 8, 16, 49, rng.integers(1, 128)])) for _ in range(2))
        down_by, across_by = (int(rng.choice([1, 1, 2, 3, 3, 3, 4, 5, 7, 10])) for _ in range(2))
        down, across = (int(rng.choice([1, 1, 1, 2, 3, 4])) for _ in range(2))
        if rng.random() < 0.2:
            down_by, across_by, down, across = 1, 1, 1, 1
        channels = int(rng.choice([1, 2, 3, 4, 8, 12, 16, 24, 32, 40, 64, 128, rng.integers(1, 300)]))
        multiplier = int(rng.choice([1, 1, 1, 1, 2, 3, 4, 8])) if depthwise else 1
        outputs = channels * multiplier if depthwise else int(rng.choice([1, 8, 16, 64, rng.integers(1, 200)]))
        same = bool(rng.random() < 0.6)
        if not same and (down_by > height or across_by > width):
            continue
        (rows, top), (columns, left) = _output(height, down_by, down, same), _output(width, across_by, across, same)
        count -= 1
        yield Windows(
            height, width, channels, down_by, across_by, outputs if depthwise else channels, rows, columns, outputs,
            top, left, down, across, multiplier,
        )  # fmt: skip


def test_as_the_librarys_own_functions_say(tmp_path: Path) -> None:
    root = os.environ.get("ESP_NN_ROOT")
    if not root:
        pytest.skip("ESP_NN_ROOT has no source tree of esp-nn, of 1.0.0 to 1.2.3")
    require("gcc")
    release, sizes = release_of(Path(root)), Sizes(Path(root), tmp_path)
    for depthwise, kind, rule in (
        (False, "conv", convolution_scratch),
        (True, "depthwise_conv", depthwise_scratch),
    ):
        targets: tuple[Target, ...] = ("esp32s3", "esp32p4")
        for target in targets:
            name = f"esp_nn_get_{kind}_scratch_size_{target}"
            for at in drawn(3000, depthwise=depthwise):
                expected = sizes.of(name, *values(at)) if name in sizes.names else 0
                assert rule(target, release, at) == expected, at
    for width in range(1, 300):
        assert softmax_scratch(release, width) == sizes.of("esp_nn_get_softmax_scratch_size_opt", width)


def _figures(label: str, edition: str | None) -> dict[str, int]:
    model = write_tflite(calibrated(next(each for each in REFERENCES if each.label == label)))
    figures = arena_figures(model, None if edition is None else EDITIONS[edition])
    return {each.condition: each.arena_bytes for each in figures if each.library == "ESP_NN"}


def test_a_figure_is_of_the_release_of_its_edition() -> None:
    before, after, any_release = (
        _figures("ResNet-8", each)["defined(CONFIG_IDF_TARGET_ESP32S3)"]
        for each in ("esp-tflite-micro-1.3.4", "esp-tflite-micro-1.4.0", None)
    )
    # 1.2.1 copies the filter twice and the padded input twice: its largest convolution of those that live at once.
    assert before < after < any_release


def test_portable_kernels_take_what_the_reference_takes_and_softmax() -> None:
    model = write_tflite(calibrated(next(each for each in REFERENCES if each.label == "DS-CNN")))
    figures = arena_figures(model, EDITIONS["esp-tflite-micro-1.4.0"])
    reference = figures[0].arena_bytes
    assert reference <= _figures("DS-CNN", "esp-tflite-micro-1.4.0")[""] <= reference + 512


@pytest.mark.parametrize("target", ["esp32s3", "esp32p4", "generic"])
def test_a_day_has_the_release_that_was_there(target: Target) -> None:
    def names(day: date | None) -> list[str]:
        return [k.name for builds in esp_nn(day) for k in builds if target in k.name]

    assert names(date(2022, 1, 1)) == [f"esp_nn_{target}_1.0.0-rc1"]
    assert names(date(2025, 9, 1)) == [f"esp_nn_{target}_1.1.0"]
    assert names(date(2026, 4, 27)) == [f"esp_nn_{target}_1.2.3"]
    assert names(None) == names(date(2026, 9, 1)) == [f"esp_nn_{target}_{each.name}" for each in (*RELEASES, LATER)]
