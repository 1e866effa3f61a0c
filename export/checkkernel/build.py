"""Programs of calls, compiled for a target by its own compiler or by clang."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from export.checkkernel.memory import memory_bytes
from export.checkkernel.program import Job, program
from export.checkkernel.targets import Target
from firmware.emulation import Machine, Options
from firmware.emulation.build import TARGETS, Model, compile_model, run_tool

__all__ = ["clang_for", "compiled", "sources_of"]

#: By the prefix of a machine's own compiler, what tells clang the machine; of Arm the one in which memcpy is memcpy.
_CLANG_TARGETS = {
    "": (),
    "arm-none-eabi-": ("--target=arm-none-gnueabi", "-isystem", "/usr/lib/arm-none-eabi/include"),
    "riscv64-unknown-elf-": (
        *("--target=riscv32-unknown-elf", "-isystem"),
        "/usr/lib/picolibc/riscv64-unknown-elf/include",
    ),
}

#: Clang 14 forgets the row in the addresses of what it gathers to a vector, in loops that it has unrolled.
_WITHOUT_GATHERS = ("-mllvm", "-enable-arm-maskedgatscat=false")


def clang_for(machine: Machine) -> tuple[str, ...] | None:
    """Clang's command for a machine, its flags included; ``None`` where it makes no code for it, or is not there."""
    target = _CLANG_TARGETS.get(machine.prefix)
    if target is None or shutil.which("clang") is None:
        return None
    flags = tuple(
        flag.removesuffix("_zicsr") for flag in machine.flags if not flag.startswith("--specs=")
    )  # fmt: skip
    return ("clang", *target, *flags, *(_WITHOUT_GATHERS if "-mcpu=cortex-m55" in flags else ()))


def sources_of(jobs: Sequence[Job], target: Target) -> dict[str, str]:
    """A program's sources by file name: the calls, and what looks at registers; the machine's own are firmware's."""
    shared = {"registers.h": TARGETS / "registers.h", "registers.c": TARGETS / target.registers}
    memory = max(memory_bytes(job.regions) for job in jobs)
    return program(jobs, memory) | {name: path.read_text() for name, path in shared.items()}


def compiled(sources: dict[str, str], target: Target, folder: Path, options: Options, clang: bool) -> Model:
    """The objects of a program.

    Raises:
        DidNotBuild: a compiler refuses a source.
    """
    if not clang:
        return compile_model(target.machine, sources, "check", folder, options)
    command = clang_for(target.machine)
    assert command is not None, f"no clang for {target.machine.name}"
    own = {name: text for name, text in sources.items() if name != "check_model.c"}
    made = compile_model(target.machine, own, "check", folder, options)
    source, target_file = folder / "check_model.c", folder / "check_model.c.o"
    source.write_text(sources[source.name])
    flags = (*command, *options.optimize, *options.flags, f"-I{folder}")
    run_tool(f"{target.machine.name}: clang", (*flags, "-c", source, "-o", target_file))
    return replace(made, objects=(*made.objects, target_file))
