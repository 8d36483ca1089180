"""Hostile programs, behind both kinds of walls: none has an effect outside, none passes, none outlives its time."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from tuneloop.core.errors import ConfigError, MissingError
from tuneloop.evaluate.sandbox import Limits, Outcome, Sandbox, WallsKind, build_sandbox

TIMEOUT_S = 0.8
START_S = 3.0
"""What a busy machine may need to build the walls, beside the program's own time."""


@pytest.fixture(scope="module", params=get_args(WallsKind))
def walls(request: pytest.FixtureRequest) -> WallsKind:
    try:
        build_sandbox(Limits(), [request.param])
    except MissingError as error:
        pytest.skip(str(error))
    return request.param


@pytest.fixture
def limits() -> Iterator[Limits]:
    """Limits with a number of bytes that no other sandbox has: by it, what is left of this one can be found."""
    limits = Limits(timeout_s=TIMEOUT_S, memory_bytes=(1 << 29) + 4096 * random.getrandbits(16))
    yield limits
    assert not survivors(limits)


def survivors(limits: Limits) -> list[int]:
    """Processes that stand in /proc with these limits in their command line, as every child by fork does."""
    mark = str(limits.memory_bytes).encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark in command:
                found.append(int(folder.name))
    return found


def run(walls: WallsKind, limits: Limits, program: str, tests: str = "assert True") -> Outcome:
    start_s = time.monotonic()
    outcome = Sandbox(walls, limits).run(textwrap.dedent(program), textwrap.dedent(tests))
    assert time.monotonic() - start_s < limits.timeout_s + 1 + START_S
    return outcome


PASSING = {
    "plain": ("def f(x):\n    return 2 * x", "assert f(2) == 4\nassert f(0) == 0"),
    "no program": ("", "assert 1 + 1 == 2"),
    "chinese": ("def 问候():\n    return '你好'\nprint(问候())", "assert 问候() == '你好'"),
    "standard library": (
        "import asyncio, collections, dataclasses, decimal, hashlib, heapq, itertools, json, math, random, re, typing",
        "assert asyncio.run(asyncio.sleep(0, 3)) == 3",
    ),
    "annotations and dataclasses": (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 1",
        "assert P().x == 1",
    ),
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor as Pool",
        "with Pool(4) as pool:\n    assert list(pool.map(abs, [-1, -2])) == [1, 2]",
    ),
    "temporary files": (
        "import os, tempfile",
        "with tempfile.TemporaryFile('w+') as file:\n    file.write('x')\nassert os.getcwd() == '/tmp'",
    ),
    "main block is not run": ("if __name__ == '__main__':\n    raise ValueError", "assert __name__ == 'solution'"),
    "nothing to read": ("import sys", "assert sys.stdin.read() == ''"),
}

# Each with the beginning of `kind: detail` that it must end with. Their tests are UNREACHED: whoever passes, cheated.
UNREACHED = "f() if 'f' in globals() else None\nassert False"
NO_CHEATING = {
    "sys.exit": ("import sys; sys.exit(0)", "exited: SystemExit: 0"),
    "os._exit": ("import os; os._exit(0)", "exited: left with code 0"),
    "exit in a tested function": ("import os\ndef f(): os._exit(0)", "exited: left with code 0"),
    "sys.exit in a tested function": ("def f(): raise SystemExit", "exited: SystemExit .line 1 of the program"),
    "exit in another thread": (
        "import os, threading, time\nthreading.Thread(target=os._exit, args=(0,)).start()\ntime.sleep(5)",
        "exited: left with code 0",
    ),
    "exec of another program": (
        "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'pass'])",
        "exited: left with code 0",
    ),
    "prints a verdict": (
        "import os\nprint('started ended 0 passed', flush=True)\nos._exit(0)",
        "exited: left with code 0",
    ),
    "writes a verdict everywhere": (
        """
        import os
        for fd in range(64):
            try: os.write(fd, b"passed 0123456789abcdef0123456789abcdef")
            except OSError: pass
        os._exit(0)
        """,
        "exited: left with code 0",
    ),
    "sends every string of the stack": (
        """
        import os, sys
        def f():
            frame, words = sys._getframe(), []
            while frame:
                words += [str(value) for value in [*frame.f_locals.values(), *frame.f_code.co_consts]]
                frame = frame.f_back
            for fd in range(3, 16):
                for word in words:
                    try: os.write(fd, b"passed " + word.encode()[:64])
                    except OSError: break
            os._exit(0)
        """,
        "exited: left with code 0",
    ),
    "replaces the functions of os": ("import os\nos.write = os._exit = lambda *a: 0", "failed: AssertionError"),
    "replaces AssertionError": ("import builtins\nbuiltins.AssertionError = KeyError", "error: AssertionError"),
    "empties builtins": ("import builtins\nvars(builtins).clear()", "exited: left with code 1"),
    "replaces exec": ("import builtins\nbuiltins.exec = lambda *a: 1 / 0", "error: ZeroDivisionError"),
    "fails at every call": ("import sys\nsys.setprofile(lambda *a: 1 / 0)", "error: ZeroDivisionError"),
    "closes its pipes": ("import os\nos.closerange(0, 64)", "exited: left with code"),
    "kills itself": ("import os\nos.kill(os.getpid(), 9)", "memory: killed .SIGKILL"),
    "kills its group": ("import os\nos.killpg(0, 15)", "crashed: SIGTERM"),
    "kills everybody": (
        "import os\nfor who in (1, os.getppid(), -1):\n    for what in (2, 9, 15, 19): os.kill(who, what)",
        "error: ProcessLookupError: .*No such process",
    ),
    "aborts": ("import os\nos.abort()", "crashed: SIGABRT"),
    "writes to address 0": ("import ctypes\nctypes.memset(0, 1, 1)", "crashed: SIGSEGV"),
    "alarm": ("import signal, time\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\ntime.sleep(5)", "crashed: SIGALRM"),
    "recursion": ("def f(): return f()", "error: RecursionError"),
    "an error without a text": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
        "error: an exception that cannot be shown",
    ),
    "an error that exits while it is told": (
        "import os\nclass Odd(Exception):\n    def __str__(self): os._exit(0)\nraise Odd",
        "exited: left with code 0",
    ),
    "an error with a long text": ("raise ValueError('x' * 10**7)", "error: ValueError: x{400}"),
    "an error of several lines": ("raise ValueError('a\\n\\nb')", "error: ValueError: a b .line 1 of the program.$"),
    "no Python": ("Sure! Here is the function:", "error: SyntaxError: .*<program>, line 1"),
    "a null byte": ("x = 1\0", "error: ValueError|error: SyntaxError"),
    "a lone surrogate": ("x = '\ud800'", "error: UnicodeEncodeError"),
    "nested parentheses": ("(" * 100_000, "error: SyntaxError: too many nested"),
    "nested signs": ("x = " + "-" * 100_000 + "1", "error|memory|crashed"),
    "a long text": ("x = '" + "y" * 3_000_000 + "'", "failed: AssertionError"),
    "reads its input": ("input()", "error: EOFError"),
}

ODD_ERROR = "class Odd(Exception):\n    def __str__(self):\n        while True: pass\nraise Odd"
THREADS = """
import threading, time
for _ in range(10_000):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
"""
IGNORES = """
import signal
for number in {*range(1, 65)} - {9, 19, 32, 33}:
    signal.signal(number, signal.SIG_IGN)
while True:
    pass
"""
OVER_A_LIMIT = {
    "loop": ("while True: pass", "timeout: longer than 0.8 s"),
    "sleep": ("import time\ntime.sleep(100)", "timeout"),
    "lock": ("import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()", "timeout"),
    "stops itself": ("import os\nos.kill(os.getpid(), 19)", "timeout"),
    "ignores signals": (IGNORES, "timeout"),
    "slow pattern": ("import re\nre.match('(a+)+$', 'a' * 64 + 'b')", "timeout"),
    "large power": ("x = 9 ** 9 ** 9", "timeout|memory"),
    "an error that is told without end": (ODD_ERROR, "timeout"),
    "catches everything": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "timeout",
    ),
    "one large block": ("x = bytearray(1 << 34)", "memory: asked for more"),
    "a growing list": ("x = []\nwhile True: x.append(bytearray(1 << 20))", "memory: asked for more"),
    "a growing text": ("x = 'x'\nwhile True: x += x", "memory: asked for more"),
    "shared memory": ("import mmap\nx = [mmap.mmap(-1, 1 << 28) for _ in range(64)]", "error: OSError: .*Cannot alloc"),
    "output": ("while True: print('x' * 1000)", "output: printed more than 1048576 bytes"),
    "output past Python": ("import os\nwhile True: os.write(2, b'x' * 65536)", "output"),
    "one large line": ("print('x' * 50_000_000)", "output"),
    "large file": ("open('a', 'wb').write(bytes(17 << 20))", "error: OSError: .*File too large"),
    "wide file": ("open('a', 'wb').truncate(1 << 40)", "error: OSError: .*File too large"),
    "many files": ("for i in range(99): open(str(i), 'wb').write(bytes(1 << 20))", "error: OSError: .*No space left"),
    "many empty files": (
        "import itertools\nfor i in itertools.count(): open(str(i), 'w').close()",
        "error: OSError: .*No space left|timeout",
    ),
    "many open files": ("x = [open('/dev/null') for _ in range(10_000)]", "error: OSError: .*Too many open files"),
    "many threads": (THREADS, "error: RuntimeError: can't start new thread"),
}

DENIED = "AssertionError: 1 "
CALL = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nassert libc.{} == 0, ctypes.get_errno()"
CLONE = {"x86_64": 56, "aarch64": 220}.get(os.uname().machine, -1)
NEW_USER = 0x10000000
NO_WAY_OUT = {
    "fork": ("import os\nos.fork()", "PermissionError"),
    "posix_spawn": ("import os, sys\nos.posix_spawn(sys.executable, ['python'], {})", "PermissionError"),
    "subprocess": ("import subprocess, sys\nsubprocess.run([sys.executable])", "PermissionError|BlockingIOError"),
    "multiprocessing": (
        "import multiprocessing\nmultiprocessing.get_context('fork').Process(target=print).start()",
        "PermissionError",
    ),
    "shell": ("import os\nassert os.system('true') == 0", "AssertionError"),
    "passwords": ("open('/etc/shadow')", "FileNotFoundError"),
    "users": ("open('/etc/passwd')", "FileNotFoundError"),
    "a link to the passwords": ("import os\nos.symlink('/etc/shadow', 'a')\nopen('a')", "FileNotFoundError"),
    "up and away": ("import os\nos.chdir('../../../..')\nos.listdir('home')", "FileNotFoundError"),
    "processes": ("import os\nos.listdir('/proc')", "FileNotFoundError"),
    "kernel": ("import os\nos.listdir('/sys')", "FileNotFoundError"),
    "memory of the machine": ("open('/dev/mem', 'rb')", "FileNotFoundError"),
    "terminal": ("open('/dev/tty')", "FileNotFoundError"),
    "makes a device": ("import os, stat\nos.mknod('m', stat.S_IFCHR | 0o600, os.makedev(1, 1))", "PermissionError"),
    "writes beside": ("open('/evil', 'w')", "OSError: .*Read-only"),
    "writes beside the devices": ("open('/dev/evil', 'w')", "OSError: .*Read-only"),
    "writes to a library": ("import os\nopen(os.__file__, 'a')", "OSError: .*Read-only|PermissionError"),
    "removes a library": ("import os\nos.remove(os.__file__)", "OSError: .*Read-only|PermissionError"),
    "becomes root": ("import os\nos.setuid(0)", "PermissionError|OSError: .*Invalid argument"),
    "gives a file to root": (
        "import os\nopen('a', 'w').close()\nos.chown('a', 0, 0)",
        "PermissionError|OSError: .*Inv",
    ),
    "raises a limit": ("import resource as r\nr.setrlimit(r.RLIMIT_AS, (-1, -1))", "ValueError: not allowed to raise"),
    "network": ("import socket\nsocket.socket()", "PermissionError"),
    "unix socket": ("import socket\nsocket.socket(socket.AF_UNIX)", "PermissionError"),
    "the host of a virtual machine": ("import socket\nsocket.socket(40, 1)", "PermissionError"),
    "fetches": ("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:1/')", "URLError: .*not permitted"),
    "chroot": ("import os\nos.chroot('/tmp')", "PermissionError"),
    "unshare": (CALL.format(f"unshare({NEW_USER})"), DENIED),
    "mount": (CALL.format("mount(b'none', b'/tmp', b'tmpfs', 0, None)"), DENIED),
    "umount": (CALL.format("umount2(b'/tmp', 2)"), DENIED),
    "trace": (CALL.format("ptrace(16, 1, None, None)"), DENIED),
    "shared segment": (CALL.format("shmget(0, 1 << 20, 0o1600)"), DENIED),
    "memory file": ("import os\nos.memfd_create('x')", "PermissionError"),
    "kernel's rings": (CALL.format("syscall(425, 8, None)"), DENIED),
    "keys": (
        CALL.format("syscall({'x86_64': 250, 'aarch64': 219}[__import__('os').uname().machine], 0, -4, 0)"),
        DENIED,
    ),
    "namespace by clone": (CALL.format(f"syscall({CLONE}, {NEW_USER | 17}, 0, 0, 0, 0)"), DENIED),
    "process by clone3": (CALL.format("syscall(435, bytes(88), 88)"), "AssertionError: 38 "),
}

FAST = {
    "plain", "threads", "os._exit", "exit in a tested function", "sends every string of the stack",
    "kills everybody", "no Python", "loop", "one large block", "output",
    "fork", "passwords", "writes beside", "network", "unshare",
}  # fmt: skip
"""The programs of the fast lane."""


def names(table: dict[str, tuple[str, str]]) -> list:
    assert not FAST - {*PASSING, *NO_CHEATING, *OVER_A_LIMIT, *NO_WAY_OUT}
    return [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in table]


def check_end(outcome: Outcome, expected: str) -> None:
    told = f"{outcome.kind}: {outcome.detail}"
    assert re.match(expected, told), told
    assert len(outcome.detail) < 600
    assert "\n" not in outcome.detail


@pytest.mark.parametrize("name", names(PASSING))
def test_an_honest_program_passes(walls: WallsKind, limits: Limits, name: str) -> None:
    outcome = run(walls, replace(limits, timeout_s=20), *PASSING[name])
    assert (outcome.kind, outcome.detail) == ("passed", "")
    assert outcome.output == ("你好\n" if name == "chinese" else "")


@pytest.mark.parametrize("name", names(NO_CHEATING))
def test_nothing_but_the_tests_makes_a_pass(walls: WallsKind, limits: Limits, name: str) -> None:
    program, expected = NO_CHEATING[name]
    check_end(run(walls, replace(limits, timeout_s=20), program, UNREACHED), expected)


@pytest.mark.parametrize("name", names(OVER_A_LIMIT))
def test_limits_hold(walls: WallsKind, limits: Limits, name: str) -> None:
    program, expected = OVER_A_LIMIT[name]
    patient = replace(limits, timeout_s=TIMEOUT_S if "timeout" in expected else 20)
    check_end(run(walls, patient, program), expected)


@pytest.mark.parametrize("name", names(NO_WAY_OUT))
def test_there_is_no_way_out(walls: WallsKind, limits: Limits, name: str) -> None:
    program, expected = NO_WAY_OUT[name]
    outcome = run(walls, replace(limits, timeout_s=20), program)
    check_end(outcome, f"(failed|error): ({expected})")


def test_what_a_program_sees(walls: WallsKind, limits: Limits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No environment, no home, no checkout, no file of ours; nobody's ids; one process beside the guard."""
    monkeypatch.setenv("HF_TOKEN", "secret")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)  # noqa: FBT003
    program = f"""
    import os, sys
    seen = [path for path in {[str(secret), str(Path.home() / ".bashrc"), __file__]} if os.path.exists(path)]
    print(dict(os.environ), os.getenv("HF_TOKEN"), seen, sys.argv, os.getcwd(), os.listdir())
    print(os.getuid(), os.getgid(), os.getppid(), os.uname().nodename, sorted(os.listdir("/dev")))
    print([name for name in os.listdir("/etc")], set(os.listdir("/usr")) - {{"lib", "lib64", "bin", "local"}})
    """
    outcome = run(walls, replace(limits, timeout_s=20), program)
    lines = outcome.output.splitlines()
    assert outcome.kind == "passed"
    assert lines[0] == "{} None [] ['solution.py'] /tmp []"
    assert lines[1].startswith("65534 65534 1 sandbox ['full', 'null', 'random', 'urandom', 'zero']")
    assert lines[2] in {"['ld.so.cache'] set()", "[] set()"}
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.close()


def test_the_folder_is_new_each_time(walls: WallsKind, limits: Limits) -> None:
    for _ in range(2):
        outcome = run(walls, replace(limits, timeout_s=20), "open('/tmp/left', 'x').close()")
        assert outcome.kind == "passed"
    assert not Path("/tmp/left").exists()


@pytest.mark.slow
def test_sets_have_the_same_order_every_time(walls: WallsKind, limits: Limits) -> None:
    runs = [run(walls, replace(limits, timeout_s=20), "print({*map(str, range(40))})").output for _ in range(2)]
    assert runs[0] == runs[1]


DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(1)
    os._exit(0)
"""
BOMB = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"


@pytest.fixture
def forking(walls: WallsKind, limits: Limits) -> Limits:
    """Limits under which processes may be started; skips where they could not be counted."""
    forking = replace(limits, may_fork=True, tasks=16, timeout_s=20)
    try:
        build_sandbox(forking, [walls])
    except MissingError as error:
        pytest.skip(str(error))
    return forking


def test_a_daemon_dies_with_its_program(walls: WallsKind, forking: Limits) -> None:
    assert run(walls, forking, DAEMON).kind == "passed"
    assert not survivors(forking)


def test_a_fork_bomb_is_bounded(walls: WallsKind, forking: Limits) -> None:
    result: list[Outcome] = []
    bomb = threading.Thread(target=lambda: result.append(run(walls, replace(forking, timeout_s=0.7), BOMB)))
    bomb.start()
    most = 0
    while bomb.is_alive():
        # Beside the tasks themselves: the two or three processes that guard them.
        most = max(most, len(survivors(forking)))
        time.sleep(0.05)
    assert 4 < most <= 16 + 3
    assert [outcome.kind for outcome in result] == ["timeout"]
    assert not survivors(forking)


@pytest.mark.slow
def test_processes_make_no_namespaces(walls: WallsKind, forking: Limits) -> None:
    for name in ("unshare", "namespace by clone", "process by clone3"):
        program, expected = NO_WAY_OUT[name]
        check_end(run(walls, forking, program), f"failed: {expected}")


@pytest.mark.slow
def test_the_sandbox_dies_with_whoever_runs_it(walls: WallsKind, limits: Limits) -> None:
    program = f"""
    from tuneloop.evaluate.sandbox import Limits, Sandbox
    Sandbox({walls!r}, Limits(timeout_s=100, memory_bytes={limits.memory_bytes})).run("while True: pass", "")
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    try:
        wait_until(lambda: len(survivors(limits)) >= 2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    wait_until(lambda: not survivors(limits))


def wait_until(condition: Callable[[], bool], patience_s: float = 20) -> None:
    deadline_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.mark.slow
def test_many_at_once(walls: WallsKind, limits: Limits) -> None:
    sandbox = Sandbox(walls, replace(limits, timeout_s=20))
    with ThreadPoolExecutor(4) as pool:
        kinds = [outcome.kind for outcome in pool.map(lambda i: sandbox.run(f"x = {i}", "assert x % 2"), range(6))]
    assert kinds == ["failed", "passed"] * 3


def test_no_file_descriptor_is_left_open(walls: WallsKind, limits: Limits) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for program in ("", "print('x' * 50_000_000)"):
        run(walls, limits, program)
    assert count() == before


@pytest.mark.parametrize("kind", get_args(WallsKind))
def test_another_system_is_refused(kind: WallsKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(MissingError, match=f"none can be had here. {kind}: needs Linux on x86_64 or aarch64"):
        build_sandbox(Limits(), [kind])


def test_without_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingError, match=r"bwrap is not installed.*apt install bubblewrap"):
        build_sandbox(Limits(), ["bubblewrap"])


def test_without_namespaces(tmp_path: Path) -> None:
    """In a user namespace that may have no other inside it, nothing is run."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Ur", "true"], check=False).returncode:
        pytest.skip("there is no unshare, or it may make no user namespace")
    program = f"""
    from tuneloop.core.errors import MissingError
    from tuneloop.evaluate.sandbox import Limits, Sandbox, build_sandbox
    sandbox = Sandbox("namespaces", Limits())
    for use in (lambda: build_sandbox(Limits()), lambda: sandbox.run("open({str(tmp_path / "evil")!r}, 'w')", "")):
        try:
            use()
        except MissingError as error:
            print(error)
    """
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" -c "$1"'
    command = ["unshare", "-Ur", "sh", "-c", forbid, sys.executable, textwrap.dedent(program)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    whole, single = result.stdout.splitlines()
    # Root fails one call earlier: such a namespace has no other user to become.
    refused = r"namespaces: the sandbox could not be built: (unshare: No space left|setgroups: Operation not permitted)"
    assert re.search(f"none can be had here.* {refused}", whole)
    assert re.match(refused, single)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timeout_s": 0}, "timeout_s = 0: write a number of seconds above 0"),
        ({"timeout_s": float("nan")}, "timeout_s = nan"),
        ({"timeout_s": float("inf")}, "timeout_s = inf"),
        ({"memory_bytes": 1000}, "memory_bytes = 1000: a program needs 67108864 at least"),
        ({"tasks": 0}, "tasks = 0"),
        ({"open_files": 3}, "open_files = 3"),
        ({"output_bytes": 0}, "output_bytes = 0"),
        ({"folder_bytes": 0}, "folder_bytes = 0"),
    ],
)
def test_limits_that_nothing_runs_under(change: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Limits(**change)


def test_the_least_memory_is_enough_for_python(walls: WallsKind, limits: Limits) -> None:
    assert run(walls, replace(limits, memory_bytes=1 << 26, timeout_s=20), "import re, json").kind == "passed"
