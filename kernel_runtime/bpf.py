"""The instructions of classic BPF that a seccomp filter needs, as values; and comparisons of 64-bit arguments in them.

A program is a tuple of instructions that only jumps forward and ends in returns, so programs can be put behind one
another. See linux/bpf_common.h, linux/seccomp.h and Documentation/userspace-api/seccomp_filter.rst. Nothing here knows
of system calls or profiles.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant
Program = tuple[Instruction, ...]

LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS: 32 bits of struct seccomp_data
AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
JUMP = 0x05  # BPF_JMP | BPF_JA
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
JUMP_NOT_LESS = 0x35  # BPF_JMP | BPF_JGE | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K

# struct seccomp_data: the number, the architecture, the instruction pointer, six arguments (little-endian machines)
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_MAX_CONDITIONAL_JUMP = 255

Comparison = tuple[int, str, int, int]  # argument's index, SCMP_CMP_*, value, second value
COMPARISONS = (
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
)


def load(offset: int) -> Instruction:
    """Take 32 bits of struct seccomp_data into the accumulator."""
    return (LOAD, 0, 0, offset)


def give(value: int) -> Program:
    """End with *value*, an action of seccomp."""
    return ((RETURN, 0, 0, value),)


def choose(bound: int, below: Program, from_bound: Program) -> Program:
    """Go on with *below* if the accumulator is less than *bound*, else with *from_bound*."""
    if len(below) <= _MAX_CONDITIONAL_JUMP:
        head: Program = ((JUMP_NOT_LESS, len(below), 0, bound),)
    else:
        head = ((JUMP_NOT_LESS, 0, 1, bound), (JUMP, 0, 0, len(below)))
    return (*head, *below, *from_bound)


def search(segments: Sequence[tuple[int, Program]]) -> Program:
    """Find the accumulator's segment by halving: each has its first number and the program for its numbers.

    The first segment also has all numbers below it, each reaches to the next, the last to the end.
    """
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    return choose(segments[middle][0], search(segments[:middle]), search(segments[middle:]))


def only_if(value: int, then: Program) -> Program:
    """*then* if the accumulator is *value*; else the program goes on behind it."""
    return ((JUMP_EQUAL, 1, 0, value), (JUMP, 0, 0, len(then)), *then)


def if_all(comparisons: Sequence[Comparison], then: Program, otherwise: Program) -> Program:
    """*then* if every comparison holds, else *otherwise*. *then* is at most some dozens of instructions."""
    program = then
    for comparison in reversed(comparisons):
        program = (*_compare(comparison, len(program)), *program)
    return (*program, *otherwise)


def _compare(comparison: Comparison, skip: int) -> Program:
    """Go on behind the comparison if it holds, *skip* instructions further if not."""
    index, operator, value, second = comparison
    low = ARGUMENTS + 8 * index
    high = low + 4
    if operator == "SCMP_CMP_MASKED_EQ":
        return (
            *(load(high), (AND, 0, 0, value >> 32), (JUMP_EQUAL, 0, skip + 3, second >> 32)),
            *(load(low), (AND, 0, 0, value & 0xFFFFFFFF), (JUMP_EQUAL, 0, skip, second & 0xFFFFFFFF)),
        )
    if operator in ("SCMP_CMP_EQ", "SCMP_CMP_NE"):
        hit, miss = (0, skip) if operator == "SCMP_CMP_EQ" else (skip, 0)
        return (
            *(load(high), (JUMP_EQUAL, 0, miss + 2, value >> 32)),
            *(load(low), (JUMP_EQUAL, hit, miss, value & 0xFFFFFFFF)),
        )
    # Unsigned order: the high half decides unless it is equal. "Less" is "not (greater or equal)", and so on.
    hit, miss = (0, skip) if operator in ("SCMP_CMP_GT", "SCMP_CMP_GE") else (skip, 0)
    last = JUMP_GREATER if operator in ("SCMP_CMP_GT", "SCMP_CMP_LE") else JUMP_NOT_LESS
    return (
        *(load(high), (JUMP_GREATER, hit + 3, 0, value >> 32), (JUMP_EQUAL, 0, miss + 2, value >> 32)),
        *(load(low), (last, hit, miss, value & 0xFFFFFFFF)),
    )


def pack(program: Program) -> bytes:
    """*program* as an array of ``struct sock_filter``."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
