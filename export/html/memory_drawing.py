"""The memory plan as a picture: which bytes of working memory each tensor takes, from which step to which."""

from __future__ import annotations

from export.c.memory_plan import Buffer, MemoryPlan, plan
from export.html.markup import Markup, element, joined, shown

__all__ = ["drawn_memory"]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 360.0, 260.0, 52.0, 34.0, 8.0
_STEP = 60.0
#: Pixels of a digit or letter, at most, in the labels.
_LETTER = 5.6


def drawn_memory(buffers: tuple[Buffer, ...], placed: MemoryPlan | None = None) -> Markup:
    """One rectangle per tensor: steps to the right, addresses upwards."""
    layout = placed or plan(buffers)
    steps = max(buffer.last for buffer in buffers) + 1
    width = max(_WIDTH, _LEFT + steps * _STEP + 10)
    each, high = (width - _LEFT - 10) / steps, _HEIGHT - _TOP - _BOTTOM
    peak = max(1, layout.peak)
    drawn = []
    for index, buffer in enumerate(buffers):
        offset = layout.offsets[buffer.name]
        x, wide = _LEFT + buffer.first * each, (buffer.last - buffer.first + 1) * each
        top, tall = _TOP + (1 - (offset + buffer.size) / peak) * high, buffer.size / peak * high
        span = f"step {buffer.first}" if buffer.first == buffer.last else f"steps {buffer.first} to {buffer.last}"
        about = f"{buffer.name}: {buffer.size:,} bytes at {offset:,}, {span}"
        rectangle = element(
            "rect", element("title", about), x=x + 1, y=top, width=max(1.0, wide - 2), height=max(0.5, tall),
            class_=f"memory m{index % 4}",
        )  # fmt: skip
        size = f"{shown(buffer.size)} bytes"
        fitting = [label for label in (f"{buffer.name}, {size}", size) if len(label) * _LETTER <= wide - 4]
        text = [
            element("text", label, x=x + wide / 2, y=top + tall / 2 + 4, text_anchor="middle")
            for label in fitting[:1]
            if tall >= 13
        ]
        drawn.append(element("g", rectangle, *text))
    title = f"{len(buffers)} tensors in {layout.peak:,} bytes of working memory over {steps} steps"
    axes = [
        element("line", x1=_LEFT, x2=width - 10, y1=_HEIGHT - _BOTTOM, y2=_HEIGHT - _BOTTOM, class_="axis"),
        element("text", shown(layout.peak), x=_LEFT - 5, y=_TOP + 9, text_anchor="end"),
        element("text", "0", x=_LEFT - 5, y=_HEIGHT - _BOTTOM, text_anchor="end"),
        element("text", "address", transform="translate(11 120) rotate(-90)", text_anchor="middle", class_="label"),
        element("text", "step", x=(_LEFT + width) / 2, y=_HEIGHT - 4, text_anchor="middle", class_="label"),
        *(
            element("text", str(step), x=_LEFT + (step + 0.5) * each, y=_HEIGHT - _BOTTOM + 14, text_anchor="middle")
            for step in range(steps)
        ),
    ]
    svg = element(
        "svg", element("title", title), joined(*axes), joined(*drawn), viewBox=f"0 0 {width:g} {_HEIGHT:g}",
        width=width, height=_HEIGHT, role="img", aria_label=title, class_="plan",
    )  # fmt: skip
    return element("div", svg, class_="scroll", role="region", tabindex="0", aria_label="memory plan")
