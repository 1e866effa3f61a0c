"""Networks that are called with a dict, or with a list: their data in every form in which a loop has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import export
import qtorch
from export.bundle.bundle import Bundle
from qtorch.errors import BadData

GENERATOR = torch.Generator().manual_seed(0)
X = {name: torch.rand(48, 4, generator=GENERATOR) for name in ("left", "right", "more")}
Y = (X["left"].sum(1) > X["right"].sum(1)).long()


class OfDict(nn.Module):
    """Called with a dict of as many tensors as it has layers."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: nn.Linear(4, 2) for name in names})

    def forward(self, batch: dict[str, Tensor]) -> Any:
        return sum(layer(batch[name]) for name, layer in self.layers.items())


class OfList(OfDict):
    """Called with a list of them."""

    def forward(self, parts: list[Tensor]) -> Any:  # type: ignore[override]
        return sum(layer(part) for part, layer in zip(parts, self.layers.values(), strict=True))


class OfSeveral(OfDict):
    """Called with two arguments."""

    def forward(self, left: Tensor, right: Tensor) -> Any:  # type: ignore[override]
        return self.layers["left"](left) + self.layers["right"](right)


class Pairs(Dataset):
    """Of dicts and classes."""

    def __init__(self, x: dict[str, Tensor]) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(Y)

    def __getitem__(self, place: int) -> tuple[dict[str, Tensor], Tensor]:
        return {name: each[place] for name, each in self.x.items()}, Y[place]


FORMS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "dict and targets": lambda x: (x, Y),
    "a list of batches": lambda x: [(x, Y)],
    "lists in a list": lambda x: [[x, Y]],
    "a dataset": Pairs,
    "a loader": lambda x: DataLoader(Pairs(x), batch_size=16),
    "a dict in a tuple": lambda x: ((x,), Y),
    "in a row": lambda x: (tuple(x.values()), Y),
    "in a row with targets": lambda x: (*x.values(), Y),
}


def prepared(net: nn.Module, *example: Any) -> nn.Module:
    torch.manual_seed(0)
    network = qtorch.prepare(net, example)
    qtorch.calibrate(network, [example])
    qtorch.set_mode(network, qtorch.Mode.QUANTIZED)
    return network.eval()


def bundle_of(network: nn.Module, calibration: Any, test: Any) -> Bundle:
    return export.export_network(network, calibration=calibration, test=test, c=False, onnx=False, firmware=None)


def require_own_accuracy(bundle: Bundle, network: nn.Module, net: nn.Module, *arguments: Any) -> None:
    with torch.no_grad():
        for each, stage in ((network, "qat_int8"), (net, "float")):
            expected = float((each.eval()(*arguments).argmax(1) == Y).float().mean())
            found = [figures for name, figures in bundle.metrics["test"].items() if name.startswith(stage)]
            assert any(abs(figures["accuracy"] - expected) < 1e-6 for figures in found), (stage, found)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("names", [("left",), ("left", "right", "more")], ids=["one", "three"])
def test_a_dict_that_is_the_one_argument_is_the_inputs(names: tuple[str, ...], form: str) -> None:
    net, x = OfDict(names), {name: X[name] for name in names}
    network = prepared(net, x)
    data = FORMS[form](x)
    require_own_accuracy(bundle_of(network, data, data), network, net, x)


def test_so_of_a_list_and_of_arguments_by_name() -> None:
    pair = {name: X[name] for name in ("left", "right")}
    net = OfList(tuple(pair))
    network, parts = prepared(net, list(pair.values())), list(pair.values())
    require_own_accuracy(bundle_of(network, (parts, Y), (parts, Y)), network, net, parts)
    several = OfSeveral(tuple(pair))
    for each in (several, prepared(several, *parts)):
        assert bundle_of(each, [(pair, Y)], (pair, Y)).verdict is not None


def test_what_is_no_call_is_refused_in_whole_words() -> None:
    several = OfSeveral(("left", "right"))
    network = prepared(several, X["left"], X["right"])
    with pytest.raises(BadData, match=r"missing a required argument: 'right' .*Remedy: call it in that way") as refused:
        bundle_of(network, (X["left"], X["right"]), ((X["left"],), Y))
    assert str(refused.value).count("Remedy") == 1
