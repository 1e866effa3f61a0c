"""One layer quantized at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import qtorch
from export.__main__ import main as export_main
from export.figures.sensitivity import layer_costs
from export.options import ExportOptions
from qtorch.errors import BadConfiguration


def test_the_layer_with_coarse_weights_costs_most() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    x = torch.rand(200, 4)
    qat = qtorch.prepare(
        net, x[:1], qtorch.QuantizationConfig(layers={"2": {"weight_bits": 4, "weights": "per_tensor"}})
    )
    qtorch.calibrate(qat, [x])
    costs = layer_costs(qat, x, lambda output: {"mean": float(output.mean())})
    assert [cost.name for cost in costs][:2] == ["(none)", "2"]
    assert {cost.name for cost in costs} == {"(none)", "0", "2", "4", "(all)"}
    by_name = {cost.name: cost for cost in costs}
    assert by_name["2"].bits == "w4 a8"
    assert by_name["(none)"].noise == 0 < by_name["0"].noise < by_name["2"].noise
    with torch.no_grad():
        assert by_name["(none)"].figures["mean"] == float(net(x).mean())
        # Looked at in float, the mode in which it was left; quantized it is what all layers cost.
        assert by_name["(none)"].figures["mean"] == float(qat(x).mean())
        qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
        assert by_name["(all)"].figures["mean"] == float(qat(x).mean())
    # One at a time: what a layer costs by itself is what quantizing it alone costs.
    alone = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(layers={name: {"skip": True} for name in "04"} | {
        "2": {"weight_bits": 4, "weights": "per_tensor"}}))  # fmt: skip
    qtorch.calibrate(alone, [x])
    qtorch.set_mode(alone, qtorch.Mode.QUANTIZED)
    alone.get_submodule("4").rounds_output = False  # type: ignore[assignment]
    for name in ("input_1_quantizer", "4.quantizer"):
        alone.get_submodule(name).mode = qtorch.Mode.FLOAT  # type: ignore[assignment]
    with torch.no_grad():
        assert by_name["2"].figures["mean"] == pytest.approx(float(alone.eval()(x).mean()), abs=1e-6)


@pytest.mark.tflm
def test_the_command(fuel_out: Path, capsys: pytest.CaptureFixture) -> None:
    assert export_main(["sensitivity", str(fuel_out / "fuel.ckpt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["layer", "op", "bits"]
    assert [line.split()[0] for line in (lines[1], lines[-1])] == ["(none)", "(all)"]
    assert len(lines) == 7
    assert export_main(["sensitivity", str(fuel_out / "fuel.ckpt"), "--bits", "4"]) == 0
    assert "w4" in capsys.readouterr().out
    assert export_main(["sensitivity", str(fuel_out / "absent.ckpt")]) == 2


@pytest.mark.tflm
@pytest.mark.parametrize("kind", ["float32", "float16", "dynamic_range"])
def test_a_checkpoint_exports_in_float(
    fuel_out: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert export_main([str(fuel_out / "fuel.ckpt"), "--out", str(out), "--export.format", kind]) == 0
    assert (out / "fuel.tflite").stat().st_size > 1000
    assert ("TFLM" in capsys.readouterr().out) == (kind == "float32")
    assert (out / "fuel_op_resolver.h").exists() == (kind == "float32")


@pytest.mark.tflm
def test_post_training_steps(fuel_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    steps = ["--export.equalize", "--export.correct_biases", "--export.round_adaptively"]
    command = [str(fuel_out / "fuel.ckpt"), "--out", str(tmp_path / "out")]
    assert export_main([*command, *steps]) == 2
    assert "post_training" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert export_main([*command, "--export.post_training", *steps]) == 0
    plain = tmp_path / "plain"
    assert export_main([str(fuel_out / "fuel.ckpt"), "--out", str(plain), "--export.post_training"]) == 0
    first, second = ((folder / "fuel.tflite").read_bytes() for folder in (tmp_path / "out", plain))
    assert first != second != (fuel_out / "fuel.tflite").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {"format": "float32", "correct_biases": True},
        {"format": "float16", "equalize": True, "round_adaptively": True},
        {"format": "dynamic_range", "post_training": True},
        {"equalize": True},
    ],
)
def test_steps_that_an_export_would_leave_out_are_refused(options: dict) -> None:
    with pytest.raises(BadConfiguration, match="Remedy"):
        ExportOptions(**options)
    ExportOptions(format="float32", equalize=True)
    ExportOptions(post_training=True, equalize=True, correct_biases=True, round_adaptively=True)
