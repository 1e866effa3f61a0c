"""What a call says: of a network whose float one is gone, of shares that are not whole, in the words of a call."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import export
import qtorch
from export.bundle.outcome_page import agreement_table
from export.calls.terms import on_a_command_line
from export.parity.outputs import EngineParity
from qtorch.errors import BadConfiguration, Unwritable
from qtorch.network.quantized_network import QuantizedNetwork

pytestmark = pytest.mark.tflm

X = torch.rand(96, 3, generator=torch.Generator().manual_seed(0))
Y = torch.stack([X.sum(1), X[:, 0] - X[:, 2]], 1)
#: Of the smallest bundle.
BARE = {"c": False, "onnx": False, "firmware": None}


def networks() -> tuple[QuantizedNetwork, nn.Module]:
    """Trained quantized, and the float network from before."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    before = copy.deepcopy(net)
    network = qtorch.prepare(net, X[:1])
    qtorch.calibrate(network, [X])
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    nn.functional.mse_loss(network(X), Y).backward()
    optimizer.step()
    return network, before


def test_weights_from_after_training_are_called_so() -> None:
    network, before = networks()
    gone = export.export_network(network, calibration=X, test=(X, Y), **BARE)
    known = export.export_network(network, calibration=X, test=(X, Y), float_network=before, **BARE)
    assert "those weights calibrated anew" in str(gone)
    assert "those weights calibrated anew" in gone.report
    assert "post-training" not in str(gone)
    assert "nothing says what quantized training cost" in str(gone)
    assert gone.metrics["test"].keys() == known.metrics["test"].keys()
    assert "int8, post-training" in str(known)
    assert "anew" not in str(known) + known.report
    assert "nothing says" not in str(known)


@pytest.mark.parametrize("package", [export, qtorch])
def test_a_package_shows_its_public_names_alone(package: Any) -> None:
    shown = [name for name in dir(package) if not name.startswith("__")]
    assert shown == sorted(package.__all__)


def test_a_call_speaks_of_arguments(tmp_path: Path) -> None:
    network, _ = networks()
    with pytest.raises(BadConfiguration, match=r"^target: expected .*Remedy: target='uno'\.$"):
        export.export_network(network, calibration=X, target="unno")
    with pytest.raises(BadConfiguration, match=r"^c: expected .*Remedy: leave c or format out\.$"):
        export.export_network(network, calibration=X, c=True, format="float32")
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match=r"^out: "):
        export.export_network(network, tmp_path / "file", calibration=X)
    with pytest.raises(BadConfiguration, match=r"set metadata=True, or leave version out"):
        export.export_checkpoint(tmp_path / "file", tmp_path / "out", version="1")
    # A command's options are called as errors call them.
    with on_a_command_line(), pytest.raises(BadConfiguration, match=r"^export\.target: .*export\.target uno\.$"):
        export.export_network(network, calibration=X, target="unno")


def test_each_advice_is_said_once_and_every_file_is_listed(tmp_path: Path) -> None:
    network, _ = networks()
    bundle = export.export_network(network, tmp_path / "n", calibration=X, **BARE)
    listed = next(line for line in str(bundle).splitlines() if line.startswith("written to")).split(": ")[1]
    assert sorted(listed.split(", ")) == sorted(path.name for path in (tmp_path / "n").iterdir())
    said = {"one": "more data", "third": "less", "other": "more data"}
    found = [{"tensor": name, "finding": "saturated", "advice": advice} for name, advice in said.items()]
    page = str(replace(bundle, metrics=bundle.metrics | {"quantization": {"tensors": 9, "findings": found}}))
    assert "one, other: saturated: more data" in page
    assert page.count("more data") == 1
    assert "third: saturated: less" in page


def test_all_is_said_of_all_alone() -> None:
    engines = {"nearly": EngineParity("1", 10_000, 100_000, 1, 1), "all": EngineParity("1", 10, 20, 0, 0)}
    table = agreement_table(engines, ["all"])
    assert [row[2] for row in table.rows] == ["99.99%", "100.00%"]
