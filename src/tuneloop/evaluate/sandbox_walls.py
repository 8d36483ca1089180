"""New namespaces and a file system of their own around one interpreter, made with the kernel's calls alone.

The sandbox hands this file's text to a bare interpreter (`python -c`). So it imports the standard library alone, and
little of it: every program waits for that.
"""

# pathlib takes as long to import as everything else here.
# ruff: noqa: PTH102, PTH103, PTH112, PTH114, PTH115, PTH120, PTH123, PTH211

import ctypes
import os
import signal
import struct
import sys

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
WORKING_FOLDER = "/tmp"  # noqa: S108 - one of their own, made for each program
INSIDE_ID = 65534
"""The user and the group that a program runs as: "nobody"."""

_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""

_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_EXECUTION = 1, 2, 4, 8
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_SETATTR = 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_CAPABILITY_VERSION = 0x20080522
_LAST_CAPABILITY = 63


def main(arguments: list[str]) -> None:
    """Wall a process in: `parent, info pipe, status pipe, size of the folder, number of paths, *paths, text, *rest`.

    `text` is a Python program that then runs as the first process of its namespace, with `rest` as its arguments.
    Its number outside goes to the info pipe, in the way of bubblewrap; what went wrong to the status pipe.
    """
    parent, info_fd, status_fd, folder_bytes, num_paths = map(int, arguments[:5])
    paths = arguments[5 : 5 + num_paths]
    text, *rest = arguments[5 + num_paths :]
    try:
        die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        enter_namespaces()
        first = os.fork()
        if first == 0:
            os.close(info_fd)
            enter_root(paths, folder_bytes)
            drop_privileges()
            # Set anew, since a change of user clears it. Should the parent have died between: then so has the
            # sandbox, its pipe has ended, and there is no program to run.
            die_with_parent()
            sys.argv[1:] = rest
            exec(compile(text, "<inside>", "exec"), {"__name__": "__main__"})  # noqa: S102 - a file of ours
    except OSError as error:
        os.write(status_fd, f"refused {error.filename}: {error.strerror}".encode())
        os._exit(1)
    os.write(info_fd, b'{"child-pid": %d}' % first)
    os.close(info_fd)
    os.waitpid(first, 0)
    os._exit(0)


def die_with_parent() -> None:
    """Be killed when the process dies that started this one."""
    check(libc().prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)), "prctl")


def enter_namespaces() -> None:
    """Move into new namespaces; the next child is the first process of the new process namespace."""
    user, group = os.geteuid(), os.getegid()
    if is_machine_root(user):
        # The kernel exempts the machine's root from the limit of tasks, in whatever namespace.
        user = group = INSIDE_ID
        check(libc().setgroups(0, None), "setgroups")
    wait_fd, go_fd = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(go_fd)
        write_maps(wait_fd, user, group)
    os.close(wait_fd)
    check(libc().unshare(_NAMESPACES), "unshare")
    os.write(go_fd, b"!")
    os.close(go_fd)
    _, status = os.waitpid(helper, 0)
    if status:
        raise os_error(os.waitstatus_to_exitcode(status), "uid_map")


def is_machine_root(user: int) -> bool:
    """Whether `user` is root of the machine itself, and not just of a container's user namespace."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return user == 0 and file.readline().split()[:2] == ["0", "0"]


def write_maps(wait_fd: int, user: int, group: int) -> None:
    """Give the parent its ids, from the namespace that it left: only there may root choose others. Ends the process."""
    if os.read(wait_fd, 1):
        try:
            for name, text in (
                ("setgroups", "deny"),
                ("uid_map", f"{INSIDE_ID} {user} 1"),
                ("gid_map", f"{INSIDE_ID} {group} 1"),
            ):
                with open(f"/proc/{os.getppid()}/{name}", "w", encoding="ascii") as file:
                    file.write(text)
        except OSError as error:
            os._exit(error.errno or 1)
    os._exit(0)


def enter_root(paths: list[str], folder_bytes: int) -> None:
    """A root of nothing but `paths` and five devices, read-only, and /tmp, empty and of limited size."""
    links = {path: os.readlink(path) for path in paths if os.path.islink(path)}
    # Opened before anything is covered, and by the user who may walk there: a home may be closed to others.
    opened = {path: os.open(path, os.O_PATH) for path in (*paths, *DEVICES) if path not in links}
    os.setresgid(INSIDE_ID, INSIDE_ID, INSIDE_ID)
    os.setresuid(INSIDE_ID, INSIDE_ID, INSIDE_ID)
    mount("none", "/", "", _MS_REC | _MS_PRIVATE, "")
    # Any folder would do: the old root goes away with it.
    root = WORKING_FOLDER
    mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")
    for path, target in links.items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.symlink(target, root + path)
    for path, fd in opened.items():
        bind(fd, root + path, is_device=path in DEVICES)
    os.mkdir(root + WORKING_FOLDER)
    mount(
        "tmpfs", root + WORKING_FOLDER, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={folder_bytes},nr_inodes=1024,mode=0700"
    )
    os.chdir(root)
    # The old root is stacked on the new one and taken off again (pivot_root(2), 'pivot_root(".", ".")').
    check(libc().syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    check(libc().umount2(b".", _MNT_DETACH), "umount")
    os.chdir("/")
    restrict("/", _READ_ONLY | _NO_SETUID | _NO_DEVICES, 0)
    check(libc().sethostname(b"sandbox", 7), "sethostname")


def bind(fd: int, target: str, *, is_device: bool) -> None:
    """Show an open file or folder at `target`, read-only with everything that is mounted below it."""
    source = f"/proc/self/fd/{fd}"
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    mount(source, target, "", _MS_BIND | _MS_REC, "")
    restrict(target, _READ_ONLY | _NO_SETUID | (_NO_EXECUTION if is_device else _NO_DEVICES), _AT_RECURSIVE)
    os.close(fd)


def drop_privileges() -> None:
    """Give up every capability in the new user namespace, and the ways to get one back."""
    prctl = libc().prctl
    check(prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))), "prctl")
    for capability in range(_LAST_CAPABILITY + 1):
        # The kernel knows fewer than 64, and refuses the others.
        prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability))
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    check(libc().capset(header, bytes(24)), "capset")


def mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    """The system call of that name."""
    texts = [text.encode() for text in (source, target, kind, options)]
    check(libc().mount(*texts[:3], ctypes.c_ulong(flags), texts[3]), f"mount {target}")


def restrict(target: str, attributes: int, flags: int) -> None:
    """Change the attributes of mounts with mount_setattr(2), since Linux 5.12: it alone reaches all mounts below."""
    request = struct.pack("=QQQQ", attributes, 0, 0, 0)
    size = ctypes.c_size_t(len(request))
    check(libc().syscall(_MOUNT_SETATTR, _AT_FDCWD, target.encode(), flags, request, size), f"mount_setattr {target}")


def libc() -> ctypes.CDLL:
    """The C library that the interpreter has loaded already."""
    return ctypes.CDLL(None, use_errno=True)


def check(result: int, name: str) -> None:
    """Turn a call's -1 into an OSError that tells which call."""
    if result != 0:
        raise os_error(ctypes.get_errno(), name)


def os_error(number: int, name: str) -> OSError:
    """The error of a call that has no file: its name stands in the place of one."""
    return OSError(number, os.strerror(number), name)


if __name__ == "__main__":
    main(sys.argv[1:])
