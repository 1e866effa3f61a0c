"""What Arm and others publish of their processors' cycles, by kind of instruction.

Each table is a manual's, with zero wait states: a memory that answers at once, and addresses that are aligned.
"""

from __future__ import annotations

from firmware.emulation.timing import Kind, Timing

__all__ = ["TIMINGS", "timings_of"]

_C = "(?:eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)"


def _c(names: str, operands: str = r".*") -> str:
    """A pattern of mnemonics, with or without a condition, and their operands."""
    return rf"(?:{names}){_C}? ?{operands}"


_ONE = (
    "mov|movs|movw|movt|mvn|mvns|add|adds|addw|adc|adcs|adr|sub|subs|subw|sbc|sbcs|rsb|rsbs|neg|negs|cmp|cmn|tst|teq|"
    "and|ands|eor|eors|orr|orrs|orn|orns|bic|bics|lsl|lsls|lsr|lsrs|asr|asrs|ror|rors|rrx|rrxs|rev|rev16|revsh|rbit|"
    "clz|sxtb|sxth|uxtb|uxth|ubfx|sbfx|bfi|bfc|ssat|usat|nop"
)
#: Of the Cortex-M4 alone: Armv7E-M's parallel and mixed instructions.
_DSP = (
    "[su]xta?b16|[su]xta[bh]|[suq]{1,2}h?(?:add|sub)(?:8|16)|s?u?h?q?(?:asx|sax)|q[d]?add|q[d]?sub|sel|ssat16|usat16|"
    "pkhbt|pkhtb|usad8|usada8|smul[bt][bt]|smulw[bt]|smla[bt][bt]|smlaw[bt]|smuadx?|smusdx?|smladx?|smlsdx?|"
    "smlaldx?|smlsldx?|smlal[bt][bt]|smmulr?|smmlar?|smmlsr?"
)
_LOADS = "ldr|ldrb|ldrh|ldrsb|ldrsh"
_STORES = "str|strb|strh"
_ANYWHERE_BUT_PC = r"(?!pc\b).*"


def _cortex_m0(core: str, jump: int, call: int, back: int, source: str) -> Timing:
    """Cortex-M0 and M0+, whose tables differ in jumps alone.

    Args:
        core: its name.
        jump: cycles more of a jump that is taken.
        call: cycles of BL.
        back: cycles of POP with PC, its N registers apart.
        source: the document.
    """
    return Timing(
        core,
        source,
        (
            Kind("into PC", r"(?:mov|add) pc, .*", 1, 1, jump=(jump, jump)),
            Kind("multiplication", r"muls .*", 1, 1),
            Kind("return", r"(?:pop|ldmia) .*\{.*pc\}", back, back, each=1),
            Kind("several registers", r"(?:pop|push|ldm|ldmia|stm|stmia|stmdb) .*\{.*\}", 1, 1, each=1),
            Kind("load", rf"(?:{_LOADS}) .*", 2, 2, memory="load"),
            Kind("store", rf"(?:{_STORES}) .*", 2, 2, memory="store"),
            Kind("call", r"bl .*", call, call),
            Kind("jump", rf"(?:b|bx|blx|b{_C}) .*", 1, 1, jump=(jump, jump)),
            Kind("calculation", rf"(?:{_ONE})(?: .*)?", 1, 1),
            Kind("special register", r"(?:mrs|msr) .*", call, call),
            Kind("barrier", r"(?:dmb|dsb|isb)(?: .*)?", call, call),
        ),
        "no wait states; MULS takes 1 cycle (of 1 or 32, which a maker chooses)",
    )


#: "ranges from 1 to 3 depending on the alignment and width of the target instruction, and whether the processor manages
#: to speculate the address early": P in both tables.
_P = (1, 3)


def _cortex_m3(core: str, source: str, own: tuple[Kind, ...], assumption: str) -> Timing:
    """Cortex-M3 and M4: what their tables have in common, behind what each has of its own."""
    several = r"(?:pop|push|ldm|ldmia|ldmdb|stm|stmia|stmdb)"
    return Timing(
        core,
        source,
        (
            *own,
            Kind("into PC", _c("mov|movs|add", r"pc, .*"), 1, 1, jump=_P),
            Kind("division", _c("sdiv|udiv"), 2, 12),
            Kind("return", rf"{several}{_C}? .*\{{.*pc\}}", 1, 1, each=1, jump=_P),
            Kind("several registers", rf"{several}{_C}? .*\{{.*\}}", 1, 1, each=1),
            Kind("two registers", _c("ldrd|strd"), 3, 3),
            Kind("load into PC", _c("ldr", r"pc, .*"), 2, 2, jump=_P),
            Kind("table jump", r"(?:tbb|tbh) .*", 2, 2, jump=_P),
            # "might add a cycle because of contention with the fetch unit"
            Kind("load of a literal", _c(_LOADS, r"\w+, \[pc.*"), 2, 3, memory="load"),
            Kind("load", _c(_LOADS, _ANYWHERE_BUT_PC), 2, 2, memory="load"),
            # "always one cycle" at an immediate offset; with a new base address nothing says so.
            Kind("store", _c(_STORES, r"\w+, \[\w+(?:, #-?\d+)?\]"), 1, 1, memory="store"),
            Kind("store with another base", _c(_STORES, r"\w+, \[\w+(?:, #-?\d+\]!|\], #-?\d+)"), 1, 2, memory="store"),
            Kind("store at an index", _c(_STORES), 2, 2, memory="store"),
            Kind("jump", rf"(?:b|bl|bx|blx|b{_C}|cbz|cbnz) .*", 1, 1, jump=_P),
            Kind("IT", r"it[te]* .*", 0, 1),  # may be folded into the instruction before it
            Kind("multiplication", _c("mul|muls"), 1, 1),
            Kind("calculation", _c(_ONE, r".*"), 1, 1),
        ),
        assumption,
        neighbours=True,
    )


_FLOAT = (
    # Cortex-M4 TRM, FPU instruction set: single precision, and moves of 64 bits.
    Kind("two floats moved", _c(r"vmov", r"(?:[rlsfi]\w+, [rlsfi]\w+, [sd]\d+.*|[sd]\d+, (?:s\d+, )?r\w+, \w+)"), 2, 2),
    Kind("double loaded", _c("vldr|vstr", r"d\d+, .*"), 3, 3),
    Kind("float loaded", _c("vldr|vstr", r"s\d+, .*"), 2, 2),
    Kind("floats loaded", r"(?:vpush|vpop|vldmia|vldmdb|vstmia|vstmdb) .*\{s.*\}", 1, 1, each=1),
    Kind("doubles loaded", r"(?:vpush|vpop|vldmia|vldmdb|vstmia|vstmdb) .*\{d.*\}", 1, 1, each=2),
    Kind("float division", r"(?:vdiv|vsqrt)\.f32 .*", 14, 14),
    Kind("float product and sum", r"(?:vmla|vmls|vnmla|vnmls|vfma|vfms|vfnma|vfnms)\.f32 .*", 3, 3),
    Kind("float", r"(?:vmov|vadd|vsub|vmul|vnmul|vneg|vabs|vcmpe?|vcvtr?|vmrs|vmsr)[.\w]* .*", 1, 1),
)

_M4_OWN = (
    *_FLOAT,
    Kind("long multiplication", _c("smull|umull|smlal|umlal|umaal"), 1, 1),
    Kind("multiplication", _c("mla|mls"), 1, 1),
    Kind("parallel", _c(_DSP), 1, 1),
)
_M3_OWN = (
    Kind("long multiplication", _c("smull|umull"), 3, 5),
    Kind("long product and sum", _c("smlal|umlal"), 4, 7),
    Kind("product and sum", _c("mla|mls"), 2, 2),
)
_OPEN = "no wait states; from the least to the most that the manual leaves open (refills of the pipeline 1 to 3 cycles"

_M4 = _cortex_m3(
    "cortex-m4",
    "Arm Cortex-M4 Technical Reference Manual (100166), tables 3-1 and 3-2, load/store timings, FPU instruction set",
    _M4_OWN,
    f"{_OPEN}, divisions 2 to 12)",
)
_M3 = _cortex_m3(
    "cortex-m3",
    "Arm Cortex-M3 Technical Reference Manual (DDI 0337), table 3-1, load/store timings",
    _M3_OWN,
    f"{_OPEN}, long multiplications 3 to 7, divisions 2 to 12)",
)
_MORE_THAN_ONE = (
    "no bound from above is published: the most is what the Cortex-M4's table says of the same instructions one at a "
    "time, the least {least}"
)


def _several(core: str, least: str) -> Timing:
    """A processor without a published table that begins two instructions in a cycle."""
    return Timing(
        core,
        "Arm publishes no table of cycles; Cortex-M4 Technical Reference Manual (100166) for the most",
        _M4.kinds,
        "no wait states; " + _MORE_THAN_ONE.format(least=least),
        issue=2,
        neighbours=True,
    )


_VECTOR_MEMORY = r"(?:vldr[bhwd]|vstr[bhwd]|vld[24]\d|vst[24]\d)\.?\w* .*"
_VECTOR = r"v\w+(?:\.\w+)* .*q\d.*"

TIMINGS: dict[str, Timing] = {
    timing.core: timing
    for timing in (
        _cortex_m0(
            "cortex-m0plus", 1, 3, 3, "Arm Cortex-M0+ Technical Reference Manual (DDI 0484), table 3-1"
        ),
        _cortex_m0("cortex-m0", 2, 4, 4, "Arm Cortex-M0 Technical Reference Manual (DDI 0432), table 3-1"),
        _M3,
        _M4,
        _several("cortex-m7", "two instructions in each cycle"),
        _several("cortex-m33", "two instructions in each cycle, though only some of 16 bits can pair"),
        Timing(
            "cortex-m55",
            "Arm publishes no table of cycles; Cortex-M55 Technical Reference Manual (101051): vector data of 64 bits "
            "in a cycle; Cortex-M4 Technical Reference Manual (100166) for the most",
            (
                Kind("vector in memory", _VECTOR_MEMORY, 2, 2, unit="memory", occupied=2),
                Kind("vector", _VECTOR, 2, 2, unit="vector", occupied=2),
                Kind("predicate", r"(?:vpt|vpst|vpnot|vpsel|vctp|vcmp)[te.\w]*(?: .*)?", 1, 1),
                Kind("loop", r"(?:dls|wls|dlstp|wlstp|le|letp|lctp)(?:\.\d+)? .*", 0, 1),
                Kind("select", r"(?:csel|csinc|csinv|csneg|cset|csetm|cinc|cinv|cneg) .*", 1, 1),
                Kind("long shift", r"(?:asrl|lsll|lsrl|sqrshrl|sqrshr|sqshll|sqshl|srshr|srshrl|uqrshl|uqrshll|uqshl|"
                     r"uqshll|urshr|urshrl) .*", 1, 1),
                *_M4.kinds,
            ),
            "no wait states; " + _MORE_THAN_ONE.format(
                least="two instructions in each cycle, vectors of memory and of sums side by side in two cycles each"
            ),
            issue=2,
            neighbours=True,
        ),
        Timing(
            "riscv32",
            "Espressif publishes no cycles of the ESP32-C3's instructions",
            (Kind("any", r".*", 1, None),),
            "one cycle for each instruction: what loads, jumps, multiplications and divisions take more is published "
            "for no such processor at hand",
        ),
        Timing(
            "hazard3",
            "Hazard3's instruction cycle counts (github.com/Wren6991/Hazard3, doc/sections/instruction_timings.adoc), "
            "which the RP2350 data sheet repeats",
            (
                Kind("load", r"(?:c\.)?l(?:b|bu|h|hu|w|wsp) .*", 1, 2),
                Kind("store", r"(?:c\.)?s(?:b|h|w|wsp) .*", 1, 1),
                Kind("call, jump", r"(?:c\.)?(?:jal|jalr|j|jr)(?: .*)?", 2, 3),
                # One cycle if predicted, two if not, one more to a target of 4 bytes that lies across.
                Kind("branch", r"(?:c\.)?b(?:eq|ne|lt|ge|ltu|geu|eqz|nez) .*", 1, 2, jump=(0, 1)),
                Kind("division", r"(?:div|rem) .*", 18, 19),
                Kind("unsigned division", r"(?:divu|remu) .*", 18, 18),
                Kind("calculation", r"(?:c\.)?(?:add|addi|sub|slt|sltu|slti|sltiu|and|andi|or|ori|xor|xori|sll|slli|"
                     r"srl|srli|sra|srai|lui|auipc|li|mv|nop|addi16sp|addi4spn|mul|mulh|mulhu|mulhsu)(?: .*)?", 1, 1),
            ),
            "no wait states; from the least to the most: a load 1 or 2, a branch 1 to 3, as neighbours and prediction "
            "say",
        ),
    )
}  # fmt: skip

#: Processors that execute one machine's instructions in different times; the first is what the machine stands for.
_OF = {"cortex-m0": ("cortex-m0plus", "cortex-m0"), "riscv32": ("riscv32", "hazard3")}


def timings_of(cpu: str) -> tuple[Timing, ...]:
    """The tables for what a machine's processor executes, as machines and boards name it.

    The first of ``cortex-m0`` is the Cortex-M0+'s, which has taken its place wherever new boards are made.
    """
    return tuple(TIMINGS[core] for core in _OF.get(cpu, (cpu,)) if core in TIMINGS)
