"""What lies on a device, in the place of a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from export.engines import Engine
from export.graph.encoding import codes_of, decoded
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.parity.judges import exact_judge
from qtorch.capture.call_form import tensors_in
from qtorch.capture.capture import CapturedNetwork

__all__ = ["DeviceNetwork"]


class DeviceNetwork(nn.Module):
    """Float tensors in and out like any network; what lies between runs on the judge, or the reference.

    On the reference where the judge rounds once, or there is none.

    Args:
        graph: of the model.
        model: its file.
        engine: another one to run it on.
        like: the network that it stands for, which knows the order of arguments that are given by name.
    """

    def __init__(self, graph: Graph, model: bytes, engine: Engine | None = None, like: nn.Module | None = None) -> None:
        super().__init__()
        self.graph, self.model = graph, model
        # Not as a child: it is not a part of it.
        self.__dict__["like"] = like
        self.engine = engine or exact_judge()

    def compile(self, *arguments: Any, **options: Any) -> None:
        """Nothing: a module that compiles its network meets this one in its place, and there is nothing to compile."""

    @torch.no_grad()
    def forward(self, *inputs: Any, **named: Any) -> Any:
        """float32 of the network's own shapes, ``[N, ...]`` each."""
        graph = self.graph
        like: nn.Module | None = self.__dict__["like"]
        codes = codes_of(graph, _tensors(like, inputs, named))
        if self.engine is not None:
            outputs = self.engine.run(self.model, codes)
        else:
            computed = interpret(graph, codes)
            outputs = tuple(computed[name] for name in graph.outputs)
        floats = [torch.from_numpy(array) for array in decoded(graph, outputs)]
        whole = tuple(floats) if len(floats) > 1 else floats[0]
        form = like.outputs if isinstance(like, CapturedNetwork) else None
        return whole if form is None else form.rebuilt(whole)


def _tensors(like: nn.Module | None, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """The tensors of a call, in the order of the device's inputs."""
    if not isinstance(like, CapturedNetwork):
        return tensors_in((inputs, named))
    return like.inputs_of(inputs[0]) if len(inputs) == 1 and not named else like.form.tensors(inputs, named)
