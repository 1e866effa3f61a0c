"""Other forms of ops: bit for bit the same integers by another op or geometry, for editions that compute one wrongly.

A form takes a checked graph of integers in TFLite's terms (:func:`export.graph.build.build`) and the names of the first
outputs of the nodes to be rewritten. Names of values that are there stay; a node that has no such form stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from export.graph.ir import Graph
from export.graph.passes.forms.behind_quantize import behind_quantize
from export.graph.passes.forms.convolution_of_rows import convolution
from export.graph.passes.forms.copied_rows import copied_rows
from export.graph.passes.forms.eight_bits import eight_bits
from export.graph.passes.forms.explicit_padding import explicit_padding
from export.graph.passes.forms.fused_with_zero import fused_with_zero
from export.graph.passes.forms.halves import halves
from export.graph.passes.forms.joined_axes import joined_axes
from export.graph.passes.forms.low_rank import low_rank
from export.graph.passes.forms.pieces import pieces
from export.graph.passes.forms.quantized_index import quantized_index
from export.graph.passes.forms.rank_2 import one_row, rank_2
from export.graph.passes.forms.rank_4 import rank_4
from export.graph.passes.forms.room_between_taps import room_between_taps
from export.graph.passes.forms.separate_activation import separate_activation
from export.graph.passes.forms.spread_input import spread_input
from export.graph.passes.forms.summed_by_convolution import summed_by_convolution
from export.graph.passes.forms.time_on_height import time_on_height
from export.graph.passes.forms.trimmed import trimmed
from export.graph.passes.forms.ungrouped import ungrouped
from export.graph.passes.forms.whole_quotients import whole_quotients

__all__ = ["OTHER_FORMS"]

#: By name, as faults name them.
OTHER_FORMS: Mapping[str, Callable[[Graph, frozenset[str]], Graph]] = {
    "convolution": convolution,
    "rank_2": rank_2,
    "one_row": one_row,
    "explicit_padding": explicit_padding,
    "trimmed": trimmed,
    "time_on_height": time_on_height,
    "ungrouped": ungrouped,
    "spread_input": spread_input,
    "copied_rows": copied_rows,
    "rank_4": rank_4,
    "low_rank": low_rank,
    "separate_activation": separate_activation,
    "whole_quotients": whole_quotients,
    "eight_bits": eight_bits,
    "quantized_index": quantized_index,
    "summed_by_convolution": summed_by_convolution,
    "pieces": pieces,
    "halves": halves,
    "fused_with_zero": fused_with_zero,
    "behind_quantize": behind_quantize,
    "joined_axes": joined_axes,
    "room_between_taps": room_between_taps,
}
