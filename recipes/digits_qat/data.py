"""Digits for training: split, scaled, in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qtorch.bounds import require_seed
from qtorch.data.duplicates import digest, duplicates
from qtorch.data.stratified import stratified_split
from qtorch.errors import BadConfiguration, BadData
from qtorch.features import Feature, Interface
from qtorch.lightning.data import ArrayDataModule, Arrays, DataSummary

from .idx import Digits, read_digits

__all__ = ["CLASSES", "DigitsData"]

CLASSES = 10
_FEWEST = 6
#: Pictures, among which each digit would occur.
_MANY = 100
#: Of a byte.
_MIDDLE = 127.5


class DigitsData(ArrayDataModule):
    """Pictures ``[N, 1, 8, 8]`` or ``[N, 1, 28, 28]``, 0 background to 1 ink, to the digit 0 to 9.

    The default is the 1,797 pictures of 8 by 8 pixels that scikit-learn bundles: 60 % training, 20 % validation and
    20 % test of each digit. MNIST keeps its own test part; the last sixth of its training pictures validates.

    Args:
        idx_folder: with MNIST's four IDX files, each as it is or as ``.gz``; ``None`` for the bundled pictures.
        batch_size: pictures per batch.
        seed: of the bundled pictures' split; independent of the seed of training.
    """

    def __init__(self, idx_folder: str | None = None, batch_size: int = 32, seed: int = 0) -> None:
        super().__init__(batch_size)
        require_seed("data.seed", seed)
        self.idx_folder, self.seed = idx_folder, seed
        self.save_hyperparameters()

    def load(self) -> Arrays:
        """Read, split, and scale."""
        return self._bundled() if self.idx_folder is None else self._mnist(Path(self.idx_folder))

    def _bundled(self) -> Arrays:
        try:
            # Imported here because nothing but this default needs it.
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise BadConfiguration(
                where="data.idx_folder",
                expected="scikit-learn for the bundled digits, or a folder with MNIST",
                got=f"neither: {error}",
                remedy='pip install "qtorch-tflm[recipes]", or pass --data.idx_folder',
            ) from error
        pictures, digits = load_digits(return_X_y=True)
        x, y = _tensors(pictures.reshape(-1, 8, 8), digits, 16.0)
        train, validation, test = ((x[at], y[at]) for at in stratified_split(y, self.seed))
        summary = DataSummary("scikit-learn's digits", len(x), 0, len(train[0]), len(test[0]))
        return Arrays(train, validation, test, _interface(16.0), summary)

    def _mnist(self, folder: Path) -> Arrays:
        if not folder.is_dir():
            raise BadData(
                where=str(folder),
                expected="a folder with MNIST's four files",
                got="no such folder",
                remedy="check the path",
            )
        training, test = read_digits(folder, "train"), read_digits(folder, "t10k")
        count = len(training.images)
        if count < _FEWEST:
            raise BadData(
                where=str(folder),
                expected=f"at least {_FEWEST} training pictures, so that a sixth can validate",
                got=f"{count}",
                remedy="pass the whole training part",
            )
        x, y = _tensors(training.images, training.labels, 255.0)
        held_out = count // 6
        parts = (x[:-held_out], y[:-held_out]), (x[-held_out:], y[-held_out:])
        test_part = _tensors(test.images, test.labels, 255.0)
        findings = _odd(folder, training, test, held_out)
        source = folder.resolve().name
        summary = DataSummary(source, count + len(test.images), 0, count - held_out, len(test.images), findings)
        return Arrays(*parts, test_part, _interface(255.0), summary)


def _tensors(pictures: np.ndarray, digits: np.ndarray, ink: float) -> tuple[Tensor, Tensor]:
    x = torch.from_numpy(pictures.astype(np.float32)).unsqueeze(1) / ink
    return x, torch.from_numpy(digits.astype(np.int64))


def _interface(ink: float) -> Interface:
    return Interface(
        (Feature("brightness", "", 0.0, ink),), tuple(Feature(f"logit of {digit}") for digit in range(CLASSES))
    )


def _odd(folder: Path, training: Digits, test: Digits, held_out: int) -> tuple[str, ...]:
    """Findings about MNIST's files: empty pictures, parts of other brightness, digits without pictures, repetitions.

    Raises:
        BadData: no picture of a part shows anything.
    """
    findings: list[str] = []
    for name, part in (("training", training), ("test", test)):
        empty = np.ptp(part.images.reshape(len(part.images), -1), axis=1) == 0
        if empty.all():
            raise BadData(
                where=str(folder), expected=f"{name} pictures that show something", got="pixels all alike in each",
                remedy="take the files from the data set again",
            )  # fmt: skip
        if empty.any():
            findings.append(f"{int(empty.sum())} {name} pictures show nothing, first picture {int(empty.argmax())}")
        absent = sorted(set(range(CLASSES)) - set(part.labels.tolist()))
        if absent and len(part.labels) >= _MANY:
            findings.append(f"the {name} part has no picture of {', '.join(map(str, absent))}")
    medians = [float(np.median(part.images.mean((1, 2)))) for part in (training, test)]
    if (medians[0] > _MIDDLE) != (medians[1] > _MIDDLE) and abs(medians[0] - medians[1]) > _MIDDLE / 2:
        findings.append(
            f"training pictures have a brightness of about {medians[0]:.0f}, test pictures of {medians[1]:.0f}: "
            "one part seems to be inverted"
        )
    rows = [digest(picture) for picture in training.images]
    labels = training.labels.tolist()
    parts = {
        "training": (rows[:-held_out], labels[:-held_out]),
        "validation": (rows[-held_out:], labels[-held_out:]),
        "test": ([digest(picture) for picture in test.images], test.labels.tolist()),
    }
    return (*findings, *duplicates(parts, [str(digit) for digit in range(CLASSES)], "pictures"))
