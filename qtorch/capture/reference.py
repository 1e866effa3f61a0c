"""A person's own network as PyTorch computes it in evaluation: what its capture is compared with.

It runs on a copy that shares nothing, so that whatever its code does, the network that was handed in is as before.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from qtorch.capture.call_form import CallForm, tensors_in

__all__ = ["Reference", "copied", "probes", "same_values"]

#: Of the samples of a probe, how large numbers get: what clips, and what does nothing near zero, shows at some.
_SIZES = (1.0, 8.0, 0.1)


class Reference:
    """A network to be called again and again, each time as in evaluation.

    Args:
        net: the network.
        form: how it is called.
        dtype: in which it computes.
    """

    def __init__(self, net: nn.Module, form: CallForm, dtype: torch.dtype = torch.float32) -> None:
        self.made_of, self.form, self.dtype = net, form, dtype
        self.net = copied(net, ()).eval()
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
            before = _own_tensors(arguments[0])
            result = hook(*arguments, **named)
            # One that computes a weight from others, as those of pruning do, gives nothing back.
            if result is not None or _own_tensors(arguments[0]) != before:
                self.acting.add((name, number))
            return result

        return noting

    def run_network(self, inputs: Sequence[Tensor], seed: int = 0) -> tuple[Tensor, ...]:
        """Its outputs, without gradients; numbers that it draws are by ``seed``, which outside has no effect."""
        return self.run_as_it_is([each.to(self.dtype) if each.is_floating_point() else each for each in inputs], seed)

    def run_as_it_is(self, inputs: Sequence[Tensor], seed: int = 0) -> tuple[Tensor, ...]:
        """:meth:`run_network` of inputs in the types that they have."""
        devices = sorted({each.device.index or 0 for each in inputs if each.is_cuda})
        # Copies, because a network may write into its input.
        call = self.form.arguments([each.clone() for each in inputs])
        with torch.no_grad(), torch.random.fork_rng(devices):
            # Not torch.manual_seed, which asks every kind of device.
            torch.default_generator.manual_seed(seed)
            if devices:
                torch.cuda.manual_seed_all(seed)
            return tuple(each.detach().clone() for each in tensors_in(self.net(*call.args, **call.kwargs)))

    def tensors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Its parameters and buffers by name: the object, and a copy of its values."""
        return {name: (tensor, tensor.detach().clone()) for name, tensor in _named_tensors(self.net).items()}

    def written(self, before: dict[str, tuple[Tensor, Tensor]], *, alike: bool = False) -> str:
        """The name of the first parameter or buffer that is not what it was; empty where all are.

        With ``alike`` another tensor of the same values is what was there.
        """
        now = _named_tensors(self.net)
        for name, (was, values) in before.items():
            other = now.get(name)
            if (other is not was and not alike) or not same_values(other, values):
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


def _own_tensors(module: nn.Module) -> dict[str, int]:
    """Tensors of a module that are neither parameters nor buffers, by identity."""
    return {name: id(value) for name, value in vars(module).items() if isinstance(value, Tensor)}


def copied(net: nn.Module, shared: Iterable[Tensor]) -> nn.Module:
    """A copy of ``net`` in which some of its tensors are the same objects."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in shared}
    try:
        return _without_wrappers(copy.deepcopy(net, dict(memo)))
    except Exception:
        for module in net.modules():
            _prepare_for_copy(module, memo)
        return _without_wrappers(copy.deepcopy(net, memo))


def _prepare_for_copy(module: nn.Module, memo: dict[int, Any]) -> None:
    """Say of a module's own attributes what stands for those that can't be copied: themselves, tensors detached."""
    for attribute, value in vars(module).items():
        if attribute in ("_parameters", "_modules"):
            continue
        for leaf in pytree.tree_leaves(value):
            if isinstance(leaf, Tensor) and not leaf.is_leaf:
                # What pruning and the like compute anew in every call.
                memo[id(leaf)] = leaf.detach()
            elif not isinstance(leaf, Tensor | nn.Module):
                try:
                    copy.deepcopy(leaf, dict(memo))
                except Exception:
                    memo[id(leaf)] = leaf


def _without_wrappers(net: nn.Module) -> nn.Module:
    """The network with parts that were compiled as they were before."""
    for module in list(net.modules()):
        for name, child in module._modules.items():
            inside = None if child is None else child._modules.get("_orig_mod")
            if inside is not None:
                module._modules[name] = inside
    return net


def _named_tensors(net: nn.Module) -> dict[str, Tensor]:
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


def same_values(a: Any, b: Tensor) -> bool:
    """Whether ``a`` is a tensor of the shape, type and values of ``b``; NaN is NaN."""
    if not isinstance(a, Tensor) or a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.is_sparse or b.is_sparse:
        # Gradients of a table.
        a, b = a.to_dense(), b.to_dense()
    return bool((torch.eq(a, b) | (torch.ne(a, a) & torch.ne(b, b))).all())


def probes(examples: Sequence[Tensor], count: int) -> tuple[Tensor, ...]:
    """Random inputs of ``count`` samples, float32, or indices that the example has, shaped like its own, the first of
    them these.

    Args:
        examples: a tensor per input, the batch's axis first.
        count: of samples.
    """
    generator = torch.Generator().manual_seed(count)
    inputs = []
    for example in examples:
        if not example.dim():
            inputs.append(example)
            continue
        if not example.is_floating_point():
            # Of indices those that are known to be some.
            known = example.flatten().cpu()
            drawn = torch.randint(len(known), (count, *example.shape[1:]), generator=generator)
            inputs.append(known[drawn].to(example.device))
            continue
        values = torch.randn(count, *example.shape[1:], generator=generator)
        sizes = torch.tensor([_SIZES[index % len(_SIZES)] for index in range(count)])
        values *= sizes.reshape(-1, *[1] * (example.dim() - 1))
        values = values.to(example.device)
        if count > 1 and bool(torch.isfinite(example[:1]).all()):
            values[:1] = example[:1]
        inputs.append(values)
    return tuple(inputs)
