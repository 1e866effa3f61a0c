"""``python -m export profile MODEL.tflite``: what each layer and one inference take, counted on emulated machines."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from export.boards import BOARDS, Board, Supply, board
from export.command_line.reader import POSITIONAL, POSITIVE, read_options
from export.commands.summary import as_json, read_model
from export.console.page import Block, Line, Table, printable
from export.console.terminal import show
from export.cost.board_cost import span
from export.cost.layers import CALLING
from export.cost.machines import MachineProfile, all_machines
from export.cost.profile import Profile, file_profile, profile
from export.engines import tflm_absent
from export.engines.apart import EngineRefused
from export.faults.avoided import require_without_faults
from export.graph.ir import Graph
from export.parity.foreign import Judged, drawn, judged_by_tflm, told_by_tflm
from export.tflite.contents import read_contents
from export.tflite.entries import taken
from export.tflite.named_graph import named
from export.tflite.reader import read_tflite
from export.tflite.soundness import require_sound
from export.tflite.stored_proof import require_stored_proof
from export.tflite.summary import summarize
from firmware.emulation import MACHINES, Machine
from qtorch.errors import BadConfiguration, BadModelFile
from qtorch.lightning.command_line.option_errors import nearest

__all__ = ["ProfileOptions", "named", "profile_command", "profile_page"]


@dataclass(frozen=True)
class ProfileOptions:
    """MACs, parameters, bytes, arena; instructions or cycles of the plain C on emulated machines; estimated time and
    energy on boards, with every assumption beside it.

    Example:
        qtorch profile build/kws/kws.tflite
        qtorch profile build/kws/kws.tflite --board nano33ble --layers
        qtorch profile build/kws/kws.tflite --machine cortex_m4 --samples 2 --json

    Attributes:
        model: any .tflite file; the plain C takes the ops of this project.
        signature: which network, of a file that has several signatures; the first without it.
        machine: count on these alone.
        board: estimate for these alone; ``--target``, as it is called elsewhere, is the same.
        layers: also count each layer, within the whole program.
        samples: that each machine computes.
        optimize: what the C is chosen for.
        mhz: clock of all boards, instead of their own.
        milliamps: current of all boards at that clock, with --volts.
        volts: at which it was measured.
        cycles_per_instruction: where instructions are counted, instead of the bound of 1.
        json: for machines.

    Raises:
        BadConfiguration: an unknown machine or board, or half a supply.
    """

    model: Annotated[Path, POSITIONAL]
    signature: str = ""
    machine: tuple[str, ...] = ()
    board: tuple[str, ...] = ()
    layers: bool = False
    samples: Annotated[int, POSITIVE] = 8
    optimize: Literal["balanced", "size", "speed", "ram"] = "balanced"
    mhz: Annotated[float, POSITIVE] | None = None
    milliamps: Annotated[float, POSITIVE] | None = None
    volts: Annotated[float, POSITIVE] | None = None
    cycles_per_instruction: Annotated[float, POSITIVE] | None = None
    json: bool = False

    def __post_init__(self) -> None:
        _require_known("--machine", self.machine, _counting())
        for name in self.board:
            board(name, "--board", _with_clock())
        if (self.milliamps is None) != (self.volts is None):
            raise BadConfiguration(
                where="--milliamps, --volts", expected="both or neither", got=f"{self.milliamps} mA, {self.volts} V",
                remedy="give the current and the voltage at which it was measured",
            )  # fmt: skip


def profile_command(arguments: Sequence[str]) -> None:
    """Print a model's profile.

    Raises:
        BadModelFile: the file can't be read, is no complete .tflite file, or has other weights than its metadata names.
        BadConfiguration: an unknown machine or board, or half a supply.
        ParityError: a machine computed something else than the reference.
    """
    words = [
        f"--board{word.removeprefix('--target')}" if word.partition("=")[0] == "--target" else word
        for word in arguments
    ]
    options = read_options(ProfileOptions, words, "profile")
    machines = dict.fromkeys(options.machine or _counting())
    boards = [board(name, "--board", _with_clock()) for name in dict.fromkeys(options.board or _with_clock())]
    chosen = taken(read_model(options.model), options.signature, str(options.model))
    model = chosen.data
    if chosen.sentence:
        print(f"{options.model}: {printable(chosen.sentence)}", file=sys.stderr)
    counted = _profile(model, options, [MACHINES[name] for name in machines], boards)
    if options.json:
        print(as_json({"macs": counted.macs, **asdict(counted)}))
    else:
        show(profile_page(counted))


def _require_known(option: str, asked: Sequence[str], known: Sequence[str]) -> None:
    for name in asked:
        if name not in known:
            alike = nearest(name, known, 0.5)
            raise BadConfiguration(
                where=option, expected=f"one of {', '.join(known)}", got=repr(name),
                remedy=f"{alike}, or leave the option out for all" if alike else
                "choose one, or leave the option out for all",
            )  # fmt: skip


def _counting() -> list[str]:
    """Names of the machines that count."""
    return [machine.name for machine in all_machines()]


def _with_clock() -> list[str]:
    """Names of the boards that have a time: the host has none."""
    return [name for name, each in BOARDS.items() if each.clock_hz is not None]


def _profile(model: bytes, options: ProfileOptions, machines: Sequence[Machine], boards: Sequence[Board]) -> Profile:
    where = str(options.model)
    # First, so that what is cut off, or no model at all, is told apart from what is not supported.
    summary = summarize(model, where)
    require_stored_proof(model, summary, where)
    require_sound(read_contents(model, where), where)
    try:
        graph = read_tflite(model, where, aligned=False)
        judged = _judged(model, graph, options.samples, where)
    except EngineRefused as refused:
        reason = refused.words if summary.form.is_integers else summary.form.sentence
        return file_profile(model, summary, f"no C of this file: {printable(reason)}", machines, boards)
    except BadModelFile as unknown:
        integers = summary.form.is_integers
        reason = told_by_tflm(unknown, model, where).got if integers else summary.form.sentence
        return file_profile(model, summary, f"no C of this file: {printable(reason)}", machines, boards)
    return profile(
        model,
        named(graph, model),
        machines,
        boards,
        samples=options.samples,
        optimize=options.optimize,
        each_layer=options.layers,
        supply=None
        if options.milliamps is None or options.volts is None
        else Supply(options.milliamps, options.volts, None, "as given"),
        clock_hz=None if options.mhz is None else round(options.mhz * 1e6),
        cycles_per_instruction=options.cycles_per_instruction,
        judged=judged,
    )


def _judged(model: bytes, graph: Graph, samples: int, where: str) -> Judged | None:
    """What TFLite Micro, which ran apart, says of a file that may be anybody's; ``None`` of floats, and without it.

    Raises:
        EngineRefused: it does not run the file.
        BadModelFile: the reference can't compute it.
        ParityError: an output differs.
    """
    if tflm_absent() or graph.has_float_nodes:
        return None
    require_without_faults(model, where)
    return judged_by_tflm(model, graph, drawn(graph, samples), where=where)


def profile_page(costs: Profile) -> Iterator[Block]:
    """Tables for people; what was not run is marked."""
    machines = [machine for machine in costs.machines if machine.layers]
    cycled = [machine for machine in machines if machine.layer_cycles]
    counting = (*(m.machine for m in machines), *(f"{m.machine}, cycles >=" for m in cycled))
    columns = [_whole(each) for each in (*(m.layers for m in machines), *(m.layer_cycles for m in cycled))]
    head = ("#", "op", "tensor", "output", "MACs", "parameters", "bytes", "activations", *counting)
    rows = tuple(
        (
            *(layer.index, layer.op, layer.name, "x".join(map(str, layer.output)), _count(layer.macs)),
            *(f"{layer.parameters:,}", f"{layer.constant_bytes:,}", f"{layer.activation_bytes:,}"),
            *(f"{each.get(layer.index, 0):,}" for each in columns),
        )
        for layer in costs.layers
    )
    if machines:
        rest = (f"{each[-1]:,}" for each in columns)
        rows = (*rows, ("", "the call, and copies of outputs and states", *[""] * 6, *rest))
    uncounted = [layer.op for layer in costs.layers if layer.macs is None]
    sums = [sum(getattr(layer, name) for layer in costs.layers) for name in ("parameters", "constant_bytes")]
    macs = f"{'>= ' if uncounted else ''}{costs.macs:,}"
    # What other subgraphs hold is not looked at.
    more = ">= " if {layer.op.upper() for layer in costs.layers} & CALLING else ""
    counts = (f"{sum(each.values()):,}" for each in columns)
    total = ("", "all", "", "", macs, *(f"{more}{n:,}" for n in sums), "", *counts)
    yield Table(head, "rlllrrrr" + "r" * len(counting), (*rows, total), "layers")
    yield Line()
    yield from _of_layers(costs)
    if uncounted:
        yield Line(f"no formula for the MACs of {', '.join(dict.fromkeys(uncounted))}", "attention")
    yield Line(f"{costs.model_bytes:,} bytes of model file")
    if costs.arena_bytes is None:
        yield Line(f"arena: {costs.arena_absent}", "attention")
    else:
        yield Line(f"{costs.arena_bytes:,} bytes of arena (64-bit, reference kernels), the smallest that is accepted")
    counted = [machine for machine in costs.machines if not machine.absent]
    if counted:
        yield Line()
        yield Line("plain C, one inference, every output equal to the reference", "heading")
        if costs.judged is None:
            absent = tflm_absent() or "computes floats, which are not compared exactly"
            yield Line(f"the reference itself is not held against TFLite Micro: {absent}", "attention")
        else:
            yield Line(f"TFLite Micro gives what the reference does: {costs.judged.samples} samples, all outputs")
        head = ("machine", "counted", "", "per MAC", "cycles", "per MAC", "flash", "RAM", "stack")
        yield Table(head, "lrlrrrrrr", tuple(_row(each, costs.macs) for each in counted), "emulated machines")
        yield from _of_cycles(counted)
    for absent in dict.fromkeys(machine.absent for machine in costs.machines if machine.absent):
        names = ", ".join(machine.machine for machine in costs.machines if machine.absent == absent)
        yield Line(f"{names}: not run: {absent}", "attention")
    if costs.boards and counted:
        yield Line()
        yield Table(
            ("board", "ms", "", "uJ", "assuming"),
            "lrlrl",
            tuple(
                (b.board, _times(b.milliseconds, b.most), b.time_is, _short(b.microjoules), b.assumptions)
                for b in costs.boards
            ),
            "estimates for boards",
        )


def _whole(counted: Mapping[int, float]) -> dict[int, int]:
    """Means over samples as whole numbers, whose sum is that of the means."""
    ends = [0, *(round(end) for end in itertools.accumulate(counted.values()))]
    return {index: last - first for index, (first, last) in zip(counted, itertools.pairwise(ends), strict=True)}


def _of_layers(costs: Profile) -> Iterator[Block]:
    """Where layers were asked for and not counted."""
    if not any(machine.layers for machine in costs.machines):
        return
    for machine in costs.machines:
        if machine.absent:
            continue
        if not machine.layers:
            yield Line(f"layers on {machine.machine}: unknown: {machine.uncounted}", "attention")


def _row(machine: MachineProfile, macs: int) -> tuple[object, ...]:
    per_mac = "" if machine.per_mac is None else f"{machine.per_mac:.2f}"
    figures = (f"{n:,}" for n in (machine.flash, machine.ram, machine.stack))
    cycles = machine.cycles_of("")
    if cycles is not None:
        taken = span(cycles.least, cycles.most)
        each = _ratios(cycles.least / macs, None if cycles.most is None else cycles.most / macs) if macs else ""
    else:
        taken, each = ("as counted", per_mac) if machine.unit == "cycles" else ("unknown", "")
    return (machine.machine, f"{machine.median:,.0f}", machine.unit, per_mac, taken, each, *figures)


def _ratios(least: float, most: float | None) -> str:
    """Example:
    >>> _ratios(1.234, 1.5), _ratios(2, 2), _ratios(2, None)
    ('1.23 to 1.50', '2.00', '>= 2.00')
    """
    if most is None:
        return f">= {least:.2f}"
    return f"{least:.2f}" if f"{least:.2f}" == f"{most:.2f}" else f"{least:.2f} to {most:.2f}"


def _of_cycles(counted: Sequence[MachineProfile]) -> Iterator[Block]:
    """What the cycles take for granted, and why there are none."""
    said: dict[str, list[str]] = {}
    for machine in counted:
        cycles = machine.cycles_of("")
        if cycles is not None:
            unknown = f"; one cycle each, for none is published: {', '.join(cycles.unknown)}" if cycles.unknown else ""
            said.setdefault(f"{cycles.assumption} ({cycles.source}){unknown}", []).append(machine.machine)
        elif machine.uncounted:
            said.setdefault(f"unknown: {machine.uncounted}", []).append(machine.machine)
    for words, names in said.items():
        yield Line(f"cycles of {', '.join(names)}: {words}")


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _times(least: float | None, most: float | None) -> str:
    if most is None or _short(least) == _short(most):
        return _short(least)
    return f"{_short(least)} to {_short(most)}"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
