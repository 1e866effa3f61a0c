"""Tables of the documentation are true: of what can be exported, made from the rows; of other libraries, measured."""

from __future__ import annotations

import re

import pytest

from docs.__main__ import KERNEL_FAULTS, OPERATORS, with_generated_table
from docs.kernel_tables import PAGE as KERNELS
from docs.kernel_tables import with_kernels
from docs.row_rules import PAGE as DEVICES
from docs.row_rules import with_row_rules
from export.c.targets.table import KERNELS as TABLE
from export.commands.support import support_table
from export.faults.cmsis_nn import FAULTS as CMSIS_NN
from export.faults.esp_nn import FAULTS as ESP_NN
from export.faults.table import fault_table
from tests.test_docs import README, ROOT, anchors

PAGE = OPERATORS.read_text(encoding="utf-8")
_NUMBER = re.compile(r"(?<![\w.])(?:\d[\d,]*)?\d(?:\.\d+)?(?![\w-])")
_BESIDE_OTHERS = README.read_text().split("## Beside others")[1].split("\n## ")[0]
_ROWS = [line for line in _BESIDE_OTHERS.splitlines() if line.startswith("|")][2:]


def test_the_support_table_is_made_from_the_rows() -> None:
    assert with_generated_table(PAGE, support_table()) == PAGE, "run `python -m docs`"


def test_the_table_of_faults_is_made_from_them() -> None:
    page, faults = KERNEL_FAULTS.read_text(encoding="utf-8"), (*CMSIS_NN, *ESP_NN)
    assert with_generated_table(page, fault_table(faults)) == page, "run `python -m docs`"
    assert with_generated_table(page, fault_table(faults[1:])) != page


def test_the_tables_of_kernels_are_made_from_them() -> None:
    page = KERNELS.read_text(encoding="utf-8")
    assert with_kernels(page) == page, "run `python -m docs`"
    assert all(f"| `{row.kernel}` | " in page for row in TABLE)
    assert with_kernels(page.replace(TABLE[0].shape, "all")) == page


def test_every_line_of_the_table_of_faults_says_when() -> None:
    head, _, *lines = fault_table((*CMSIS_NN, *ESP_NN)).split("\n")
    for line in lines:
        assert line.count(" | ") == head.count(" | "), line
        assert all(cell.strip() for cell in line.strip("|").split("|")), line


def test_the_support_table_is_made_anew() -> None:
    """Whatever rows stand in it: one more, or fewer."""
    head, rule, first, *others = support_table().split("\n")
    for rows in ([first, "| ABS | `abs` | int8 |  | measured |", *others], [first]):
        written = with_generated_table(PAGE, "\n".join([head, rule, *rows]))
        assert written != PAGE
        assert with_generated_table(written, support_table()) == PAGE


def section(page: str, anchor: str) -> str:
    """What stands under the heading that ``#anchor`` leads to, its smaller headings included."""
    lines = (ROOT / page).read_text().splitlines()
    assert anchor in anchors(ROOT / page)
    starts = [
        i for i, line in enumerate(lines) if re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-") == anchor
    ]
    (start,) = (i for i in starts if lines[i].startswith("#"))
    depth = lines[start].split()[0]
    ends = (i for i in range(start + 1, len(lines)) if re.match(rf"#{{1,{len(depth)}}} ", lines[i]))
    return "\n".join(lines[start : next(ends, len(lines))])


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_what_the_readme_says_of_others_was_measured(row: str) -> None:
    text, _, source = row.rpartition("](")
    measured = section(*source.split(")")[0].split("#"))
    numbers = _NUMBER.findall(re.sub(r"\w+-\w+", "", text))
    assert len(numbers) >= 2
    for number in numbers:
        assert re.search(rf"(?<![\d,.]){re.escape(number)}(?![\d,]|\.\d)", measured), f"{number} of {row}"


def test_the_page_says_which_operators_are_computed_by_rows() -> None:
    page = DEVICES.read_text()
    assert with_row_rules(page) == page, "run `python -m docs`"
    begin, end = "<!-- operators by rows -->\n", "<!-- end of operators by rows -->"
    said = page.split(begin)[1].split(end)[0]
    assert with_row_rules(page.replace(said, "")) == page
    rows, _, whole = said.splitlines()
    assert " CONV_2D," in rows
    assert " RESHAPE," in whole
