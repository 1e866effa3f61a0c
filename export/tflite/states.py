"""Tensors that an operator keeps for itself: set to zeros before it, or carried from one run to the next.

The writer makes them of a row's cell; here they are found again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from export.tflite.file_data import FileSubgraph, FileTensor
from qtorch.row.row import TFLite

__all__ = ["Zeros", "cleared_states"]


def cleared_states(subgraph: FileSubgraph) -> frozenset[int]:
    """Variable tensors that a RESHAPE sets in every run."""
    made = (index for operator in subgraph.operators if operator.name == "RESHAPE" for index in operator.outputs)
    return frozenset(index for index in made if index >= 0 and subgraph.tensors[index].variable)


class Zeros:
    """The operators of a subgraph that set a state to zeros.

    Args:
        subgraph: of a file.
        constant: the contents of a tensor, ``None`` where it has none.

    Attributes:
        operators: they.
        tensors: the states, and the constants that they are set to.
    """

    def __init__(self, subgraph: FileSubgraph, constant: Callable[[FileTensor], np.ndarray | None]) -> None:
        self.subgraph = subgraph
        self.operators, self.tensors, self.states = [], set[int](), set[int]()
        for operator in subgraph.operators:
            if operator.name != "RESHAPE" or not all(subgraph.tensors[index].variable for index in operator.outputs):
                continue
            (source, *_), (state,) = operator.inputs, operator.outputs
            made, held = subgraph.tensors[source], subgraph.tensors[state]
            data = constant(made)
            zero = held.zero_point[0] if held.zero_point else 0
            if data is None or made.dtype != held.dtype or made.shape != held.shape or np.any(data != zero):
                raise ValueError(f"state {state}, which is set to something else than zeros")
            self.operators.append(operator)
            self.tensors |= {source, state}
            self.states.add(state)

    def take_out(self, cell: TFLite, inputs: list[int], output: FileTensor) -> dict[str, Any]:
        """Remove what an operator of this cell does not have as inputs of its row, and put states that are carried
        behind all others; the attributes that states say.

        Args:
            cell: of the row.
            inputs: indices of the operator's tensors; changed in place.
            output: the operator's first.

        Raises:
            ValueError: an input that has to be left out is there, or a state is missing, or has another grid, or some
                states begin anew and others do not.
        """
        attrs: dict[str, Any] = {}
        states = {state.position: state for state in cell.states}
        if states and max((*states, *cell.absent)) >= len(inputs):
            raise ValueError(f"{cell.operator} with {len(inputs)} inputs; expected {1 + max((*states, *cell.absent))}")
        carried: list[int] = []
        for position in sorted({*cell.absent, *states}, reverse=True):
            index = inputs.pop(position)
            if position not in states:
                if index != -1:
                    raise ValueError(f"{cell.operator} with input {position}")
                continue
            state = states[position]
            if index == -1:
                raise ValueError(f"{cell.operator} without a {state.name} state")
            if index not in self.states:
                carried.insert(0, index)
            tensor = self.subgraph.tensors[index]
            if state.dtype and tensor.scale:
                exponent = math.log2(tensor.scale[0])
                if tensor.dtype != state.dtype or exponent != int(exponent) or any(tensor.zero_point):
                    raise ValueError(f"a {state.name} state of {tensor.dtype} with scale {tensor.scale[0]}")
                attrs[state.attr] = int(exponent)
            elif state.always_carried:
                continue  # on a grid of its own
            elif tensor.grid != output.grid:
                raise ValueError(f"a {state.name} state on another grid than the output")
        if len(carried) not in (0, len(states)):
            raise ValueError(f"{cell.operator} of which some states begin anew in every run, and others do not")
        inputs += carried
        return attrs
