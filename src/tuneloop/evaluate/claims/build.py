"""The name of a checker to the checker."""

import os
from pathlib import Path

from tuneloop.core.errors import ConfigError
from tuneloop.core.hooks import Hooks
from tuneloop.evaluate.claims.calibration import load_accuracies
from tuneloop.evaluate.claims.checker import Checker
from tuneloop.evaluate.claims.embedded import EmbeddedChecker
from tuneloop.evaluate.claims.embedding import E5Embedder, Embedder, has_embeddings

JUDGE_CALLS = Path("runs/judge-claims/calls.jsonl")


def build_checker(name: str = "auto", *, calls: Path = JUDGE_CALLS, hooks: Hooks | None = None) -> Checker:
    """Make a checker.

    Args:
        name: `embedded`: rules and overlap of words. `embeddings`: rules, overlap and sentence embeddings. `auto`:
            the second where its package is installed, else the first. `nli:SOURCE`: a classifier of pairs, from a
            folder, hf:ORG/NAME or modelscope:ORG/NAME. `judge:FILE`: a language model behind the endpoint that a
            YAML file describes.
        calls: where a judge's calls are kept.
        hooks: hears how far a judge is.

    Raises:
        ConfigError: the name is not known.
        MissingError: a package or a model is not there.
        ModelError: the source holds no classifier that can be used.
    """
    match name.partition(":"):
        case ("embedded", "", ""):
            return build_embedded(None)
        case ("embeddings", "", ""):
            return build_embedded(E5Embedder())
        case ("auto", "", ""):
            return build_embedded(E5Embedder() if has_embeddings() else None)
        case ("nli", ":", source) if source:
            from tuneloop.evaluate.claims.nli import load_nli

            return load_nli(source)
        case ("judge", ":", path) if path:
            from tuneloop.evaluate.claims.asking import load_judge

            return load_judge(Path(path), calls, os.environ, hooks or Hooks())
        case _:
            raise ConfigError(
                f"there is no claim checker '{name}'. Choose auto, embedded, embeddings, nli:SOURCE or judge:FILE.yaml."
            )


def build_embedded(embedder: Embedder | None) -> EmbeddedChecker:
    """The embedded checker with the thresholds that were chosen on the calibration set.

    An embedder that was not calibrated takes the thresholds of the one that was.
    """
    stored = load_accuracies()
    kind = [found for found in stored if ("+" in found.checker) is (embedder is not None)]
    return EmbeddedChecker(kind[0].thresholds, embedder)
