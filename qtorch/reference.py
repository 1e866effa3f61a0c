"""A person's own network as PyTorch computes it in evaluation: what its capture is compared with.

It runs on a copy, so that nothing of the network that was handed in is changed: parameters are shared, all else is not.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qtorch.call_form import CallForm, flat_outputs

__all__ = ["Reference", "probes"]

#: Of the samples of a probe, how large numbers get: what clips, and what does nothing near zero, shows at some.
_SIZES = (1.0, 8.0, 0.1)


class Reference:
    """A network to be called again and again, each time as in evaluation.

    Args:
        net: the network.
        form: how it is called.
        dtype: in which it computes; parameters are copied where that is not float32.
    """

    def __init__(self, net: nn.Module, form: CallForm, dtype: torch.dtype = torch.float32) -> None:
        shared: dict[int, Any] = {id(each): each for each in net.parameters()} if dtype is torch.float32 else {}
        self.net, self.form, self.dtype = copy.deepcopy(net, shared).eval(), form, dtype
        if dtype is not torch.float32:
            self.net.to(dtype)
        #: Hooks of its layers that changed what they were shown, by layer and number.
        self.acting: set[tuple[str, int]] = set()
        for name, module in self.net.named_modules():
            for table in (module._forward_pre_hooks, module._forward_hooks):
                for number, hook in table.items():
                    table[number] = self._noting(name, number, hook)

    def _noting(self, name: str, number: int, hook: Any) -> Any:
        def noting(*arguments: Any, **named: Any) -> Any:
            result = hook(*arguments, **named)
            if result is not None:
                self.acting.add((name, number))
            return result

        return noting

    def run_network(self, inputs: Sequence[Tensor], seed: int = 0) -> tuple[Tensor, ...]:
        """Its outputs, without gradients; numbers that it draws are by ``seed``, which outside has no effect."""
        devices = sorted({each.device.index or 0 for each in inputs if each.is_cuda})
        # Copies, because a network may write into its input.
        call = self.form.arguments([each.to(self.dtype, copy=True) for each in inputs])
        with torch.no_grad(), torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            return tuple(each.detach().clone() for each in flat_outputs(self.net(*call.args, **call.kwargs)))

    def buffers(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Its buffers by name: the object, and a copy of its values."""
        return {name: (buffer, buffer.detach().clone()) for name, buffer in self.net.named_buffers()}

    def written(self, before: dict[str, tuple[Tensor, Tensor]]) -> str:
        """The name of the first buffer that is not what it was; empty where all are."""
        now = dict(self.net.named_buffers())
        for name, (was, values) in before.items():
            other = now.get(name)
            if other is not was or not _equal(other, values):
                return name
        return next((name for name in now if name not in before), "")

    def attributes(self) -> dict[str, Any]:
        """Its layers' own numbers, texts and tensors that are neither parameters nor buffers, by name."""
        return {
            f"{name}.{key}".lstrip("."): value.clone() if isinstance(value, Tensor) else value
            for name, module in self.net.named_modules()
            for key, value in vars(module).items()
            if isinstance(value, bool | int | float | str | Tensor) and not key.startswith("_")
        }


def _equal(a: Any, b: Tensor) -> bool:
    if not isinstance(a, Tensor) or a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool((torch.eq(a, b) | (torch.ne(a, a) & torch.ne(b, b))).all())


def probes(examples: Sequence[Tensor], count: int) -> tuple[Tensor, ...]:
    """Random inputs of ``count`` samples, float32, shaped like an example's, the first of them the example's own.

    Args:
        examples: a tensor per input, the batch's axis first.
        count: of samples.
    """
    generator = torch.Generator().manual_seed(count)
    found = []
    for example in examples:
        if not example.dim():
            found.append(example)
            continue
        values = torch.randn(count, *example.shape[1:], generator=generator)
        sizes = torch.tensor([_SIZES[index % len(_SIZES)] for index in range(count)])
        values *= sizes.reshape(-1, *[1] * (example.dim() - 1))
        values = values.to(example.device)
        if count > 1 and bool(torch.isfinite(example[:1]).all()):
            values[:1] = example[:1]
        found.append(values)
    return tuple(found)
