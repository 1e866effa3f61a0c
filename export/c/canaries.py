"""A memory plan put to the proof: what it says is needed no more is overwritten, and all else has to stay as it is.

The generated C runs on this machine with a look before and behind every operator, and every row of those that are
computed row by row. Before it, each byte that holds nothing that is needed gets a canary; behind it, no byte may be
another one than before but those that the operator writes. Two runs have canaries that differ in every bit: what each
operator and row makes, and each sum over rows, has to be the same in both, whether it reaches an output or not. That
and outputs that are as the integers say prove that no kernel hangs on what the plan gives away, and that none writes
beside its own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from export.c.compiled import build_c, run_built
from export.c.memory_plan import Buffer, MemoryPlan
from export.c.network import CNetwork, RowLoop, Step
from export.c.placement import ByRows, scratch_of, sums_of
from export.c.scratch_arrays import array_bytes
from export.c.source import Watch, c_source
from export.graph.interpret import interpret, interpret_sequence
from qtorch.errors import ParityError

__all__ = ["disjoint", "require_disjoint", "require_sound_plan", "watch_of"]

#: Any that differ in every bit from one another, so that no code is a canary in both runs. Bytes beside one another get
#: others: a softmax of numbers that are all alike hangs on none of them.
_CANARIES = (0x5A, 0xA5)

_HANGS = "hangs on bytes of working memory that the plan gives to others"

_WATCH = """\
static const int32_t watched_live[] = {{{live}}};
static const int32_t watched_live_at[] = {{{live_at}}};
static const int32_t watched_written[] = {{{written}}};
static const int32_t watched_written_at[] = {{{written_at}}};
static uint8_t watched_copy[{size}], watched_mark[{size}], watched_canary;
static uint32_t watched_sums[2][{steps}];
static int32_t watched_fault = -1, watched_run;

static uint8_t *watched_byte(int32_t i) {{
  {byte}
}}

static void watched_marks(const int32_t *ends, int32_t first, int32_t last) {{
  memset(watched_mark, 0, {size});
  for (int32_t i = first; i < last; i += 2) memset(watched_mark + ends[i], 1, (size_t)(ends[i + 1] - ends[i]));
}}

static void watched_before(int32_t step) {{
  watched_marks(watched_live, watched_live_at[step], watched_live_at[step + 1]);
  for (int32_t i = 0; i < {size}; ++i) {{
    if (!watched_mark[i]) *watched_byte(i) = (uint8_t)(watched_canary ^ (73 * i));
    watched_copy[i] = *watched_byte(i);
  }}
}}

static void watched_behind(int32_t step) {{
  watched_marks(watched_written, watched_written_at[step], watched_written_at[step + 1]);
  for (int32_t i = 0; i < {size}; ++i) {{
    if (watched_fault < 0 && !watched_mark[i] && *watched_byte(i) != watched_copy[i]) watched_fault = step;
  }}
}}

static void watched_made(int32_t step, const void *made, int32_t size) {{
  uint32_t *sum = watched_sums[watched_run] + step;
  for (int32_t i = 0; i < size; ++i) *sum = (*sum ^ ((const uint8_t *)made)[i]) * 16777619u;
}}

// Begins another run. Returns the step of the last one that wrote beside its own, or -1.
int32_t {name}_watched(uint8_t canary);
int32_t {name}_watched(uint8_t canary) {{
  const int32_t fault = watched_fault;
  watched_canary = canary;
  watched_fault = -1;
  watched_run ^= 1;
  memset(watched_sums[watched_run], 0, sizeof watched_sums[0]);
  return fault;
}}

// Returns the first step that made something else in one of the last two runs than in the other, or -1.
int32_t {name}_differs(void);
int32_t {name}_differs(void) {{
  for (int32_t i = 0; i < {steps}; ++i) {{
    if (watched_sums[0][i] != watched_sums[1][i]) return i;
  }}
  return -1;
}}
"""


def require_sound_plan(name: str, network: CNetwork, inputs: tuple[np.ndarray, ...]) -> None:
    """Run a network's C on samples with canaries.

    Args:
        name: of the model, an identifier.
        network: made for a processor whose kernels this machine's compiler takes.
        inputs: codes, ``[samples, *shape[1:]]`` each.

    Raises:
        ParityError: an operator writes beside its outputs or hangs on what is not its own, or an output is not what the
            integers say.
    """
    graph = network.graph
    expected = interpret_sequence(graph, inputs) if graph.states else interpret(graph, inputs)
    source = c_source(name, network, watch=watch_of(name, network))
    library = build_c({name: (source.files, graph)}, ("-std=c99", "-O1"))
    watched, differs = (getattr(library, f"{name}_{what}") for what in ("watched", "differs"))
    watched(ctypes.c_uint8(_CANARIES[0]))
    runs = []
    for following in (_CANARIES[1], None):
        runs.append(run_built(library, name, graph, inputs))
        step = -1 if following else differs()
        fault = watched(ctypes.c_uint8(following or 0))
        if fault >= 0:
            raise ParityError(f"plain C: {_named(network, fault)} writes into working memory beside its own")
        if step >= 0:
            raise ParityError(f"plain C: {_named(network, step)} {_HANGS}")
    for outputs in runs:
        for output, got in zip(graph.outputs, outputs, strict=True):
            if not np.array_equal(got, expected[output]):
                raise ParityError(f"plain C: output {output!r} {_HANGS}")


def _named(network: CNetwork, step: int) -> str:
    lives = network.placement.lifetimes
    index = next(i for i, end in enumerate(lives.ends) if step <= end)
    for item in network.run:
        if isinstance(item, RowLoop) and lives.starts[item.part.section.first] == lives.starts[index]:
            schedule = item.part.schedule
            index = item.part.section.nodes[schedule.order[step - lives.starts[index]]].index
    node = network.graph.nodes[index]
    return f"{node.op} of {node.output!r}"


@dataclass(frozen=True)
class _Span:
    """Bytes of working memory, from the first to the one behind the last."""

    first: int
    behind: int


def watch_of(name: str, network: CNetwork) -> Watch:
    """What is live, and what may be written, at every step of a network."""
    lives = network.placement.lifetimes
    steps = lives.ends[-1] + 1
    live: list[list[_Span]] = [[] for _ in range(steps)]
    for buffer in lives.buffers:
        offset = network.plan.offsets[buffer.name]
        held = buffer.bytes_held(buffer.first, buffer.last)
        for step, (low, high) in enumerate(held.tolist(), buffer.first):
            if low < high:
                live[step].append(_Span(offset + low, offset + high))
    written: list[list[_Span]] = [[] for _ in range(steps)]
    for step, spans in _written(network):
        written[step] += spans
    tables = {}
    for table, lists in (("live", live), ("written", written)):
        ends = np.cumsum([0, *(2 * len(each) for each in lists)])
        tables[table] = ", ".join(f"{s.first}, {s.behind}" for each in lists for s in each) or "0"
        tables[f"{table}_at"] = ", ".join(map(str, ends.tolist()))
    size = sum(array_bytes(network.plan).values())
    text = _WATCH.format(name=name, size=size, steps=steps, byte=_byte(network.plan), **tables)
    return Watch(text, tuple(lives.starts))


def _byte(plan: MemoryPlan) -> str:
    """The address of a byte of working memory, by its number in the plan."""
    if plan.fast is None or plan.fast >= plan.peak:
        return "return (uint8_t *)scratch + i;"
    slow = f"(uint8_t *)scratch_slow + i - {plan.fast}"
    return f"return i < {plan.fast} ? (uint8_t *)scratch + i : {slow};" if plan.fast else f"return {slow};"


def _written(network: CNetwork) -> Iterator[tuple[int, list[_Span]]]:
    lives = network.placement.lifetimes
    buffers = {buffer.name: buffer for buffer in lives.buffers}
    for item in network.run:
        if isinstance(item, Step):
            own = [*(lives.names.get(name, "") for name in item.node.outputs), scratch_of(item.index)]
            spans = [_whole(network, buffers[name]) for name in own if name in buffers]
            yield lives.starts[item.index], spans
        else:
            yield from _written_by_rows(network, item.part, buffers)


def _whole(network: CNetwork, buffer: Buffer) -> _Span:
    offset = network.plan.offsets[buffer.name]
    return _Span(offset, offset + buffer.size)


def _written_by_rows(network: CNetwork, part: ByRows, buffers: dict[str, Buffer]) -> Iterator[tuple[int, list[_Span]]]:
    section, start = part.section, network.placement.lifetimes.starts[part.section.first]
    for step, place in enumerate(part.schedule.order):
        index = section.nodes[place].index
        spans = [_whole(network, buffers[name]) for name in (scratch_of(index), sums_of(index)) if name in buffers]
        for name in network.graph.nodes[index].outputs:
            if name not in network.placement.lifetimes.names:
                continue  # What a state becomes lies where the state does.
            low, made = map(int, part.schedule.needed[name][step])
            if name not in section.kept:
                spans += [_whole(network, buffers[name])] if low < made else []
                continue
            each, size = section.row_bytes[name], network.graph.values[name].bytes
            offset = network.plan.offsets[network.placement.lifetimes.names[name]]
            spans += [_Span(offset + (made - 1) * each, offset + min(made * each, size))] if made else []
        yield start + step, spans


def require_disjoint(network: CNetwork) -> None:
    """What is needed at the same time lies apart, on every processor: what the plan says of itself, without a run.

    Raises:
        ParityError: two things lie on one another.
    """
    if wrong := disjoint(network):
        raise ParityError(f"plain C: in working memory lie on one another: {'; '.join(wrong[:3])}")


def disjoint(network: CNetwork) -> Sequence[str]:
    """Of every step in which two things that are needed lie on one another, a sentence; of a plan there are none."""
    lives, wrong = network.placement.lifetimes, []
    for i, one in enumerate(lives.buffers):
        for other in lives.buffers[:i]:
            first, last = max(one.first, other.first), min(one.last, other.last)
            begin, there_begin = (network.plan.offsets[each.name] for each in (one, other))
            if first > last or begin >= there_begin + other.size or there_begin >= begin + one.size:
                continue
            here = one.bytes_held(first, last) + begin
            there = other.bytes_held(first, last) + there_begin
            held = (here[:, 0] < here[:, 1]) & (there[:, 0] < there[:, 1])
            on = held & (here[:, 0] < there[:, 1]) & (there[:, 0] < here[:, 1])
            if on.any():
                wrong.append(f"{one.name} and {other.name} at step {first + int(on.argmax())}")
    return wrong
