"""FULLY_CONNECTED: int8 with int32 bias, int16 activations with int64 or int32 bias, int4 weights per tensor.

Per tensor the kernel subtracts the weights' zero point, which is 0 but in files of older converters.

Source: TFLM ``micro/kernels/fully_connected_common.cc`` (multipliers) and
``kernels/internal/reference/integer_ops/fully_connected.h`` (arithmetic).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.families.accumulator import exact_products, output_codes, weighted_sums
from qtorch.families.convolution import cancelled_sample, weighted_sample
from qtorch.families.wide_sums import is_wide, wide_convolution
from qtorch.families.window_rules import require_bias, require_rank
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.remedies.asked import PRODUCT, Asked, always, none
from qtorch.row.constraints import ACCUMULATED, EITHER_BIAS, BiasFromAccumulator, Free, SymmetricWeight
from qtorch.row.fused_activation import FUSED_ACTIVATIONS, activate
from qtorch.row.image_rows import ImageRows, RowWindow
from qtorch.row.kernel_call import Argument, ConstantTable, KernelCall, Operands, TensorArgument
from qtorch.row.onnx_form import NEAREST, Onnx, OnnxNode, activated
from qtorch.row.row import Attrs, Call, Match, OptionField, Row, Sample, Shape, TFLite, last_axis_stays
from qtorch.row.shape_rule import require


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """``activation(input @ weight.T + bias)``: input ``[..., I]``, weight ``[O, I]``, bias ``[O]`` or absent."""
    source, weight = x["input"], x["weight"]
    if source.dim() > 2 and not attrs["keep_num_dims"]:
        source = source.reshape(-1, weight.shape[1])
    return activate(attrs["activation"], F.linear(source, weight, x.get("bias")))


def attributes(call: Call) -> dict[str, object]:
    """A Linear works on the last axis of a tensor of any rank."""
    return {"activation": "none", "keep_num_dims": len(call.shapes["input"]) > 2}


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """int64 codes in, int64 codes out: one accumulator per output, one requantization, clamp."""
    x = codes["input"]
    if not attrs["keep_num_dims"]:
        x = x.reshape(-1, codes["weight"].shape[1])
    accumulator = exact_products(F.linear, x, grids["input"], codes["weight"] - grids["weight"].zero_point, 0)
    return output_codes(accumulator, codes, attrs, grids, rounding)


def macs(shapes: Mapping[str, Shape]) -> int:
    """Weight ``[O, I]``: as many products as inputs, for each output."""
    _, inputs = shapes["weight"]
    return inputs * math.prod(shapes["output"])


def kernel(operands: Operands) -> KernelCall:
    """The input's zero point folded into the biases."""
    outputs, inputs = operands.shapes["weight"]
    rows = operands.size("input") // inputs
    if is_wide(operands):
        image = {"in_h": 1, "in_w": rows, "in_c": inputs, "out_h": 1, "out_w": rows, "out_c": outputs}
        window = dict.fromkeys(("window_h", "window_w", "stride_h", "stride_w", "dilation_h", "dilation_w"), 1)
        sizes = {**image, **window, "padding_top": 0, "padding_left": 0}
        return wide_convolution(operands, sizes, operands.constants["weight"], 1)
    arguments: dict[str, Argument] = {
        "in": TensorArgument("input"),
        "weights": ConstantTable(operands.constants["weight"]),
        "channels": weighted_sums(operands, channel_axis=0),
        "out": TensorArgument("output"),
        "rows": rows,
        "in_size": inputs,
        "out_size": outputs,
    }
    weight = operands.grid("weight")
    if weight.zero_point[0]:
        return KernelCall("fully_connected_shifted_s8", {**arguments, "weight_zero_point": weight.zero_point[0]})
    return KernelCall("fully_connected_s8", {**arguments, "weight_bits": weight.bits})


def version(qparams: Mapping[str, QParams | None]) -> int:
    """4 is the first int8 version, 7 int16, 10 int4 weights, 12 the first that reads per-channel weights."""
    source, weight = qparams["input"], qparams["weight"]
    if weight is not None and (len(weight.scale) > 1 or weight.dtype == "int4"):
        return 12 if len(weight.scale) > 1 else 10
    return 7 if source is not None and source.dtype == "int16" else 4


def rows_of_vectors(attrs: Attrs, shapes: Mapping[str, Shape], axis: int) -> ImageRows | None:
    """A row is a vector, or several; see :data:`qtorch.row.image_rows.RowsRule`."""
    image, output = shapes["input"], shapes["output"]
    kept = len(image) == len(output) > axis + 1 and image[:-1] == output[:-1]
    return ImageRows({"input": RowWindow()}) if kept else None


def samples() -> Iterable[Sample]:
    """Per tensor and per channel, extreme scales, zero points at both ends, saturation, biases near their limit."""
    rng = np.random.default_rng(0)
    cases = [
        # label, inputs, outputs, channels, (s_in, z_in), weight scale, (s_out, z_out), bias, activation
        ("per channel", 7, 5, True, (0.05, -3), 0.02, (0.11, 4), 2**10, "none"),
        ("per tensor", 7, 5, False, (0.05, -3), 0.02, (0.11, 4), 2**10, "none"),
        ("relu", 16, 9, True, (0.0078125, -128), 0.013, (0.031, -128), 2**9, "relu"),
        ("relu, zero point inside", 16, 9, False, (0.01, 17), 0.013, (0.04, -20), 2**9, "relu"),
        ("one output channel", 33, 1, True, (0.02, 127), 0.007, (0.3, 100), 2**12, "none"),
        ("one by one", 1, 1, False, (0.02, 0), 0.03, (0.005, 127), 2**4, "none"),
        ("saturating", 64, 3, True, (1.0, 0), 0.5, (0.25, 0), 2**12, "none"),
        ("multiplier above one", 3, 4, True, (0.9, 5), 0.8, (0.02, -7), 2**6, "none"),
        ("tiny multiplier, alike", 12, 6, True, (1e-4, -9), 1e-6, (30.0, 3), 2**8, "none"),
        ("flushed multiplier, alike", 4, 2, True, (1e-12, 0), 1e-12, (10.0, -5), 2**8, "none"),
        ("bias near its limit", 5, 4, True, (0.01, -1), 1e-7, (0.02, 2), 2**29, "none"),
        ("no bias", 10, 4, True, (0.03, -128), 0.01, (0.05, 0), 0, "none"),
        ("relu6", 10, 4, True, (0.03, -128), 0.05, (0.031, -128), 2**6, "relu6"),
    ]
    for label, n_in, n_out, per_channel, (s_in, z_in), s_w, (s_out, z_out), bias, activation in cases:
        source = QParams((float(np.float32(s_in)),), (z_in,))
        spread = rng.uniform(0.3, 1.0, n_out if per_channel else 1) * s_w
        scales = tuple(float(s) for s in spread.astype(np.float32))
        weight = QParams(scales, (0,) * len(scales), axis=0 if per_channel else None)
        products = np.float32(source.scale[0]) * np.asarray(scales, np.float32)
        arrays = {
            "input": rng.integers(-128, 128, (64, n_in), dtype=np.int8),
            "weight": rng.integers(-127, 128, (n_out, n_in), dtype=np.int8),
        }
        qparams = {"input": source, "weight": weight, "output": QParams((float(np.float32(s_out)),), (z_out,))}
        if bias:
            arrays["bias"] = rng.integers(-bias, bias, n_out, dtype=np.int32)
            qparams["bias"] = QParams(tuple(float(p) for p in products), weight.zero_point, "int32", weight.axis)
        yield Sample(label, {"activation": activation, "keep_num_dims": False}, arrays, qparams)
        if label == "relu":
            arrays = {**arrays, "input": arrays["input"].reshape(16, 2, 2, n_in)}
            yield Sample("rank 4", {"activation": activation, "keep_num_dims": True}, arrays, qparams)
    yield _product_rounding_sample()
    plain = {"activation": "none", "keep_num_dims": False}
    for per_channel in (True, False):
        yield weighted_sample(
            rng, f"int16, per channel {per_channel}", plain, (30, 20), (6, 20), channel_axis=0, dtype="int16",
            input=(1e-4, 0), output=(3e-4, 0), per_channel=per_channel,
        )  # fmt: skip
    yield weighted_sample(rng, "int4", plain, (30, 9), (5, 9), channel_axis=0, weights="int4", per_channel=False)
    for dtype in ("int8", "int16"):
        yield cancelled_sample(rng, f"{dtype}, cancelled", plain, (20, 1101), (5, 1101), channel_axis=0, dtype=dtype)
    yield from _samples_of_other_converters(plain)
    yield weighted_sample(
        rng, "int4, in halves", plain, (9, 90), (7, 90), channel_axis=0, weights="int4", per_channel=False
    )


def _samples_of_other_converters(plain: dict[str, object]) -> Iterable[Sample]:
    """Weights about another number than 0; biases of 32 bits beside int16, with sums that wrap."""
    rng = np.random.default_rng(1)
    for zero_point in (-3, 127, -128):
        yield weighted_sample(
            rng, f"weights about {zero_point}", {**plain, "activation": "relu"}, (30, 23), (6, 23), channel_axis=0,
            per_channel=False, output=(1.5, -11), weight_zero_point=zero_point,
        )  # fmt: skip
    for per_channel in (True, False):
        yield weighted_sample(
            rng, f"int16, int32 bias, per channel {per_channel}, TFLM alone", plain, (30, 20), (6, 20), channel_axis=0,
            dtype="int16", input=(1e-4, 0), output=(3e-4, 0), per_channel=per_channel, wide="int32", bias=2**20,
        )  # fmt: skip
    yield weighted_sample(
        rng, "int16, int32 bias, sums that wrap, TFLM alone", plain, (40, 1600), (6, 1600), channel_axis=0,
        dtype="int16", input=(1e-4, 0), output=(0.3, 0), wide="int32", bias=2**31 - 1,
    )  # fmt: skip


def _product_rounding_sample() -> Sample:
    """One weight scale whose product with the input's differs in float32 and double, and biases that tell.

    Inputs at the zero point leave the biases alone in the accumulator; each lies midway between the two places where
    its output code changes under either product.
    """
    s_in, s_w, s_out = np.float32(0.1), np.float32(3e-6), np.float32(2.5)
    single = float(s_in * s_w) / float(s_out)
    double = float(s_in) * float(s_w) / float(s_out)
    ties = np.arange(-100, 100, 10) + 0.5
    bias = np.round((ties / single + ties / double) / 2).astype(np.int32)
    arrays: dict[str, np.ndarray] = {
        "input": np.zeros((2, 1), np.int8),
        "weight": np.ones((len(bias), 1), np.int8),
        "bias": bias,
    }
    qparams: dict[str, QParams | None] = {
        "input": QParams((float(s_in),), (0,)),
        "weight": QParams((float(s_w),), (0,)),
        "bias": QParams((float(s_in * s_w),), (0,), "int32"),
        "output": QParams((float(s_out),), (0,)),
    }
    attrs = {"activation": "none", "keep_num_dims": False}
    return Sample("product in float32 or double", attrs, arrays, qparams)


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """A Gemm of the flattened input; a MatMul where the other axes stay."""
    bias = ("bias",) if "bias" in operands.shapes else ()
    if not operands.attrs["keep_num_dims"]:
        rows = [] if len(operands.shapes["input"]) == 2 else [OnnxNode("Flatten", ("input",), ("rows",))]
        product = OnnxNode("Gemm", ("rows" if rows else "input", "weight", *bias), attributes={"transB": 1})
        return activated(operands, *rows, product)
    columns = OnnxNode("Transpose", ("weight",), ("columns",), {"perm": (1, 0)})
    if not bias:
        return activated(operands, columns, OnnxNode("MatMul", ("input", "columns")))
    product = OnnxNode("MatMul", ("input", "columns"), ("products",))
    return activated(operands, columns, product, OnnxNode("Add", ("products", "bias")))


def looked_up(ask: Asked) -> str:
    """A table of rows is a layer without bias, of a vector of zeros and a one."""
    count, size = ask.get("num_embeddings", 9, "rows"), ask.get("embedding_dim", 9, "columns")
    return none(
        "the device looks rows up by indices that are an input of the network, as nn.Embedding does without max_norm, "
        "scale_grad_by_freq and sparse. Of other indices make a vector of zeros and a one outside the network, "
        f"F.one_hot(index, {count}).float(), and multiply with the table in it: "
        f"nn.Linear({count}, {size}, bias=False), its weight being the table transposed"
    )


def shapes_of_rows(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """Input ``[..., I]``, weight ``[O, I]``, bias ``[O]`` or none; without ``keep_num_dims`` the output is ``[N, O]``.

    Raises:
        BadShape: they do not go together.
    """
    require_rank(shapes, {"weight": 2})
    source, (outputs, inputs) = shapes["input"], shapes["weight"]
    require_bias(shapes, outputs)
    if attrs["keep_num_dims"]:
        require(len(source) >= 2 and source[-1] == inputs, f"an input [..., {inputs}], as its weight", f"{source}")
        return ((*source[:-1], outputs),)
    elements = math.prod(source)
    require(elements % inputs == 0, f"an input of rows of {inputs} elements, as its weight", f"{elements}, {source}")
    return ((elements // inputs, outputs),)


ROW = Row(
    name="fully_connected",
    roles=("input", "weight", "bias"),
    matches=(
        Match("module", nn.Linear, attributes),
        Match("aten", "linear", attributes, tensors=3),
    ),
    forward=forward,
    constraints={
        "input": Free(("int8", "int16")),
        "weight": SymmetricWeight(axis=0, dtypes=("int8", "int4"), per_tensor=("int4",), shifted=("int8",)),
        "bias": BiasFromAccumulator(dtypes=EITHER_BIAS),
        "output": ACCUMULATED,
    },
    reference=reference,
    tflite=TFLite(
        operator="FULLY_CONNECTED",
        resolver="AddFullyConnected",
        version=version,
        options="FullyConnectedOptions",
        fields=(
            OptionField("activation", "FusedActivationFunction", "ActivationFunctionType"),
            OptionField("keep_num_dims", "KeepNumDims"),
        ),
        # Of float activations beside integer weights, which TFLM has no kernels for.
        unread=frozenset({"AsymmetricQuantizeInputs"}),
        # The type of sums of int16 codes, which the bias's own says where there is one; sums of int8 are int32. All but
        # INT32 (TensorType 2) stand for 64 bits.
        unread_beside_bias=frozenset({"QuantizedBiasType"}),
        alike={"QuantizedBiasType": frozenset({4})},
    ),
    onnx=Onnx(onnx_form, NEAREST),
    shapes=shapes_of_rows,
    rows=rows_of_vectors,
    samples=samples,
    c=kernel,
    litert_lsb={"int16": 1},
    fusable=FUSED_ACTIVATIONS,
    transposed=last_axis_stays,
    macs=macs,
    takes_front=True,
    hybrid=True,
    remedies={
        **dict.fromkeys(
            ("matmul", "bmm", "mm", "einsum", "mv", "dot", "outer", "baddbmm", "addmm"),
            always(PRODUCT + ", as of nn.Linear or F.linear(x, weight)"),
        ),
        **dict.fromkeys(("embedding", "embeddingbag", "onehot"), looked_up),
    },
)
