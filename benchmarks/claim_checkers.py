"""Measures the checkers of claims on the calibration set: accuracy by language and kind of claim, and speed.

python benchmarks/claim_checkers.py                    prints tables: without embeddings, and with them if installed
python benchmarks/claim_checkers.py --write            also renews src/tuneloop/evaluate/claims/accuracy.json
python benchmarks/claim_checkers.py --nli hf:ORG/NAME  measures a classifier of pairs (or a folder of one)
"""

import argparse
import json
import sys
import time
from pathlib import Path

from tuneloop.core.errors import TuneloopError
from tuneloop.evaluate.claims.build import build_checker
from tuneloop.evaluate.claims.calibrate import calibrate_embedded
from tuneloop.evaluate.claims.calibration import load_calibration, measure_accuracy
from tuneloop.evaluate.claims.checker import Checker, Pair
from tuneloop.evaluate.claims.embedding import E5Embedder, has_embeddings
from tuneloop.evaluate.claims.records import CheckerAccuracy, Share

STORED = Path(__file__).parents[1] / "src" / "tuneloop" / "evaluate" / "claims" / "accuracy.json"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--nli", help="a folder, hf:ORG/NAME or modelscope:ORG/NAME")
    options = parser.parse_args()
    if options.nli:
        try:
            checker = build_checker(f"nli:{options.nli}")
        except TuneloopError as error:
            parser.error(str(error))
        show(measure_accuracy(checker), speed(checker))
        return 0
    embedders = [None, E5Embedder()] if has_embeddings() else [None]
    measured = []
    for embedder in embedders:
        found = calibrate_embedded(embedder)
        measured.append(found)
        show(found, None)
    if options.write:
        if not has_embeddings():
            parser.error("--write needs the embeddings too: pip install 'tuneloop[claims]'")
        values = [found.model_dump(mode="json") for found in measured]
        STORED.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n")
    for name in ("embedded", "embeddings") if len(measured) > 1 else ("embedded",):
        checker = build_checker(name)
        print(f"{checker.name}: {speed(checker):.0f} claims/s")
    return 0


def speed(checker: Checker) -> float:
    """Claims a second over the calibration set."""
    pairs = [Pair(document.source, claim.text) for document in load_calibration() for claim in document.claims]
    start = time.perf_counter()
    checker.check(pairs)
    return len(pairs) / (time.perf_counter() - start)


def show(found: CheckerAccuracy, claims_per_s: float | None) -> None:
    """One table a checker."""
    print(f"\n{found.checker}  {found.version}  set {found.set_sha256[:12]}")
    for entry in found.entries:
        print(
            f"{entry.language} {entry.scope:10} accuracy {_percent(entry.accuracy)}  found {_percent(entry.found)}  "
            f"accepted {_percent(entry.accepted)}  sources of {entry.source_tokens} tokens, undecided {entry.undecided}"
        )
        for supported in (True, False):
            kinds = [kind for kind in entry.kinds if kind.supported is supported]
            shown = "  ".join(f"{kind.kind} {kind.correct}/{kind.n}" for kind in kinds)
            print(f"    {'supported' if supported else 'unsupported'}: {shown}")
    if claims_per_s is not None:
        print(f"{claims_per_s:.0f} claims/s")


def _percent(share: Share) -> str:
    interval = share.interval
    ends = f" [{100 * interval.low:.0f}, {100 * interval.high:.0f}]" if interval else ""
    return f"{100 * share.value:.1f} %{ends} of {share.n}"


if __name__ == "__main__":
    sys.exit(main())
