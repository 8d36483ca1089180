"""Real files as people have them: every row is read and accounted for."""

from pathlib import Path

import pytest

from tuneloop.pipeline.inspection import check_files

FILES = [
    ("llamafactory_demo/alpaca_en_demo.json", "alpaca", 999),
    ("llamafactory_demo/alpaca_zh_demo.json", "alpaca", 1000),
    ("sharegpt_multiturn/sharegpt.jsonl", "sharegpt", 1502),
]


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(("name", "format_name", "rows"), FILES)
def test_every_row_of_a_real_file(shared: Path, name: str, format_name: str, rows: int) -> None:
    result = check_files({"train": [str(shared / name)]}, None)
    (ledger,) = result.report.files
    assert (ledger.format, ledger.read) == (format_name, rows)
    assert ledger.read == ledger.kept + sum(ledger.problems.values())
    assert ledger.kept > 0.95 * rows
    assert len(result.problems) == rows - ledger.kept
    assert set(ledger.problems) <= {"duplicate"}
