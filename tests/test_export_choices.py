"""A field of an export's options that is of no such value: refused in words, to whoever hands it over."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import export
from export import ExportOptions
from qtorch.errors import BadConfiguration

WRONG: list[tuple[str, Any, str, str]] = [
    ("format", "int9", "one of int8, float32, float16, dynamic_range", "format='int8'"),
    ("format", "flaot16", "one of int8, float32", "format='float16'"),
    ("format", ["int8"], "one of int8, float32", "format='int8'"),
    ("io", "x", "one of int8, float32", "io='int8'"),
    ("io", torch.int8, "one of int8, float32", "io='int8'"),
    ("input_layout", "nhw", "one of nhwc, nchw", "input_layout='nhwc'"),
    ("optimize", "fast", "one of balanced, size, speed", "optimize='balanced'"),
    ("optimize", "sped", "one of balanced, size, speed", "optimize='speed'"),
    ("flash", -1, "bytes, a whole number from 0 on", "flash=None"),
    ("flash", "all", "bytes, a whole number from 0 on", "flash=None"),
    ("fast_memory", -1, "bytes, a whole number from 0 on", "fast_memory=None"),
    ("fast_memory", 1.5, "bytes, a whole number from 0 on", "fast_memory=None"),
    ("fast_memory", True, "bytes, a whole number from 0 on", "fast_memory=None"),
    ("c", "yes", "True or False", "c=True"),
    ("c", 1, "True or False", "c=True"),
    ("onnx", "off", "True or False", "onnx=False"),
    ("onnx", [], "True or False", "onnx=False"),
    ("strip", None, "True or False", "strip=False"),
    ("equalize", np.ones(2), "True or False", "equalize=False"),
    ("target", None, "a text", "target='host'"),
    ("target", 3, "a text", "target='host'"),
    ("version", 1.0, "a text", "version=''"),
    ("tflm", 3, "a text", "tflm=''"),
    ("firmware", 3, "a folder, or None", "firmware=None"),
    ("firmware", " ", "a folder, or None", "firmware=None"),
    ("firmware", True, "a folder, or None", "firmware=None"),
]


@pytest.mark.parametrize(("name", "value", "expected", "remedy"), WRONG)
def test_a_value_that_there_is_not_is_refused(name: str, value: Any, expected: str, remedy: str) -> None:
    for where, ask in (
        (f"export.{name}", lambda: ExportOptions(**{name: value})),
        (name, lambda: export.export_network(nn.Linear(2, 1), calibration=torch.zeros(4, 2), **{name: value})),
    ):
        with pytest.raises(BadConfiguration) as refused:
            ask()
        assert str(refused.value).startswith(f"{where}: expected {expected}")
        assert f"write {remedy}" in str(refused.value)


def test_every_field_has_wrong_values() -> None:
    steps = {"post_training", "correct_biases", "round_adaptively", "metadata"}
    assert {each.name for each in fields(ExportOptions)} == {name for name, *_ in WRONG} | steps
    for name in steps:
        with pytest.raises(BadConfiguration, match=f"export.{name}: expected True or False"):
            ExportOptions(**{name: "perhaps"})


def test_a_folder_is_a_path_or_a_text() -> None:
    for folder in ("a/b", Path("a/b")):
        assert ExportOptions(firmware=folder, target="nano33ble").firmware == Path("a/b")  # type: ignore[arg-type]
