"""``python -m export profile MODEL.tflite``: what each layer and one inference take, counted on emulated machines."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from export.boards import BOARDS, Supply, board
from export.inspection import as_json, read_model
from export.ir import Graph, Node
from export.page import Block, Line, Table
from export.profile import MachineProfile, Profile, all_machines, profile
from export.terminal import show
from export.tflite_reader import read_tflite
from export.tflite_summary import summarize
from firmware.emulation import MACHINES
from qtorch.errors import BadConfiguration

__all__ = ["named", "profile_command", "profile_page"]


def profile_command(arguments: Sequence[str]) -> None:
    """Print a model's profile.

    Raises:
        BadModelFile: the file can't be read, or holds what no row knows.
        BadConfiguration: an unknown machine or board, or half a supply.
        ParityError: a machine computed something else than the reference.
    """
    given = _parser().parse_args(arguments)
    model = read_model(given.model)
    graph = named(read_tflite(model, str(given.model)), model)
    for machine in given.machine or ():
        if machine not in MACHINES:
            raise BadConfiguration(
                where="--machine", expected=f"one of {', '.join(m.name for m in all_machines())}", got=repr(machine),
                remedy="choose one, or leave the option out for all",
            )  # fmt: skip
    if (given.milliamps is None) != (given.volts is None):
        raise BadConfiguration(
            where="--milliamps, --volts", expected="both or neither", got=f"{given.milliamps} mA, {given.volts} V",
            remedy="give the current and the voltage at which it was measured",
        )  # fmt: skip
    supply = None if given.milliamps is None else Supply(given.milliamps, given.volts, None, "as given")
    found = profile(
        model,
        graph,
        all_machines() if given.machine is None else [MACHINES[name] for name in given.machine],
        [board(name) for name in given.board] if given.board else tuple(BOARDS.values()),
        samples=given.samples,
        speed=given.optimize == "speed",
        each_layer=given.layers,
        supply=supply,
        clock_hz=None if given.mhz is None else round(given.mhz * 1e6),
        cycles_per_instruction=given.cycles_per_instruction,
    )
    if given.json:
        print(as_json({"macs": found.macs, **asdict(found)}))
    else:
        show(profile_page(found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export profile",
        description="MACs, parameters, bytes, arena; instructions or cycles of the plain C on emulated machines; "
        "estimated time and energy on boards, with every assumption beside it.",
    )
    parser.add_argument("model", type=Path, help="of this project's export, or of the same ops")
    parser.add_argument("--machine", action="append", help="count on this one alone; may be given several times")
    parser.add_argument("--board", action="append", help=f"estimate for this one alone: {', '.join(BOARDS)}")
    parser.add_argument("--layers", action="store_true", help="also count each layer by itself (slow)")
    parser.add_argument("--samples", type=_positive_int, default=8, help="that each machine computes")
    parser.add_argument("--optimize", choices=("size", "speed"), default="size")
    parser.add_argument("--mhz", type=_positive, help="clock of all boards, instead of their own")
    parser.add_argument("--milliamps", type=_positive, help="current of all boards at that clock, with --volts")
    parser.add_argument("--volts", type=_positive)
    parser.add_argument("--cycles-per-instruction", type=_positive, default=1.0, help="where instructions are counted")
    parser.add_argument("--json", action="store_true", help="for machines")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
    return value


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {text}")
    return value


def named(graph: Graph, model: bytes) -> Graph:
    """A graph that was read from a file, its tensors called as the file does where each name is there once."""
    names = [tensor.name for tensor in summarize(model).subgraphs[0].tensors]
    called = {old: names[int(old[1:])] for old in graph.values}
    if "" in called.values() or len(set(called.values())) < len(called):
        return graph

    def renamed(old: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(called[name] for name in old)

    return Graph(
        {called[name]: value for name, value in graph.values.items()},
        tuple(Node(node.op, node.attrs, renamed(node.inputs), renamed(node.outputs)) for node in graph.nodes),
        renamed(graph.inputs),
        renamed(graph.outputs),
    )


def profile_page(found: Profile) -> Iterator[Block]:
    """Tables for people; what was not run is marked."""
    machines = list(dict.fromkeys(name for layer in found.layers for name in layer.counted))
    head = ("#", "op", "tensor", "output", "MACs", "parameters", "bytes", "activations", *machines)
    rows = tuple(
        (
            *(layer.index, layer.op, layer.name, "x".join(map(str, layer.output)), f"{layer.macs:,}"),
            *(f"{layer.parameters:,}", f"{layer.constant_bytes:,}", f"{layer.activation_bytes:,}"),
            *(f"{layer.counted[name]:,.0f}" if name in layer.counted else "" for name in machines),
        )
        for layer in found.layers
    )
    sums = [sum(getattr(layer, name) for layer in found.layers) for name in ("macs", "parameters", "constant_bytes")]
    total = ("", "all", "", "", *(f"{n:,}" for n in sums), *[""] * (1 + len(machines)))
    yield Table(head, "rlllrrrr" + "r" * len(machines), (*rows, total), "layers")
    yield Line()
    yield Line(f"{found.model_bytes:,} bytes of model file")
    if found.arena_bytes is None:
        yield Line(f"arena: {found.arena_absent}", "attention")
    else:
        yield Line(f"{found.arena_bytes:,} bytes of arena (64-bit, reference kernels), the smallest that is accepted")
    counted = [machine for machine in found.machines if not machine.absent]
    if counted:
        yield Line()
        yield Line("plain C, one inference, every output equal to the reference", "heading")
        head = ("machine", "counted", "", "per MAC", "flash", "RAM", "stack")
        yield Table(head, "lrlrrrr", tuple(map(_row, counted)), "emulated machines")
    for machine in found.machines:
        if machine.absent:
            yield Line(f"{machine.machine}: not run: {machine.absent}", "attention")
    if found.boards:
        yield Line()
        yield Table(
            ("board", "ms", "uJ", "assuming"),
            "lrrl",
            tuple((b.board, _short(b.milliseconds), _short(b.microjoules), b.assumptions) for b in found.boards),
            "estimates for boards",
        )


def _row(machine: MachineProfile) -> tuple[object, ...]:
    per_mac = "" if machine.per_mac is None else f"{machine.per_mac:.2f}"
    figures = (f"{n:,}" for n in (machine.flash, machine.ram, machine.stack))
    return (machine.machine, f"{machine.median:,.0f}", machine.unit, per_mac, *figures)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
