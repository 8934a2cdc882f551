"""The seccomp compiler: its programs, run by an interpreter here and by the kernel, do what the profile says."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import random
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from errno import ENOSYS, EPERM
from pathlib import Path
from typing import Any

import pytest

from kernel_runtime import bpf, capabilities, seccomp, seccomp_profile, syscall_table, syscalls
from kernel_runtime.errors import SpecError
from kernel_runtime.syscall_table import AARCH64, ARM, RISCV64, X32, X32_BIT, X86, X86_64, Abi

ERRNO, ALLOW = seccomp.ERRNO, seccomp.ALLOW
HERE = os.uname().machine


def lacking(reason: str) -> None:
    """Skip the test on a laptop; on a machine that must be able to (JC_MUST_WORK), fail it."""
    (pytest.fail if os.environ.get("JC_MUST_WORK") else pytest.skip)(reason)


# An interpreter of the BPF that filters use, and an evaluation of profiles that is as plain as can be.


def run(program: bytes, number: int, arch: int, args: tuple[int, ...] = ()) -> tuple[int, int]:
    """The action for one system call, and how many instructions it took."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *(*args, 0, 0, 0, 0, 0, 0)[:6])
    instructions = list(struct.iter_unpack("<HBBI", program))
    at = accumulator = steps = 0
    while True:
        code, if_true, if_false, constant = instructions[at]
        at, steps = at + 1, steps + 1
        if code == bpf.RETURN:
            return constant, steps
        if code == bpf.LOAD:
            accumulator = struct.unpack_from("<I", data, constant)[0]
        elif code == bpf.AND:
            accumulator &= constant
        elif code == bpf.JUMP:
            at += constant
        else:
            holds = {
                bpf.JUMP_EQUAL: accumulator == constant,
                bpf.JUMP_GREATER: accumulator > constant,
                bpf.JUMP_NOT_LESS: accumulator >= constant,
            }[code]
            at += if_true if holds else if_false


def holds(argument: Mapping[str, Any], args: tuple[int, ...]) -> bool:
    have, value, second = args[argument["index"]], argument["value"], argument.get("valueTwo", 0)
    answers = {
        "NE": have != value,
        "LT": have < value,
        "LE": have <= value,
        "EQ": have == value,
        "GE": have >= value,
        "GT": have > value,
        "MASKED_EQ": have & value == second,
    }
    return bool(answers[argument["op"].removeprefix("SCMP_CMP_")])


def action_of(rule: Mapping[str, Any], key: str = "action", errno: str = "errnoRet") -> int:
    values = {"ALLOW": ALLOW, "ERRNO": ERRNO | rule.get(errno, EPERM), "KILL_PROCESS": 1 << 31, "LOG": 0x7FFC0000}
    return int(values[rule[key].removeprefix("SCMP_ACT_")])


def expected(profile: Mapping[str, Any], abi: Abi, number: int, args: tuple[int, ...]) -> int:
    """What *profile* says to a call: conditions first, then plain rules, then the default."""
    table = syscall_table.numbers(abi)
    name = next((name for name, known in table.items() if known == number), None)
    rules = [rule for rule in profile["syscalls"] if name in rule["names"]]
    for rule in rules:
        if rule.get("args") and all(holds(argument, args) for argument in rule["args"]):
            return action_of(rule)
    for rule in rules:
        if not rule.get("args"):
            return action_of(rule)
    named = {table[name] for rule in profile["syscalls"] for name in rule["names"] if name in table}
    newest = max(number for number in named if number & ~X32_BIT < 0x10000)
    default = action_of(profile, "defaultAction", "defaultErrnoRet")
    return ERRNO | ENOSYS if number > newest and default & 0x7FFF0000 == ERRNO else default


def numbers_to_try(abi: Abi) -> list[int]:
    bit = X32_BIT if abi == X32 else 0
    edges = [X32_BIT - 1] if abi == X86_64 else [0xFFFFFFFF]  # beyond are x32's
    known = syscall_table.numbers(abi).values()
    return sorted({*(n | bit for n in range(620)), *known, *(n + 1 for n in known), 5000 | bit, *edges})


ARGUMENTS = [
    (0, 0, 0, 0, 0, 0),
    *((family, 0, 0, 0, 0, 0) for family in (1, 8, 37, 38, 39, 40, 41, 1 << 32, 38 | 1 << 32)),
    *((personality, 0, 0, 0, 0, 0) for personality in (0x20000, 0x20008, 0xFFFFFFFF)),
    *((flag | 17, 0, 0, 0, 0, 0) for flag in (0x10000000, 0x20000000, 0x00020000, 0x02000000, 0x00010F00)),
    *((0, kind | 0o644, kind | 0o600, 0, 0, 0) for kind in range(0, 0o200000, 0o010000)),
]

PROFILES = [
    *((f"default {n}", caps, False) for n, caps in enumerate([capabilities.DEFAULT, (), capabilities.NAMES])),
    ("emulated", capabilities.DEFAULT, True),
]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64", "armv7l"])
@pytest.mark.parametrize(("name", "caps", "emulated"), PROFILES)
def test_every_call_of_every_table_gets_the_action_of_the_profile(
    machine: str, name: str, caps: tuple[str, ...], emulated: bool
) -> None:
    profile = seccomp_profile.default_profile(caps, machine)
    if emulated:
        profile = seccomp_profile.emulate_ownership(profile)
    program = seccomp.compile(profile, machine)
    special = {n for rule in profile["syscalls"] if rule.get("args") for n in rule["names"]}
    for abi in syscall_table.abis(machine):
        with_args = {syscall_table.numbers(abi)[n] for n in special if n in syscall_table.numbers(abi)}
        answer = Answers(profile, abi)
        for number in numbers_to_try(abi):
            for args in ARGUMENTS if number in with_args else ARGUMENTS[:1]:
                assert run(program, number, abi.audit, args)[0] == answer(number, args), (abi.name, number, args)


class Answers:
    """:func:`expected` for one table, with the search for names and rules done once."""

    def __init__(self, profile: Mapping[str, Any], abi: Abi) -> None:
        names = {number: name for name, number in syscall_table.numbers(abi).items()}
        self.profile, self.abi, self.plain = profile, abi, dict[int, int]()
        for number, name in names.items():
            rules = [rule for rule in profile["syscalls"] if name in rule["names"]]
            if len(rules) == 1 and not rules[0].get("args"):
                self.plain[number] = action_of(rules[0])

    def __call__(self, number: int, args: tuple[int, ...]) -> int:
        if number in self.plain:
            return self.plain[number]
        return expected(self.profile, self.abi, number, args)


@pytest.mark.parametrize("operator", [name.removeprefix("SCMP_CMP_") for name in bpf.COMPARISONS])
def test_every_comparison_is_of_64_bits_and_unsigned(operator: str) -> None:
    values = [
        0,
        1,
        5,
        0x7FFFFFFF,
        0x80000000,
        0xFFFFFFFF,
        1 << 32,
        5 << 32 | 5,
        5 << 32 | 6,
        6 << 32 | 1,
        2**63,
        2**64 - 1,
    ]
    for value in values:
        argument = {"index": 3, "op": f"SCMP_CMP_{operator}", "value": value, "valueTwo": 5 << 32 & value}
        profile = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7, "args": [argument]}],
        }
        program = seccomp.compile(profile, "x86_64")
        for have in values:
            args = (9, 9, 9, have, 9, 9)
            wanted = ERRNO | 7 if holds(argument, args) else ALLOW
            assert run(program, 0, X86_64.audit, args)[0] == wanted, (value, have)


def random_profile(random: random.Random) -> dict[str, Any]:
    names = sorted(syscall_table.numbers(X86_64))

    def rule() -> dict[str, Any]:
        indices = random.sample(range(6), random.choice([0, 0, 1, 2, 3]))
        return {
            "names": random.sample(names, random.choice([1, 2, 20])),
            "action": random.choice(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG"]),
            "errnoRet": random.randrange(1, 100),
            "args": [
                {
                    "index": index,
                    "op": random.choice(bpf.COMPARISONS),
                    "value": random.choice([0, 1, 2, 1 << 32, 3 << 32 | 1]),
                    "valueTwo": random.choice([0, 1]),
                }
                for index in indices
            ],
        }

    return {
        "defaultAction": random.choice(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG"]),
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [rule() for _ in range(random.randrange(1, 12))],
    }


@pytest.mark.parametrize("seed", range(25))
def test_random_profiles_do_what_they_say(seed: int) -> None:
    chance = random.Random(seed)
    profile = random_profile(chance)
    program = seccomp.compile(profile, "x86_64")
    values = [0, 1, 2, 3, 1 << 32, 3 << 32 | 1, 4 << 32]
    for abi in (X86_64, X86):
        answer = Answers(profile, abi)
        for number in numbers_to_try(abi):
            args = tuple(chance.choice(values) for _ in range(6))
            assert run(program, number, abi.audit, args)[0] == answer(number, args), (abi.name, number, args)


# Shape of the program


def test_a_call_is_decided_in_few_steps() -> None:
    program = seccomp.compile(seccomp_profile.default_profile(capabilities.DEFAULT, "x86_64"), "x86_64")
    steps = [run(program, number, X86_64.audit)[1] for number in range(470)]
    assert max(steps) <= 24 and sum(steps) / len(steps) <= 14
    assert len(program) // 8 < 1000


def test_compiling_is_quick_and_always_gives_the_same() -> None:
    profile = seccomp_profile.default_profile(capabilities.DEFAULT)
    seccomp.compile(profile)
    start = time.perf_counter()
    programs = {seccomp.compile(json.loads(json.dumps(profile))) for _ in range(10)}
    assert len(programs) == 1
    assert (time.perf_counter() - start) / 10 < 0.03


def test_an_unlisted_architecture_kills_and_so_does_x32() -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_MIPS"], "syscalls": []}
    program = seccomp.compile(profile, "x86_64")
    assert run(program, 0, X86_64.audit)[0] == ALLOW
    for number, arch in ((0, X86.audit), (0, AARCH64.audit), (X32_BIT, X86_64.audit), (0xFFFFFFFE, X86_64.audit)):
        assert run(program, number, arch)[0] == seccomp.KILL_PROCESS
    assert run(program, 0xFFFFFFFF, X86_64.audit)[0] == ALLOW  # what a tracer sets to skip a call


def test_x32_has_numbers_of_its_own() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X32"],
        "syscalls": [{"names": ["ptrace", "bpf"], "action": "SCMP_ACT_ERRNO"}],
    }
    program = seccomp.compile(profile, "x86_64")
    for number, action in ((521, ERRNO | EPERM), (321, ERRNO | EPERM), (101, ALLOW), (0, ALLOW)):
        assert run(program, number | X32_BIT, X86_64.audit)[0] == action


def test_long_programs_jump_far() -> None:
    names = sorted(syscall_table.numbers(X86_64))
    condition = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 1, "op": "SCMP_CMP_GT"}]
    rules = [
        {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": n % 99 + 1, "args": condition if n % 2 else []}
        for n, name in enumerate(names)
    ]
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    program = seccomp.compile(profile, "x86_64")
    assert len(program) // 8 > 1500
    answer = Answers(profile, X86_64)
    for number in numbers_to_try(X86_64):
        for args in ((1, 2, 0, 0, 0, 0), (1, 1, 0, 0, 0, 0)):
            assert run(program, number, X86_64.audit, args)[0] == answer(number, args)


def test_too_long_a_program_is_an_error() -> None:
    args = [{"index": index, "value": 1, "op": "SCMP_CMP_GT"} for index in range(6)]
    rules = [
        {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": n, "args": args}
        for n, name in enumerate(sorted(syscall_table.numbers(X86_64)))
    ]
    with pytest.raises(SpecError, match="4096"):
        seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}, "x86_64")


def test_actions_carry_their_numbers() -> None:
    names = ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP", "ERRNO", "TRACE", "LOG", "ALLOW"]
    values = [0, 0, 0x80000000, 0x00030000, 0x00050021, 0x7FF00021, 0x7FFC0000, 0x7FFF0000]
    for name, value in zip(names, values, strict=True):
        rule = {"names": ["read"], "action": f"SCMP_ACT_{name}", "errnoRet": 0x21}
        program = seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, "x86_64")
        assert run(program, 0, X86_64.audit)[0] == value


def test_newer_calls_get_enosys_only_where_the_default_refuses() -> None:
    rule = {"names": ["read", "close_range"], "action": "SCMP_ACT_ALLOW"}
    for default, errno, wanted in (
        ("SCMP_ACT_ERRNO", 5, ERRNO | ENOSYS),
        ("SCMP_ACT_KILL_PROCESS", None, ERRNO | ENOSYS),
        ("SCMP_ACT_LOG", None, seccomp.LOG),
        ("SCMP_ACT_TRACE", 3, seccomp.TRACE | 3),
    ):
        profile = {"defaultAction": default, "defaultErrnoRet": errno, "syscalls": [rule]}
        program = seccomp.compile(profile, "x86_64")
        assert run(program, 437, X86_64.audit)[0] == run(program, 9999, X86_64.audit)[0] == wanted
        assert run(program, 436, X86_64.audit)[0] == ALLOW
        assert run(program, 1, X86_64.audit)[0] == {"SCMP_ACT_ERRNO": ERRNO | 5}.get(
            default, run(program, 2, X86_64.audit)[0]
        )


def test_one_index_twice_is_an_or_as_in_runc() -> None:
    args = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (1, 2)]
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": args}],
    }
    program = seccomp.compile(profile, "x86_64")
    assert [run(program, 0, X86_64.audit, (n,))[0] for n in range(4)] == [ALLOW, ERRNO | 1, ERRNO | 1, ALLOW]


def test_unknown_names_are_skipped_as_in_runc() -> None:
    rules = [{"names": ["no_such_call", "read"], "action": "SCMP_ACT_ERRNO"}]
    program = seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}, "x86_64")
    assert run(program, 0, X86_64.audit)[0] == ERRNO | EPERM


def test_a_machine_without_a_table_is_an_error_with_a_mend() -> None:
    with pytest.raises(SpecError, match=r"s390x.*seccomp=unconfined"):
        seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW"}, "s390x")


GOOD = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        ({}, "linux.seccomp.defaultAction"),
        ({"defaultAction": "SCMP_ACT_ALOW"}, "Did you mean SCMP_ACT_ALLOW?"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "linux.seccomp.defaultAction"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}, "linux.seccomp.defaultErrnoRet"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}}, None),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": "read"}, "linux.seccomp.syscalls"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [GOOD, 3]}, "linux.seccomp.syscalls[1]"),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_LOG"}]},
            "linux.seccomp.syscalls[0].names",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**GOOD, "names": [1]}]}, "linux.seccomp.syscalls[0].names"),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**GOOD, "action": "x"}]},
            "linux.seccomp.syscalls[0].action",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**GOOD, "args": [1]}]}, "linux.seccomp.syscalls[0].args[0]"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": "x"}, "linux.seccomp.architectures"),
    ],
)
def test_malformed_profiles_are_errors_with_their_place(profile: dict[str, Any], text: str | None) -> None:
    if text is None:
        seccomp.compile(profile, "x86_64")  # an empty object where a list belongs asks for nothing
        return
    with pytest.raises(SpecError) as caught:
        seccomp.compile(profile, "x86_64")
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("change", "place"),
    [({"index": 6}, "index"), ({"index": None}, "index"), ({"value": -1}, "value"), ({"value": 2**64}, "value"),
     ({"value": True}, "value"), ({"valueTwo": "1"}, "valueTwo"), ({"op": "SCMP_CMP_EQUAL"}, "op")],
)  # fmt: skip
def test_malformed_conditions_are_errors_with_their_place(change: dict[str, Any], place: str) -> None:
    argument = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ", **change}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**GOOD, "args": [argument]}]}
    with pytest.raises(SpecError) as caught:
        seccomp.compile(profile, "x86_64")
    assert f"linux.seccomp.syscalls[0].args[0].{place}" in str(caught.value)


def test_flags_are_those_of_the_kernel() -> None:
    assert seccomp.flags({}) == syscalls.SECCOMP_FILTER_FLAG_SPEC_ALLOW
    assert seccomp.flags({"flags": []}) == 0
    assert seccomp.flags({"flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]}) == 2
    with pytest.raises(SpecError, match="Did you mean SECCOMP_FILTER_FLAG_LOG"):
        seccomp.flags({"flags": ["SECCOMP_FILTER_FLAG_LGO"]})


# The tables


HEADERS = {X86_64: "unistd_64.h", X86: "unistd_32.h", X32: "unistd_x32.h"}


@pytest.mark.parametrize("abi", HEADERS)
def test_numbers_are_those_of_the_kernels_headers(abi: Abi) -> None:
    header = next(Path("/usr/include").glob(f"**/asm/{HEADERS[abi]}"), None)
    if header is None:
        lacking("needs the kernel's headers for x86")
    assert header is not None
    ours = syscall_table.numbers(abi)
    for line in header.read_text().splitlines():
        if line.startswith("#define __NR_"):
            name, number = line.removeprefix("#define __NR_").split(" ", 1)
            value = int(number.strip("()").split("+")[-1]) | (X32_BIT if abi == X32 else 0)
            assert ours[name] == value, name


def test_tables_have_each_number_once() -> None:
    for abi in (X86_64, X32, X86, AARCH64, ARM, RISCV64):
        table = syscall_table.numbers(abi)
        assert len(set(table.values())) == len(table)
    assert syscall_table.numbers(AARCH64)["mknodat"] == 33 and syscall_table.numbers(ARM)["chown32"] == 212


# The kernel


def calls_in_child(profile: Mapping[str, Any], work: Callable[[], Any]) -> Any:
    """What *work* returned in a child that lives under *profile*."""
    program = seccomp.compile(profile)
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
            syscalls.seccomp_set_filter(program, seccomp.flags(profile))
            answer = work()
        except BaseException as error:  # noqa: BLE001 - the child must always answer and never return
            answer = f"{type(error).__name__}: {error}"
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return json.loads(data)


_libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *args: int) -> int:
    """The errno of a raw system call, 0 where it succeeds."""
    ctypes.set_errno(0)
    return ctypes.get_errno() if _libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, args)) == -1 else 0


needs_table = pytest.mark.skipif(
    not syscall_table.abis(HERE) and not os.environ.get("JC_MUST_WORK"), reason="needs a machine with a table"
)


@needs_table
def test_the_default_profile_denies_in_the_kernel_what_it_should() -> None:
    numbers = syscall_table.numbers(syscall_table.abis(HERE)[0])
    refused = (
        *("keyctl", "add_key", "bpf", "perf_event_open", "userfaultfd", "open_by_handle_at", "io_uring_setup", "mount"),
        *("umount2", "pivot_root", "setns", "kexec_load", "init_module", "fsopen", "swapoff", "acct"),
    )
    denied = {**dict.fromkeys(refused, EPERM), "clone3": ENOSYS, "listns": ENOSYS, "file_getattr": ENOSYS}

    def work() -> dict[str, int]:
        errnos = {name: call(numbers[name], 0, 0, 0, 0, 0) for name in denied}
        errnos["new"] = call(4000)
        errnos["unshare"] = call(numbers["unshare"], syscalls.CLONE_NEWUSER)
        errnos["clone"] = call(numbers["clone"], syscalls.CLONE_NEWUSER, 0)
        for family in (socket.AF_INET, seccomp_profile.AF_ALG, seccomp_profile.AF_VSOCK):
            errnos[f"socket {int(family)}"] = call(numbers["socket"], family, socket.SOCK_STREAM, 0)
        errnos["personality"] = call(numbers["personality"], 0x0040000)
        errnos["personality?"] = call(numbers["personality"], 0xFFFFFFFF)
        return errnos

    others = {"new": ENOSYS, "unshare": EPERM, "clone": EPERM, "socket 2": 0, "socket 38": EPERM, "socket 40": EPERM}
    others.update({"personality": EPERM, "personality?": 0})
    assert calls_in_child(seccomp_profile.default_profile(capabilities.DEFAULT), work) == {**denied, **others}


@needs_table
def test_ordinary_work_goes_on_under_the_default_profile(tmp_path: Path) -> None:
    def work() -> list[Any]:
        (tmp_path / "file").write_text("text")
        os.mkfifo(tmp_path / "fifo")
        pid = os.fork()
        if pid == 0:
            os.execv("/bin/sh", ["sh", "-c", "exit 7"])
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return [status, sorted(os.listdir(tmp_path)), os.getpid() > 0]

    assert calls_in_child(seccomp_profile.default_profile(()), work) == [7, ["fifo", "file"], True]


@pytest.fixture
def old_way() -> Iterator[Callable[[int, int], int]]:
    """A function that calls the kernel as i386 does: ``int 0x80`` with a number and one argument."""
    if HERE != "x86_64":
        pytest.skip("int 0x80 is of x86")
    code = bytes.fromhex("53 89f8 89f3 31c9 31d2 cd80 5b c3".replace(" ", ""))  # push rbx; eax=edi; ebx=esi; …
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    yield ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(address)


def test_the_other_ways_to_call_the_kernel_are_filtered_as_well(old_way: Callable[[int, int], int]) -> None:
    native, i386, x32 = (syscall_table.numbers(abi) for abi in (X86_64, X86, X32))
    if old_way(i386["getpid"], 0) != os.getpid():
        lacking("this kernel has no i386 calls")

    def work() -> list[int]:
        return [
            old_way(i386["getpid"], 0) - os.getpid(),
            old_way(i386["unshare"], syscalls.CLONE_NEWUSER),
            old_way(i386["keyctl"], 0),
            old_way(i386["clone3"], 0),
            call(x32["keyctl"]),
            call(native["keyctl"] | X32_BIT),
        ]

    profile = seccomp_profile.default_profile(capabilities.DEFAULT)
    assert calls_in_child(profile, work) == [0, -EPERM, -EPERM, -ENOSYS, EPERM, EPERM]


@needs_table
def test_emulated_ownership_succeeds_and_changes_nothing(tmp_path: Path) -> None:
    numbers = syscall_table.numbers(syscall_table.abis(HERE)[0])
    file = tmp_path / "file"
    file.touch()
    before = file.stat()

    def work() -> list[Any]:
        os.chown(file, 4242, 4242)
        os.setgroups([1, 2])
        os.setresuid(4242, 4242, 4242)
        os.setgid(4242)
        os.mknod(tmp_path / "char", 0o644 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(tmp_path / "block", 0o644 | stat.S_IFBLK, os.makedev(8, 0))
        os.mknod(tmp_path / "fifo", 0o644 | stat.S_IFIFO)
        os.mknod(tmp_path / "plain", 0o644 | stat.S_IFREG)
        kept = os.getresuid() == identity and os.getgroups() == groups
        return [kept, sorted(os.listdir(tmp_path)), call(numbers["capset"], 0, 0), call(numbers["keyctl"])]

    identity, groups = os.getresuid(), os.getgroups()
    profile = seccomp_profile.emulate_ownership(seccomp_profile.default_profile(capabilities.DEFAULT))
    assert calls_in_child(profile, work) == [True, ["fifo", "file", "plain"], 0, EPERM]
    assert (file.stat().st_uid, file.stat().st_gid) == (before.st_uid, before.st_gid)


def test_emulation_leaves_the_given_profile_as_it_was() -> None:
    profile = seccomp_profile.default_profile(capabilities.DEFAULT)
    copy = json.loads(json.dumps(profile))
    seccomp_profile.emulate_ownership(profile)
    assert profile == copy


# The default profile as a text


def verdict(profile: Mapping[str, Any], name: str) -> list[tuple[str, int | None]]:
    return [(rule["action"], rule.get("errnoRet")) for rule in profile["syscalls"] if name in rule["names"]]


ALLOWED = [("SCMP_ACT_ALLOW", None)]


def test_every_denied_name_is_a_system_call_and_in_one_group() -> None:
    names = [name for group in seccomp_profile.DENIED for name in group.names.split()]
    assert len(names) == len(set(names))
    assert set(names) | set(seccomp_profile.TOO_NEW) <= syscall_table.names()
    assert {*seccomp_profile.OWNERSHIP} <= syscall_table.names()


def test_capabilities_lift_their_denials() -> None:
    for group in seccomp_profile.DENIED:
        for name in group.names.split():
            assert verdict(seccomp_profile.default_profile(()), name) == []
            for capability in group.unless:
                assert capability in capabilities.NUMBERS
                assert verdict(seccomp_profile.default_profile([capability]), name) == ALLOWED


def test_clone_is_free_only_with_sys_admin() -> None:
    without, with_it = (seccomp_profile.default_profile(caps) for caps in ((), ("CAP_SYS_ADMIN",)))
    assert verdict(without, "clone3") == [("SCMP_ACT_ERRNO", ENOSYS)] and verdict(with_it, "clone3") == ALLOWED
    clone = next(rule for rule in without["syscalls"] if rule["names"] == ["clone"])
    assert clone["args"] == [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
    assert verdict(with_it, "clone") == ALLOWED and "clone" in with_it["syscalls"][0]["names"]


def test_docker_leaves_chroot_but_not_to_a_container_without_it() -> None:
    assert verdict(seccomp_profile.default_profile(capabilities.DEFAULT), "chroot") == ALLOWED
    assert verdict(seccomp_profile.default_profile(()), "chroot") == []


def test_the_profile_is_plain_oci_json() -> None:
    profile = seccomp_profile.default_profile(capabilities.DEFAULT, "x86_64")
    assert json.loads(json.dumps(profile)) == profile
    assert profile["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", EPERM)
