"""Kernels by themselves on every processor; and planted faults, all of which the check finds."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from export.c.network import c_network
from export.c.optimize import Optimize
from export.checkkernel import Case, Form, checked, drawn, forms
from export.checkkernel.__main__ import main
from export.checkkernel.check import Outcome
from export.checkkernel.drawing import Room, case_of, ops_of
from export.checkkernel.forms import Forms
from export.checkkernel.targets import Target, targets
from export.graph.ir import Graph
from firmware.emulation import available
from qtorch.errors import UnsupportedLayer
from qtorch.ops import ROWS
from qtorch.row.kernel_call import KernelCall
from qtorch.row.row import Sample

pytestmark = pytest.mark.usefixtures("one_thread")

#: Cases of the wide checks.
COUNT = int(os.environ.get("QTORCH_CHECKED_KERNELS", "250"))
KERNELS = Path(__file__).parents[1] / "firmware" / "c"

_MARKS = {"host": [], "host-sanitized": [], "avr": [pytest.mark.avr]}
EVERY = [pytest.param(name, marks=_MARKS.get(name, [pytest.mark.qemu])) for name in targets()]
#: One of each way to call and to keep registers.
CONVENTIONS = [
    pytest.param(name, marks=_MARKS.get(name, [pytest.mark.qemu])) for name in ("host", "cortex-m4", "rv32", "avr")
]


def here(name: str) -> Target:
    """The target, or a skip that says what is absent."""
    target = targets()[name]
    if absent := available(target.machine):
        pytest.skip(absent)
    return target


def faults(cases: list[Case], target: Target) -> list[str]:
    """All that is wrong, in words."""
    return [f"{o.kernels} ({o.form}): {o.fault}. {o.case}" for o in checked(cases, target) if o.fault]


@pytest.mark.parametrize("name", EVERY)
def test_kernels_of_a_processor(name: str) -> None:
    target = here(name)
    cases = [case for number in range(24) if (case := drawn(0, number, target.room))]
    outcomes = checked(cases, target)
    assert [f"{o.kernels} ({o.form}): {o.fault}. {o.case}" for o in outcomes if o.fault] == []
    assert len({o.case.op for o in outcomes}) > 10
    if target.machine.unit is not None:
        assert all(o.cost is not None and o.cost > 0 for o in outcomes)


@pytest.mark.sweep
@pytest.mark.parametrize("name", EVERY)
def test_many_kernels_of_a_processor(name: str) -> None:
    target = here(name)
    for first in range(0, COUNT, 250):
        numbers = range(first, min(first + 250, COUNT))
        assert faults([case for n in numbers if (case := drawn(1, n, target.room))], target) == []


@pytest.mark.sweep
def test_every_kernel_has_its_turn() -> None:
    """Among the cases of the wide checks is each kernel that there is for some processor."""
    there = {path.stem for path in KERNELS.glob("*.h") if f" {path.stem}(" in path.read_text()}
    met = set[str]()
    for number in range(5000):
        case = drawn(1, number, Room(16_000, 60_000))
        if case is None:
            continue
        for cpu in ("avr", "cortex-m0", "cortex-m4", "cortex-m55", "riscv32"):
            try:
                met |= {kernel for form in forms(case.graph, cpu).values() for kernel in form.kernels}
            except UnsupportedLayer:
                break
        if there <= met:
            return
    assert there <= met


@pytest.mark.parametrize("cpu", ["avr", "cortex-m4", "cortex-m55", "riscv32"])
def test_forms_are_what_an_export_calls(cpu: str) -> None:
    """Whatever it is made for; else kernels would be left out without a word."""
    compared = 0
    for number in range(40):
        case = drawn(2, number, Room(3_000, 9_000))
        assert case is not None
        try:
            known = {kernel for form in forms(case.graph, cpu).values() for kernel in form.kernels}
        except UnsupportedLayer:
            continue
        for optimize in get_args(Optimize):
            steps = c_network(case.graph, cpu, optimize).steps
            assert set(Form(tuple(step.call for step in steps)).kernels) <= known | {"copy"}, str(case)
            compared += len(steps)
    assert compared > 100


def _sample(op: str, label: str) -> Sample:
    return next(sample for sample in ROWS[op].samples() if sample.label == label)


@cache
def case(op: str, label: str) -> Case:
    return case_of(ROWS[op], _sample(op, label), np.random.default_rng(3))


def planted(evil: str, before: str = "") -> Forms:
    """Forms with one more, of the portable kernel and ``evil`` behind it."""

    def of(graph: Graph, cpu: str) -> Mapping[str, Form]:
        own = forms(graph, cpu)["portable"]
        (call,) = own.calls
        return {"portable": own, "planted": Form((_spoiled(call, evil, before),))}

    return of


def _spoiled(call: KernelCall, evil: str, before: str) -> KernelCall:
    found = re.search(rf"\b{call.kernel}\(([^)]*)\)\s*{{", (KERNELS / f"{call.kernel}.h").read_text())
    assert found
    names = [parameter.split()[-1].lstrip("*") for parameter in found[1].split(",")]
    body = f"  {call.kernel}({', '.join(names)});\n  {evil.replace('SCRATCH', str(call.scratch))}\n"
    text = f'#include "{call.kernel}.h"\n{before}\nQ_KERNEL void planted({found[1]}) {{\n{body}}}\n'
    return replace(call, kernel="planted", text=text)


def found(op: str, label: str, target: Target, evil: str, before: str = "") -> str:
    """What the check says of the planted kernel; the portable one is right."""
    outcomes = checked([case(op, label)], target, planted(evil, before))
    right, wrong = outcomes
    assert (right.form, right.fault, wrong.form) == ("portable", "", "planted")
    return wrong.fault


#: label: what a convolution does beside its work, and what is said of it.
MEMORY = {
    "a byte beyond the output": ("out[out_h * out_w * out_c] ^= 1;", r"wrote outside: byte 1 beyond output: \d+"),
    "a byte before the output": ("out[-1] ^= 1;", "wrote outside: byte 1 before output"),
    "some bytes beyond the output": ("out[out_h * out_w * out_c + 14] ^= 64;", "byte 15 beyond output"),
    "a byte beyond scratch": ("patch[SCRATCH] ^= 1;", "wrote outside: byte 1 beyond scratch"),
    "a byte before scratch": ("patch[-1] ^= 1;", "wrote outside: byte 1 before scratch"),
    "into its input": ("((int8_t *)(intptr_t)in)[in_c] ^= 1;", "wrote into its input input, byte 3"),
    "the last channel of the last pixel": (
        "out[out_h * out_w * out_c - 1] ^= 1;", r"output\[0, 4, 5, 4\] is .* \(1 byte differs\)"
    ),
    "the first code": ("out[0] ^= 1;", r"output\[0, 0, 0, 0\] is"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("label", MEMORY)
def test_fault_in_memory(label: str, name: str) -> None:
    evil, said = MEMORY[label]
    assert re.search(said, found("conv_2d", "same", here(name), evil))


#: By target: instructions that spoil something without a word to the compiler, and what is said of it.
REGISTERS = {
    "host": [
        ("xorq %r14, %r14", "spoiled r14"),
        ("xorq %rbx, %rbx\\n\\tnotq %rbp\\n\\tnotq %rbp\\n\\tincq %r12", "spoiled rbx, r12"),
        ("std", "spoiled the direction flag"),
        ("subq $8, %rsp\\n\\tmovl $0x3f80, (%rsp)\\n\\tldmxcsr (%rsp)\\n\\taddq $8, %rsp", "spoiled modes of MXCSR"),
    ],
    "cortex-m4": [
        ("mov r10, r3", "spoiled r10"),
        ("vmov s16, r3", "spoiled s16"),
        ("vmov s31, r3\\n\\tmov r11, r3", "spoiled r11, s31"),
        ("vmrs r3, fpscr\\n\\torr r3, r3, #0x400000\\n\\tvmsr fpscr, r3", "spoiled modes of FPSCR"),
    ],
    "cortex-m0": [("movs r3, #1\\n\\tmov r9, r3", "spoiled r9")],
    "cortex-m55": [
        ("vmov.i32 q7, #1", "spoiled s28, s29, s30, s31"),
        ("mov r3, #0xff0000\\n\\tvmsr vpr, r3", "spoiled masks of VPR"),
        ("mov r3, #0x30000\\n\\tvmsr fpscr, r3", "spoiled modes of FPSCR"),
    ],
    "rv32": [("li s11, 1", "spoiled s11"), ("li s7, 1\\n\\tli tp, 3", "spoiled s7, tp")],
    "xtensa": [("movi a14, 1", "spoiled a14"), ("movi a12, 1\\n\\tmovi a15, 1", "spoiled a12, a15")],
    "avr": [
        ("inc r2", "spoiled r2"),
        ("inc r1", r"spoiled r1 \(zero\)"),
        ("inc r17\\n\\tinc r29", "spoiled r17, r29"),
        ("sei", "spoiled the interrupt flag"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "evil", "said"),
    [
        pytest.param(name, *each, id=f"{name}: {each[1]}", marks=_MARKS.get(name, [pytest.mark.qemu]))
        for name, several in REGISTERS.items()
        for each in several
    ],
)
def test_spoiled_register(name: str, evil: str, said: str) -> None:
    """The function that spoils it is one of its own: the compiler then keeps nothing for it, and knows nothing."""
    escaped = evil.replace("%", "%%") if name != "host" else evil
    before = f'static __attribute__((noinline)) void spoil(void) {{ __asm__ volatile("{escaped}"); }}'
    assert re.search(f"^{said}$", found("relu", "0.05@-3 to 0.02@-128", here(name), "spoil();", before))


def test_case_is_drawn_alone() -> None:
    room = targets()["host"].room
    one, other = drawn(5, 17, room), drawn(5, 17, room)
    assert one is not None
    assert other is not None
    assert str(one) == str(other)
    assert "--seed 5 --case 17" in str(one)
    for run, again in zip(one.runs, other.runs, strict=True):
        assert all(np.array_equal(run[name], again[name]) for name in run)


def test_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    here("host")
    assert main(["--target", "host", "--cases", "12", "--op", "conv_2d"]) == 0
    said = capsys.readouterr().out
    assert "conv_2d_s8" in said
    assert "right" in said


def test_cases_of_a_kernel_are_drawn_from_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    here("host")
    assert ops_of("conv_2d_joined_s4") == ops_of("conv_2d_s8") == ("conv_2d", "depthwise_conv_2d")
    assert main(["--target", "host", "--cases", "6", "--kernel", "softmax_s8"]) == 0
    assert "softmax_s8" in capsys.readouterr().out


def test_command_fails_where_nothing_was_checked(capsys: pytest.CaptureFixture[str]) -> None:
    here("host")
    assert main(["--target", "host", "--cases", "2", "--op", "relu", "--kernel", "conv_2d_s9"]) == 1
    assert "nothing was checked: no call of conv_2d_s9 in 2 cases. Remedy:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cases", "0"], "argument --cases: expected a whole number from 1 on, got '0'"),
        (["--case=-1"], "argument --case: expected a whole number from 0 on, got '-1'"),
        (["--seed=-1"], "argument --seed: expected a whole number from 0 on, got '-1'"),
        (["--optimize", "O9"], "argument --optimize: expected one of O0, O1,"),
    ],
)
def test_command_refuses_wrong_words(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--target", "host", *words])
    assert said in capsys.readouterr().err


def test_command_fails_with_a_fault(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    here("host")

    def broken(cases: list[Case], *arguments: object, **options: object) -> list[Outcome]:
        return [Outcome(cases[0], "speed", ("a_kernel",), "wrote outside: byte 1 beyond output", 12)]

    monkeypatch.setattr("export.checkkernel.__main__.checked", broken)
    assert main(["--target", "host", "--cases", "1", "--seed", "7"]) == 1
    said = capsys.readouterr().out
    assert "1 FAULTY" in said
    assert "a_kernel (speed): wrote outside: byte 1 beyond output" in said
    assert "--seed 7 --case 0" in said
