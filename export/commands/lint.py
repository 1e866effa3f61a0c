"""``python -m export lint MODEL.tflite --target BOARD``: what the board's TFLite Micro would compute otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from export.boards import BOARDS, HOST, board
from export.command_line.reader import POSITIONAL, read_options
from export.commands.summary import read_model
from export.console.page import Block, Line, Table
from export.console.terminal import show
from export.faults.found import Finding, faults_in
from export.tflite.contents import read_contents
from export.tflite.file_form import require_on_tflm
from export.tflite.soundness import require_sound
from qtorch.editions.edition import Edition
from qtorch.editions.known import EDITIONS, edition
from qtorch.errors import BadConfiguration

__all__ = ["LintOptions", "lint_command", "lint_page"]


@dataclass(frozen=True)
class LintOptions:
    """What a board's TFLite Micro would compute otherwise of any .tflite file, or refuse; exit code 1 if anything.

    Example:
        qtorch lint model.tflite --target nano33ble
        qtorch lint model.tflite --target esp32 --tflm esp-tflite-micro-1.1.2 --json

    Attributes:
        model: any .tflite file, whoever wrote it.
        target: the board, whose TFLite Micro and processor count; ``host`` stands for any processor.
        tflm: the edition of TFLite Micro that is there instead, as ``docs/which_tflm.md`` lists them.
        json: for machines.
    """

    model: Annotated[Path, POSITIONAL]
    target: str = field(default="host", metadata={"listed": BOARDS})
    tflm: str = field(default="", metadata={"listed": EDITIONS})
    json: bool = False


def lint_command(arguments: Sequence[str]) -> None:
    """Print what an edition would compute otherwise of a file.

    Raises:
        BadModelFile: the file can't be read, is no .tflite file, or one of a kind that TFLite Micro has no kernels for.
        BadConfiguration: there is no such board or edition, or TFLite Micro does not run on the board.
        SystemExit: 1, if there is anything.
    """
    options = read_options(LintOptions, arguments, "lint")
    target = board(options.target, "--target")
    if not target.tflm:
        raise BadConfiguration(
            where="--target",
            expected="a board that runs TFLite Micro",
            got=f"{target.name}, on which it does not",
            remedy=f"choose another; what runs there is plain C, which qtorch compile {options.model} --out DIR "
            f"--target {target.name} writes",
        )
    chosen = edition(options.tflm or target.edition, "--tflm")
    model, where = read_model(options.model), str(options.model)
    contents = require_sound(read_contents(model, where), where)
    require_on_tflm(contents, where)
    findings = faults_in(model, chosen, target.cpu, where)
    if options.json:
        print(json.dumps(_as_json(chosen, target.name, findings), indent=2))
    else:
        show(lint_page(options.model, chosen, target.cpu, findings))
    if findings:
        raise SystemExit(1)


def _as_json(chosen: Edition, target: str, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "edition": chosen.name,
        "source": chosen.source.isoformat(),
        "library": chosen.library,
        "target": target,
        "findings": [finding.as_json() for finding in findings],
    }


def lint_page(model: Path, chosen: Edition, cpu: str, findings: Sequence[Finding]) -> list[Block]:
    """What is printed.

    Args:
        model: the file.
        chosen: the edition.
        cpu: the processor.
        findings: in the file.
    """
    anywhere = cpu == HOST.cpu
    where = f"{chosen.description} on {'any processor' if anywhere else cpu}"
    if not findings:
        return [Line(f"{model} meets no known fault of {where}")]
    rows = tuple(
        (
            str(each.operator),
            each.name,
            each.fault.name.replace("_", " "),
            f"{each.words} (on {', '.join(each.fault.cores)})" if anywhere and each.fault.cores else each.words,
            each.fault.effect,
            each.fault.sure,
            each.fault.remedy,
        )
        for each in findings
    )
    header = ("operator", "name", "fault", "what it meets", "effect", "known by", "remedy")
    count = len({each.operator for each in findings})
    return [
        Line(f"{model}: faults of {where}"),
        Table(header, "rllllll", rows),
        Line(f"{count} operator{'s' if count > 1 else ''} would be computed otherwise, or refused", "attention"),
    ]
