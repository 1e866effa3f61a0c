"""A prepared network's own state: whose it is, what it may be loaded into, which mode it has, and that it is kept."""

from __future__ import annotations

import copy
import hashlib
import io
import itertools
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.graph.build import integer_graph
from export.graph.encoding import codes_of
from export.graph.interpret import interpret
from qtorch import Mode, QuantizationConfig
from qtorch.errors import BadCheckpoint, BadConfiguration
from qtorch.network.known_answer import known_answer
from qtorch.packed_state import packed, unpacked

X = torch.rand(64, 6, generator=torch.Generator().manual_seed(3))

QUANTIZATIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "int16": {"activations": "int16"},
    "4 bits": {"weight_bits": 4},
    "per tensor": {"weights": "per_tensor"},
    "lsq": {"scales": "lsq"},
    "clipped weights": {"weight_observer": "mse"},
    "percentile": {"observer": "percentile:99"},
    "skip": {"layers": {"2": {"skip": True}}},
}


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def prepared(net: nn.Module | None = None, **quantization: Any) -> qtorch.QuantizedNetwork:
    qat = qtorch.prepare(layers() if net is None else net, X[:1], QuantizationConfig(**quantization))
    qtorch.calibrate(qat, [X])
    return qat.eval()


def quantized(qat: qtorch.QuantizedNetwork) -> Tensor:
    with torch.no_grad(), qtorch.in_mode(qat, Mode.QUANTIZED):
        return qat(X)


@pytest.mark.parametrize(("saved", "mine"), list(itertools.permutations(QUANTIZATIONS, 2)))
def test_the_state_of_another_quantization_is_refused(saved: str, mine: str) -> None:
    theirs, own = prepared(**QUANTIZATIONS[saved]), prepared(**QUANTIZATIONS[mine])
    before = {name: copy.deepcopy(value) for name, value in own.state_dict().items()}
    with pytest.raises(BadCheckpoint, match=r"the state dict: expected .*, got .*Remedy"):
        own.load_state_dict(theirs.state_dict())
    for name, value in own.state_dict().items():
        assert torch.equal(value, before[name]) if isinstance(value, Tensor) else str(value) == str(before[name]), name


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_a_state_opens_as_what_it_was(quantization: str) -> None:
    theirs = prepared(**QUANTIZATIONS[quantization])
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.mul_(0.9)
    qtorch.set_mode(theirs, Mode.QUANTIZED)
    own = qtorch.prepare(layers(), X[:1], QuantizationConfig(**QUANTIZATIONS[quantization]))
    own.load_state_dict(theirs.state_dict())
    assert own.mode is Mode.QUANTIZED
    with torch.no_grad():
        assert torch.equal(own.eval()(X), theirs(X))


class Other(nn.Module):
    """The same parameters in another order of computation, or with another slope."""

    def __init__(self, slope: float = 0.0, swapped: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.slope, self.swapped = nn.Linear(6, 6), nn.Linear(6, 6), slope, swapped

    def forward(self, x: Tensor) -> Tensor:
        first, second = (self.b, self.a) if self.swapped else (self.a, self.b)
        return second(nn.functional.leaky_relu(first(x), self.slope))


@pytest.mark.parametrize("other", [{"slope": 0.25}, {"swapped": True}])
def test_the_state_of_another_graph_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(
        BadCheckpoint, match=r"layer 'leaky_relu'.*with alpha 0\.25, got alpha 0\.1|layer 'b'.*got layer 'a'"
    ):
        prepared(Other(**{"slope": 0.1, **other})).load_state_dict(prepared(Other(slope=0.1)).state_dict())


class Unused(nn.Module):
    """Has a layer that nothing calls."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.norm, self.idle = nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(9, 9)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.used(x))


def as_it_is(net: nn.Module) -> nn.Module:
    return net


def compiled(net: nn.Module) -> nn.Module:
    return torch.compile(net, backend="eager")  # type: ignore[return-value]


@pytest.mark.parametrize("make", [layers, Unused, lambda: nn.Linear(6, 2), lambda: nn.LayerNorm(6)])
@pytest.mark.parametrize(
    "wrapped",
    [
        as_it_is,
        compiled,
        nn.DataParallel,
        lambda n: compiled(nn.DataParallel(n)),
        lambda n: nn.DataParallel(compiled(n)),
    ],
)
def test_a_float_networks_own_state_loads_strictly(make: Any, wrapped: Any) -> None:
    torch.manual_seed(7)
    trained = make()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.normal_()
    torch.manual_seed(8)
    qat = prepared(make())
    scales = {name: float(q.scale) for name, q in qtorch.quantizers(qat).items()}
    with pytest.warns(UserWarning, match=r"weights without ranges.*calibrate the network again"):
        missing, unexpected = qat.load_state_dict(wrapped(trained).state_dict())
    assert not missing
    assert not unexpected
    with torch.no_grad():
        assert torch.allclose(qat(X), trained.eval()(X), atol=1e-5)
    assert scales == {name: float(q.scale) for name, q in qtorch.quantizers(qat).items()}
    # The same weights once more are no others.
    qat.load_state_dict(trained.state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        qat.load_state_dict(dict(list(trained.state_dict().items())[1:]))


@pytest.mark.parametrize("wrapped", [compiled, nn.DataParallel, lambda n: compiled(nn.DataParallel(n))])
def test_a_wrapped_network_is_prepared_as_the_one_inside(wrapped: Any) -> None:
    net = layers()
    assert prepared(wrapped(net)).ops == prepared(net).ops


def test_parameters_and_statistics_are_the_networks_own() -> None:
    net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.LayerNorm(4), nn.PReLU(), nn.Linear(4, 2))
    qat = qtorch.prepare(net, X[:1])
    assert {id(p) for p in qat.parameters()} == {id(p) for p in net.parameters()}
    qat.train()(X)
    assert torch.equal(net[1].running_mean, qat.get_submodule("1").running_mean)  # type: ignore[arg-type]
    assert float(net[1].running_mean.abs().max()) > 0  # type: ignore[union-attr,operator]
    assert type(net[2]) is nn.LayerNorm
    assert not any("quantizer" in name for name, _ in net.named_modules())


def test_a_prepared_network_is_not_prepared_again() -> None:
    for net in (prepared(), nn.Sequential(prepared(), nn.ReLU())):
        with pytest.raises(BadConfiguration, match="prepared already"):
            qtorch.prepare(net, X[:1])


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_pickled_and_copied_networks_compute_the_same(quantization: str) -> None:
    qat = prepared(**QUANTIZATIONS[quantization])
    with torch.no_grad():
        for parameter in qat.parameters():
            parameter.mul_(0.95)
    qtorch.set_mode(qat, Mode.QUANTIZED)
    file = io.BytesIO()
    torch.save(qat, file)
    file.seek(0)
    for again in (torch.load(file, weights_only=False), pickle.loads(pickle.dumps(qat)), copy.deepcopy(qat)):
        assert again.mode is Mode.QUANTIZED
        assert not again.training
        assert again.ops == qat.ops
        assert torch.equal(quantized(again), quantized(qat))
        # Recorded for a gradient too, where the figures of all layers are worked out at once.
        assert torch.equal(again(X), qat(X))
        # None of its weights is another's.
        with torch.no_grad():
            next(again.parameters()).zero_()
        assert bool((next(qat.parameters()) != 0).any())
        assert next(again.origin.net.parameters()) is next(again.parameters())


@pytest.mark.parametrize("mode", ["float", "exact", None, 3, True])
def test_what_is_no_mode_is_refused(mode: Any) -> None:
    qat = prepared()
    qtorch.set_mode(qat, Mode.QUANTIZED)
    with pytest.raises(BadConfiguration, match=r"set_mode: expected one of Mode\.FLOAT"):
        qtorch.set_mode(qat, mode)
    assert qat.mode is Mode.QUANTIZED


def test_a_mode_for_a_block_is_put_back_whatever_happens() -> None:
    qat = prepared()
    qtorch.set_mode(qat, Mode.QUANTIZED)

    def interrupted() -> None:
        with qtorch.in_mode(qat, Mode.FLOAT):
            assert qat.mode is Mode.FLOAT
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert {module.mode for module in qat.modules() if hasattr(module, "mode")} == {Mode.QUANTIZED}
    assert "mode=QUANTIZED, calibrated" in str(qat)


def test_a_known_answer_digests_real_numbers() -> None:
    """Of each op those of the integer reference, as bytes, and its constants: as earlier versions wrote them."""
    qat = prepared(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Sigmoid()))
    answer = known_answer(qat, [(6,)])
    assert answer is not None
    graph = integer_graph(qat)
    values = interpret(graph, codes_of(graph, tuple(answer["inputs"])), every=True)
    ops = {name: module for name, module in qat.named_modules() if isinstance(module, qtorch.QuantizedOp)}
    assert answer["digests"].keys() == ops.keys()
    for (name, op), node in zip(ops.items(), graph.nodes, strict=True):
        whole = hashlib.sha256(graph.values[node.outputs[0]].dequantize(values[node.outputs[0]]).tobytes())
        for constant in op.constants.integers().values():
            for tensor in (constant.codes, constant.grid.scale, constant.grid.zero_point):
                whole.update(tensor.numpy().tobytes())
        for tensor in (op.output.grid.scale, op.output.grid.zero_point):
            whole.update(tensor.numpy().tobytes())
        assert answer["digests"][name] == whole.hexdigest(), name


def test_frozen_batch_norms_are_saved() -> None:
    def network() -> qtorch.QuantizedNetwork:
        return prepared(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)))

    theirs, own = network(), network()
    qtorch.set_mode(theirs, Mode.QUANTIZED)
    qtorch.freeze_batch_norm(theirs)
    own.load_state_dict(theirs.state_dict())
    assert "batch norms frozen" in str(own)
    before = own.get_submodule("1").running_mean.clone()  # type: ignore[union-attr,operator]
    own.train()(X)
    assert torch.equal(own.get_submodule("1").running_mean, before)  # type: ignore[arg-type]


def test_learned_scales_are_not_lost_without_a_word() -> None:
    qat = prepared(scales="lsq")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        qtorch.calibrate(qat, [X])
    with torch.no_grad():
        qat.get_parameter("0.quantizer.log_scale").add_(0.4)
    with pytest.warns(UserWarning, match=r"learned scales of 1 of 3 tensors \(0\.quantizer\)"):
        qtorch.calibrate(qat, [X])


def test_another_normalization_is_refused() -> None:
    """What is folded, and how, was decided by its numbers."""

    def network(offset: float) -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(qtorch.Normalization(offset, 2.0), nn.Linear(6, 3))

    plain, moved = prepared(network(0.0)), prepared(network(0.5))
    with pytest.raises(BadCheckpoint, match=r"normalization '0' with offset \[0\.0\], got offset \[0\.5\]"):
        plain.load_state_dict(moved.state_dict())
    with pytest.raises(BadCheckpoint, match="another offset or span"):
        plain.load_state_dict(network(0.5).state_dict())
    plain.get_submodule("0").offset.fill_(0.5)  # type: ignore[union-attr,operator]
    with pytest.raises(BadConfiguration, match="prepare it again"):
        integer_graph(plain)


class Tied(nn.Module):
    """Two layers, or one twice under two names."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
        if tied:
            self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


@pytest.mark.parametrize("tied", [True, False])
def test_a_state_of_shared_weights_is_one_of_shared_weights(tied: bool) -> None:
    with pytest.raises(BadCheckpoint, match="layer 'b' fully_connected"):
        prepared(Tied(tied)).load_state_dict(prepared(Tied(not tied)).state_dict())
    prepared(Tied(tied)).load_state_dict(prepared(Tied(tied)).state_dict())


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        ("_extra_state", {"mode": "fast"}, "the description of a prepared network"),
        ("_extra_state", {"mode": "calibrate"}, "the description of a prepared network"),
        ("_extra_state", {"norms_frozen": "x"}, "the description of a prepared network"),
        ("_extra_state", {"ops": [1]}, "the description of a prepared network"),
        ("_extra_state", {"format": True}, "the description of a prepared network"),
        ("2.quantizer._extra_state", {"scale": torch.tensor(float("nan"))}, "a scale that is finite"),
        ("2.quantizer._extra_state", {"scale": torch.tensor(-1.0)}, "a scale that is finite"),
        ("2.quantizer._extra_state", {"zero_point": torch.tensor(300)}, "a zero point from -128 to 127"),
    ],
)
def test_a_state_that_was_edited_is_refused_in_words(entry: str, value: dict[str, Any], words: str) -> None:
    state = prepared().state_dict()
    state[entry] = packed({**unpacked(state[entry]), **value})
    with pytest.raises(BadCheckpoint, match=words):
        prepared().load_state_dict(state)


def test_a_calibration_that_fails_changes_neither_mode_nor_ranges() -> None:
    qat = prepared()
    qtorch.set_mode(qat, Mode.QUANTIZED)
    before = quantized(qat)

    def batches() -> Iterator[Tensor]:
        yield 100 * X
        raise KeyError

    with pytest.raises(KeyError):
        qtorch.calibrate(qat, batches())
    assert qat.mode is Mode.QUANTIZED
    assert torch.equal(quantized(qat), before)
    with pytest.raises(BadConfiguration, match=r"quantizer '0\.quantizer': expected a calibrated range"):
        qtorch.set_mode(qtorch.prepare(layers(), X[:1]), Mode.QUANTIZED)


def test_a_scales_lower_bound_is_kept() -> None:
    """Ranges that are measured again after resuming give no finer grid than the kernel can compute onto."""
    theirs = prepared()
    before = {name: float(q.scale) for name, q in qtorch.quantizers(theirs).items()}
    for name, quantizer in qtorch.quantizers(theirs).items():
        quantizer.coarsen(3 * before[name])
    own = qtorch.prepare(layers(), X[:1])
    own.load_state_dict(theirs.state_dict())
    for net in (theirs, own):
        qtorch.calibrate(net, [X])
        found = {name: float(q.scale) for name, q in qtorch.quantizers(net).items()}
        assert found == {name: pytest.approx(3 * scale, rel=2**-11) for name, scale in before.items()}
