"""Read machine code: registers, spills, stack, widths of accesses, and instructions per element.

How instructions are counted. Every instruction in the listing of a kernel counts as one. If no
branch goes backward and nothing is called, no instruction runs twice, so their number is an upper
bound on what a thread executes. Divided by the number of elements that a thread computes, it is the
column `per element`. The column `c = 0` leaves out the longest stretch that a branch can jump over,
which is the noise: a row with c = 0 adds none. A `+` marks a count that is not a bound, because the
code calls a function or branches backward.

`waits` is how often a thread of NVIDIA's waits for memory, one time after another, if every load
takes the same time and noise is made. Instructions are executed in order, and one that needs data
which have not arrived stops all that follow. So loads that are under way together are one wait, and
a load that begins after a wait is part of the next one. `kernels.ladder.small_tensors` is about it.

For NVIDIA, cuobjdump reports registers and stack; spills are the accesses to local memory. For AMD,
the assembly itself lists these. Shared memory that a launch asks for is in neither; Triton reports
it (`compile_launch`). Widths are those of a thread's accesses to global memory, in bits: `6 x 128`
means six accesses of 128 bits. Narrow ones are scalars, such as the row's coefficients (which AMD's
scalar unit loads, so they are not counted there).
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from triton import knobs


@dataclass(frozen=True)
class Report:
    """The resources and instructions of one thread, counted as the module's docstring explains."""

    registers: int
    spills: int
    stack: int
    shared: int
    loads: Mapping[int, int]  # from the width of an access in bits to their number
    stores: Mapping[int, int]
    instructions: int
    skippable: int
    repeats: int  # backward branches and calls; unless it is 0, `instructions` is not a bound
    elements: float
    waits: int | None = None  # counted for NVIDIA

    @property
    def per_element(self) -> float:
        """An upper bound on the instructions per element."""
        return self.instructions / self.elements

    @property
    def per_element_without_noise(self) -> float:
        """The same for a row whose c is 0."""
        return (self.instructions - self.skippable) / self.elements


def read_nvidia(cubin: bytes, elements: float) -> Report:
    """A report from a cubin."""
    return read_sass(disassemble(cubin), elements)


def disassemble(cubin: bytes) -> str:
    """Resource usage and listing of a cubin, by cuobjdump, which comes with Triton."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        command = [knobs.nvidia.cuobjdump.path, "-res-usage", "-sass", str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def instructions(text: str) -> list[tuple[int, str]]:
    """Address and text of each instruction in cuobjdump's listing, padding included."""
    found = re.findall(r"/\*([0-9a-f]{4,})\*/\s+([^;]+?)\s*;", text)
    return [(int(address, 16), instruction) for address, instruction in found]


def read_sass(text: str, elements: float) -> Report:
    """A report from cuobjdump's resource usage and listing."""
    usage = {key: int(value) for key, value in re.findall(r"(REG|STACK|SHARED):(\d+)", text)}
    code = instructions(text)
    branch = re.compile(r"\bBRA\S* .*?(0x[0-9a-f]+)")
    targets = [(at, int(to[1], 16)) for at, i in code if (to := branch.search(i))]
    # After the kernel and its subroutines there is a branch to itself, then padding.
    end = min((at for at, to in targets if at == to), default=code[-1][0] + 1)
    code = [(at, instruction) for at, instruction in code if at < end]
    targets = [(at, to) for at, to in targets if at < end]
    words = [re.sub(r"^@\S+ ", "", instruction).split()[0] for _, instruction in code]
    return Report(
        registers=usage["REG"],
        spills=sum(word.startswith(("LDL", "STL")) for word in words),
        stack=usage["STACK"],
        shared=usage["SHARED"],
        loads=dict(Counter(_bits(word) for word in words if re.match(r"LDG?\b", word))),
        stores=dict(Counter(_bits(word) for word in words if re.match(r"STG?\b", word))),
        instructions=len(code),
        skippable=max((sum(at < x < to for x, _ in code) for at, to in targets), default=0),
        repeats=sum(to <= at for at, to in targets)
        + sum(w.startswith(("CALL", "BRX", "JMP")) for w in words),
        elements=elements,
        waits=count_waits([instruction for _, instruction in code]),
    )


def count_waits(code: Sequence[str]) -> int:
    """How often a thread waits for loads from global memory, one time after another.

    No branch is taken until the first instruction that begins with EXIT.
    """
    waits = 0
    arriving: dict[int, int] = {}  # from a register to the wait with which its data arrive
    for instruction in code:
        word, _, operands = re.sub(r"^@\S+ ", "", instruction).partition(" ")
        if word == "EXIT":
            break
        waits = max(
            [waits, *(arriving.get(register, 0) for register in _registers(word, operands))]
        )
        if word.startswith("LDG"):
            data = operands.split(",")[0]
            arriving |= dict.fromkeys(_registers(word, data), waits + 1)
    return waits


def _registers(word: str, operands: str) -> Iterator[int]:
    """The registers that an instruction reads or writes."""
    for place, operand in enumerate(operands.split(", ")):
        size = 1
        if word.startswith(("LD", "ST")) and place == (0 if word.startswith("LD") else 1):
            size = max(1, _bits(word) // 32)  # the data of an access
        elif ".64" in operand or ".WIDE" in word:
            size = 2
        for register in re.findall(r"\bR(\d+)", operand):
            yield from range(int(register), int(register) + size)


def _bits(word: str) -> int:
    """The width of `LDG.E.128`, `LDG.E.U16`, `LDG.E`."""
    width = re.search(r"\.[US]?(8|16|64|128|256)\b", word)
    return int(width[1]) if width else 32


def read_amdgcn(text: str, elements: float) -> Report:
    """A report from AMD's assembly, which ends with a list of its own resources."""
    said = {key: int(value) for key, value in re.findall(r"\.(\w+): +(\d+)\n", text)}
    body = text[: text.index(".section")]
    lines = [line.split(";")[0].strip() for line in body.splitlines()]
    places: dict[str, int] = {}
    words: list[str] = []
    jumps: list[tuple[int, str]] = []
    for line in lines:
        if re.fullmatch(r"\.L\w+:", line):
            places[line[:-1]] = len(words)
        elif re.match(r"[a-z]\w+( |$)", line):
            if "branch" in line:
                jumps.append((len(words), line.split()[1]))
            words.append(line.split()[0])
    over = [places[label] - at - 1 for at, label in jumps]
    access = re.compile(r"(?:global|buffer|flat)_(load|store)_(\w+)")
    widths = {"load": Counter[int](), "store": Counter[int]()}
    for match in filter(None, map(access.match, words)):
        widths[match[1]][_amd_bits(match[2])] += 1
    return Report(
        registers=said["vgpr_count"],
        spills=said["vgpr_spill_count"] + said["sgpr_spill_count"],
        stack=said["private_segment_fixed_size"],
        shared=said["group_segment_fixed_size"],
        loads=dict(widths["load"]),
        stores=dict(widths["store"]),
        instructions=len(words),
        skippable=max(over, default=0),
        repeats=sum(n < 0 for n in over) + sum(word.startswith("s_swappc") for word in words),
        elements=elements,
    )


def _amd_bits(name: str) -> int:
    """The width of `dwordx4`, `dword`, `b128` (a newer spelling), `ushort`, `d16_hi`, `ubyte`."""
    if spelt := re.match(r"b(\d+)", name):
        return int(spelt[1])
    if name.startswith("dword"):
        return 32 * int(name[6:7] or 1)
    return 8 if "byte" in name else 16
