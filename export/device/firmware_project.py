"""A ready firmware project for a board: an export's files, the application, and what the board's ecosystem expects.

Pure: bundle files and a board in, files of a project out, by path. The texts are templates in ``firmware/tflm``, where
``@word@`` stands for a value; every project is self-contained, so that it can be moved, committed and changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources

from export.boards import Arduino, Board, CMake, CortexM, EspIdf, MakersSdk, PlatformIO, Zephyr
from export.c_language.names import c_identifier
from export.device.c_project import C_MODEL_FILES, c_project
from export.device.firmware_words import beginnings, board_package, comments, readme_section
from export.device.pins import pin_words, project_edition
from export.graph.ir import Graph
from export.interface.tensor_layout import TensorLayout
from export.interface.tensor_meaning import whole_function
from qtorch.editions.edition import Edition
from qtorch.editions.known import EDITIONS
from qtorch.errors import BadConfiguration

__all__ = ["firmware_project", "require_int8_ends"]

#: What the application is built from, by what follows the model's name. Nothing in it is typed by hand.
_MODEL_FILES = (
    "_arena.h",
    "_layer_checks.h",
    "_model_data.cc",
    "_model_data.h",
    "_op_resolver.h",
    "_quantization.h",
    "_test_vectors.h",
)
#: In the place of checksums by operator, of a network with states.
_NO_LAYERS = """\
// The network keeps states: what an operator gives in a run hangs on the runs before, so outputs alone are compared.
#ifndef SELF_TEST_WITHOUT_LAYERS
#define SELF_TEST_WITHOUT_LAYERS 1
#endif
"""
_APP_FILES = (
    "tflm_app.cc",
    "tflm_app.h",
    "tflm_board.h",
    "tflm_console.cc",
    "tflm_console.h",
    "tflm_inference.cc",
    "tflm_inference.h",
    "tflm_layers.cc",
    "tflm_layers.h",
    "tflm_model.h",
    "tflm_self_test.cc",
    "tflm_self_test.h",
)
_PLACEHOLDER = re.compile(r"@([A-Za-z_]+)@")

_KERNELS = {"reference": "the reference kernels", "cmsis_nn": "the kernels of CMSIS-NN", "esp_nn": "those of ESP-NN"}

Files = dict[str, str]


def require_int8_ends(graph: Graph, compiling: bool = False) -> None:
    """The applications around a model hand int8 in and out.

    Args:
        graph: of the model.
        compiling: somebody's file, with the options of ``qtorch compile`` and no training.

    Raises:
        BadConfiguration: an input or output has another type.
    """
    for name in (*graph.inputs, *graph.outputs):
        if compiling and graph.values[name].dtype != "int8":
            raise BadConfiguration(
                where="--firmware tflm",
                expected="a file with int8 inputs and outputs, or float ones behind which is int8",
                got=f"{graph.values[name].dtype} at {name!r}",
                remedy="leave --firmware out, and build what is written into an application of your own; or convert "
                "the model with int8 there",
            )
        if graph.values[name].of_indices:
            raise BadConfiguration(
                where="export.firmware",
                expected="a network with int8 inputs and outputs",
                got=f"indices at {name!r}",
                remedy="leave export.firmware out, and hand them over in an application of your own; or let the "
                "application find the largest output, or look the rows up",
            )
        if graph.values[name].dtype != "int8":
            raise BadConfiguration(
                where="export.firmware",
                expected="a network with int8 inputs and outputs",
                got=f"{graph.values[name].dtype} at {name!r}",
                remedy=f"leave export.firmware out, or layers={{{name!r}: {{'activations': 'int8'}}}}",
            )


def firmware_project(
    name: str, files: Mapping[str, bytes], board: Board, layouts: Sequence[TensorLayout] = (),
    figures: Sequence[str] = (), edition: Edition | None = None,
) -> dict[str, bytes]:  # fmt: skip
    """A project that runs the model on ``board``: content by path, ``/`` between folders.

    Args:
        name: the model's, any string; the project bears :func:`~export.c_language.names.c_identifier` of it.
        files: of the export's bundle; those named ``<name>_*`` are used.
        board: where it shall run; decides the layout of the project.
        layouts: of the model's inputs and outputs, which README and sketch then speak of.
        figures: what the model takes of the board, a sentence each, for the README.
        edition: of TFLite Micro, that the export is for; the project asks for it where its ecosystem distributes it,
            see :func:`~export.device.pins.project_edition`. ``None``: for the ecosystem's usual one.

    Raises:
        BadConfiguration: there is no project for such a board, or none that asks for the edition. Or the bundle lacks a
            file: plain C where TFLite Micro does not run on the board; else what exports with float inputs and those
            made without TFLite Micro's Python package lack.
    """
    board.require_project()
    name = c_identifier(name)
    if f"{name.upper()}_TEST_SEQUENCE" in files.get(f"{name}_test_vectors.h", b"").decode():
        files = {f"{name}_layer_checks.h": _NO_LAYERS.encode(), **files}
    needed = [f"{name}{suffix}" for suffix in (_MODEL_FILES if board.tflm else C_MODEL_FILES)]
    missing = [file for file in needed if file not in files]
    if missing:
        raise BadConfiguration(
            where="export.firmware",
            expected=f"an int8 export with its arena measured, or its plain C: {', '.join(needed)}",
            got=f"one without {', '.join(missing)}",
            remedy="export with format int8, where the tflite-micro Python package is installed (Linux on x86-64)",
        )
    if not board.tflm:
        return {path: text.encode() for path, text in sorted(c_project(name, files, board, layouts, figures).items())}
    words = {
        "name": name,
        "NAME": name.upper(),
        "description": board.description,
        "cpu": board.cpu,
        "tensors": readme_section(name, layouts, physical=True, figures=figures),
        "axes": comments(name, layouts),
        "quantize": _converted(name, layouts, "input", "physical", "codes"),
        "dequantize": _converted(name, layouts, "output", "codes", "physical"),
        "package": board_package(board),
        **pin_words(board, edition),
        "edition": _in_c(project_edition(board, edition or EDITIONS[board.edition])),
        "kernel_library": _KERNELS["reference" if edition is None else edition.library],
        "kernels": "OPTIMIZED_KERNEL_DIR=cmsis_nn " if edition is not None and edition.library == "cmsis_nn" else "",
    }
    sources = {_cpp(f"{name}{suffix}"): files[f"{name}{suffix}"].decode() for suffix in _MODEL_FILES}
    sources |= {_cpp(file): _template(f"app/{file}", words) for file in _APP_FILES}
    sources = dict(sorted(sources.items()))
    project = _project(board, words, sources)
    return {path: text.encode() for path, text in sorted(project.items())}


def _converted(name: str, layouts: Sequence[TensorLayout], side: str, taken: str, given: str) -> str:
    """The lines of C that make codes of the real values of all inputs, or real values of the codes of all outputs."""
    places = list(zip(*(beginnings(name, layouts, side, array) for array in (taken, given)), strict=True))
    return "\n  ".join(
        f"{whole_function(name, side, index, len(places))}({source}, {sink});"
        for index, (source, sink) in enumerate(places)
    )


def _in_c(edition: Edition) -> str:
    """Name and description, as they stand between the quotes of C's strings."""
    return json.dumps(f"{edition.name}: {edition.description}")[1:-1]


def _project(board: Board, words: dict[str, str], sources: Files) -> Files:
    """In the layout of the board's ecosystem."""
    match board.ecosystem:
        case CMake(cortex_m):
            return _cmake(board, cortex_m, words, sources)
        case Arduino():
            return _arduino(words, sources)
        case EspIdf(target):
            return _esp_idf(target, words, sources)
        case MakersSdk() as sdk:
            return _makers_sdk(board, sdk, words, sources)
        case PlatformIO() as names:
            return _platformio(names, words, sources)
        case Zephyr() as names:
            return _zephyr(names, words, sources)


def _cpp(file: str) -> str:
    """The file's name in a project: Arduino's builder takes no ``.cc`` for a source."""
    return re.sub(r"\.cc$", ".cpp", file)


def _template(path: str, words: Mapping[str, str]) -> str:
    """A text of ``firmware/tflm``, its placeholders replaced; an unknown one is a KeyError."""
    text = (resources.files("firmware") / "tflm").joinpath(*path.split("/")).read_text(encoding="utf-8")
    return _PLACEHOLDER.sub(lambda placeholder: words[placeholder[1]], text)


def _below(folder: str, files: Files) -> Files:
    return {f"{folder}/{file}": text for file, text in files.items()}


def _listed(files: Files, indent: str, folder: str = "") -> str:
    """The sources among ``files``, a line each, for a CMake list."""
    return "\n".join(f"{indent}{folder}{file}" for file in files if file.endswith(".cpp"))


def _cmake(board: Board, machine: CortexM | None, words: dict[str, str], sources: Files) -> Files:
    """Plain CMake: the host, and boards that QEMU emulates."""
    kind = "host" if machine is None else "cortex_m"
    sources = sources | {f"board_{kind}.cpp": _template(f"boards/board_{kind}.cc", words)}
    words = words | {"sources": _listed(sources, "  ", "src/")}
    files = {}
    if machine is None:
        words |= {
            "cpu": "this machine",
            "tflm_make": "",
            "tflm_page": "tensorflow/lite/micro/docs/new_platform_support.md",
            "tflm_builds": '"linux_*" "osx_*"',
            "toolchain": "",
            "build_type": "Release",
            "machine": "",
            "test": f"add_test(NAME self_test COMMAND {words['name']} --self-test)",
            "run": f"`build/{words['name']}` runs the self-test and then reads samples of physical values from its "
            "standard input,\nnumbers separated by blanks or commas; it prints a line of results for each.",
        }
    else:
        words |= {
            "tflm_make": f"TARGET=cortex_m_generic TARGET_ARCH={board.cpu} {words['kernels']}",
            "tflm_page": "tensorflow/lite/micro/cortex_m_generic/README.md",
            "tflm_builds": f'"cortex_m_generic_{board.cpu}_*"',
            "toolchain": 'if(NOT CMAKE_TOOLCHAIN_FILE)\n  set(CMAKE_TOOLCHAIN_FILE "${CMAKE_CURRENT_SOURCE_DIR}/cmake/'
            'arm-none-eabi.cmake")\nendif()\n',
            "build_type": "MinSizeRel",
            "machine": "include(cmake/cortex_m.cmake)\n",
            "test": "if(QEMU)\n"
            f"  add_test(NAME self_test COMMAND ${{emulator}} $<TARGET_FILE:{words['name']}>)\n"
            "  set_tests_properties(self_test PROPERTIES TIMEOUT 60)\n"
            "else()\n"
            '  message(STATUS "no qemu-system-arm: ctest has no test (Debian: apt-get install qemu-system-arm)")\n'
            "endif()",
            "run": f"`ctest` runs the self-test in QEMU (`qemu-system-arm -M {machine.qemu}`), whose times are not the "
            "board's. With\n`-DREAD_CONSOLE=ON` the program goes on to read samples from the semihosting console.\n\n"
            "A library built with `BUILD_TYPE=release` has no messages and makes a smaller program.",
            "cpu_flags": machine.flags,
            "clock_hz": str(board.clock_hz),
            "qemu": machine.qemu,
            "flash_origin": f"{machine.flash_origin:#x}",
            "flash_bytes": str(board.flash),
            "ram_origin": f"{machine.ram_origin:#x}",
            "ram_bytes": str(board.ram),
        }
        files = {
            "cmake/arm-none-eabi.cmake": _template("cortex_m/arm-none-eabi.cmake", words),
            "cmake/cortex_m.cmake": _template("projects/cmake/cortex_m.cmake", words),
            "cortex_m/link.ld": _template("cortex_m/link.ld", words),
            "cortex_m/startup.cpp": _template("cortex_m/startup.cc", words),
        }
    return {
        "CMakeLists.txt": _template("projects/cmake/CMakeLists.txt", words),
        "README.md": _template("projects/cmake/README.md", words),
        "cmake/find_tflm.cmake": _template("projects/cmake/find_tflm.cmake", words),
        **files,
        **_below("src", sources),
    }


def _arduino_sources(words: dict[str, str], sources: Files) -> Files:
    return sources | {
        "board_arduino.cpp": _template("boards/board_arduino.cc", words),
        f"{words['name']}_firmware.h": _template("projects/arduino/firmware.h", words),
    }


def _arduino(words: dict[str, str], sources: Files) -> Files:
    """A library in Arduino's format 1.5, with the application as its example."""
    words = words | {
        "sketch": words["name"].title().replace("_", ""),
        "own_sketch": _template("projects/arduino/own_sketch.md", words),
    }
    return {
        "README.md": _template("projects/arduino/README.md", words),
        "library.properties": _template("projects/arduino/library.properties", words),
        f"examples/{words['sketch']}/{words['sketch']}.ino": _template("projects/arduino/sketch.ino", words),
        **_below("src", _arduino_sources(words, sources)),
    }


def _platformio(names: PlatformIO, words: dict[str, str], sources: Files) -> Files:
    """A PlatformIO project with Arduino's framework; the model is a private library in ``lib``."""
    words = words | {
        "platformio_platform": names.platform,
        "platformio_board": names.board,
        "own_sketch": _template("projects/arduino/own_sketch.md", words),
    }
    library = f"lib/qtorch_{words['name']}"
    return {
        "README.md": _template("projects/platformio/README.md", words),
        "platformio.ini": _template("projects/platformio/platformio.ini", words),
        "src/main.cpp": "#include <Arduino.h>\n\n" + _template("projects/arduino/sketch.ino", words),
        f"{library}/library.json": _template("projects/platformio/library.json", words),
        **_below(f"{library}/src", _arduino_sources(words, sources)),
    }


def _esp_idf(target: str, words: dict[str, str], sources: Files) -> Files:
    """An ESP-IDF project, whose component manager fetches TFLite Micro."""
    sources = sources | {"board_esp_idf.cpp": _template("boards/board_esp_idf.cc", words)}
    words = words | {"idf_target": target, "sources": _listed(sources, "    ")}
    return {
        "CMakeLists.txt": _template("projects/esp_idf/CMakeLists.txt", words),
        "README.md": _template("projects/esp_idf/README.md", words),
        "sdkconfig.defaults": _template("projects/esp_idf/sdkconfig.defaults", words),
        "main/CMakeLists.txt": _template("projects/esp_idf/main.cmake", words),
        "main/idf_component.yml": _template("projects/esp_idf/idf_component.yml", words),
        **_below("main", sources),
    }


def _makers_sdk(board: Board, sdk: MakersSdk, words: dict[str, str], sources: Files) -> Files:
    """Sources alone, for an SDK that has its own build."""
    words = words | {"sdk": sdk.address, "sdk_folder": sdk.folder, "clock_hz": str(board.clock_hz)}
    sources = sources | {"board_makers_sdk.cpp": _template("boards/board_makers_sdk.cc", words)}
    return {"README.md": _template("projects/makers_sdk/README.md", words), **_below("src", sources)}


def _zephyr(names: Zephyr, words: dict[str, str], sources: Files) -> Files:
    """A Zephyr application, for the module tflite-micro; its manifest where Zephyr's own knows the board."""
    sources = sources | {"board_zephyr.cpp": _template("boards/board_zephyr.cc", words)}
    words = words | {"zephyr_board": names.board, "sdk": names.sdk, "sources": _listed(sources, "  ", "src/")}
    words["workspace"] = _template(f"projects/zephyr/{'workspace' if not names.sdk else 'workspace_of_sdk'}.md", words)
    manifest = {} if names.sdk else {"west.yml": _template("projects/zephyr/west.yml", words)}
    return {
        "CMakeLists.txt": _template("projects/zephyr/CMakeLists.txt", words),
        "README.md": _template("projects/zephyr/README.md", words),
        "prj.conf": _template("projects/zephyr/prj.conf", words),
        **manifest,
        **_below("src", sources),
    }
