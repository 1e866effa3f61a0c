"""Float kernels: every row's, networks in the three float formats, and their bundles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.__main__ import main as export_main
from export.bundle.folder import write_bundle
from export.bundle.make import make_bundle
from export.bundle.outcome_page import outcome_page
from export.console.page import plain_text
from export.engines import LITERT_REFERENCE, TFLM, Engine
from export.figures.device_network import DeviceNetwork
from export.graph.build import FloatFormat, float_graph
from export.graph.encoding import stored
from export.graph.interpret import float_reference
from export.graph.ir import Graph, Node, Value, check
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from export.parity.nodes import node_parity
from export.parity.outputs import compare_file
from export.tflite.writer import write_tflite
from qtorch.errors import ParityError, UnsupportedLayer
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import Run
from qtorch.numbers.qparams import INDICES
from qtorch.ops import ROWS
from qtorch.row.row import Row, Sample
from tests.functional_networks import Function, negated
from tests.small_task import SmallData, SmallModule, small_trainer

pytestmark = [
    pytest.mark.tflm,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
]

ENGINES = (TFLM, LITERT_REFERENCE)
FORMATS: tuple[FloatFormat, ...] = ("float32", "float16", "dynamic_range")


# Rows ------------------------------------------------------------------------------------------------------------


def int8_samples() -> list[Any]:
    """Every row's, but those of QUANTIZE and DEQUANTIZE, which have no float form and stand for no layer."""
    found = []
    for row in ROWS.values():
        for sample in row.samples():
            types = {q.dtype for q in sample.qparams.values() if q is not None}
            # No network has these attributes, so the float function has no form for them.
            plain = row.name == "resize_bilinear" and not (
                sample.attrs["align_corners"] or sample.attrs["half_pixel_centers"]
            )
            if row.matches and types <= {"int8", "int32"} and not plain:
                found.append(pytest.param(row, sample, id=f"{row.name}: {sample.label}"))
    return found


def float_sample_of(row: Row, sample: Sample) -> tuple[Graph, tuple[np.ndarray, ...]]:
    """A sample's graph with its codes as the numbers that they stand for, and its run-time inputs."""
    arrays = {role: found for role, codes in sample.arrays.items() if (found := real(sample, role, codes)) is not None}
    roles = tuple(role for role in row.input_roles(len(arrays)) if role in arrays)
    fixed = sample.constants | set(() if row.variadic else row.roles[row.runtime :])
    outputs = tuple(role for role in sample.qparams if role.startswith("output"))
    node = Node(row.name, sample.attrs, roles, outputs)
    result = float_reference(node, {role: torch.from_numpy(array) for role, array in arrays.items()}, {})
    grids = {role: each if each == INDICES else None for role, each in sample.qparams.items()}
    values = {
        r: Value(a.shape, None, a) if r in fixed else Value((1, *a.shape[1:]), grids[r]) for r, a in arrays.items()
    }
    for role, part in zip(outputs, result if isinstance(result, tuple) else (result,), strict=True):
        values[role] = Value((1, *part.shape[1:]), grids[role])
    runtime = tuple(role for role in roles if role not in fixed)
    return check(Graph(values, (node,), runtime, outputs)), tuple(arrays[role] for role in runtime)


def real(sample: Sample, role: str, codes: np.ndarray) -> np.ndarray:
    qparams = sample.qparams[role]
    if qparams == INDICES:
        return codes
    return np.ascontiguousarray(codes if qparams is None else qparams.dequantize(codes), np.float32)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
@pytest.mark.parametrize(("row", "sample"), int8_samples())
def test_every_row_has_a_float_kernel_that_means_the_same(row: Row, sample: Sample, engine: Engine) -> None:
    if "cancelled" in sample.label:
        pytest.skip("terms of 2**24 that cancel leave nothing of a float32 sum to compare")
    graph, inputs = float_sample_of(row, sample)
    if row.frozen is not None:
        with pytest.raises(UnsupportedLayer, match=r"layer 'output'.*kernel in float32.*leave export.format out"):
            write_tflite(graph)
        return
    if row.states is not None:
        with pytest.raises(
            UnsupportedLayer, match=r"layer 'output'.*begin anew in every inference.*leave export.format"
        ):
            write_tflite(graph)
        return
    found = node_parity(graph, write_tflite(graph), inputs, engine)
    # Indices that are only moved stay integers among floats too.
    moved = all(each == INDICES for each in sample.qparams.values())
    assert (found.float_outputs > 0, found.integer_outputs > 0) == (not moved, moved)


def test_rows_without_a_layer_are_those_without_a_float_kernel() -> None:
    """So that ``skip`` and the float formats need refuse none but a table, of whose functions few have one."""
    assert {row.name for row in ROWS.values() if not row.matches} == {
        "quantize",
        "dequantize",
        "padv2",
        "sum",
        "add_n",
        "div",
        "svdf",
        "cast",
    } | {name for name in ROWS if name.startswith("signal_")}
    assert {row.name for row in ROWS.values() if row.frozen is not None} == {"table"}


# Networks --------------------------------------------------------------------------------------------------------


class TwoEnds(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 4), nn.Linear(5, 4)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        z = self.a(x) * torch.sigmoid(self.b(y))
        return z, torch.tanh(z - 1.0)


def residual() -> nn.Module:
    return Function(
        lambda m, x: F.relu(F.relu(m.norm(m.a(x))) + m.b(x)),
        a=nn.Conv2d(4, 4, 3, padding=1), norm=nn.BatchNorm2d(4), b=nn.Conv2d(4, 4, 1),
    )  # fmt: skip


IMAGE = (4, 8, 8)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]] = {
    "conv, bn, relu": (lambda: nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU()), (IMAGE,)),
    "bn, relu6": (lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 1), nn.ReLU6()), (IMAGE,)),
    "depthwise": (lambda: nn.Sequential(nn.Conv2d(4, 8, 3, 1, 1, groups=4), nn.Conv2d(8, 4, 1)), (IMAGE,)),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(4, 6, 3, 1, 2, 2, groups=2), nn.ReLU()), (IMAGE,)),
    "conv1d": (
        lambda: nn.Sequential(nn.Conv1d(4, 6, 3, groups=2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(54, 4)),
        ((4, 20),),
    ),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1), nn.ReLU()), (IMAGE,)),
    "pools": (
        lambda: nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 1, 1), nn.Conv2d(4, 4, 1), nn.AvgPool2d(4)),
        (IMAGE,),
    ),
    "linear, softmax": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(256, 5), nn.Softmax(1)), (IMAGE,)),
    "layer norm": (lambda: nn.Sequential(nn.Linear(10, 16), nn.LayerNorm(16), nn.Linear(16, 3)), ((7, 10),)),
    "prelu, upsampling": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 1), nn.PReLU(6), nn.Upsample(scale_factor=2, mode="bilinear")),
        (IMAGE,),
    ),
    "residual": (residual, (IMAGE,)),
    "concat": (
        lambda: Function(lambda m, x: torch.cat([m.a(x), m.b(x)], 1), a=nn.Conv2d(4, 3, 1), b=nn.Conv2d(4, 2, 1)),
        (IMAGE,),
    ),
    "two inputs and outputs": (TwoEnds, ((6,), (5,))),
}  # fmt: skip


def of_network(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    make, shapes = NETWORKS[name]
    net, inputs = make(), tuple(torch.randn(12, *shape) for shape in shapes)
    net(*inputs)
    return net.eval(), inputs


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_in_float_formats(name: str, kind: FloatFormat) -> None:
    net, inputs = of_network(name)
    with torch.no_grad():
        expected = net(*inputs)
    for layout in ("nhwc", "nchw"):
        graph = float_graph(net, tuple(x[:1] for x in inputs), kind, layout)
        model = write_tflite(graph)
        compare_file(graph, model)
        for engine in ENGINES if kind == "float32" else (LITERT_REFERENCE,):
            found = node_parity(graph, model, stored(graph, inputs), engine)
            assert found.float_outputs > 0
            got = DeviceNetwork(graph, model, engine)(*inputs)
            allowed = {"float32": 1e-5, "float16": 2e-3, "dynamic_range": 5e-2}[kind]
            for y, wanted in zip(*((p if isinstance(p, tuple) else (p,)) for p in (got, expected)), strict=True):
                assert float((y - wanted).abs().max()) <= allowed * float(wanted.abs().max())


@pytest.mark.parametrize("seed", range(20))
def test_grouped_convolutions_with_int8_weights(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, kernel = int(rng.integers(2, 5)), int(rng.choice([1, 2, 3]))
    channels = [groups * int(rng.integers(2, 7)) for _ in range(2)]
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(*channels, kernel, int(rng.integers(1, 3)), groups=groups, bias=bool(seed % 2)))
    x = torch.randn(4, channels[0], 7, 7) + float(rng.normal())
    graph = float_graph(net, x[:1], "dynamic_range", "nhwc")
    assert "int8" in {value.dtype for value in graph.values.values()}
    node_parity(graph, write_tflite(graph), stored(graph, (x,)), LITERT_REFERENCE)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("what", ["weight", "activation"])
def test_a_wrong_float_model_is_caught(kind: FloatFormat, what: str) -> None:
    net, inputs = of_network("conv, bn, relu")
    graph = float_graph(net, inputs[0][:1], kind, "nhwc")
    at = next(i for i, node in enumerate(graph.nodes) if node.op == "conv_2d")
    if what == "weight":
        name = next(n for n, v in graph.values.items() if v.data is not None and v.data.ndim == 4)
        wrong = negated(graph, name)
    else:
        changed = replace(graph.nodes[at], attrs={**graph.nodes[at].attrs, "activation": "none"})
        wrong = replace(graph, nodes=(*graph.nodes[:at], changed, *graph.nodes[at + 1 :]))
    node_parity(graph, write_tflite(graph), stored(graph, inputs), LITERT_REFERENCE)
    with pytest.raises(ParityError, match="dequantize" if (what, kind) == ("weight", "float16") else "conv_2d"):
        node_parity(graph, write_tflite(wrong), stored(graph, inputs), LITERT_REFERENCE)


@pytest.mark.parametrize("bit", [1, 6, 12])
def test_one_bit_of_a_float_weight_is_seen(bit: int) -> None:
    """Down to what the order of sums explains; whatever the file has that the graph has not, the file check sees."""
    net, inputs = of_network("linear, softmax")
    graph = float_graph(net, inputs[0][:1], "float32", "nhwc")
    name = next(n for n, v in graph.values.items() if v.data is not None and v.data.ndim == 2)
    data = graph.values[name].contents.copy()
    data.view(np.uint32).flat[np.abs(data).argmax()] ^= 1 << (23 - bit)
    model = write_tflite(replace(graph, values={**graph.values, name: replace(graph.values[name], data=data)}))
    with pytest.raises(ParityError, match="not the network"):
        compare_file(graph, model)
    if bit < 12:
        for engine in ENGINES:
            with pytest.raises(ParityError, match="fully_connected"):
                node_parity(graph, model, stored(graph, inputs), engine)


# Bundles ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def partly_float() -> Run:
    """A run whose last layer is left in float."""
    pl.seed_everything(0, verbose=False)
    qat = QuantizationAwareTraining(start=2, layers={"5": {"skip": True}})
    module, data, trainer = SmallModule(), SmallData(), small_trainer(qat, max_epochs=4)
    trainer.fit(module, datamodule=data)
    module.eval()
    return Run("partly", module, data, qat)


@pytest.mark.parametrize("io", ["int8", "float32"])
def test_a_bundle_with_a_float_layer(partly_float: Run, io: Any, tmp_path: Path) -> None:
    bundle = make_bundle(subject_of(partly_float), "partly", ExportOptions(io=io))
    assert bundle.parity is not None
    assert bundle.parity.judges == ("tflm, node by node",)
    assert "must agree, node by node" in plain_text(outcome_page(bundle))
    assert "AddDequantize" in bundle.files["partly_op_resolver.h"].decode()
    write_bundle(bundle, tmp_path / "out")
    assert export_main(["verify", str(tmp_path / "out" / "partly.tflite")]) == 0


@pytest.mark.parametrize("kind", FORMATS)
def test_a_float_model_is_verified(partly_float: Run, kind: Any, tmp_path: Path, capsys: Any) -> None:
    write_bundle(make_bundle(subject_of(partly_float), "partly", ExportOptions(format=kind)), tmp_path / "out")
    capsys.readouterr()
    assert export_main(["verify", str(tmp_path / "out" / "partly.tflite")]) == 0
    printed = capsys.readouterr().out
    assert "litert_reference" in printed
    assert ("tflm: did not judge" in printed) == (kind != "float32")


class TwoOutputs(SmallModule):
    """The first of them is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
        self.net.append(Function(lambda m, x: (m.a(x), m.b(x)), a=nn.Linear(4, 1), b=nn.Softmax(1)))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.mse_loss(self.net(batch[0])[0], batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("error", F.mse_loss(self.net(batch[0])[0], batch[1]))


@pytest.mark.parametrize("kind", ["int8", *FORMATS])
def test_a_bundle_of_two_outputs(kind: Any) -> None:
    qat, module, data = QuantizationAwareTraining(), TwoOutputs(), SmallData(rows=32)
    small_trainer(qat, max_epochs=2).fit(module, datamodule=data)
    bundle = make_bundle(subject_of(Run("two", module.eval(), data, qat)), "two", ExportOptions(format=kind))
    assert "two.tflite" in bundle.files
