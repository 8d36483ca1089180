from tuneloop.data.records import FileLedger, LengthSummary, SplitSummary
from tuneloop.data.survey.records import (
    DataReport,
    FileProfile,
    Finding,
    FindingGroup,
    FindingKind,
    Histogram,
    Mark,
    TokenProfile,
)

EMPTY = DataReport(files=(), profiles=(), findings=())


def mark(code: str, rows: int, *places: str, meaning: str = "something is wrong") -> Mark:
    return Mark(code=code, rows=rows, meaning=meaning, meaning_zh="有问题", examples=places)


def ledger(path: str, kept: int, **problems: int) -> FileLedger:
    read = kept + sum(problems.values())
    return FileLedger(path=path, sha256="0" * 64, format="alpaca", read=read, kept=kept, problems=problems)


def profile(path: str, rows: int, **changes) -> FileProfile:
    values = {
        "path": path,
        "rows": rows,
        "turns": {"2": rows},
        "characters": Histogram(edges=(0.0, 100.0, 200.0), counts=(rows, 0)),
        "languages": {"en": rows},
        "personal": (),
        "health": (),
    }
    return FileProfile(**{**values, **changes})


def group(kind: FindingKind, *pairs: tuple[str, ...], count: int | None = None) -> FindingGroup:
    close = None if kind == "contradiction" else 0.9
    found = tuple(Finding(kind=kind, rows=pair, similarity=close, text="") for pair in pairs)
    rows = len({row for pair in pairs for row in pair})
    return FindingGroup(kind=kind, count=count or len(found), rows=rows, examples=found)


def tokens(**changes) -> TokenProfile:
    lengths = LengthSummary(mean=50.0, median=48.0, p95=90.0, longest=100)
    values = {
        "template": "chatml",
        "contract_hash": "abcdef0123456789",
        "cutoff_len": 100,
        "overlong": "drop",
        "lengths": Histogram(edges=(0.0, 50.0, 100.0, 150.0, 200.0), counts=(10, 20, 5, 1)),
        "overlong_rows": 6,
        "target_tokens": 1000,
        "lost_target_tokens": 400,
        "cut_target_tokens": 123,
        "train": SplitSummary(rows=30, tokens=1500, target_tokens=600, lengths=lengths),
        "eval": None,
    }
    return TokenProfile(**{**values, **changes})


def report(*files: FileLedger, **changes) -> DataReport:
    values = {"files": files, "profiles": tuple(profile(file.path, file.kept) for file in files), "findings": ()}
    return DataReport(**{**values, **changes})
