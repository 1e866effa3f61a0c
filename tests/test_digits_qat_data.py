"""Digits: scikit-learn's pictures, MNIST's files and what is refused of them."""

from __future__ import annotations

import gzip
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from qtorch.errors import BadConfiguration, BadData
from qtorch.features import Feature, Interface
from qtorch.lightning.data import DataSummary
from recipes.digits_qat.data import DigitsData
from recipes.digits_qat.idx import read_idx
from recipes.digits_qat.network import digits_network


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def mnist(folder: Path, train: int = 12, test: int = 4, side: int = 28, zipped: bool = False) -> dict[str, np.ndarray]:
    """Files of random pictures; returns what is in them."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", train), ("t10k", test)):
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (count, side, side))
        arrays[f"{part}-labels-idx1-ubyte"] = rng.integers(0, 10, count)
    for name, array in arrays.items():
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return arrays


def test_the_bundled_pictures() -> None:
    data = DigitsData(seed=5)
    arrays = data.load()
    parts = (arrays.train, arrays.validation, arrays.test)
    assert [len(x) for x, _ in parts] == [1078, 360, 359]
    assert arrays.summary == DataSummary("scikit-learn's digits", 1797, 0, 1078, 359)
    for x, y in parts:
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert x.shape == (len(y), 1, 8, 8)
        assert (float(x.min()), float(x.max())) == (0, 1)
        share = torch.bincount(y) / len(y)
        assert len(share) == 10
        assert float((share - 0.1).abs().max()) < 0.01
    assert arrays.interface.inputs == (Feature("brightness", "", 0.0, 16.0),)
    assert [feature.name for feature in arrays.interface.outputs] == [f"logit of {digit}" for digit in range(10)]
    assert dict(data.hparams) == {"idx_folder": None, "batch_size": 32, "seed": 5}


def test_the_bundled_pictures_are_all_there_and_the_seed_decides_where() -> None:
    from sklearn.datasets import load_digits

    pictures, digits = load_digits(return_X_y=True)
    rows = {(*row, digit) for row, digit in zip(pictures.tolist(), digits.tolist(), strict=True)}
    arrays, again, other = (DigitsData(seed=seed).load() for seed in (1, 1, 2))
    kept = {
        (*(16 * row).flatten().tolist(), digit)
        for x, y in (arrays.train, arrays.validation, arrays.test)
        for row, digit in zip(x, y.tolist(), strict=True)
    }
    assert kept == rows
    assert torch.equal(arrays.test[0], again.test[0])
    assert not torch.equal(arrays.test[0][:300], other.test[0][:300])


def test_without_scikit_learn_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(BadConfiguration, match=r'pip install "qtorch-tflm\[recipes\]"'):
        DigitsData().load()


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_keeps_its_test_part_and_validates_on_the_last_sixth(tmp_path: Path, zipped: bool) -> None:
    written = mnist(tmp_path, train=13, zipped=zipped)
    arrays = DigitsData(str(tmp_path)).load()
    pictures, labels = (written[f"train-{kind}-ubyte"] for kind in ("images-idx3", "labels-idx1"))
    for (x, y), images, digits in (
        (arrays.train, pictures[:11], labels[:11]),
        (arrays.validation, pictures[11:], labels[11:]),
        (arrays.test, written["t10k-images-idx3-ubyte"], written["t10k-labels-idx1-ubyte"]),
    ):
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        np.testing.assert_array_equal(x.numpy(), images[:, None].astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(y.numpy(), digits)
    assert arrays.summary == DataSummary(tmp_path.name, 17, 0, 11, 4)
    outputs = tuple(Feature(f"logit of {digit}") for digit in range(10))
    assert arrays.interface == Interface((Feature("brightness", "", 0.0, 255.0),), outputs)


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def edited(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(edit((folder / name).read_bytes()))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (edited(IMAGES, lambda b: b""), [IMAGES, "0x00000803", "empty file"]),
        (edited(IMAGES, lambda b: b"\0\0\x0d\x03" + b[4:]), [IMAGES, "0x00000803", "got 0x00000d03"]),
        (edited(IMAGES, lambda b: b"\0\0\x08\x01" + b[4:]), [IMAGES, "3 dimensions", "got 0x00000801"]),
        (edited(LABELS, lambda b: b"\0\0\x08\x03" + b[4:]), [LABELS, "1 dimensions", "got 0x00000803"]),
        (edited(LABELS, gzip.compress), [LABELS, "decompress it"]),
        (edited(IMAGES, lambda b: b[:15]), [IMAGES, "header of 16 bytes", "got 15 bytes"]),
        (edited(IMAGES, lambda b: b[:-1]), [IMAGES, "9408 values", "(12, 28, 28)", "got 9407"]),
        (edited(IMAGES, lambda b: b + b"\0"), [IMAGES, "9408 values", "got 9409"]),
        (edited(LABELS, lambda b: b[:4] + bytes(4)), [LABELS, "at least 1", "(0,)"]),
        (edited(LABELS, lambda b: b[:-1] + b"\x0a"), [LABELS, "0 to 9", "10 at position 11"]),
        (edited(LABELS, lambda b: idx(np.zeros(11))), [LABELS, "12 labels", IMAGES, "got 11"]),
        (edited("t10k-labels-idx1-ubyte", lambda b: b[:-1] + b"\xff"), ["t10k", "255 at position 3"]),
        (lambda folder: (folder / LABELS).unlink(), [LABELS + ".gz", "neither"]),
        (lambda folder: (folder / LABELS).rename(folder / (LABELS + ".gz")), [LABELS + ".gz", "readable"]),
        (lambda folder: mnist(folder, side=27), [IMAGES, "28 by 28", "27 by 27"]),
        (lambda folder: mnist(folder, train=5), ["at least 6", "got 5"]),
    ],
)
def test_every_deviation_is_refused(tmp_path: Path, damage: Callable[[Path], object], words: list[str]) -> None:
    mnist(tmp_path)
    damage(tmp_path)
    with pytest.raises(BadData) as error:
        DigitsData(str(tmp_path)).load()
    assert all(word in str(error.value) for word in [str(tmp_path), "Remedy", *words]), str(error.value)


def test_missing_folders_and_cut_archives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no such folder"):
        DigitsData(str(tmp_path / "absent")).load()
    mnist(tmp_path, zipped=True)
    path = tmp_path / f"{LABELS}.gz"
    whole = path.read_bytes()
    for content in (whole[:-9], whole[:14] + b"\xff" * 8 + whole[22:], b"", b"no archive"):
        path.write_bytes(content)
        with pytest.raises(BadData, match=LABELS):
            read_idx(path, 1)


@pytest.mark.usefixtures("one_thread")
def test_the_network_learns() -> None:
    torch.manual_seed(0)
    arrays = DigitsData().load()
    net = digits_network()
    x, y = arrays.train
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(6):
        for at in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[at]), y[at]).backward()
            optimizer.step()
    net.eval()
    assert float((net(arrays.test[0]).argmax(-1) == arrays.test[1]).float().mean()) > 0.96


@pytest.mark.parametrize(("image", "parameters"), [(8, 12378), (28, 10138), (16, 12378)])
def test_the_network_fits_the_picture(image: int, parameters: int) -> None:
    net = digits_network(image)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert net(torch.zeros(2, 1, image, image)).shape == (2, 10)
    kinds = [type(layer) for layer in net]
    assert [kinds.count(kind) for kind in (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Linear)] == [3, 3, 3, 1]
