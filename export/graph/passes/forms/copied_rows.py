"""RESIZE_NEAREST_NEIGHBOR by other flags that pick the same pixels, or by copies of rows and columns.

TFLite Micro took ``half_pixel_centers`` for false until February 2026.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten
from qtorch.ops.resize_nearest_neighbor import indices

__all__ = ["copied_rows"]


def copied_rows(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Without ``half_pixel_centers`` where ``align_corners`` says the same; else rows are copied, then columns.

    Pixels that all stand there as often are joined with themselves between RESHAPEs, others cut out in runs.
    """
    return rewritten(graph, outputs, _copied_rows)


def _copied_rows(draft: Draft, node: Node) -> bool:
    if node.op != "resize_nearest_neighbor":
        return False
    source, size, stem = node.inputs[0], node.attrs["size"], node.output
    image = draft.shape(source)[1:3]
    flags = {name: node.attrs[name] for name in ("align_corners", "half_pixel_centers")}
    picked = _picked(image, size, **flags)
    if flags["half_pixel_centers"]:
        for align in (False, True):
            other = {"align_corners": align, "half_pixel_centers": False}
            if _picked(image, size, **other) == picked:
                draft.nodes.append(replace(node, attrs={**node.attrs, **other}))
                return True
    # The axis that shrinks more is taken first, so that less is copied.
    first, second = sorted((1, 2), key=lambda axis: size[axis - 1] / image[axis - 1])
    for axis in (first, second):
        source = _along(draft, source, axis, picked[axis - 1], f"{stem}.{'rows' if axis == 1 else 'columns'}")
    draft.reshape(source, draft.shape(stem), output=stem)
    return True


def _picked(image: tuple[int, ...], size: tuple[int, int], **flags: bool) -> list[list[int]]:
    return [indices(n, o, **flags).tolist() for n, o in zip(image, size, strict=True)]


def _along(draft: Draft, source: str, axis: int, picked: list[int], stem: str) -> str:
    """``source`` with the given rows or columns, in their order."""
    times = len(picked) // len(set(picked))
    different = picked[::times]
    if [index for index in different for _ in range(times)] != picked:
        times, different = 1, picked
    parts = [_run(draft, source, axis, run, stem) for run in _runs(different)]
    joined = draft.join(parts, axis, stem=f"{stem}.joined")
    if times == 1:
        return joined
    shape = draft.shape(joined)
    outer = shape[1] if axis == 1 else shape[1] * shape[2]
    inner = shape[2] * shape[3] if axis == 1 else shape[3]
    each = draft.reshape(joined, (1, outer, 1, inner), stem=f"{stem}.each")
    several = draft.join([each] * times, 2, stem=f"{stem}.several")
    larger = (*shape[:axis], shape[axis] * times, *shape[axis + 1 :])
    return draft.reshape(several, larger, stem=f"{stem}.larger")


def _runs(picked: list[int]) -> list[range]:
    """Consecutive indices with one step, as few as it takes from the front."""
    runs, begin = list[range](), 0
    while begin < len(picked):
        end, step = begin + 1, 1
        if end < len(picked) and picked[end] > picked[begin]:
            step = picked[end] - picked[begin]
            steps = [b - a for a, b in pairwise(picked[begin:])]
            end += next((i for i, n in enumerate(steps) if n != step), len(steps))
        runs.append(range(picked[begin], picked[end - 1] + 1, step))
        begin = end
    return runs


def _run(draft: Draft, source: str, axis: int, run: range, stem: str) -> str:
    shape = draft.shape(source)
    size = (*shape[:axis], len(run), *shape[axis + 1 :])
    begin = [0, 0, 0, 0]
    begin[axis] = run.start
    if run.step == 1 or len(run) == 1:
        return draft.cut(source, begin, size, stem=f"{stem}.run")
    end, strides = [1, *shape[1:]], [1, 1, 1, 1]
    end[axis], strides[axis] = run.stop, run.step
    box = {"begin": tuple(begin), "end": tuple(end), "strides": tuple(strides)}
    masks = {"begin_mask": 1, "end_mask": 1, "shrink_axis_mask": 0}
    return draft.op("strided_slice", {**box, **masks}, [source], size, stem=f"{stem}.run")
