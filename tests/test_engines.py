"""What runs a model file: also where LiteRT has a kernel that its resolver of reference kernels leaves out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from export.engines import LITERT_REFERENCE, TFLM
from export.graph.ir import Graph, Node, Value
from export.tflite import writer
from export.tflite.writer import write_tflite
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.row import TFLite

GRIDS = QParams((2.0**-5,), (3,)), QParams((float(np.float32(0.03)),), (-60,))
CODES = np.arange(-128, 128, dtype=np.int8).reshape(-1, 1)


@pytest.fixture
def elu(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A file of one ELU, for which there is no row."""
    operator = TFLite(operator="ELU", resolver="AddElu", version=lambda qparams: 1)
    monkeypatch.setattr(writer, "ROWS", {**ROWS, "relu": replace(ROWS["relu"], tflite=operator)})
    values = {"x": Value((1, 1), GRIDS[0]), "y": Value((1, 1), GRIDS[1])}
    return write_tflite(Graph(values, (Node("relu", {}, ("x",), ("y",)),), ("x",), ("y",)))


@pytest.mark.litert
@pytest.mark.parametrize("whole", [False, True], ids=["outputs", "every tensor"])
def test_litert_runs_what_has_no_reference_kernel(elu: bytes, whole: bool) -> None:
    if whole:
        got = np.concatenate([tensors[1] for tensors in LITERT_REFERENCE.tensors(elu, (CODES,), 2)])
    else:
        (got,) = LITERT_REFERENCE.run(elu, (CODES,))
    wanted = torch.nn.functional.elu(torch.from_numpy(GRIDS[0].dequantize(CODES)))
    assert np.abs(got.astype(int) - GRIDS[1].quantize(wanted.numpy())).max() <= 1
    assert len(np.unique(got)) > 100


@pytest.mark.tflm
def test_tflm_says_the_same(elu: bytes) -> None:
    np.testing.assert_array_equal(TFLM.run(elu, (CODES,))[0], LITERT_REFERENCE.run(elu, (CODES,))[0])


@pytest.mark.litert
def test_a_file_that_is_none_is_still_an_error() -> None:
    with pytest.raises(ValueError, match="model"):
        LITERT_REFERENCE.run(b"TFL3" * 8, (CODES,))
