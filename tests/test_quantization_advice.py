"""Each line of advice: an input that has its cause, and one that looks like it and has another, or none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

import qtorch
from export.figures.quantization_advice import Evidence, advice
from export.figures.quantization_report import network_report
from export.figures.tensor_error import TensorError
from export.graph.build import integer_graph
from export.graph.encoding import codes_of
from export.graph.interpret import interpret
from export.graph.ir import Graph
from qtorch.numbers.qparams import QParams

INT8 = QParams((0.5,), (0,))


def prepared(net: nn.Module, calibration: Tensor, **config: Any) -> tuple[fx.GraphModule, Graph]:
    qat = qtorch.prepare(net.eval(), calibration[:1], qtorch.QuantizationConfig(**config))
    qtorch.calibrate(qat, [calibration])
    return qat, integer_graph(qat)


def findings_of(net: nn.Module, x: Tensor, calibration: Tensor | None = None, **config: Any) -> dict[str, TensorError]:
    qat, graph = prepared(net, x if calibration is None else calibration, **config)
    return {row.tensor_name: row for row in network_report(qat, graph, x) if row.finding}


def two_layers(*behind: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3), *behind)


def drawn(count: int = 300, width: int = 4, seed: int = 1) -> Tensor:
    return torch.rand(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def coarse() -> Evidence:
    """Large errors for which neither the range nor the weights are to blame."""
    _, graph = prepared(two_layers(), drawn())
    return Evidence(
        role="output", node=graph.nodes[0], qparams=INT8, rmse_over_scale=0.9, snr_db=30.0, rms_steps=40.0,
        powerless=False, saturated_error=0.1, saturated_share=0.0, end_error=0.0, weights_error=0.1, code_spans=(255,),
        float_spans=(255.0,), same_code=False, weight=QParams((0.125,), (0,)),
    )  # fmt: skip


# Features ------------------------------------------------------------------------------------------------------------


def test_a_feature_that_is_left_one_code_is_one_of_unequal_features() -> None:
    """In thousands beside tenths: its codes do not even differ."""
    x = drawn() * torch.tensor([1000.0, 1000.0, 1000.0, 0.5])
    row = findings_of(two_layers(), x)["input_1"]
    assert (row.finding, "features 3 " in row.advice) == ("unequal features", True)
    x[:, 3] = 0.25
    assert "input_1" not in findings_of(two_layers(), x), "a column that is constant has nothing to lose"


# One code, and ranges ------------------------------------------------------------------------------------------------


def test_values_that_differ_and_have_one_code() -> None:
    x = drawn() * 0.01
    row = findings_of(two_layers(), x, torch.cat([x, torch.full((1, 4), 100.0)]))["input_1"]
    assert row.finding == "constant"
    assert "percentile" in row.advice
    assert "minmax" not in row.advice, "min-max is what made it so coarse"
    assert "equalize" not in row.advice, "no layer is in front of the data"


def test_a_layer_that_says_the_same_in_float_has_lost_nothing() -> None:
    net = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        net[0].weight.zero_()  # type: ignore[union-attr,operator]
        net[0].bias.fill_(0.7)  # type: ignore[union-attr]
    assert not [row for row in findings_of(net, drawn()).values() if row.finding == "constant"]


def test_noise_of_another_cause_is_not_the_ranges(coarse: Evidence) -> None:
    quiet = replace(coarse, rmse_over_scale=0.3, snr_db=15.0)
    assert advice(replace(quiet, rms_steps=1.5))[0] == "range too wide"
    assert advice(replace(quiet, rms_steps=40.0, weights_error=0.8))[0] == "weights"
    assert advice(replace(quiet, rms_steps=40.0))[0] == "coarse arithmetic"
    assert advice(replace(quiet, snr_db=25.0)) == ("", "")


def test_a_few_outliers_and_another_scale_are_told_apart() -> None:
    """The network was calibrated on what its own preprocessing gives, and is fed what lies in front of that."""
    raw = 40 * drawn() + 100
    scaled = (raw - raw.mean(0)) / raw.std(0)
    row = findings_of(two_layers(), raw, scaled)["input_1"]
    assert row.finding == "saturated"
    assert "another scale" in row.advice
    assert "network_inputs" in row.advice
    assert "percentile" not in row.advice
    outliers = scaled.clone()
    outliers[:6] *= 10
    row = findings_of(two_layers(), outliers, scaled)["input_1"]
    assert (row.finding, "percentile" in row.advice) == ("saturated", True)
    assert "another scale" not in row.advice
    assert not findings_of(two_layers(), scaled)


# Weights and arithmetic ----------------------------------------------------------------------------------------------


def test_the_largest_of_several_causes_is_named(coarse: Evidence) -> None:
    coarse = replace(coarse, snr_db=19.0)
    assert advice(coarse)[0] == "coarse arithmetic"
    assert advice(replace(coarse, saturated_error=0.45, weights_error=0.35))[0] == "saturated"
    assert advice(replace(coarse, saturated_error=0.3, weights_error=0.45))[0] == "weights"
    assert advice(replace(coarse, saturated_error=0.3, weights_error=0.25))[0] == "coarse arithmetic"
    assert advice(replace(coarse, rmse_over_scale=0.69, snr_db=21.0)) == ("", "")


def test_what_a_range_cuts_off_is_a_fault_where_it_is_much_and_costs(coarse: Evidence) -> None:
    cut = replace(coarse, saturated_error=0.9, saturated_share=0.3, snr_db=15.0)
    finding, said = advice(cut)
    assert finding == "saturated"
    assert "30.0% of the values" in said
    assert "qtorch.calibrate once more" in said
    assert advice(replace(cut, snr_db=21.0)) == ("", ""), "less than 1 % of the power"
    assert advice(replace(cut, harmless=True)) == ("", ""), "the same weights are no better without"
    assert advice(replace(cut, role="input", harmless=True))[0] == "saturated", "data of another scale"
    assert advice(replace(cut, role="input", harmless=True, saturated_share=0.1)) == ("", "")


def test_weights_are_not_told_to_be_what_they_are(coarse: Evidence) -> None:
    rounded = replace(coarse, weights_error=0.9, saturated_error=0.0)
    for weight, wanted in (
        (QParams((0.125,), (0,)), {"weights: per_channel"}),
        (QParams((0.125, 0.25), (0, 0), axis=0), set()),
        (QParams((0.125,), (0,), "int4"), {"weight_bits: 8", "weights: per_channel"}),
        (QParams((0.125, 0.25), (0, 0), "int4", 0), {"weight_bits: 8"}),
    ):
        finding, said = advice(replace(rounded, weight=weight))
        assert finding == "weights"
        assert {each for each in ("weights: per_channel", "weight_bits: 8") if each in said} == wanted
    assert advice(replace(rounded, weight=None))[0] == "coarse arithmetic"


def test_16_bits_are_not_told_to_take_16_bits(coarse: Evidence) -> None:
    assert "int16" in advice(coarse)[1]
    wide = replace(coarse, qparams=QParams((0.5,), (0,), "int16"))
    assert advice(wide)[0] == "coarse arithmetic"
    assert "int16" not in advice(wide)[1]
    assert advice(replace(wide, snr_db=45.0)) == ("", ""), "in steps that small, weights of 8 bits are good enough"
    assert advice(replace(coarse, snr_db=45.0))[0] == "coarse arithmetic"


def test_clipped_weights() -> None:
    row = findings_of(two_layers(), drawn(), layers={"0": {"weight_observer": "fixed:-0.1:0.1"}})["0.weight"]
    assert (row.finding, "minmax" in row.advice) == ("clipped", True)
    assert "0.weight" not in findings_of(two_layers(), drawn())


def test_a_constant_that_is_no_weight_is_not_clipped_by_the_weight_observer(coarse: Evidence) -> None:
    constant = replace(coarse, role="constant", rmse_over_scale=3.0)
    assert "weight_observer" not in advice(constant)[1]
    assert "weight_observer" in advice(replace(constant, weakest_channel_db=30.0))[1]


def test_few_bits_and_a_weak_channel() -> None:
    net = two_layers()
    with torch.no_grad():
        net[0].weight[0] *= torch.tensor([20.0, 1, 1, 1])  # type: ignore[index,operator]
        net[0].weight[1] *= 0.01  # type: ignore[index,operator]
    row = findings_of(net, drawn(), weight_bits=4, weights="per_tensor")["0.weight"]
    assert (row.finding, "per_channel" in row.advice) == ("weak channel", True)
    net = two_layers()
    with torch.no_grad():
        net[2].weight[0] *= 0.03  # type: ignore[index,operator]
        net[2].weight[0, 0] = 1.0  # type: ignore[index,operator]
    rows = findings_of(net, drawn(), weight_bits=4)
    assert all(row.finding != "weak channel" for row in rows.values())
    assert "2.weight" not in findings_of(net, drawn())


# Grids that a kernel fixes -------------------------------------------------------------------------------------------


def confident(net: nn.Sequential) -> nn.Sequential:
    with torch.no_grad():
        net[2].weight *= 400  # type: ignore[operator]
    return net


def saturated(net: nn.Module, x: Tensor, **config: Any) -> set[str]:
    qat, _ = prepared(net, x / 4 if config.pop("narrow", False) else x, **config)
    return {each.name for each in qtorch.saturation(qat, [x])}


@pytest.mark.parametrize("last", [nn.Softmax(-1), nn.Sigmoid()])
def test_what_is_sure_of_itself_saturates_nothing(last: nn.Module) -> None:
    """A probability of 1 is 255/256 on the device's grid, which nobody can move."""
    net, x = confident(two_layers(last)), drawn()
    with torch.no_grad():
        assert float(net(x).max()) == 1.0
    assert not findings_of(net, x)
    assert saturated(net, x) == set()


def test_logits_that_leave_their_grid_do_in_front_of_a_softmax_too() -> None:
    net, x = two_layers(nn.Softmax(-1)), drawn()
    rows = findings_of(net, x, layers={"2": {"observer": "fixed:-0.05:0.05"}})
    assert {name: row.finding for name, row in rows.items()} == {"2.fully_connected": "saturated"}
    found = saturated(net, x, layers={"2": {"observer": "fixed:-0.05:0.05"}})
    assert len(found) == 1
    assert all("3" not in name for name in found), "of the logits, not of the softmax"


def test_a_log_softmax_that_is_cut_off_is_said() -> None:
    """The device's grid ends at -16: a class that is less likely than that is said to be as likely."""
    net, x = confident(two_layers(nn.LogSoftmax(-1))), drawn()
    with torch.no_grad():
        assert float(net(x).min()) < -20
    (row,) = findings_of(net, x).values()
    assert (row.op_name, row.finding) == ("LOG_SOFTMAX", "saturated")
    assert "observer" not in row.advice
    assert len(saturated(net, x)) == 1
    mild = two_layers(nn.LogSoftmax(-1))
    assert not findings_of(mild, x)
    assert saturated(mild, x) == set()


# Outputs of unlike size ----------------------------------------------------------------------------------------------


class Three(nn.Module):
    """Outputs that are 100, 10 and 1 wide, on one grid; or scaled alike; or each on a grid of its own."""

    def __init__(self, form: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.form = nn.Linear(4, 24), form
        self.last = nn.Linear(24, 3)
        with torch.no_grad():
            if form != "scaled":
                self.last.weight *= SPANS[:, None]
                self.last.bias *= SPANS
        self.heads = nn.ModuleList([nn.Linear(24, 1) for _ in range(3)]) if form == "heads" else None
        if self.heads is not None:
            for i, head in enumerate(self.heads):
                head.load_state_dict({"weight": self.last.weight[i : i + 1], "bias": self.last.bias[i : i + 1]})

    def forward(self, x: Tensor) -> Any:
        h = torch.relu(self.hidden(x))
        return self.last(h) if self.heads is None else tuple(head(h) for head in self.heads)


SPANS = torch.tensor([100.0, 10.0, 1.0])


def on_the_device(form: str, x: Tensor, **config: Any) -> tuple[Tensor, list[int], dict[str, TensorError]]:
    """Outputs ``[N, 3]`` in the targets' own units, how many values each has, and findings."""
    qat, graph = prepared(Three(form), x, **config)
    codes = interpret(graph, codes_of(graph, x))
    parts, levels = [], []
    for name in graph.outputs:
        parts.append(torch.from_numpy(graph.decode(name, codes[name])))
        levels += [len(column.unique()) for column in parts[-1].T]
    rows = {
        row.tensor_name: row for row in network_report(qat, graph, x, titles=("mass", "length", "time")) if row.finding
    }
    return torch.cat(parts, 1) * (SPANS if form == "scaled" else 1), levels, rows


def r2(got: Tensor, wanted: Tensor) -> Tensor:
    return 1 - (got - wanted).square().mean(0) / wanted.var(0, correction=0)


def test_outputs_of_unlike_size_are_found_and_the_way_out_works() -> None:
    x = drawn(600)
    with torch.no_grad():
        wanted = Three("one grid")(x)
    got, levels, rows = on_the_device("one grid", x)
    assert levels[2] < 6
    assert r2(got, wanted)[2] < 0.97
    (row,) = rows.values()
    assert row.finding == "unequal outputs"
    assert "output 2 (time)" in row.advice
    assert "output 0 (mass) needs" in row.advice
    assert "output 0 (mass):" not in row.advice
    assert "int16 for the last layer" in row.advice
    for form, config in (("scaled", {}), ("heads", {}), ("one grid", {"layers": {"last": {"activations": "int16"}}})):
        after, more, none = on_the_device(form, x, **config)
        assert r2(after, wanted)[2] > 0.995, form
        assert more[2] > 20 * levels[2], form
        assert not [row for row in none.values() if row.finding == "unequal outputs"], form


def test_outputs_of_like_size_or_of_a_fixed_grid_are_none() -> None:
    assert not findings_of(two_layers(), drawn())
    rare = two_layers(nn.Softmax(-1))
    with torch.no_grad():
        rare[2].bias += torch.tensor([0.0, 0.0, -6.0])  # type: ignore[operator]
        rare[2].weight *= 10  # type: ignore[operator]
    assert not [row for row in findings_of(rare, drawn()).values() if row.finding == "unequal outputs"]
