"""A prepared network in FLOAT mode against the module that it was made of: the same numbers, or a refusal.

``python -m tests.module_oracle --count 10000 --first 1000000`` judges networks drawn at random, nothing exported, and
ends in exit code 1 where one differs; a difference is shrunk and printed as code.

Both sides compute in float32, and batch norm is folded on one of them, so sums differ by their order and by a rounding
or two: some 1e-6 of the largest number of a tensor. Where terms cancel or a tensor without variance is normalized it is
more; how much more, the module itself tells, with every function's result moved by a rounding.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import qtorch
from qtorch.errors import BadInput
from tests.random_drawing import FURTHER, draw
from tests.random_networks import Program, shrink

#: Of a tensor's largest number. Eight bits above float32's resolution, below the effect of any other computation.
RELATIVE = 1e-5
#: How often what a rounding of each result does the difference may be: sums of many terms round as many times.
NOISE = 30
#: Share of the largest number that has to be left to tell right from wrong.
TELLING = 1e-2

Outputs = tuple[Tensor, ...]


def outputs(net: nn.Module, data: Sequence[Tensor]) -> Outputs:
    """What a network returns, as a tuple; ``data`` stays as it is whatever the network writes."""
    with torch.no_grad():
        found = net(*(x.clone() for x in data))
    return tuple(found) if isinstance(found, tuple | list) else (found,)


class _Jittered(TorchFunctionMode):
    """What every function returns is moved up or down by one rounding of float32, in place: views stay views."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, tuple | list) else (found,):
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                up = torch.rand(tensor.shape, generator=self.generator) < 0.5
                tensor.mul_(torch.where(up, 1 + 2.0**-23, 1 - 2.0**-23))
        return found


def difference(net: nn.Module, expected: Outputs, got: Outputs, data: Sequence[Tensor]) -> str:
    """``""`` where the same was computed, ``"unjudged: ..."`` where float32 can't tell, or where the two part.

    Args:
        net: the module, which is run again where they part.
        expected: its outputs for ``data``.
        got: the prepared network's.
        data: inputs.
    """
    if [t.shape for t in got] != [t.shape for t in expected]:
        return f"shapes {[tuple(t.shape) for t in got]}, module {[tuple(t.shape) for t in expected]}"
    if all(_off(a, b) <= RELATIVE * _size(b) for a, b in zip(got, expected, strict=True)):
        return ""
    moved = []
    for seed in range(3):
        with _Jittered(seed):
            moved.append(outputs(copy.deepcopy(net), data))
    unjudged = ""
    for i, (found, right, *others) in enumerate(zip(got, expected, *moved, strict=True)):
        off, size, noise = _off(found, right), _size(right), NOISE * max(_off(other, right) for other in others)
        if off > RELATIVE * size + noise:
            return f"output {i} is off by {off:.3g} of {size:.3g}"
        if noise > TELLING * size:
            unjudged = f"unjudged: roundings move output {i} by {noise / NOISE:.3g} of {size:.3g}"
    return unjudged


def _off(found: Tensor, right: Tensor) -> float:
    """The largest difference; infinite where one is no number and the other is."""
    if not found.numel():
        return 0.0
    far = (found.double() - right.double()).abs()
    far = torch.where((found == right) | (found.isnan() & right.isnan()), 0.0, far)
    return float(far.nan_to_num(nan=float("inf")).max())


def _size(tensor: Tensor) -> float:
    finite = tensor[tensor.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0


def verdict(program: Program) -> str:
    """``"same"``, ``"refused: ..."``, ``"unjudged: ..."``, or what is wrong."""
    net, data = program.build(), program.data(8)
    try:
        expected = outputs(net, data)
    except RuntimeError as error:
        # PyTorch itself has no result: there is nothing to be like.
        return f"unjudged: {error}"
    try:
        qat = qtorch.prepare(net, tuple(x[:1].clone() for x in data)).eval()
    except BadInput as error:
        # That what was prepared is another function is refused, and still ours to mend where no code of its caused it.
        return f"{'' if 'fault of qtorch' in str(error) else 'refused: '}{error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return difference(net, expected, outputs(qat, data), data) or "same"


def wrong(program: Program) -> bool:
    return not verdict(program).startswith(("same", "refused", "unjudged"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge networks by their seeds and print what was found; 1 if one is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.module_oracle", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="how many networks (default: 10,000)")
    parser.add_argument("--first", type=int, default=FURTHER, help=f"the first one's seed (default: {FURTHER})")
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    started, kinds, failed = time.perf_counter(), Counter[str](), list[int]()
    refusals = Counter[str]()
    for seed in range(given.first, given.first + given.count):
        program = draw(seed)
        found = verdict(program)
        kind = found.split(":")[0] if found.startswith(("same", "refused", "unjudged")) else "wrong"
        kinds[kind] += 1
        if kind == "refused":
            refusals[found.split("expected")[-1].split(", got")[0].strip()] += 1
        if kind == "wrong":
            failed.append(seed)
            small = shrink(program, wrong)
            print(f"seed {seed}: {verdict(small)}\ninputs {small.inputs}\n{small.code()}", flush=True)
    last, took = given.first + given.count - 1, time.perf_counter() - started
    print(f"networks {given.first} to {last} against the module, {took:.0f} s:", dict(kinds))
    for reason, count in refusals.most_common():
        print(f"  refused {count} times: expected {reason}")
    print(f"  differences: {len(failed)}", f"seeds {failed}" if failed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
