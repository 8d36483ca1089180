"""What runs inside the sandbox's walls: limits, a filter of system calls, and a guard that tells how a program ended.

The sandbox hands this file's text to a bare interpreter (`python -c`), behind walls that the package cannot be seen
from. So it imports the standard library alone, and little of it: every program waits for that.
"""

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys

LIMITS = ("memory_bytes", "cpu_s", "folder_bytes", "tasks", "open_files", "may_fork")
"""The arguments after the status pipe, in order."""

_DETAIL_CHARACTERS = 500
_MAX_FDS = 65536

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Machine -> column of the tables below, and its AUDIT_ARCH number (linux/audit.h)."""

# Numbers of system calls: asm/unistd_64.h for x86_64, asm-generic/unistd.h for aarch64.
_CLONE = (56, 220)
_CLONE3 = 435
_X86_FORKS = (57, 58)
"""fork and vfork; aarch64 has clone alone."""
_DENIED = (
    # A socket could reach what no network namespace holds back: the host of a virtual machine (AF_VSOCK), the
    # kernel's own services (AF_ALG, AF_NETLINK).
    (41, 198),  # socket
    # Memory outside the address space that is limited.
    (29, 194),  # shmget
    (64, 190),  # semget
    (68, 186),  # msgget
    (240, 180),  # mq_open
    (319, 279),  # memfd_create
    (447, 447),  # memfd_secret
    # Other processes, other namespaces.
    (101, 117),  # ptrace
    (310, 270),  # process_vm_readv
    (311, 271),  # process_vm_writev
    (438, 438),  # pidfd_getfd
    (272, 97),  # unshare
    (308, 268),  # setns
    (165, 40),  # mount
    (166, 39),  # umount2
    (155, 41),  # pivot_root
    (161, 51),  # chroot
    *((number, number) for number in (428, 429, 430, 431, 432, 433, 442)),  # open_tree ... fspick, mount_setattr
    # Wide doors into the kernel that no test needs.
    (321, 280),  # bpf
    (298, 241),  # perf_event_open
    (323, 282),  # userfaultfd
    (425, 425),  # io_uring_setup
    (426, 426),  # io_uring_enter
    (427, 427),  # io_uring_register
    (250, 219),  # keyctl
    (248, 217),  # add_key
    (249, 218),  # request_key
)

_CLONE_NEW = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
_CLONE_THREAD = 0x00010000
_X32_CALLS = 0x40000000

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOAD, _RETURN, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_SET = 0x20, 0x06, 0x15, 0x35, 0x45
_AT_NUMBER, _AT_ARCHITECTURE, _AT_FIRST_ARGUMENT = 0, 4, 16

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_SECCOMP_MODE_FILTER = 2


def main(arguments: list[str]) -> None:
    """Guard one program: `status pipe, *LIMITS`, all integers; the program comes over standard input."""
    status_fd, *numbers = map(int, arguments)
    limits = dict(zip(LIMITS, numbers, strict=True))
    os.closerange(3, status_fd)
    os.closerange(status_fd + 1, max(status_fd + 1, _MAX_FDS))
    # kill(0, ...) reaches a process group across namespaces: the one that the walls were built in would be hit.
    os.setsid()
    # The first process of a namespace gets no signal from inside it, except those that it has a handler for.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Neither this process nor its children can be traced, or their memory read, by one another.
    call_prctl(_PR_SET_DUMPABLE, 0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(status_fd)
        os.close(reader)
        try:
            run_program(writer, limits)
        finally:
            # A program may break the interpreter so far that an error gets here; never may it go on as the guard.
            os._exit(1)
    os.close(writer)
    # No more than the word: the verdict of a quick program may stand behind it already.
    said = os.read(reader, len(b"ready"))
    if said != b"ready":
        os.write(status_fd, b"refused " + said + os.read(reader, 4096))
        os._exit(1)
    os.write(status_fd, b"started ")
    # Orphans become children of this process, so that it also waits for those.
    ended, status = 0, 0
    while ended != child:
        ended, status = os.wait()
    os.set_blocking(reader, False)
    try:
        said = os.read(reader, 4096)
    except BlockingIOError:
        said = b""
    os.write(status_fd, b"ended %d " % status + said)
    # The namespace ends with its first process: whatever the program left running is killed by the kernel.
    os._exit(0)


def run_program(verdict_fd: int, limits: dict[str, int]) -> None:
    """Become the program: shut the last doors, say that they are shut, run it and its tests. Does not return."""
    try:
        control_fd = os.dup(0)
        nothing = os.open("/dev/null", os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.chdir("/tmp")  # noqa: S108 - a file system of its own, made for this program
        os.environ.clear()
        sys.argv = ["solution.py"]
        set_limits(limits)
        filter_system_calls(may_fork=bool(limits["may_fork"]))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the program must not run
        os.write(verdict_fd, describe(error))
        os._exit(1)
    os.write(verdict_fd, b"ready")
    judge(control_fd, verdict_fd)


def set_limits(limits: dict[str, int]) -> None:
    """Limits that the kernel enforces on this process and whatever it starts (setrlimit(2))."""
    for kind, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_FSIZE, limits["folder_bytes"]),
        (resource.RLIMIT_NPROC, limits["tasks"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (lowest, lowest))


def filter_system_calls(*, may_fork: bool) -> None:
    """Deny, for good, the calls that lead around the limits (seccomp(2), a program of classic BPF).

    Denied calls fail with EPERM. clone3 fails with ENOSYS: its flags cannot be seen by a filter, and C libraries
    then use clone. Threads are allowed, processes only with `may_fork`, namespaces never. Calls of another
    architecture's table (32 bits, x32) kill the process.
    """
    column, audit_architecture = ARCHITECTURES[os.uname().machine]
    denied = [numbers[column] for numbers in _DENIED]
    if column == 0 and not may_fork:
        denied += _X86_FORKS
    rules = [
        (_LOAD, 0, 0, _AT_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, audit_architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _AT_NUMBER),
        (_JUMP_AT_LEAST, 0, 1, _X32_CALLS),
        (_RETURN, 0, 0, _KILL),
        (_JUMP_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
    ]
    for number in denied:
        rules += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    rules += [
        (_JUMP_EQUAL, 1, 0, _CLONE[column]),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _AT_FIRST_ARGUMENT),
        (_JUMP_SET, 0, 1, _CLONE_NEW),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
    ]
    if not may_fork:
        rules += [(_JUMP_SET, 1, 0, _CLONE_THREAD), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    rules += [(_RETURN, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *rule) for rule in rules))
    # struct sock_fprog: the number of rules, and where they are.
    program = ctypes.create_string_buffer(struct.pack("@HP", len(rules), ctypes.addressof(code)))
    call_prctl(_PR_SET_NO_NEW_PRIVS, 1)
    call_prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def call_prctl(option: int, second: int, third: int = 0) -> None:
    """Call prctl(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, *map(ctypes.c_ulong, (second, third, 0, 0))) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def judge(control_fd: int, verdict_fd: int) -> None:
    """Run the program, then its tests in the same module, and say how it went. Does not return.

    Program, tests and token come one after the other over `control_fd`. The token is read when the last test is
    through, so that it stands neither in a variable nor on the stack while foreign code runs.
    """
    # Kept before the program runs, that may replace them.
    write, leave = os.write, os._exit
    module = type(sys)("solution")
    sys.modules["solution"] = sys.modules["__main__"] = module
    verdict = b"error"
    try:
        for name in ("program", "tests"):
            text = read_block(control_fd).decode("utf-8", "surrogatepass")
            exec(compile(text, f"<{name}>", "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - what all this is for
        verdict = b"passed " + read_block(control_fd)
    except AssertionError as error:
        verdict = b"failed " + describe(error)
    except MemoryError:
        verdict = b"memory"
    except SystemExit as error:
        verdict = b"exited " + describe(error)
    except BaseException as error:  # noqa: BLE001 - every other end of a program
        verdict = b"error " + describe(error)
    # The program may have closed or replaced it.
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
    write(verdict_fd, verdict)
    leave(0)


def read_block(control_fd: int) -> bytes:
    """Eight bytes of length, and as many bytes as they say."""
    return read_exactly(control_fd, int.from_bytes(read_exactly(control_fd, 8), "big"))


def read_exactly(control_fd: int, size: int) -> bytes:
    """`size` bytes of a pipe that may give them in pieces."""
    block = bytearray()
    while len(block) < size:
        piece = os.read(control_fd, min(size - len(block), 1 << 20))
        if not piece:
            raise EOFError("the sandbox's own pipe ended early")
        block += piece
    return bytes(block)


def describe(error: BaseException) -> bytes:
    """Name, text and place of an exception; the program may have made its class, so that anything can happen."""
    try:
        place = ""
        step = error.__traceback__
        while step is not None:
            file = step.tb_frame.f_code.co_filename
            if file in ("<program>", "<tests>"):
                place = f" (line {step.tb_lineno} of the {file[1:-1]})"
            step = step.tb_next
        text = f"{type(error).__name__}: {error}"[:_DETAIL_CHARACTERS]
        return (" ".join(text.split()).removesuffix(":") + place).encode("utf-8", "backslashreplace")
    except BaseException:  # noqa: BLE001
        return b"an exception that cannot be shown"


if __name__ == "__main__":
    main(sys.argv[1:])
