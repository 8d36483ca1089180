"""Answers in JSON: do they parse, do they fit a schema, and how many of their fields are the reference's."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

import tuneloop
from tuneloop.core.errors import DataError
from tuneloop.core.store import hash_json
from tuneloop.evaluate.metrics.json_answer import Leaf, find_json, flatten
from tuneloop.evaluate.metrics.json_schema import build_validator

_SHOWN_CHARACTERS = 60


class JsonFields:
    """Micro F1 of the fields of JSON answers, 0 to 1.

        F1 = 2 * right / (answered + expected)
        right: leaves (path = value) of the answers that are in their references
        answered, expected: leaves of the answers, of the references

    All three are summed over the set, so a reference of many fields weighs more than one of few. Leaves are those of
    `json_answer.flatten`. An answer without JSON has no leaf. Of several references the one with the best F1 counts.

    Parts: `valid`, the share of answers that hold JSON (`json_answer.find_json`); `bare`, the share that is that JSON
    and nothing else; with a schema `schema`, the share that holds JSON which fits it; `precision`, `recall`.

    By hand: {"a": 1, "b": 2} against {"a": 1.0, "b": 3, "c": []}: 1 right of 2 answered and 3 expected, F1 = 2/5.
    """

    higher_is_better = True
    is_proportion = False

    def __init__(self, schema: dict[str, Any] | None = None, *, name: str = "json") -> None:
        self.name = name
        self._schema_hash = None if schema is None else hash_json(schema)
        self._fits = None if schema is None else build_validator(schema)

    def signature(self) -> str:
        """What is compared, how JSON is found, schema, treatment of references, version."""
        schema = self._schema_hash[:12] if self._schema_hash else "no"
        return (
            f"value:micro-f1|leaves:path=value|lists:by-place|parse:bare,fence,object|schema:{schema}|refs:best"
            f"|version:tuneloop-{tuneloop.__version__}"
        )

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """[leaves right, answered, expected; 1; 1 if valid, if bare, if it fits the schema, else 0].

        Raises:
            DataError: a reference holds no JSON.
        """
        answer = find_json(prediction)
        leaves = flatten(answer.value) if answer else Counter[Leaf]()
        counts = []
        for reference in references:
            expected = _reference_leaves(reference)
            counts.append(((leaves & expected).total(), leaves.total(), expected.total()))
        best = max(counts, key=lambda count: _f1(*count))
        is_fit = answer is not None and self._fits is not None and self._fits(answer.value)
        return np.array([*best, 1, answer is not None, answer is not None and answer.is_bare, is_fit], dtype=np.float64)

    def combine(self, totals_K: np.ndarray) -> float:
        """The micro F1."""
        return _f1(*totals_K[:3].tolist())

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """The F1 of one answer."""
        return self.combine(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:
        """`valid`, `bare`, `schema` (where there is one), `precision` (0 where nothing was answered), `recall`."""
        right, answered, expected, samples, valid, bare, fit = totals_K.tolist()
        shares = {"valid": valid / samples, "bare": bare / samples}
        if self._fits is not None:
            shares["schema"] = fit / samples
        return shares | {"precision": right / answered if answered else 0.0, "recall": right / expected}


def _reference_leaves(reference: str) -> Counter[Leaf]:
    found = find_json(reference)
    if found is None:
        shown = reference if len(reference) <= _SHOWN_CHARACTERS else reference[:_SHOWN_CHARACTERS] + "..."
        raise DataError(f"the reference {shown!r} is not JSON. Write one JSON value, no key of an object twice.")
    return flatten(found.value)


def _f1(right: float, answered: float, expected: float) -> float:
    # Every reference has a leaf, for an empty object is one.
    return 2 * right / (answered + expected)
