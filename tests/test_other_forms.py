"""Other forms of ops: the same integers as the op that they replace, to the bit, in the reference, TFLM and plain C."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.c.compiled import build_c, c_compiler, run_built
from export.c.network import c_network
from export.c.source import c_source
from export.engines import TFLM
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph, Node
from export.graph.passes.other_forms import OTHER_FORMS
from export.graph.text import text_of
from export.graph.windows import WINDOWED, read_extent
from export.parity.outputs import compare_file, corner_codes
from export.tflite.contents import read_contents
from export.tflite.writer import write_tflite
from tests.form_drawing import DRAWN, draw
from tests.random_drawing import ATTENTION, FURTHER, LIFTED
from tests.random_drawing import draw as draw_network
from tests.test_layout import prepared
from tests.test_random_c import integers
from tests.test_random_networks import a_dozen

pytestmark = pytest.mark.usefixtures("one_thread")

#: Of each form; more are drawn by whoever doubts.
COUNT = 100


def rewritten(form: str, graph: Graph, *ops: str) -> Graph:
    """All nodes, or those of some ops, by a form."""
    return OTHER_FORMS[form](graph, frozenset(node.output for node in graph.nodes if not ops or node.op in ops))


def codes_of(graph: Graph, count: int = 24) -> tuple[np.ndarray, ...]:
    """Corners of the codes and random ones."""
    return tuple(array[-count - 16 :] for array in corner_codes(graph, count))


def require_same(graph: Graph, other: Graph, inputs: tuple[np.ndarray, ...] | None = None) -> None:
    """The same outputs by the reference, and those of the other form by TFLite Micro from its file too."""
    inputs = inputs or codes_of(graph)
    expected, got = interpret(graph, inputs), interpret(other, inputs)
    assert (graph.inputs, graph.outputs, graph.views) == (other.inputs, other.outputs, other.views)
    model = write_tflite(other)
    compare_file(other, model)
    for name in graph.outputs:
        np.testing.assert_array_equal(got[name], expected[name])
    for name, array in zip(graph.outputs, TFLM.run(model, inputs), strict=True):
        np.testing.assert_array_equal(array.reshape(expected[name].shape), expected[name])


def kinds(graph: Graph) -> Counter[str]:
    return Counter(node.op for node in graph.nodes)


def test_forms_are_those_that_are_drawn() -> None:
    assert set(OTHER_FORMS) == set(DRAWN)


@pytest.mark.tflm
@pytest.mark.parametrize("form", DRAWN)
def test_a_form_computes_the_same(form: str) -> None:
    for seed in range(COUNT):
        graph = draw(form, seed)
        before, other = text_of(graph), rewritten(form, graph)
        assert text_of(graph) == before
        assert text_of(other) != before, f"seed {seed}"
        try:
            require_same(graph, other)
        except AssertionError as error:
            raise AssertionError(f"{form}, seed {seed}: {error}\n{before}\n{text_of(other)}") from error


@pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc (apt install gcc)")
@pytest.mark.parametrize("form", DRAWN)
def test_a_form_computes_the_same_in_plain_c(form: str) -> None:
    graphs = {f"g{seed}": (draw(form, seed), rewritten(form, draw(form, seed))) for seed in range(1000, 1006)}
    written = {name: (c_source(name, c_network(other)).files, other) for name, (_, other) in graphs.items()}
    library = build_c(written, ("-std=c99", "-O1", "-fsanitize=undefined,bounds", "-fsanitize-undefined-trap-on-error"))
    for name, (graph, other) in graphs.items():
        inputs = codes_of(graph)
        (expected,) = interpret(graph, inputs).values()
        (got,) = run_built(library, name, other, inputs)
        np.testing.assert_array_equal(got.reshape(expected.shape), expected)


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_what_is_not_asked_for_stays(form: str) -> None:
    for seed in range(5):
        graph = draw(form, seed)
        assert text_of(OTHER_FORMS[form](graph, frozenset())) == text_of(graph)
    with pytest.raises(ValueError, match="first outputs, got \\['nobody'\\]"):
        OTHER_FORMS[form](graph, frozenset({"nobody"}))


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_an_op_that_has_no_such_form_stays(form: str) -> None:
    net = nn.Sequential(nn.Sigmoid(), nn.Tanh())
    graph = integer_graph(prepared(net, 3, 4))
    assert text_of(rewritten(form, graph)) == text_of(graph)


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_a_form_comes_to_an_end(form: str) -> None:
    """Applied to what it gave, it has nothing more to do; a resizing with other flags may yet be copied."""
    for seed in range(10):
        once = rewritten(form, draw(form, seed))
        if form == "copied_rows":
            once = rewritten(form, once)
        assert len(rewritten(form, once).nodes) == len(once.nodes), f"seed {seed}\n{text_of(once)}"


#: What nodes each form leaves, whatever is drawn: of each the property for which it is there.
LEAVES: dict[str, Callable[[Graph], bool]] = {
    "convolution": lambda g: not kinds(g)["fully_connected"] and kinds(g)["conv_2d"] == 1,
    "rank_2": lambda g: all(len(g.values[n.inputs[0]].shape) == 2 for n in of(g, "fully_connected", "softmax")),
    "one_row": lambda g: all(len(g.values[n.inputs[0]].shape) == 2 and g.values[n.inputs[0]].shape[0] == 1
                             for n in of(g, "fully_connected", "softmax")),
    "explicit_padding": lambda g: all(n.attrs["padding"] == "valid" for n in of(g, *WINDOWED)),
    "trimmed": lambda g: not left_over(g),
    "time_on_height": lambda g: all(g.values[n.inputs[0]].shape[2] == 1 for n in of(g, *WINDOWED)),
    "ungrouped": lambda g: all(
        g.values[n.inputs[0]].shape[3] == g.values[n.inputs[1]].shape[3] for n in of(g, "conv_2d")),
    "spread_input": lambda g: not kinds(g)["transpose_conv"] and kinds(g)["conv_2d"] == 1,
    "copied_rows": lambda g: not any(n.attrs["half_pixel_centers"] for n in of(g, "resize_nearest_neighbor")),
    "rank_4": lambda g: all(
        len(g.values[name].shape) == 4
        for n in of(g, "pad", "padv2", "minimum", "maximum")
        for name in (n.inputs[0], n.output)
    ),
    "low_rank": lambda g: all(len(n.attrs["perm"]) <= 4 for n in of(g, "transpose")),
    "quantized_index": lambda g: "CAST" not in names_of(g) and "QUANTIZE" in names_of(g),
    "summed_by_convolution": lambda g: not kinds(g)["mean"] and kinds(g)["depthwise_conv_2d"] == 1,
    "pieces": lambda g: not (set(kinds(g)) - {"split", "concatenation", "reshape"}),
    "halves": lambda g: not kinds(g)["reduce_min"] and not kinds(g)["reduce_max"],
    "fused_with_zero": lambda g: not kinds(g)["relu"] and not kinds(g)["relu6"] and kinds(g)["add"] == 1,
    "behind_quantize": lambda g: g.nodes[0].op == "quantize",
    "room_between_taps": lambda g: all(
        max(n.attrs["dilation_h"], n.attrs["dilation_w"]) == 2 for n in of(g, "conv_2d", "depthwise_conv_2d")),
    "joined_axes": lambda g: all(len(n.attrs["axes"]) <= 2 for n in of(g, "mean", "sum")),
}  # fmt: skip


def names_of(graph: Graph) -> frozenset[str]:
    """Of operators of its file."""
    return frozenset(each.name for each in read_contents(write_tflite(graph)).subgraphs[0].operators)


def of(graph: Graph, *ops: str) -> list[Node]:
    return [node for node in graph.nodes if node.op in ops]


def left_over(graph: Graph) -> list[str]:
    """VALID windows whose image goes on behind the last of them."""
    return [
        node.output
        for node in of(graph, *WINDOWED)
        if node.attrs["padding"] == "valid"
        and read_extent(graph.values, node) != graph.values[node.inputs[0]].shape[1:3]
    ]


@pytest.mark.parametrize("form", LEAVES)
def test_a_form_is_what_its_name_says(form: str) -> None:
    for seed in range(COUNT):
        other = rewritten(form, draw(form, seed))
        assert LEAVES[form](other), f"seed {seed}\n{text_of(other)}"


def test_tensors_that_are_joined_are_no_more_than_the_kernel_takes() -> None:
    for form in ("one_row", "ungrouped", "copied_rows"):
        others = [rewritten(form, draw(form, seed)) for seed in range(COUNT)]
        assert max(len(node.inputs) for other in others for node in of(other, "concatenation")) == 10


@pytest.mark.tflm
@pytest.mark.filterwarnings("ignore:prepare. in training the network computes something else")
@pytest.mark.filterwarnings("ignore:layers.* has no effect")
def test_forms_of_all_that_random_networks_have() -> None:
    """Every form on every op, one after the other, and the outputs of the network all the same."""
    changed = Counter[str]()
    for seed in (start + i for start in (0, FURTHER, ATTENTION, LIFTED) for i in range(6)):
        graph = integers(draw_network(seed))
        if isinstance(graph, str):
            continue
        other = graph
        for form in OTHER_FORMS:
            before = text_of(other)
            other = rewritten(form, other)
            changed[form] += text_of(other) != before
        require_same(graph, other, a_dozen(graph))
    assert sum(changed.values()) > 20


@pytest.mark.tflm
def test_reshapes_of_neighbours_are_merged() -> None:
    """A chain of layers as convolutions has one RESHAPE at either end; those of one row likewise."""
    graph = integer_graph(prepared(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.Linear(4, 3)), 5))
    other = rewritten("convolution", graph, "fully_connected")
    assert kinds(other) == {"conv_2d": 3, "reshape": 2}
    require_same(graph, other)
    net = nn.Sequential(nn.Linear(5, 6), nn.Softmax(-1), nn.Linear(6, 4), nn.Flatten())
    graph = integer_graph(prepared(net, 3, 5))
    other = rewritten("rank_2", graph, "fully_connected", "softmax")
    assert [node.op for node in other.nodes] == ["reshape", "fully_connected", "softmax", "fully_connected", "reshape"]
    require_same(graph, other)


@pytest.mark.tflm
def test_a_chain_of_one_row_becomes_one_of_one_column() -> None:
    """What lies between goes along: PADs, sums, activations, and poolings that nobody asked for."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv1d(2, 4, 3, 2, padding=1), nn.Conv1d(4, 4, 5, padding=2)
            self.last, self.pool = nn.Conv1d(4, 3, 3), nn.MaxPool1d(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return self.last(torch.sigmoid(self.pool(x + self.second(x))))

    graph = integer_graph(prepared(Residual(), 2, 32))
    ends = kinds(graph)["reshape"]
    other = rewritten("time_on_height", graph, "conv_2d")
    assert kinds(other)["reshape"] == ends + 2
    assert all(graph.values[node.inputs[0]].shape[1] == 1 for node in of(graph, *WINDOWED))
    assert all(other.values[node.inputs[0]].shape[2] == 1 for node in of(other, *WINDOWED))
    assert kinds(other) - kinds(graph) == {"reshape": kinds(other)["reshape"] - ends}
    require_same(graph, other)


@pytest.mark.tflm
def test_convolutions_over_time_read_all_columns() -> None:
    """40 shapes: as they are written always, their padding ends where the last window ends; with one form, all do."""
    rng, seen = np.random.default_rng(0), Counter[str]()
    for _ in range(40):
        k, s, p = int(rng.integers(2, 8)), int(rng.integers(1, 5)), int(rng.integers(4))
        length = int(rng.integers(8, 65))
        graph = integer_graph(prepared(nn.Conv1d(2, 4, k, s, min(p, k // 2)), 2, length))
        named = frozenset(left_over(graph))
        padded = {node.output for node in of(graph, "pad")}
        behind = {n.output: n.attrs["paddings"][2][1] for n in of(graph, "pad")}
        for node in of(graph, "conv_2d"):
            if node.output in named and node.inputs[0] in padded:
                assert behind[node.inputs[0]] == 0
        other = OTHER_FORMS["trimmed"](graph, named)
        assert not left_over(other)
        seen["padded"] += bool(padded)
        seen["left over"] += bool(named)
        require_same(graph, other)
    assert seen["padded"] > 3
    assert seen["left over"] > 3


@pytest.mark.parametrize("length", range(8, 65, 2))
def test_the_common_strided_convolution_has_nothing_left_over(length: int) -> None:
    graph = integer_graph(prepared(nn.Conv1d(1, 2, 3, 2, padding=1), 1, length))
    assert not left_over(graph)
    assert [n.attrs["paddings"][2] for n in of(graph, "pad")] == [(1, 0)]


@pytest.mark.tflm
@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (lambda: nn.Sequential(nn.Linear(7, 5, bias=False), nn.Linear(5, 5, bias=False)), (7,)),
        (lambda: nn.Conv2d(3, 4, 3, bias=False), (3, 6, 6)),
        (lambda: nn.Conv1d(4, 4, 3, groups=4, bias=False), (4, 9)),
        (lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, bias=False), (2, 4, 4)),
    ],
)
def test_layers_of_16_bits_have_a_bias(net: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    """As int64: without one, older kernels sum in 32 bits and multiply by more of them."""
    module = net()
    x = torch.randn(16, *shape)
    qat = qtorch.prepare(module, x[:1], qtorch.QuantizationConfig(activations="int16"))
    qtorch.calibrate(qat, [x])
    graph = integer_graph(qat)
    layers = [node for node in graph.nodes if "weight" in node.input_roles()]
    assert layers
    for node in layers:
        assert graph.values[node.input_roles()["bias"]].dtype == "int64"
    without = replace(graph, nodes=tuple(replace(n, inputs=n.inputs[:2]) if n in layers else n for n in graph.nodes))
    require_same(without, graph)
