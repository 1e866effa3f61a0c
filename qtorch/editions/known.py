"""The editions of TFLite Micro that users have, a record each, and who says so.

Days of source were read where a repository has its history; of ports that have none, each kernel file was held against
the history of TFLite Micro, comments and includes left aside: the day is the last on which one of these files changed
into what the port has.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection, Mapping
from datetime import date

from qtorch.discovery import Registry
from qtorch.editions.edition import Edition
from qtorch.errors import BadConfiguration

__all__ = ["EDITIONS", "NEWEST", "ZEPHYRS_OWN", "edition", "register_edition", "require_edition", "takes_one_scale"]

_FILES = "its kernel files are TFLite Micro's of {day} and not yet of {next}; "
_PYPI = "the date in its version, which is its source's"


def _python(version: str) -> Edition:
    day = date(int(version[:4]), int(version[4:6]), int(version[6:8]))
    return Edition(
        name=f"python-{day:%Y-%m}",
        description=f"TFLite Micro's Python package of {day}, which stands for any source of then",
        source=day,
        package="tflite-micro",
        version=f"0.dev{version}",
        facts=_PYPI,
    )


def _esp(version: str, source: date, nn: str, nn_source: date, facts: str, name: str = "") -> Edition:
    return Edition(
        name=name or f"esp-tflite-micro-{version}",
        description=f"Espressif's component esp-tflite-micro {version} with esp-nn {nn}",
        source=source,
        library="esp_nn",
        library_source=nn_source,
        package="espressif/esp-tflite-micro",
        version=version,
        beside=nn,
        facts=facts,
    )


#: Of signal/micro/kernels, which makers' lists of sources leave out or take in part.
_SIGNAL = tuple(
    f"CUSTOM:Signal{name}"
    for name in (
        "Delay", "Energy", "FftAutoScale", "FilterBank", "FilterBankLog", "FilterBankSpectralSubtraction",
        "FilterBankSquareRoot", "Framer", "Irfft", "OverlapAdd", "PCAN", "Rfft", "Stacker", "Window",
    )
)  # fmt: skip
#: Zephyr's modules/tflite-micro/CMakeLists.txt lists signal/micro/kernels/rfft.cc and window.cc alone, from 2023 on.
_ZEPHYR_LACKS = tuple(each for each in _SIGNAL if not each.endswith(("Rfft", "Window")))
#: Zephyr's modules/tflite-micro/CMakeLists.txt takes kernels/transpose_conv.cc, whatever library it takes of others.
ZEPHYRS_OWN = ("TRANSPOSE_CONV",)


def _zephyr(release: str, revision: str, source: date, nn_source: date, facts: str) -> Edition:
    return Edition(
        name=f"zephyr-{release}",
        description=f"Zephyr {release}'s module tflite-micro {revision[:8]}, with its module cmsis-nn",
        source=source,
        library="cmsis_nn",
        library_source=nn_source,
        package="tflite-micro",
        version=revision,
        beside=f"v{release}.0",
        reference=ZEPHYRS_OWN,
        absent=_ZEPHYR_LACKS,
        # Kconfig's TENSORFLOW_LITE_MICRO_CMSIS_NN_KERNELS is there if CPU_CORTEX_M.
        processors="cortex-m",
        facts=facts,
    )


_SYNC = "the last synchronization with TFLite Micro before the tag in espressif/esp-tflite-micro; "

_HIMAX = (
    "library/inference/tflmtag2412_u55tag2411.mk of the SDK names TFLite Micro 01e31b74, the last commit of "
    "2024-12-19, fetched on 2024-12-20; "
)

#: What everything is exact on, unless somebody asks for another: the release that judges every export here.
NEWEST = Edition(
    name="newest",
    description="TFLite Micro's Python package of 2026-10-23, by which every export is judged",
    source=date(2026, 10, 23),
    package="tflite-micro",
    version="0.dev20261023182759",
    facts=_PYPI,
)

_OWN = (
    NEWEST,
    *map(
        _python,
        (
            "20231010131554", "20231214171620", "20240223003522", "20240424144516", "20240529040542", "20240819160207",
            "20241025232721", "20241223180107", "20250207030249", "20250421190845", "20250710203257", "20251002174034",
            "20251210174019", "20260203175027", "20260925222358", "20261012203412",
        ),
    ),
    Edition(
        name="tflm",
        description="TFLite Micro's repository of 2026-08-20, built by its Makefile, with reference kernels",
        source=date(2026, 8, 20),
        package="tensorflow/tflite-micro",
        version="90b983c2b",
        facts="tensorflow/tflite-micro, git log",
    ),
    Edition(
        name="tflm-cmsis-nn",
        description="TFLite Micro's repository of 2026-08-20 with OPTIMIZED_KERNEL_DIR=cmsis_nn (CMSIS-NN 4ab83cc3)",
        source=date(2026, 8, 20),
        library="cmsis_nn",
        library_source=date(2026, 6, 17),
        package="tensorflow/tflite-micro",
        version="90b983c2b",
        facts="tensorflow/tflite-micro, tools/make/ext_libs/cmsis_nn_download.sh; ARM-software/CMSIS-NN, git log",
    ),
    Edition(
        name="chirale",
        description="Arduino's library Chirale_TensorFLowLite 2.0.0, with CMSIS-NN",
        source=date(2023, 1, 11),
        library="cmsis_nn",
        library_source=date(2022, 9, 30),
        package="Chirale_TensorFLowLite",
        version="2.0.0",
        facts=_FILES.format(day="2023-01-11", next="2023-01-17")
        + "kernels/cmsis_nn in place of the reference's; arm_nnfunctions.h V.11.0.0 of 2022-09-30",
    ),
    Edition(
        name="tflm_cortexm",
        description="Arduino's library tflm_cortexm 1.0.0 (EloquentTinyML), with CMSIS-NN",
        source=date(2023, 1, 11),
        library="cmsis_nn",
        library_source=date(2022, 9, 30),
        package="tflm_cortexm",
        version="1.0.0",
        facts=_FILES.format(day="2023-01-11", next="2023-01-17") + "arm_nnfunctions.h V.11.0.0 of 2022-09-30",
    ),
    Edition(
        name="tflm_esp32",
        description="Arduino's library tflm_esp32 2.0.0 (EloquentTinyML), with reference kernels",
        source=date(2024, 7, 17),
        package="tflm_esp32",
        version="2.0.0",
        facts=_FILES.format(day="2024-05-28", next="2024-09-09") + "the commit 'update tf to 2024-07' of 2024-07-17",
    ),
    Edition(
        name="arduino-examples",
        description="tflite-micro-arduino-examples (Arduino_TensorFlowLite 2.4.0-ALPHA), with CMSIS-NN",
        source=date(2023, 2, 27),
        library="cmsis_nn",
        library_source=date(2022, 9, 30),
        package="Arduino_TensorFlowLite",
        version="2.4.0-ALPHA",
        facts="its last synchronization, of 2023-02-27; arm_nnfunctions.h V.11.0.0 of 2022-09-30",
    ),
    Edition(
        name="pico-tflmicro",
        description="raspberrypi/pico-tflmicro of 2024-12-26, with CMSIS-NN",
        source=date(2024, 12, 17),
        library="cmsis_nn",
        library_source=date(2024, 11, 11),
        package="raspberrypi/pico-tflmicro",
        version="dfea53b",
        facts=_FILES.format(day="2024-12-17", next="2025-02-05")
        + "arm_nnfunctions.h V.18.0.0 of 2024-11-04, and the source pins CMSIS-NN 22080c68 of 2024-11-11",
    ),
    Edition(
        name="himax-sdk",
        description="Himax's SDK of the Grove Vision AI V2, tflmtag2412_u55tag2411, with reference kernels",
        source=date(2024, 12, 19),
        package="HimaxWiseEyePlus/Seeed_Grove_Vision_AI_Module_V2",
        version="tflmtag2412_u55tag2411",
        absent=_SIGNAL,
        facts=_HIMAX + "without LIB_CMSIS_NN_ENALBE",
    ),
    Edition(
        name="himax-sdk-cmsis-nn",
        description="the same with LIB_CMSIS_NN_ENALBE = 1 and LIB_CMSIS_NN_VERSION = 7_0_0",
        source=date(2024, 12, 19),
        library="cmsis_nn",
        library_source=date(2024, 11, 11),
        package="HimaxWiseEyePlus/Seeed_Grove_Vision_AI_Module_V2",
        version="tflmtag2412_u55tag2411",
        absent=_SIGNAL,
        facts=_HIMAX + "CMSIS-NN 7.0.0 is 22080c68 of 2024-11-11",
    ),
    Edition(
        name="edge-impulse",
        description="Edge Impulse's inferencing-sdk-cpp v1.93.20, with CMSIS-NN where there is a Cortex-M",
        source=date(2023, 2, 14),
        library="cmsis_nn",
        library_source=date(2022, 8, 7),
        package="edgeimpulse/inferencing-sdk-cpp",
        version="v1.93.20",
        facts=_FILES.format(day="2023-02-14", next="2023-02-16")
        + "a third of them are Edge Impulse's own; arm_nnfunctions.h V.10.1.2 of 2022-08-07",
    ),
    Edition(
        name="edge-impulse-espressif",
        description="Edge Impulse's inferencing-sdk-cpp v1.93.20 on Espressif's processors, with esp-nn",
        source=date(2023, 2, 14),
        library="esp_nn",
        library_source=date(2024, 9, 16),
        package="edgeimpulse/inferencing-sdk-cpp",
        version="v1.93.20",
        facts=_FILES.format(day="2023-02-14", next="2023-02-16") + "porting/espressif/ESP-NN is about 1.1.0's",
    ),
    _esp("1.1.2", date(2023, 9, 29), "1.0.0-rc1", date(2023, 3, 28), "released with 1.2.0's source, 2023-10"),
    _esp("1.2.0", date(2023, 9, 29), "1.0.0-rc1", date(2023, 3, 28),
         _FILES.format(day="2023-09-29", next="2023-10-02") + "its manifest: esp-nn ^1.0.0-rc1"),
    _esp("1.3.1", date(2024, 6, 3), "1.0.0-rc1", date(2023, 3, 28), _SYNC + "its manifest: esp-nn ^1.0.0-rc1"),
    _esp("1.3.3", date(2025, 1, 14), "1.1.0", date(2024, 9, 16), _SYNC + "its manifest: esp-nn ^1.1.0"),
    _esp("1.3.4", date(2025, 9, 1), "1.1.2", date(2025, 9, 1), _SYNC + "its manifest: esp-nn >=1.1.1"),
    _esp("1.3.5", date(2025, 11, 17), "1.1.2", date(2025, 9, 1), _SYNC + "its manifest: esp-nn >=1.1.1"),
    _esp("1.3.7", date(2026, 5, 11), "1.2.3", date(2026, 4, 27), _SYNC + "its manifest: esp-nn >=1.1.1"),
    _esp("1.4.0", date(2026, 7, 20), "1.2.3", date(2026, 4, 27), _SYNC + "its manifest: esp-nn >=1.1.1"),
    _zephyr("3.6", "1a34dcab41e7e0e667db72d6a40999c1ec9c510c", date(2023, 6, 30), date(2023, 5, 8),
            "zephyrproject-rtos/tflite-micro, branch zephyr-v3.6.0; cmsis-nn 0c8669d, which was taken until "
            "zephyr#73995, is 4.1.0"),
    _zephyr("4.0", "48613f7ba1ffbda46ad771a77a35408f48f922e9", date(2024, 5, 28), date(2024, 6, 2),
            "the indexes of west projects of Zephyr 4.0.0 and 3.7.0 name it, and cmsis-nn ea987c1c, which is 69823018 "
            "(6.0.0)"),
    _zephyr("4.1", "8d404de73acf7687831e16d88e86e4f73cfddf8e", date(2025, 2, 7), date(2024, 11, 11),
            "Zephyr 4.1.0's index of west projects names it, and cmsis-nn e9328d61, which is 22080c68 (7.0.0)"),
    _zephyr("4.4", "fcc760af130f3a595b5802cdebcc77461e54f382", date(2026, 2, 12), date(2025, 1, 17),
            "zephyrproject-rtos/tflite-micro, branch zephyr-v4.4.0; its west.yml names cmsis-nn d20117c9, which is "
            "7.0.0 with b9041706 (zephyr#103691), and no other source differs from e096196a of TFLite Micro itself"),
)  # fmt: skip


def require_edition(stated: object, others: Mapping[str, Edition], owners: Mapping[str, str]) -> Edition:
    """The edition, as far as it can be seen.

    Args:
        stated: whatever was handed over.
        others: the editions that there are, by name, but an earlier one of this.
        owners: the module of each of them.

    Raises:
        BadConfiguration: it is none, its days contradict its library, or another has its name; says whose.
    """
    if not isinstance(stated, Edition):
        raise BadConfiguration(
            where="qtorch.editions.known.register_edition",
            expected="an Edition of qtorch.editions.edition",
            got=f"{stated!r:.80}",
            remedy="hand over the record itself",
        )
    where = f"edition {stated.name!r}"
    if stated.name in others:
        raise BadConfiguration(
            where=where,
            expected="a name that no other edition has",
            got=f"that of an edition of {owners[stated.name]}",
            remedy="name it otherwise",
        )
    if (stated.library == "reference") != (stated.library_source is None):
        raise BadConfiguration(
            where=f"{where}: library_source",
            expected="the day of its library's source, and none of reference kernels",
            got=f"library {stated.library!r}, library_source {stated.library_source}",
            remedy="give the day of the library's last commit, or leave library out",
        )
    return stated


#: By name. Entry points of the group name an edition, or a module whose ``EDITION`` is one.
EDITIONS: Registry[Edition] = Registry(
    {each.name: each for each in _OWN},
    __name__,
    kind=Edition,
    group="qtorch.editions",
    cell="EDITION",
    require=require_edition,
)


def register_edition(stated: Edition) -> Edition:
    """An edition of one's own among the others, for boards and ``--export.tflm``.

    Example:
        >>> register_edition(Edition("mine", "a fork", date(2024, 3, 1))).name
        'mine'

    Raises:
        BadConfiguration: it is no :class:`~qtorch.editions.edition.Edition`, or another has its name.
    """
    EDITIONS.add(stated, str(sys._getframe(1).f_globals.get("__name__", "")))
    return stated


def takes_one_scale(stated: Edition, activations: Collection[str]) -> bool:
    """Whether a fully connected layer's weights may have one scale alone, of activations of one of these types.

    Source: tflite-micro 47b545074 (int8) and 39209b412 (int16); Espressif's kernel from esp-tflite-micro 1.3.4 on. What
    stands around CMSIS-NN and ESP-NN takes one of int16 to this day.
    """
    if stated.library != "reference" and "int16" in activations:
        return True
    first = [_PER_CHANNEL[dtype] for dtype in activations if dtype in _PER_CHANNEL]
    if stated.library == "esp_nn":
        first.append(_PER_CHANNEL_ESP)
    return any(stated.source < day for day in first)


_PER_CHANNEL = {"int8": date(2024, 9, 27), "int16": date(2025, 3, 17)}
_PER_CHANNEL_ESP = date(2025, 9, 1)


def edition(name: str, where: str = "export.tflm") -> Edition:
    """The edition of that name.

    Args:
        name: of an edition that is registered.
        where: the name was given, for the message.

    Raises:
        BadConfiguration: there is none; says which are called alike.
    """
    if isinstance(name, str) and name in EDITIONS:
        return EDITIONS[name]
    asked = str(name).lower().replace("_", "-")
    alike = difflib.get_close_matches(asked, EDITIONS, 3, 0.4) or [
        each for each in EDITIONS if asked and asked in EDITIONS[each].description.lower()
    ]
    raise BadConfiguration(
        where=where,
        expected=f"one of {', '.join(EDITIONS)}",
        got=repr(name),
        remedy=f"write {where} {' or '.join(alike[:3])}" if alike else "leave it out: the board's own edition counts",
    )
