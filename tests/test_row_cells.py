"""What rows say of themselves beside their arithmetic, each cell held against somebody else's word: torch's own count
of products, the row's float function, storages that tensors share, LiteRT's kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import qtorch
from export.cost.layers import file_layers
from export.cost.macs import multiply_accumulates
from export.engines import LITERT_REFERENCE
from export.graph.interpret import float_reference, interpret
from export.graph.ir import Graph, Node, Value, check
from export.graph.passes.weight_only import dynamic_range
from export.rows import sample_graph
from export.tflite.summary import summarize
from export.tflite.writer import write_tflite
from qtorch.errors import BadInput
from qtorch.numbers.qparams import INDICES
from qtorch.ops import ROWS
from qtorch.preparation.refusal_remedy import remedy
from qtorch.remedies.asked import NO_FORM, Asked
from qtorch.remedies.without_row import WITHOUT_ROW
from qtorch.row.constraints import BiasFromAccumulator, SymmetricWeight
from qtorch.row.row import Row, Sample, Unsupported, homogeneous_anywhere, homogeneous_nowhere
from tests.remedy_judge import Written

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY = [pytest.param(row, id=name) for name, row in ROWS.items()]


# Float networks of one op, from a row's samples --------------------------------------------------------------------


def numbers(sample: Sample) -> dict[str, np.ndarray]:
    """What the codes of the inputs stand for."""
    qparams = sample.qparams
    return {
        role: codes
        if (q := qparams[role]) == INDICES
        else np.ascontiguousarray(codes if q is None else q.dequantize(codes), np.float32)
        for role, codes in sample.arrays.items()
    }


def float_samples(row: Row) -> list[Sample]:
    """Those whose arithmetic a float network has as well."""
    return [
        sample
        for sample in row.samples()
        if {q.dtype for q in sample.qparams.values() if q is not None} <= {"int8", "int32"}
        and "cancelled" not in sample.label
        # No network has these attributes.
        and (sample.attrs.get("align_corners", True) or sample.attrs.get("half_pixel_centers", True))
    ]


def float_graph(row: Row, sample: Sample) -> tuple[Graph, tuple[np.ndarray, ...]]:
    """A sample's op on one float32 sample, and its run-time inputs."""
    arrays = numbers(sample)
    roles = tuple(role for role in row.input_roles(len(arrays)) if role in arrays)
    fixed = sample.constants | set(() if row.variadic else row.roles[row.runtime :])
    outputs = tuple(role for role in sample.qparams if role.startswith("output"))
    node = Node(row.name, sample.attrs, roles, outputs)
    arrays = {role: array if role in fixed else array[:1] for role, array in arrays.items()}
    result = float_reference(node, {role: torch.from_numpy(array) for role, array in arrays.items()}, {})
    grids = {role: q if q == INDICES else None for role, q in sample.qparams.items()}
    values = {role: Value(array.shape, grids[role], array if role in fixed else None) for role, array in arrays.items()}
    for role, part in zip(outputs, result if isinstance(result, tuple) else (result,), strict=True):
        values[role] = Value(tuple(part.shape), grids[role])
    runtime = tuple(role for role in roles if role not in fixed)
    return check(Graph(values, (node,), runtime, outputs)), tuple(arrays[role] for role in runtime)


def torch_tensors(row: Row, sample: Sample) -> dict[str, Tensor]:
    """The float tensors of a sample in PyTorch's order of axes, as ``forward`` takes them."""
    tensors = {role: torch.from_numpy(array) for role, array in numbers(sample).items()}
    for role, order in row.weight_order.items():
        if role in tensors:
            tensors[role] = tensors[role].permute([order.index(axis) for axis in range(len(order))])
    images = row.input_roles(row.runtime) if row.channels_last else ()
    return {role: x.permute(0, 3, 1, 2) if role in images else x for role, x in tensors.items()}


def along(factors: Tensor, axis: int, rank: int) -> Tensor:
    return factors.reshape([-1 if each == axis else 1 for each in range(rank)])


def close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()) + 1e-12)


# Multiply-accumulates ----------------------------------------------------------------------------------------------


def countable(row: Row) -> list[Sample]:
    """But images of one channel, which the float function computes with a second one of zeros."""
    samples = float_samples(row) if row.matches else []
    return [s for s in samples if not (row.channels_last and s.arrays["input"].shape[-1] == 1)]


def miscounted(row: Row) -> list[str]:
    """Samples of which the row says another number of products than torch counts in its float function."""
    found = []
    for sample in countable(row):
        graph, inputs = float_graph(row, sample)
        with FlopCounterMode(display=False) as counter:
            interpret(graph, inputs)
        # Of the sum and the product that torch counts one each.
        if 2 * multiply_accumulates(graph, graph.nodes[0]) != counter.get_total_flops():
            found.append(sample.label)
    return found


@pytest.mark.parametrize("row", EVERY)
def test_products_are_as_many_as_torch_counts(row: Row) -> None:
    assert miscounted(row) == []


@pytest.mark.parametrize("row", EVERY)
def test_a_row_that_sums_up_products_says_how_many(row: Row) -> None:
    """Whatever its float function is written with, it has weights, or a bias that is added to a sum of products; but
    for the one whose factors are both computed."""
    sums = any(isinstance(demand, SymmetricWeight | BiasFromAccumulator) for demand in row.constraints.values())
    assert (row.macs is not None) == (sums or row.name == "batch_matmul")


@pytest.mark.parametrize("name", ["fully_connected", "conv_2d", "depthwise_conv_2d", "transpose_conv"])
def test_a_row_that_says_nothing_of_its_products_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful = replace(ROWS[name], macs=None)
    monkeypatch.setitem(ROWS, name, forgetful)
    assert len(miscounted(forgetful)) == len(countable(forgetful)) > 3


@pytest.mark.parametrize("row", EVERY)
def test_a_file_counts_as_its_graph_does(row: Row) -> None:
    """By the operator's own order of inputs, without its attributes."""
    sample = next(iter(row.samples()))
    if isinstance(row.tflite, Unsupported):
        pytest.skip(row.tflite.reason)
    graph = sample_graph(row, sample)
    layers = list(file_layers(summarize(write_tflite(graph)).subgraphs[0]))
    ends = ["RESHAPE"] * len(sample.arrays) if row.tflite.vectors else []
    said = [layer.op.upper() for layer in layers]
    assert [each for each in said if each not in ends] == [each.upper() for each in row.tflite.operators]
    assert sum(layer.macs for layer in layers if layer.macs != 0) == multiply_accumulates(graph, graph.nodes[0])


# Factors that pass -------------------------------------------------------------------------------------------------


def wrong_axes(row: Row) -> tuple[list[str], int]:
    """Samples and axes along which factors do not come out as the row says; and along how many it says that they do."""
    wrong, said = [], 0
    generator = torch.Generator().manual_seed(0)
    for sample in float_samples(row):
        tensors = torch_tensors(row, sample)
        x = tensors["input"]
        expected = row.forward(sample.attrs, tensors)
        for axis in range(1, x.dim()):
            to = row.homogeneous(sample.attrs, axis, tuple(x.shape), tuple(expected.shape))
            if to is None:
                continue
            said += 1
            factors = torch.rand(x.shape[axis], generator=generator) * 3 + 0.25
            merged, rest = divmod(expected.shape[to] if to < expected.dim() else 1, x.shape[axis])
            got = row.forward(sample.attrs, {**tensors, "input": x * along(factors, axis, x.dim())})
            if rest or not close(got, expected * along(factors.repeat_interleave(merged), to, expected.dim())):
                wrong.append(f"{sample.label}, axis {axis}")
    return wrong, said


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=name) for name, row in ROWS.items() if row.homogeneous is not homogeneous_nowhere]
)
def test_factors_come_out_where_a_row_says(row: Row) -> None:
    wrong, said = wrong_axes(row)
    assert wrong == []
    assert said > 0


@pytest.mark.parametrize("name", ["relu6", "logistic", "hard_swish", "softmax", "mean"])
def test_a_row_through_which_factors_do_not_pass_is_found_out(name: str) -> None:
    wrong, _ = wrong_axes(replace(ROWS[name], homogeneous=homogeneous_anywhere))
    assert wrong != []


# Channels of weights -----------------------------------------------------------------------------------------------


def takes_factors(row: Row, sample: Sample) -> bool:
    """Whether factors of the input's channels can go into a weight ``[O, I / groups, ...]`` instead."""
    tensors = torch_tensors(row, sample)
    x, weight = tensors["input"], tensors["weight"]
    axis = 1 if row.channels_last else x.dim() - 1
    width = weight.shape[1]
    groups, rest = divmod(x.shape[axis], width)
    if rest or weight.shape[0] % groups:
        return False
    factors = torch.linspace(0.5, 2, x.shape[axis])
    inputs = factors.reshape(groups, 1, width).expand(groups, weight.shape[0] // groups, width)
    scaled = weight / inputs.reshape(weight.shape[0], width, *[1] * (weight.dim() - 2))
    moved = row.forward(sample.attrs, {**tensors, "input": x * along(factors, axis, x.dim()), "weight": scaled})
    return close(moved, row.forward(sample.attrs, tensors))


WITH_CHANNELS = [pytest.param(row, id=name) for name, row in ROWS.items() if row.norm_axis is not None]


@pytest.mark.parametrize("row", WITH_CHANNELS)
def test_a_row_takes_what_stands_in_front_or_says_that_it_does_not(row: Row) -> None:
    outcomes = {takes_factors(row, sample) for sample in float_samples(row)}
    assert all(outcomes) if row.takes_front else False in outcomes


@pytest.mark.parametrize("row", WITH_CHANNELS)
def test_output_channels_lie_along_the_axis_of_the_weight_that_a_norm_goes_into(row: Row) -> None:
    samples = [sample for sample in float_samples(row) if sample.attrs["activation"] == "none"]
    for sample in samples:
        tensors = torch_tensors(row, sample)
        weight, axis = tensors["weight"], row.norm_axis
        assert axis is not None
        factors = torch.linspace(0.5, 2, weight.shape[axis])
        scaled = {"weight": weight * along(factors, axis, weight.dim())}
        scaled |= {"bias": tensors["bias"] * factors} if "bias" in tensors else {}
        expected = row.forward(sample.attrs, tensors)
        channels = 1 if row.channels_last else expected.dim() - 1
        assert close(
            row.forward(sample.attrs, {**tensors, **scaled}), expected * along(factors, channels, expected.dim())
        )
    assert samples


@pytest.mark.parametrize("row", EVERY)
def test_only_a_row_with_channels_takes_what_stands_in_front(row: Row) -> None:
    assert row.norm_axis is not None or not (row.takes_front or row.hybrid)


# The batch's axis --------------------------------------------------------------------------------------------------


def built(kind: type[nn.Module]) -> Iterator[nn.Module]:
    for arguments in ((), (1,), (2,), (4, 4), (4, 4, 1), (1, (2, 2))):
        try:
            yield kind(*arguments).eval()
        except Exception:
            continue


def computed(layer: nn.Module, x: Tensor) -> Tensor | None:
    try:
        with torch.no_grad():
            result = layer(x)
    except Exception:
        return None
    return result if isinstance(result, Tensor) else None


@pytest.mark.parametrize("row", EVERY)
@pytest.mark.filterwarnings("ignore")
def test_a_call_whose_first_axis_is_not_the_batchs_is_refused(row: Row) -> None:
    torch.manual_seed(0)
    for kind in (match.target for match in row.matches if match.kind == "module"):
        assert isinstance(kind, type)
        for layer in built(kind):
            for rank in (2, 3, 4):
                x = torch.randn(*[4] * rank)
                whole, one = computed(layer, x), computed(layer, x[:1])
                if whole is not None and (one is None or not torch.allclose(whole[:1], one, atol=1e-6)):
                    with pytest.raises(BadInput):
                        qtorch.prepare(nn.Sequential(layer), x)


@pytest.mark.parametrize(
    ("layer", "shape", "rank"),
    [(nn.Conv1d(4, 2, 1), (4, 6), 3), (nn.ConvTranspose2d(4, 2, 1), (4, 6, 6), 4), (nn.MaxPool1d(2), (4, 6), 3),
     (nn.AdaptiveAvgPool2d(1), (4, 6, 6), 4)],
)  # fmt: skip
def test_a_layer_without_a_batch_is_refused_in_words(layer: nn.Module, shape: tuple[int, ...], rank: int) -> None:
    with pytest.raises(BadInput, match=rf"{rank} axes, the first of them the batch's.* {type(layer).__name__} sees no"):
        qtorch.prepare(nn.Sequential(layer), torch.zeros(shape))


# Float activations with int8 weights -------------------------------------------------------------------------------


def right_with_int8_weights(row: Row, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether LiteRT runs the op so. 2 % of the range are for the activations, which it quantizes as they come."""
    monkeypatch.setitem(ROWS, row.name, replace(row, hybrid=True))
    sample = next(sample for sample in float_samples(row) if sample.label in ("per channel", "valid"))
    graph, inputs = float_graph(row, sample)
    narrow = dynamic_range(graph)
    assert narrow.values["weight"].dtype == "int8"
    assert narrow.values["weight"].data is not None
    try:
        (got,) = LITERT_REFERENCE.run(write_tflite(narrow), inputs)
    except (RuntimeError, ValueError, BadInput):
        return False
    expected = interpret(graph, inputs)["output"]
    return bool(np.abs(got - expected).max() < 0.02 * np.abs(expected).max())


@pytest.mark.litert
@pytest.mark.parametrize("row", WITH_CHANNELS)
def test_litert_takes_int8_weights_where_a_row_says_so(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of a transposed convolution LiteRT takes them too; files of dynamic range have its weights in float32.
    assert right_with_int8_weights(row, monkeypatch) == (row.hybrid or row.name == "transpose_conv")


# Remedies ----------------------------------------------------------------------------------------------------------


def test_each_refused_call_has_one_remedy() -> None:
    keys = [key for row in ROWS.values() for key in row.remedies]
    assert sorted(keys) == sorted(set(keys))
    assert all(key == key.lower().replace("_", "") for key in (*keys, *WITHOUT_ROW))


#: What calls are asked with to be answered with a form: those that need arguments.
ARGUMENTS_OF: Mapping[str, Mapping[str, Any]] = {
    "sum": {"dim": (1, 2)}, "var": {"dim": 1}, "std": {"dim": 1}, "amax": {"dim": 1}, "amin": {"dim": 1},
    "pow": {"exponent": 2}, "repeat": {"repeats": (1, 1, 2)}, "tile": {"dims": (1, 1, 2)}, "stack": {"dim": 1},
    "repeatinterleave": {"repeats": 2, "dim": 1}, "flip": {"dims": (2,)}, "roll": {"shifts": 1, "dims": 2},
    "unbind": {"dim": 1}, "softmin": {"dim": -1}, "constantpad3d": {"padding": (1, 1), "value": 1.5},
    "zeropad3d": {"padding": (1, 1)}, "cosinesimilarity": {"dim": -1},
    **{f"{kind}pad{n}d": {"padding": (1, 1)} for kind in ("reflection", "replication", "circular") for n in (1, 2, 3)},
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "call"),
    [pytest.param(row, call, id=f"{row.name}: {call}") for row in ROWS.values() for call in row.remedies],
)
def test_a_remedy_stands_with_the_row_that_it_points_to(row: Row, call: str) -> None:
    """The form that it names is prepared, and this op is among what comes of it; or there is none, and it says why."""
    torch.manual_seed(0)
    for shape in ((3, 8, 4), (3, 8, 4, 6), (3, 8, 4, 6, 4)):
        said = remedy(Asked(call, kwargs=ARGUMENTS_OF.get(call, {}), shape=shape), frozenset())
        if said.startswith(NO_FORM):
            continue
        for halves in (False, True):
            x = torch.rand(2, 2, *shape[1:]) + 0.5 if halves else torch.rand(2, *shape[1:]) + 0.5
            try:
                prepared = qtorch.prepare(Written(said, None, halves).eval(), x[:1])
            except (BadInput, NameError, TypeError, RuntimeError):
                continue
            ops = [op for op in prepared.modules() if isinstance(op, qtorch.QuantizedOp)]
            assert row.name in {op.row.name for op in ops} | {op.attrs.get("activation") for op in ops}
            return
    assert said.startswith(NO_FORM), said
