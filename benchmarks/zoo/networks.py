"""The list of networks, and each built with random weights as lively as trained ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import tomllib
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.mlperf_networks import varied
from benchmarks.zoo.adapters import OneTensor

__all__ = ["LIST", "Listed", "Subject", "listed"]

LIST = Path(__file__).with_name("networks.toml")
#: Inputs to calibrate on, and others to compare on.
SAMPLES = 16


@dataclass(frozen=True)
class Listed:
    """A network of the list.

    Attributes:
        corpus: the library that it is from.
        name: there.
        how: what the list says of it, its corpus's words and its own.
    """

    corpus: str
    name: str
    how: Mapping[str, Any]

    @property
    def called(self) -> str:
        """In results, and on the command line."""
        return f"{self.corpus}/{self.name}"

    @property
    def module(self) -> str:
        """What is imported to build it."""
        return str(self.how["call"]).format(name=self.name).partition(":")[0]

    def built(self) -> Subject:
        """The network and its inputs, the same ones every time."""
        shapes = [tuple(int(side) for side in shape.split("x")) for shape in self.how["shape"].split("+")]
        torch.manual_seed(0)
        network = self._made(self.how).eval()
        if self.how.get("takes") or self.how.get("gives"):
            network = OneTensor(network, self.how.get("takes", ""), self.how.get("gives", "")).eval()
        draws = [tuple(varied(SAMPLES, shape) for shape in shapes) for _ in range(2)]
        with torch.no_grad():
            network(*(x[:2] for x in draws[0]))  # layers that learn their shape from the first input
        enliven(network)
        give_statistics(network, draws[0])
        return Subject(network, *draws)

    def _made(self, what: Any) -> Any:
        if isinstance(what, str):
            return None if what == "None" else what.format(name=self.name)
        if isinstance(what, list):
            return [self._made(each) for each in what]
        if not (isinstance(what, Mapping) and "call" in what):
            return what
        module, _, attribute = self._made(what["call"]).partition(":")
        keywords = {key: self._made(value) for key, value in what.get("keywords", {}).items()}
        return getattr(import_module(module), attribute)(*self._made(what.get("arguments", [])), **keywords)


@dataclass(frozen=True)
class Subject:
    """A built network, in evaluation.

    Attributes:
        network: with random weights.
        calibration: float32, ``[16, ...]`` of each input.
        others: the same, to compare on.
    """

    network: nn.Module
    calibration: tuple[Tensor, ...]
    others: tuple[Tensor, ...]


def listed(file: Path = LIST) -> tuple[list[Listed], dict[str, str]]:
    """All networks of a list, and what is expected of each of its ``[subset]``."""
    corpora = tomllib.loads(file.read_text(encoding="utf-8"))
    subset = corpora.pop("subset", {})
    return [each for corpus, words in corpora.items() for each in _of(corpus, words)], subset


def _of(corpus: str, words: Mapping[str, Any]) -> Iterator[Listed]:
    common = {key: value for key, value in words.items() if key not in ("at", "own")}
    own = {name: {"shape": shape} for shape, names in words.get("at", {}).items() for name in names.split()}
    for name, its in sorted({**own, **words.get("own", {})}.items()):
        keywords = {**common.get("keywords", {}), **its.get("keywords", {})}
        its_own = {key: value for key, value in keywords.items() if value != "-"}
        yield Listed(corpus, name, {**common, **its, "keywords": its_own})


def enliven(network: nn.Module) -> None:
    """Values for parameters that are one number throughout, as untrained scales, biases and last layers are.

    Zeros that multiply as matrices do are drawn by their fan-in, zeros that are added small, all others near one.
    """
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            values = parameter.reshape(-1)
            if not parameter.is_floating_point() or len(values) < 2 or not bool((values == values[0]).all()):
                continue
            drawn = torch.randn_like(parameter)
            if float(values[0]) == 0 and parameter.dim() >= 2 and min(parameter.shape) > 1:
                parameter.copy_(drawn * (2 / parameter[0].numel()) ** 0.5)
            elif abs(float(values[0])) < 1e-3 and name.endswith("bias"):
                parameter.copy_(drawn * 0.05)
            else:
                parameter.copy_(torch.rand_like(parameter) + 0.5)


def give_statistics(network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Each batch norm's running statistics from these inputs; where they can't be computed, as they were."""
    norms = [each for each in network.modules() if isinstance(each, _BatchNorm) and each.running_mean is not None]
    before, momenta = {key: value.clone() for key, value in network.state_dict().items()}, [n.momentum for n in norms]
    for norm in norms:
        norm.momentum = None  # the mean of all batches
        norm.reset_running_stats()
        norm.train()
    try:
        with torch.no_grad():
            network(*inputs)
    except ValueError:  # a single value per channel
        network.load_state_dict(before)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
