"""A layer without a bias whose options say what type it would have: the sums have so many bits."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.compiled_file.compared_inputs import compared_inputs
from export.compiled_file.model_in_file import model_in_file
from export.compiled_file.proof import judged_file, require_judge
from tests.schema_file import SchemaFile

pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install tflite-micro")


@pytest.mark.parametrize(("dtype", "bias"), [("int8", "INT32"), ("int16", "INT32"), ("int16", "INT64")])
def test_no_bias_of_a_type_is_zeros_of_it(dtype: str, bias: str) -> None:
    file, rng = SchemaFile(), np.random.default_rng(0)
    x = file.tensor([1, 6], dtype, 0.05, 0, end="input")
    weight = file.constant(rng.integers(-127, 128, (4, 6)).astype(np.int8), 0.01)
    y = file.tensor([1, 4], dtype, 0.03, 0, end="output")
    said = {"quantizedBiasType": getattr(schema.TensorType, bias)}
    file.operator("FULLY_CONNECTED", [x, weight, -1], [y], "FullyConnectedOptions", said, version=4)
    model = model_in_file(file.written(), "m.tflite")
    assert judged_file(model, compared_inputs(model, None, 64), require_judge("m")).mismatches == 0
