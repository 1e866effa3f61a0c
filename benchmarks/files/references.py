"""MLPerf Tiny's reference files: where they come from, and how to tell them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from qtorch.errors import BadConfiguration

__all__ = ["COMMIT", "REFERENCE_FILES", "ReferenceFile", "reference_files"]

#: Of github.com/mlcommons/tiny.
COMMIT = "1afd2c9"
_TRAINING = "benchmark/training"


@dataclass(frozen=True)
class ReferenceFile:
    """One of them.

    Attributes:
        label: in tables.
        source: its path in mlcommons/tiny.
        sha256: of its bytes.
    """

    label: str
    source: str
    sha256: str


REFERENCE_FILES = (
    ReferenceFile(
        "keyword spotting, DS-CNN",
        f"{_TRAINING}/keyword_spotting/trained_models/kws_ref_model.tflite",
        "aeea436800704fce17b17292e4412630ad856e9d777c044c64ef748a880bd0ae",
    ),
    ReferenceFile(
        "visual wake words, MobileNetV1 0.25",
        f"{_TRAINING}/visual_wake_words/trained_models/vww_96_int8.tflite",
        "597a384c8c2c8a1276f04702f25013b7838f2f814f1ca7c174d295b73e3d6b7b",
    ),
    ReferenceFile(
        "image classification, ResNet-8",
        f"{_TRAINING}/image_classification/trained_models/pretrainedResnet_quant.tflite",
        "3c002613d1b2475eb51dd78dfb85a546c8ae658dee71cf6ade43b022fe205415",
    ),
    ReferenceFile(
        "anomaly detection, autoencoder",
        f"{_TRAINING}/anomaly_detection/trained_models/ad01_int8.tflite",
        "87cf24194ef93d1d9b11a591d805526b98008e351655d29883c825c9c106ba24",
    ),
    ReferenceFile(
        "streaming wake word",
        f"{_TRAINING}/streaming_wakeword/trained_models/str_ww_ref_model.tflite",
        "3af8550895ba7d5c584277102b5075c52dcfa63ba9d2b2240f37c4e6abd5dd2b",
    ),
)


def reference_files(folder: str | None) -> dict[str, Path]:
    """The reference files that lie under a folder, whatever they are called there, by label.

    Raises:
        BadConfiguration: no folder is named, or one of them is not there.
    """
    remedy = f"git clone https://github.com/mlcommons/tiny, git checkout {COMMIT}, and set MLPERF_TINY to that folder"
    if not folder or not Path(folder).is_dir():
        got = f"no folder {folder}" if folder else "nothing"
        raise BadConfiguration(where="MLPERF_TINY", expected="a folder with the files", got=got, remedy=remedy)
    there = {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in sorted(Path(folder).rglob("*.tflite"))}
    absent = [each.source for each in REFERENCE_FILES if each.sha256 not in there]
    if absent:
        got = f"{folder} without these bytes of {', '.join(absent)}"
        raise BadConfiguration(where="MLPERF_TINY", expected="all reference files", got=got, remedy=remedy)
    return {each.label: there[each.sha256] for each in REFERENCE_FILES}
