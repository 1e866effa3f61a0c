"""What was captured is what the user wrote: the network and its capture compute the same, or the capture is refused.

Both run on random inputs, in evaluation, on batches of several sizes. They may differ by the order of float32 sums; how
much that is, is measured against the network in float64 where the first look does not suffice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import module as _everywhere
from torch.overrides import TorchFunctionMode

from qtorch.capture.call_form import tensors_in
from qtorch.capture.nearness import NEAR, largest, same, within
from qtorch.capture.not_running import not_running
from qtorch.capture.recorded_calls import first_difference, recorded_calls
from qtorch.capture.reference import Reference, probes
from qtorch.errors import UnsupportedLayer
from qtorch.surroundings import evaluating

__all__ = ["difference", "require_captured"]

#: Where errors grow: how many times the network's own error in float32.
_TIMES = 32.0
#: Where the network does not run in float64 either.
_FAR = 1e-3
#: Of the largest number that goes in or comes out: what roundings may come to where terms cancel.
_LOUD = 1e-2
#: How often a prepared network is rounded otherwise; how often the network itself, of which each number is looked at.
_FEW, _MANY = 3, 8
#: Samples that are compared: so many, and more of small ones, since what saturates hides differences; and one, which is
#: what a device has.
_SAMPLES, _MOST, _NUMBERS = 3, 32, 2**11


def require_captured(
    prepared: fx.GraphModule, reference: Reference, examples: Sequence[Tensor], traced: Callable[[], fx.GraphModule]
) -> None:
    """Refuse a prepared network that is another function than the one that was handed in.

    Args:
        prepared: in float.
        reference: runs the network that it was made of.
        examples: a tensor per input.
        traced: makes the graph that was prepared anew, before anything of it was changed.

    Raises:
        UnsupportedLayer: so it is; names the first call that gives something else, and its line.
        BadConfiguration: the network does not run on batches of another size than the example's.
    """
    numbers = sum(each[:1].numel() for each in examples)
    for count in (max(_SAMPLES, min(_MOST, _NUMBERS // max(1, numbers))), 1):
        inputs = probes(examples, count)
        try:
            expected = reference.run_network(inputs)
        except Exception as error:
            # Of one sample a network may think that it is no batch.
            if count == 1:
                return
            raise not_running(
                inputs,
                error,
                expected="a network that accepts batches of any size",
                remedy="keep the batch size out of the network's code, and a leading batch axis in the example",
            ) from error
        apart = difference(prepared, reference, inputs, expected)
        if apart:
            raise _different(prepared, reference, inputs, apart, traced())


def difference(prepared: nn.Module, reference: Reference, inputs: Sequence[Tensor], expected: Sequence[Tensor]) -> str:
    """In words by how much a prepared network's outputs in float differ from ``expected``; empty where they don't.

    Args:
        prepared: computes in float; compared in evaluation.
        reference: for its outputs in float64, where they are needed.
        inputs: a tensor per input.
        expected: the network's own outputs.
    """
    with torch.no_grad(), evaluating(prepared):
        try:
            got = tensors_in(prepared(*(each.clone() for each in inputs)))
        except Exception as error:
            return f"a failure: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if len(got) != len(expected):
        return f"{len(got)} outputs instead of {len(expected)}"
    if len(inputs[0]) == 1:
        got = tuple(g.reshape(e.shape) if g.numel() == e.numel() else g for g, e in zip(got, expected, strict=True))
    shapes = [(tuple(e.shape), tuple(g.shape)) for e, g in zip(expected, got, strict=True) if e.shape != g.shape]
    if shapes:
        return f"an output of shape {shapes[0][1]} instead of {shapes[0][0]}"
    if all(within(e, g, NEAR * largest(e)) for e, g in zip(expected, got, strict=True)):
        return ""
    wide = _in_float64(reference, inputs)
    moved: list[tuple[Tensor, ...]] | None = None
    shaken: list[tuple[Tensor, ...]] | None = None
    size = max(float(largest(each).max()) for each in (*inputs, *expected) if each.numel())
    for index, (e, g) in enumerate(zip(expected, got, strict=True)):
        if not e.is_floating_point():
            # Of what lies as near as sums are exact, either is the largest.
            moved = moved if moved is not None else _moved(lambda given: _run(prepared, given), inputs, _FEW)
            others = [*(each[index].reshape(g.shape) for each in moved), g if wide is None else wide[index]]
            sure = torch.stack([each == g for each in others]).all(0)
            if bool(((e != g) & sure).any()):
                return f"output {index} is another index in {int((e != g).sum())} of {e.numel()} places"
            continue
        bound = _FAR * largest(e)
        if wide is not None:
            bound = NEAR * largest(e) + _TIMES * largest((e - wide[index]).to(e))
            e = torch.where(torch.isfinite(e), wide[index].to(e), e)
        if within(e, g, bound):
            continue
        moved = moved if moved is not None else _moved(lambda given: _run(prepared, given), inputs, _FEW)
        noise = _TIMES * max(float((each[index].reshape(g.shape).to(e) - g.to(e)).abs().max()) for each in moved)
        if noise <= _LOUD * size and within(e, g, bound + noise):
            continue
        shaken = shaken if shaken is not None else _moved(reference.run_network, inputs, _MANY)
        if not shaken or not within(e, g, bound + _TIMES * _spread(expected[index], [each[index] for each in shaken])):
            gap = torch.nan_to_num((e - g).abs(), posinf=float("inf"))
            return f"output {index} off by up to {float(gap.max()):.3g} of {float(largest(e).max()):.3g}"
    return ""


class _Roundings(TorchFunctionMode):
    """Whatever a function computes is moved by a step of float32, or not, at random; views and writes stay."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {each.untyped_storage().data_ptr() for each in tensors_in((args, kwargs or {}))}
        if type(result) in (tuple, list):
            return type(result)(self._moved(each, given) for each in result)
        return self._moved(result, given)

    def _moved(self, result: Any, given: set[int]) -> Any:
        if not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        if result.untyped_storage().data_ptr() in given:
            return result
        stays = torch.rand(result.shape, generator=self.generator).to(result.device) < 0.5
        return torch.where(stays, result, result * (1 + 2.0**-23))


def _moved(
    run: Callable[[Sequence[Tensor]], tuple[Tensor, ...]], inputs: Sequence[Tensor], times: int
) -> list[tuple[Tensor, ...]]:
    """A network's outputs where every result is rounded otherwise, several times; none where it does not run so.

    A normalization of values that are all the same is exactly 0 in one order of sums and far from it in another.
    """
    outputs = []
    for seed in range(times):
        with torch.no_grad(), _Roundings(seed):
            outputs.append(run(inputs))
    return outputs


def _run(prepared: nn.Module, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    with evaluating(prepared):
        return tensors_in(prepared(*(each.clone() for each in inputs)))


def _spread(value: Tensor, others: Sequence[Tensor]) -> Tensor:
    """By how much each number of an output moves when the network that gave it rounds otherwise.

    Number by number: one that is nothing but rounding excuses no other. Of numbers that are none, 0.
    """
    value = value.to(torch.float32)
    return torch.stack([torch.nan_to_num((each - value).abs(), 0.0, 0.0) for each in others]).amax(0)


def _in_float64(reference: Reference, inputs: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
    try:
        return Reference(reference.net, reference.form, torch.float64).run_network(inputs)
    except Exception:
        return None


def _different(
    prepared: fx.GraphModule, reference: Reference, inputs: Sequence[Tensor], apart: str, traced: fx.GraphModule
) -> UnsupportedLayer:
    wanted = recorded_calls(reference.net, lambda: reference.run_network(inputs))
    captured = recorded_calls(traced, lambda: traced(*(each.clone() for each in inputs)))
    call = first_difference(wanted, captured, same)
    hooked = [
        name or type(module).__name__
        for name, module in reference.net.named_modules()
        if module._forward_hooks or module._forward_pre_hooks
    ] + ["every module"] * bool(_everywhere._global_forward_hooks or _everywhere._global_forward_pre_hooks)
    if call is None and not hooked:
        return UnsupportedLayer(
            where=_first_other(prepared, traced, inputs),
            expected="a prepared network that computes in float what the network does",
            got=apart,
            remedy="this is a fault of qtorch: please report it with the network, and write that layer otherwise",
        )
    return UnsupportedLayer(
        where=type(reference.net).__name__ if call is None else f"call {call}",
        expected="a prepared network that computes in float what the network does",
        got=apart
        + ("" if call is None else "; this is the first call that gives something else, or that was not captured")
        + (f". There are hooks on {', '.join(map(repr, hooked[:3]))}" if hooked else ""),
        remedy="let layers change values, not hooks"
        if hooked
        else "write that line so that it does the same whoever calls it: without autocast, without asking whether "
        "something is a torch.Tensor, without branches on the size of the batch, and without hooks of all modules",
    )


def _first_other(prepared: fx.GraphModule, traced: fx.GraphModule, inputs: Sequence[Tensor]) -> str:
    """The first op whose result no call of the traced graph gives."""
    known: list[Tensor] = []

    class _Keeping(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            result = super().run_node(n)
            known.extend(tensors_in(result))
            return result

    with torch.no_grad(), evaluating(prepared):
        _Keeping(traced).run(*inputs)
        other: list[str] = []

        def look(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, arguments: object, result: object) -> None:
                if not all(any(same(each, one) for one in known) for each in tensors_in(result)):
                    other.append(name)

            return hook

        called = [str(node.target) for node in prepared.graph.nodes if node.op == "call_module"]
        hooks = [prepared.get_submodule(name).register_forward_hook(look(name)) for name in called]
        try:
            prepared(*inputs)
        except Exception:
            pass
        finally:
            for hook in hooks:
                hook.remove()
    return f"layer {other[0]!r}" if other else type(prepared).__name__
