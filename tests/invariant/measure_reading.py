"""Run as a program: read files through the data stage, and print what came of each and how much memory it took."""

import json
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from tuneloop.core.errors import DataError
from tuneloop.data.config import FileSpec
from tuneloop.data.rows import iter_rows, open_sources
from tuneloop.data.schema import Problem


def memory(name: str) -> int:
    """Bytes: VmRSS is what the process has now, VmHWM the most since `forget_peak`.

    Not ru_maxrss: over exec the kernel carries the parent's peak into that (fs/exec.c, setmax_mm_hiwater_rss).
    """
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << 10


def forget_peak() -> None:
    """Begin to measure VmHWM again (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def read(folder: Path, name: str) -> dict[str, Any]:
    """What came of a file."""
    problems, lines, reports = Counter[str](), [], []
    try:
        for source in open_sources((FileSpec(path=name),), folder, cache=folder):
            for found in iter_rows(source):
                if isinstance(found, Problem):
                    problems[found.code] += 1
                    reports.append(str(found)[:200])
                else:
                    lines.append(found.origin.line)
    except DataError as error:
        return {"refused": str(error)}
    except BaseException:  # noqa: BLE001 - what else comes out is what this program is there to find
        return {"crash": traceback.format_exc()}
    return {"problems": dict(problems), "num_rows": len(lines), "reports": reports[:4]}


def main() -> None:
    """`measure_reading.py FOLDER NAME ...`: one line of JSON a file."""
    folder, *names = sys.argv[1:]
    for name in names:
        forget_peak()
        before = memory("VmRSS")
        outcome = read(Path(folder), name)
        print(json.dumps({"name": name, "peak": memory("VmHWM") - before, **outcome}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
