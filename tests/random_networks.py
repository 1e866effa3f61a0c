"""Whole networks as data that can be built, shrunk, and printed as the code of a module.

A program is a list of steps on numbered values; value 0 and perhaps 1 are the inputs. Every step knows the shape that
it gives, so that what is drawn fits together.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One call: ``expression`` with ``{0}``, ``{1}`` for its inputs and ``{self}`` for its module, if it has one.

    Statements may follow the expression, each on a line of its own; ``{new}`` there is the result's name.
    """

    expression: str
    inputs: tuple[int, ...]
    shape: Shape
    module: str = ""


@dataclass(frozen=True)
class Program:
    """A network: shapes of its inputs without the batch, steps, and which values it returns."""

    inputs: tuple[Shape, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    seed: int = 0

    def shape(self, value: int) -> Shape:
        """Of an input or a step's result, without the batch."""
        return self.inputs[value] if value < len(self.inputs) else self.steps[value - len(self.inputs)].shape

    def code(self) -> str:
        """The source of an ``nn.Module`` named Network."""
        first = len(self.inputs)
        names = [f"x{i}" for i in range(first + len(self.steps))]
        made, called = [], []
        for i, step in enumerate(self.steps):
            own = f"self.layer{first + i}"
            if step.module:
                made.append(f"        {own} = {step.module}")
            arguments = [names[value] for value in step.inputs]
            called.append(
                f"        {names[first + i]} = {step.expression.format(*arguments, self=own, new=names[first + i])}"
            )
        results = ", ".join(names[value] for value in self.outputs)
        lines = [
            "class Network(nn.Module):",
            "    def __init__(self):",
            "        super().__init__()",
            *made,
            "",
            f"    def forward(self, {', '.join(names[:first])}):",
            *called,
            f"        return {results if len(self.outputs) == 1 else f'({results})'}",
            "",
        ]
        return "\n".join(lines)

    def build(self) -> nn.Module:
        """The module, with weights, statistics and slopes of wild ranges."""
        source, file = self.code(), f"<network {self.seed}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        scope: dict[str, Any] = {"torch": torch, "nn": nn, "F": nn.functional}
        torch.manual_seed(self.seed)
        exec(compile(source, file, "exec"), scope)
        net: nn.Module = scope["Network"]()
        rng = np.random.default_rng(self.seed)
        with torch.no_grad():
            for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
                if tensor.dtype != torch.float32:
                    continue
                factor = 10.0 ** rng.uniform(-1.5, 1)
                if "running_mean" in name:
                    tensor.copy_(torch.randn(tensor.shape) * factor)
                elif "running_var" in name:
                    tensor.copy_(torch.rand(tensor.shape) * factor + 1e-3)
                else:
                    tensor.mul_(factor)
        return net.eval()

    def data(self, samples: int) -> tuple[Tensor, ...]:
        """Inputs of wild scale and offset."""
        rng = np.random.default_rng(self.seed + 1)
        torch.manual_seed(self.seed + 1)
        return tuple(
            torch.randn(samples, *shape) * float(10 ** rng.uniform(-2, 2)) + float(rng.normal())
            for shape in self.inputs
        )


def shrink(program: Program, fails: Callable[[Program], bool]) -> Program:
    """A program that still fails and has no step that can go."""
    while True:
        for smaller in _smaller(program):
            if _size(smaller) < _size(program) and fails(smaller):
                program = smaller
                break
        else:
            return program


def _size(program: Program) -> int:
    return len(program.steps) + len(program.outputs)


def _smaller(program: Program) -> Iterator[Program]:
    first = len(program.inputs)
    for i in range(len(program.steps)):
        yield pruned(replace(program, steps=program.steps[: i + 1], outputs=(first + i,)))
    for output in program.outputs:
        if len(program.outputs) > 1:
            yield pruned(replace(program, outputs=(output,)))
    for i, step in enumerate(program.steps):
        for source in step.inputs:
            if program.shape(source) == step.shape:
                yield pruned(_without(program, i, source))


def _without(program: Program, index: int, source: int) -> Program:
    """The program with a step's result replaced by one of its inputs."""
    gone = len(program.inputs) + index

    def renamed(value: int) -> int:
        value = source if value == gone else value
        return value - (value > gone)

    steps = tuple(replace(s, inputs=tuple(map(renamed, s.inputs))) for i, s in enumerate(program.steps) if i != index)
    return replace(program, steps=steps, outputs=tuple(dict.fromkeys(map(renamed, program.outputs))))


def pruned(program: Program) -> Program:
    """The program without steps that nothing uses."""
    first = len(program.inputs)
    for i in reversed(range(len(program.steps))):
        used = {value for step in program.steps for value in step.inputs} | set(program.outputs)
        if first + i not in used:
            program = _without(program, i, program.steps[i].inputs[0])
    return program
