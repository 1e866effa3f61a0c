"""Every board: its project asks for exactly one TFLite Micro; its plain C compiles for its own processor, and runs."""

from __future__ import annotations

import configparser
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from docs.boards import PAGES, with_board_tables
from export.boards import BOARDS, Arduino, CMake, EspIdf, MakersSdk, PlatformIO, Zephyr, counted_cpu, machine_of
from export.c.network import c_network
from export.c.source import c_source
from export.c.targets import rows_for
from export.device import headers
from export.device.c_project import C_MODEL_FILES
from export.device.firmware_project import firmware_project
from export.device.pins import PINS
from export.graph.ir import Graph
from export.rows import reference_outputs, sample_graph
from firmware.emulation import Machine, Options, available, replay
from firmware.emulation.build import compile_model
from qtorch.families.convolution import weighted_sample
from qtorch.ops import ROWS
from tests.table_kernels import by_table
from tests.tflm_projects import STAND_IN, STRICT, build, bundle_files, properties, require, run, write_project

#: How a board's ecosystem compiles for its processor, where that is otherwise than for the machine that counts for it.
OWN_FLAGS = {
    "teensy41": ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard"),
    "portenta_h7": ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=softfp"),
    "nano33ble": ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=softfp"),
    # GCC 12 does not know the Cortex-M85 by name.
    "ek_ra8m1": ("-march=armv8.1-m.main+mve", "-mthumb", "-mfloat-abi=hard"),
    # The ESP32-C3 has no atomic instructions, the Hazard3 has those that handle bits.
    "esp32c3": ("-march=rv32imc_zicsr", "-mabi=ilp32"),
    "pico2_riscv": ("-march=rv32imac_zicsr_zba_zbb_zbs", "-mabi=ilp32"),
    "esp32p4": ("-march=rv32imafc_zicsr", "-mabi=ilp32f"),
}


def _machine(board: str) -> Machine:
    """The machine that counts for a board, which compiles as the board does."""
    machine = machine_of(BOARDS[board])
    if machine is None:
        pytest.skip(f"no compiler of Debian's is for {BOARDS[board].cpu}; build with its maker's")
    reason = available(machine)
    if reason is not None:
        pytest.skip(reason)
    own = OWN_FLAGS.get(board)
    specs = tuple(flag for flag in machine.flags if flag.startswith("--specs"))
    return machine if own is None else replace(machine, flags=("-std=c99", *own, *specs))


def _layer(depthwise: bool) -> tuple[Graph, np.ndarray, np.ndarray]:
    """A convolution in padding, of which the pairing processors have kernels of their own; samples; what is right."""
    attrs = {"padding": "same", "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "activation": "relu"}
    attrs |= {"depth_multiplier": 1} if depthwise else {}
    weights = (1, 3, 3, 6) if depthwise else (5, 3, 3, 6)
    row = ROWS["depthwise_conv_2d" if depthwise else "conv_2d"]
    sample = weighted_sample(
        np.random.default_rng(5), "", attrs, (4, 7, 6, 6), weights, channel_axis=3 if depthwise else 0
    )
    return sample_graph(row, sample), sample.arrays["input"], reference_outputs(row, sample)[0]


BOTH = pytest.mark.parametrize("depthwise", [False, True], ids=["convolution", "depthwise"])


@pytest.mark.parametrize("board", [name for name, board in BOARDS.items() if board.cpu != "host"])
def test_plain_c_compiles_with_the_flags_of_the_boards_processor(board: str, tmp_path: Path) -> None:
    machine = _machine(board)
    for speed in (False, True):
        for depthwise in (False, True):
            graph, cpu = _layer(depthwise)[0], BOARDS[board].cpu
            network = by_table(graph, cpu) if speed else c_network(graph, cpu, "size")
            compile_model(machine, c_source("net", network).files, "net", tmp_path, Options())


@pytest.mark.qemu
@BOTH
@pytest.mark.parametrize("board", ["pico2", "nrf54l15dk", "ek_ra8m1", "teensy41", "esp32c3", "pico2_riscv", "esp32p4"])
def test_plain_c_of_a_processor_runs(board: str, depthwise: bool) -> None:
    """Compiled for the board, on the machine that counts for it: every output is right."""
    graph, inputs, expected = _layer(depthwise)
    sources = c_source("net", by_table(graph, BOARDS[board].cpu)).files
    flat = [np.ascontiguousarray(codes.reshape(len(codes), -1), np.int8) for codes in (inputs, expected)]
    found = replay(_machine(board), sources, "net", flat[0], flat[1], Options())
    assert (found.samples, found.mismatches, found.first) == (4, 0, None)


def test_processors_of_one_kind_have_the_same_kernels() -> None:
    for board in BOARDS.values():
        assert rows_for(board.cpu) == rows_for(counted_cpu(board)), board.name
    kernels = {
        cpu: {step.call.kernel for step in by_table(_layer(depthwise)[0], cpu).steps}
        for cpu in ("cortex-m4", "cortex-m33", "cortex-m55", "cortex-m85")
        for depthwise in (False,)
    }
    assert kernels["cortex-m33"] == kernels["cortex-m4"] == {"conv_2d_winograd_s8"}
    assert kernels["cortex-m85"] == kernels["cortex-m55"] == {"conv_2d_mve_s8"}


@pytest.mark.parametrize("board", BOARDS)
def test_every_board_has_a_project(board: str) -> None:
    files = bundle_files() | {f"m{suffix}": b"" for suffix in C_MODEL_FILES if f"m{suffix}" not in bundle_files()}
    project = firmware_project("m", files, BOARDS[board])
    assert BOARDS[board].description in project["README.md"].decode()
    assert not re.search(rb"@[a-z_]+@", b"".join(project.values()))


def _asked(board: str) -> dict[str, str]:
    """Every package that a board's project asks for, with the version or the constraint, read as the ecosystem does."""
    project = {path: text.decode() for path, text in firmware_project("m", bundle_files(), BOARDS[board]).items()}
    match BOARDS[board].ecosystem:
        case Arduino():
            found = re.findall(r"([\w.-]+) \(([^)]*)\)", properties(project["library.properties"])["depends"])
            return dict(found)
        case PlatformIO(_, name):
            parsed = configparser.ConfigParser()
            parsed.read_string(project["platformio.ini"])
            package, version = parsed[f"env:{name}"]["lib_deps"].split(" @ ")
            assert json.loads(project["lib/qtorch_m/library.json"])["dependencies"] == {package: version}
            return {package: version}
        case EspIdf():
            manifest = yaml.safe_load(project["main/idf_component.yml"])["dependencies"]
            return {package: asked["version"] for package, asked in manifest.items() if package != "idf"}
        case Zephyr(sdk=""):
            projects = yaml.safe_load(project["west.yml"])["manifest"]["projects"]
            # West takes the first of two with one name: the pin, not the one that Zephyr's own manifest brings.
            assert [each["name"] for each in projects if each.get("import")] == [projects[-1]["name"]]
            return {each["name"]: each["revision"] for each in projects}
        case _:
            found = re.findall(r"(?:git clone (\S+).*\n +git checkout|checkout) (\w+)", project["README.md"])
            (pair,) = found
            return {pair[0] or "tflite-micro": pair[1]}


_EXACTLY = {Arduino: "=", EspIdf: "=="}


@pytest.mark.parametrize(
    "board", [name for name, board in BOARDS.items() if board.tflm and not isinstance(board.ecosystem, MakersSdk)]
)
def test_a_project_asks_for_exactly_one_version(board: str) -> None:
    kind = type(BOARDS[board].ecosystem)
    pins = PINS[kind] if getattr(BOARDS[board].ecosystem, "sdk", "") == "" else PINS[kind][:1]
    assert _asked(board) == {pin.package: f"{_EXACTLY.get(kind, '')}{pin.version}" for pin in pins}


def test_versions_stand_in_one_place() -> None:
    """Templates have none of their own, which would be left behind."""
    templates = Path(__file__).parents[1] / "firmware/tflm"
    texts = {path: path.read_text() for path in templates.rglob("*") if path.is_file() and path.parent != templates}
    assert len(texts) > 30
    for path, text in texts.items():
        for pin in (pin for pins in PINS.values() for pin in pins):
            assert pin.version not in text, path


def test_a_makers_sdk_gets_sources(tmp_path: Path) -> None:
    project = write_project(tmp_path, "grove_vision_ai_v2")
    said = (project / "README.md").read_text()
    assert "EPII_CM55M_APP_S/app/scenario_app" in said
    assert "tflmtag2412_u55tag2411" in said
    (tmp_path / "main.cpp").write_text('extern "C" int run_m(void);\nint main() { return run_m(); }\n')
    done = run(build(project), given="2.25 9.5\n")
    assert done.returncode == 0, done.stdout
    assert "0 of 3 codes differ: passed" in done.stdout
    assert done.stdout.splitlines()[-1] == "1.750000"
    require("arm-none-eabi-g++")
    flags = ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard", "-std=c++17", *STRICT, "-c", "-o", tmp_path / "o")
    for source in sorted((tmp_path / "src").glob("*.cpp")):
        done = run("arm-none-eabi-g++", *flags, f"-I{tmp_path}/src", f"-isystem{STAND_IN}", source)
        assert done.returncode == 0, done.stderr


# Flags that change integers ------------------------------------------------------------------------------------------


def _compiled(folder: Path, *flags: str) -> tuple[int, str]:
    require("g++")
    (folder / "m_op_resolver.h").write_text(headers.op_resolver("m", ("AddFullyConnected",)))
    (folder / "a.cpp").write_text('#include "m_op_resolver.h"\nint main() { return 0; }\n')
    command = ("g++", "-std=c++17", *STRICT, "-fsyntax-only", f"-I{folder}", f"-isystem{STAND_IN}", *flags)
    done = run(*command, folder / "a.cpp")
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("flag", "remedy"),
    [
        ("-DTFLITE_SINGLE_ROUNDING", "remove -DTFLITE_SINGLE_ROUNDING"),
        ("-DTFLITE_SINGLE_ROUNDING=1", "remove -DTFLITE_SINGLE_ROUNDING"),
        ("-DCMSIS_NN_USE_SINGLE_ROUNDING", "remove -DCMSIS_NN_USE_SINGLE_ROUNDING"),
        ("-DCMSIS_NN_USE_SINGLE_ROUNDING=0", "remove -DCMSIS_NN_USE_SINGLE_ROUNDING"),  # an #ifdef there
        ("-DCMSIS_NN_USE_REQUANTIZE_INLINE_ASSEMBLY", "remove -DCMSIS_NN_USE_REQUANTIZE_INLINE_ASSEMBLY"),
        ("-DSKIP_NUDGE", "switch off NN_SKIP_NUDGE"),
        ("-DCONFIG_NN_SKIP_NUDGE=1", "switch off NN_SKIP_NUDGE"),
    ],
)
def test_a_build_whose_flags_change_integers_is_refused(tmp_path: Path, flag: str, remedy: str) -> None:
    code, said = _compiled(tmp_path, flag)
    assert code != 0
    assert len(re.findall(r"error: #error", said)) == 1, said
    assert re.search(rf"{flag[2:].split('=')[0].removeprefix('CONFIG_NN_')} is defined: .* Remedy: .*{remedy}", said)


@pytest.mark.parametrize("flags", [(), ("-DTFLITE_SINGLE_ROUNDING=0",), ("-DCONFIG_NN_OPTIMIZED=1",)])
def test_a_build_without_them_passes(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """TFLite Micro asks for the macro's value, so that 0 is its own default."""
    assert _compiled(tmp_path, *flags) == (0, "")


@pytest.mark.parametrize(("on", "code"), [("", 0), ("#define CONFIG_NN_SKIP_NUDGE 1\n", 1)])
def test_menuconfig_is_asked_where_there_is_one(tmp_path: Path, on: str, code: int) -> None:
    """ESP-IDF writes what menuconfig says into a header, and puts it in front of no source by itself."""
    (tmp_path / "sdkconfig.h").write_text(f'#define CONFIG_IDF_TARGET "esp32s3"\n{on}')
    assert _compiled(tmp_path, "-DESP_PLATFORM")[0] == code
    assert _compiled(tmp_path)[0] == 0


def test_the_application_is_refused_with_its_header(tmp_path: Path) -> None:
    require("g++")
    project = write_project(tmp_path, "host")
    command = ("g++", "-std=c++17", "-fsyntax-only", f"-I{project}/src", f"-isystem{STAND_IN}")
    source = project / "src/tflm_inference.cpp"
    assert run(*command, source).returncode == 0
    refused = run(*command, "-DTFLITE_SINGLE_ROUNDING", source)
    assert refused.returncode != 0
    assert "TFLITE_SINGLE_ROUNDING is defined" in refused.stderr


# Pages ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_of_boards_are_made_from_the_records(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert with_board_tables(text) == text, "run `python -m docs`"
    named = {name for name, board in BOARDS.items() if name != "host" and (board.tflm or page.name == "add_a_board.md")}
    assert all(f"`{name}`" in text for name in named)
    without = re.sub(r"\| `teensy41` .*\n", "", text).replace("`teensy41`, ", "")
    assert without != text
    assert with_board_tables(without) == text


def test_a_kind_of_project_has_its_pins() -> None:
    assert PINS.keys() == {type(board.ecosystem) for board in BOARDS.values()} - {MakersSdk}
    assert isinstance(BOARDS["host"].ecosystem, CMake)
