"""Run a generated Python program against its tests where it can reach nothing; without such a place, refuse."""

import math
import os
import platform
import secrets
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, assert_never

from tuneloop.core.errors import ConfigError, MissingError
from tuneloop.evaluate.sandbox_inside import ARCHITECTURES, LIMITS
from tuneloop.evaluate.sandbox_walls import DEVICES, INSIDE_ID, WORKING_FOLDER
from tuneloop.evaluate.sandbox_watch import Ending, Watch

OutcomeKind = Literal["passed", "failed", "error", "exited", "crashed", "timeout", "memory", "output"]
"""passed: every test ran through. failed: an assertion did not hold. error: any other exception, a syntax error
too. exited: the program ended the process by itself. crashed: a signal ended it. timeout, memory, output: it went
over that limit."""

WallsKind = Literal["namespaces", "bubblewrap"]
"""Who builds the walls: `sandbox_walls`, or the program bwrap."""

_PROBE_S = 10.0
_SHOWN_BYTES = 4096
_PYTHON_OPTIONS = ("-P", "-s", "-S", "-B", "-X", "utf8")
_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""So that a set of strings has one order in every run. Taken away before the program runs."""


@dataclass(frozen=True)
class Limits:
    """What one program may use. The time is that of Chen et al.'s code (human-eval): 3 s."""

    timeout_s: float = 3.0
    """Wall clock, from the program's first line to the last test."""
    memory_bytes: int = 1 << 30
    """Address space of a process; Python's own 30 MB count."""
    folder_bytes: int = 16 << 20
    """Size of the working folder, and of any one file."""
    output_bytes: int = 1 << 20
    tasks: int = 32
    """Threads and processes together (not enforced for root inside bubblewrap)."""
    open_files: int = 64
    may_fork: bool = False
    """Whether it may start processes: all together may then take tasks * memory_bytes."""

    def __post_init__(self) -> None:
        """Refuse limits that no program could run under.

        Raises:
            ConfigError: one of them is too small.
        """
        if not 0 < self.timeout_s < math.inf:
            raise ConfigError(f"timeout_s = {self.timeout_s}: write a number of seconds above 0.")
        least = {"memory_bytes": 1 << 26, "folder_bytes": 1 << 12, "output_bytes": 1, "tasks": 1, "open_files": 16}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ConfigError(f"{name} = {getattr(self, name)}: a program needs {value} at least.")


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    kind: OutcomeKind
    detail: str = ""
    """One line: the exception and its place, the signal, the limit."""
    output: str = ""
    """The first 4 KiB of what it printed."""


class Sandbox:
    """Runs programs in new namespaces, each for itself. `build_sandbox` makes one that is known to work.

    A program sees the Python interpreter with its standard library and the system's libraries, read-only; /tmp,
    its working folder, empty; five devices (null, zero, full, random, urandom). No network, no socket, no other
    process, no /proc, no home, no environment. It is nobody, and cannot become anybody else. When it ends or its
    time is over, the kernel kills whatever it started.
    """

    def __init__(self, walls: WallsKind, limits: Limits) -> None:
        self.walls: WallsKind = walls
        self.limits = limits

    def run(self, program: str, tests: str) -> Outcome:
        """Run `program`, then `tests` in the same module; its `__name__` is "solution". Threads may share this.

        Passed means that the end of `tests` was reached: a random token came back that is handed over there, and
        nowhere earlier. An exit code of 0 says nothing.

        Raises:
            MissingError: the walls could not be built.
        """
        token = secrets.token_hex(16)
        payload = b"".join(map(_encode_block, (program, tests, token)))
        info_fd, info_out = os.pipe()
        status_fd, status_out = os.pipe()
        with os.fdopen(info_fd, "rb", 0), os.fdopen(status_fd, "rb", 0):
            try:
                command = build_command(self.walls, self.limits, info_out, status_out)
                watch = Watch(command, _ENVIRONMENT, (info_out, status_out))
            except OSError as error:
                raise MissingError(f"{self.walls}: the sandbox could not be started: {error}.") from error
            finally:
                os.close(info_out)
                os.close(status_out)
            with watch:
                ending = watch.follow(
                    info_fd,
                    status_fd,
                    payload,
                    timeout_s=self.limits.timeout_s,
                    output_bytes=self.limits.output_bytes,
                )
        kind, detail = self._judge(ending, token)
        return Outcome(kind, detail, bytes(ending.output[:_SHOWN_BYTES]).decode("utf-8", "replace"))

    def _judge(self, ending: Ending, token: str) -> tuple[OutcomeKind, str]:
        started, _, said = bytes(ending.status).decode("utf-8", "replace").partition(" ")
        if ending.cut == "start" or started != "started":
            printed = bytes(ending.output[-_SHOWN_BYTES:]).decode("utf-8", "replace").strip()
            reason = said or printed.rpartition("\n")[2] or "it did not start"
            raise MissingError(f"{self.walls}: the sandbox could not be built: {reason}.")
        match ending.cut:
            case "timeout":
                return "timeout", f"longer than {self.limits.timeout_s:g} s"
            case "output":
                return "output", f"printed more than {self.limits.output_bytes} bytes"
            case None:
                return _judge_end(said, token)
            case unreachable:
                assert_never(unreachable)


def build_sandbox(limits: Limits, walls: Sequence[WallsKind] | None = None) -> Sandbox:
    """The first of `walls` that holds a program here. Without `walls`: bubblewrap, then our own; for root ours first.

    Root would stay root to the kernel inside bubblewrap, and have no limit of tasks.

    Raises:
        MissingError: none does.
    """
    if walls is None:
        walls = ("namespaces", "bubblewrap") if _is_root() else ("bubblewrap", "namespaces")
    reasons = []
    for kind in walls:
        try:
            outcome = Sandbox(kind, replace(limits, timeout_s=_PROBE_S)).run("", "assert True")
        except MissingError as error:
            reasons.append(str(error))
        else:
            if outcome.kind == "passed":
                return Sandbox(kind, limits)
            reasons.append(f"{kind}: a program that does nothing ended as {outcome.kind} ({outcome.detail}).")
    raise MissingError(
        f"Generated code is run in a sandbox alone, and none can be had here. {' '.join(reasons)} "
        f"Needed: Linux 5.12 or later where user namespaces are allowed, or bubblewrap (apt install bubblewrap). "
        f"In a container, see docs/methods/pass-at-k.md."
    )


def build_command(walls: WallsKind, limits: Limits, info_fd: int, status_fd: int) -> list[str]:
    """What starts a guarded interpreter behind `walls`.

    Raises:
        MissingError: this machine lacks something that can be told beforehand.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ARCHITECTURES:
        raise MissingError(
            f"{walls}: needs Linux on {' or '.join(ARCHITECTURES)}, this is {sys.platform} on {machine}."
        )
    interpreter = Path(sys.executable).resolve()
    numbers = {
        "memory_bytes": limits.memory_bytes,
        # Above the wall clock: for programs of several threads, and where nobody is left to watch.
        "cpu_s": math.ceil(limits.timeout_s) + 1,
        "folder_bytes": limits.folder_bytes,
        "tasks": limits.tasks,
        "open_files": limits.open_files,
        "may_fork": int(limits.may_fork),
    }
    inside = [_read_source("sandbox_inside"), *map(str, [status_fd, *(numbers[name] for name in LIMITS)])]
    python = [str(interpreter), *_PYTHON_OPTIONS, "-c"]
    paths = _visible_paths(interpreter)
    match walls:
        case "namespaces":
            settings = [os.getpid(), info_fd, status_fd, limits.folder_bytes, len(paths)]
            return [*python, _read_source("sandbox_walls"), *map(str, [*settings, *paths]), *inside]
        case "bubblewrap":
            return [*_bubblewrap(paths, limits, info_fd), *python, *inside]
        case unreachable:
            assert_never(unreachable)


def _bubblewrap(paths: Sequence[Path], limits: Limits, info_fd: int) -> list[str]:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise MissingError("bubblewrap: bwrap is not installed.")
    if limits.may_fork and _is_root():
        raise MissingError("bubblewrap: for root it has no limit of tasks, and these programs may start processes.")
    options = ["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    options += ["--unshare-cgroup-try", "--die-with-parent", "--as-pid-1", "--hostname", "sandbox"]
    options += ["--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID), "--info-fd", str(info_fd)]
    for path in paths:
        is_link = path.is_symlink()
        options += ["--symlink", str(path.readlink()), str(path)] if is_link else ["--ro-bind", str(path), str(path)]
    for device in DEVICES:
        options += ["--dev-bind", device, device]
    options += ["--perms", "0700", "--size", str(limits.folder_bytes), "--tmpfs", WORKING_FOLDER]
    return [bwrap, *options, "--remount-ro", "/", "--"]


def _visible_paths(interpreter: Path) -> list[Path]:
    """The interpreter, its library, the system's libraries. Not /usr as a whole: people keep their work in it too."""
    prefixes = [Path(prefix).resolve() for prefix in ("/", "/usr", sys.base_prefix, sys.base_exec_prefix)]
    folders = [prefix / name for prefix in prefixes for name in ("lib", "lib64")]
    paths = dict.fromkeys(path for path in (*folders, interpreter, Path("/etc/ld.so.cache")) if path.exists())
    return [path for path in paths if not any(parent in paths for parent in path.parents)]


def _judge_end(said: str, token: str) -> tuple[OutcomeKind, str]:
    """Read `ended WAIT-STATUS VERDICT`."""
    if not said.startswith("ended "):
        return "crashed", "the guard was killed together with the program"
    number, _, verdict = said.removeprefix("ended ").partition(" ")
    status = int(number)
    kind, _, detail = verdict.partition(" ")
    if os.WIFSIGNALED(status):
        return _judge_signal(os.WTERMSIG(status))
    if kind == "passed" and status == 0 and secrets.compare_digest(detail.encode(), token.encode()):
        return "passed", ""
    match kind:
        case "failed" | "error" | "exited":
            return kind, detail
        case "memory":
            return "memory", "asked for more memory than the limit"
        case _:
            return "exited", f"left with code {os.waitstatus_to_exitcode(status)} before its tests were through"


def _judge_signal(number: int) -> tuple[OutcomeKind, str]:
    if number == signal.SIGXCPU:
        return "timeout", "used up its processor time"
    if number == signal.SIGKILL:
        # The kernel's killer leaves no other trace. A program that kills itself looks the same.
        return "memory", "killed (SIGKILL), as the kernel does when the machine has no memory left"
    try:
        return "crashed", signal.Signals(number).name
    except ValueError:
        return "crashed", f"signal {number}"


def _encode_block(text: str) -> bytes:
    # A lone surrogate is the program's own syntax error, to be found inside.
    content = text.encode("utf-8", "surrogatepass")
    return len(content).to_bytes(8, "big") + content


def _read_source(module: str) -> str:
    return Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")


def _is_root() -> bool:
    return os.name == "posix" and os.geteuid() == 0
