"""The packages that give second opinions, imported when asked for: none of them is needed to train or to export.

The only module that imports them, so that everything else loads without.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from qtorch.errors import BadConfiguration

__all__ = [
    "EXTRAS",
    "ai_edge_quantizer_package",
    "distribution_version",
    "litert_torch_package",
    "missing",
    "onnx_package",
    "onnxruntime_package",
    "remedy",
    "require",
    "tensorflow_calibrator",
    "tensorflow_package",
]

#: Which of the project's extras brings a package.
EXTRAS = {
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "tensorflow": "tensorflow",
    "litert_torch": "litert",
    "ai_edge_quantizer": "litert",
}


def remedy(package: str) -> str:
    """The command that installs a package, whether this one is a clone or was installed."""
    return f'pip install "qtorch-tflm[{EXTRAS[package]}]"'


def missing(*packages: str) -> tuple[str, ...]:
    """Those that are not installed; does not import any, which may take seconds."""
    return tuple(package for package in packages if find_spec(package) is None)


def distribution_version(package: str) -> str:
    """Of an installed package."""
    return metadata.version(package.replace("_", "-"))


def require(where: str, *packages: str) -> None:
    """Fail early where packages are absent.

    Raises:
        BadConfiguration: names the first that is absent, and the command that installs it.
    """
    for package in missing(*packages):
        raise BadConfiguration(
            where=where, expected=f"the package {package}", got="none installed", remedy=remedy(package)
        )


def onnx_package() -> Any:
    """ONNX: the format, its helper functions and its checker.

    Raises:
        BadConfiguration: it is not installed.
    """
    require("onnx", "onnx")
    import onnx.checker
    import onnx.helper
    import onnx.numpy_helper
    import onnx.shape_inference

    return onnx


def onnxruntime_package() -> Any:
    """ONNX Runtime.

    Raises:
        BadConfiguration: it is not installed.
    """
    require("onnxruntime", "onnxruntime")
    import onnxruntime

    return onnxruntime


def tensorflow_package() -> Any:
    """TensorFlow.

    Raises:
        BadConfiguration: it is not installed.
    """
    require("tensorflow", "tensorflow")
    with _quietly():
        import tensorflow

    return tensorflow


def tensorflow_calibrator() -> Any:
    """The class behind TFLiteConverter's ``representative_dataset``, which its public interface does not show.

    Raises:
        BadConfiguration: TensorFlow is not installed.
    """
    require("tensorflow", "tensorflow")
    with _quietly():
        from tensorflow.lite.python.optimize.calibrator import Calibrator

    return Calibrator


def litert_torch_package() -> Any:
    """litert-torch, which was ai-edge-torch: PyTorch to .tflite.

    Raises:
        BadConfiguration: it is not installed.
    """
    require("litert_torch", "litert_torch")
    with _quietly():
        import litert_torch

    return litert_torch


def ai_edge_quantizer_package() -> Any:
    """The quantizer of float .tflite files.

    Raises:
        BadConfiguration: it is not installed.
    """
    require("ai_edge_quantizer", "ai_edge_quantizer")
    with _quietly():
        import ai_edge_quantizer.quantizer
        import ai_edge_quantizer.recipe

    return ai_edge_quantizer


@contextmanager
def _quietly() -> Iterator[None]:
    """What these packages warn of when they load concerns their own authors; what they raise is raised."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Their C++ writes to the descriptor itself, and some of it before it has read any level.
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
