"""The checker that needs no model to be fetched: it finds the best sentences, then looks for what contradicts them."""

from collections.abc import Mapping, Sequence

import numpy as np

from tuneloop.evaluate.claims.checker import Pair, Verdict
from tuneloop.evaluate.claims.embedding import Embedder
from tuneloop.evaluate.claims.evidence import SourceIndex
from tuneloop.evaluate.claims.reading import Reading
from tuneloop.evaluate.claims.rules import RULES, Found
from tuneloop.evaluate.claims.tables import read_cells
from tuneloop.evaluate.metrics.segment import Language, detect_language

RULES_VERSION = "1"
_MIN_SHARE = 0.4
"""Of a clause's features, for another to be about the same."""
_MIN_FEATURES = 2
_MOST_COMPARED = 48
_NEAREST = 2
_UNRELATED = 0.8
"""The cosine that multilingual-e5-small gives to sentences that have nothing to do with each other."""


class EmbeddedChecker:
    """Supported is a claim that breaks no rule against its evidence and is near enough to it.

        similarity = coverage                                        without embeddings
        similarity = (coverage + (cosine - 0.8) / 0.2) / 2           with them; the cosine of the nearest sentence
        supported = no rule is broken and similarity >= threshold    score = similarity, 0 where a rule is broken

    Coverage is the share of the claim's words, weighted by their rarity in the source, that up to three sentences
    of it hold (`SourceIndex.find`). The rules are those of `rules.RULES`. Thresholds, one a language, come from the
    calibration set. What this cannot see, and how often it errs, is measured: docs/methods/hallucination.md.

    By hand: against "The rent is $5." the claim "The rent is $6." breaks the rule of numbers and scores 0.
    """

    def __init__(self, thresholds: Mapping[Language, float], embedder: Embedder | None = None) -> None:
        self._thresholds = dict(thresholds)
        self._embedder = embedder
        self.name = f"embedded+{embedder.name}" if embedder else "embedded"

    @property
    def version(self) -> str:
        """Version of the rules, and the thresholds."""
        limits = ",".join(f"{language}:{limit:.4g}" for language, limit in sorted(self._thresholds.items()))
        return f"rules-{RULES_VERSION}|threshold-{limits}"

    def check(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """One verdict a pair. Each distinct source is read once."""
        sources: dict[str, _Source] = {}
        verdicts = []
        for source, claim in pairs:
            if source not in sources:
                sources[source] = _Source(source, self._embedder)
            verdicts.append(self._judge(sources[source], claim))
        return verdicts

    def _judge(self, source: "_Source", claim: str) -> Verdict:
        similarity, why = source.compare(claim)
        if why:
            return Verdict(supported=False, score=0.0, why=why)
        limit = self._thresholds[detect_language([claim])]
        compared = f"similarity {similarity:.2f}, threshold {limit:.2f}"
        return Verdict(supported=similarity >= limit, score=similarity, why=compared)


class _Source:
    """A source, read once for all claims about it."""

    def __init__(self, text: str, embedder: Embedder | None) -> None:
        self._index = SourceIndex(text)
        self._whole = Reading(text)
        self._readings = [Reading(sentence) for sentence in self._index.sentences]
        self._cells = read_cells(text)
        self._embedder = embedder
        self._vectors: dict[int, np.ndarray] = {}

    def compare(self, text: str) -> tuple[float, str]:
        """Similarity of a claim, and the first rule that it breaks ("" where none is)."""
        claim = Reading(text)
        found = self._index.find(claim.features)
        places, similarity = list(found.places), found.coverage
        if self._embedder is not None and self._readings:
            nearest, closeness = self._nearest(claim, self._embedder)
            places += [place for place in nearest if place not in places]
            similarity = (found.coverage + closeness) / 2
        if not places:
            return 0.0, "nothing in the source speaks of it"
        evidence = [self._readings[place] for place in places]
        gathered = Found(
            claim, evidence, _align(claim, evidence), self._readings[0], self._whole, self._cells, found.coverage
        )
        return similarity, next((why for rule in RULES if (why := rule(gathered))), "")

    def _nearest(self, claim: Reading, embedder: Embedder) -> tuple[list[int], float]:
        """The nearest sentences by meaning, and how near the first is, 0 to 1."""
        places = self._index.rank(claim.features, _MOST_COMPARED)
        missing = [place for place in places if place not in self._vectors]
        if missing:
            vectors_ND = embedder.embed([self._index.sentences[place] for place in missing])
            self._vectors.update(zip(missing, vectors_ND, strict=True))
        cosine_N = np.stack([self._vectors[place] for place in places]) @ embedder.embed([claim.text])[0]
        order_N = np.argsort(-cosine_N, kind="stable")
        closeness = float(np.clip((cosine_N[order_N[0]] - _UNRELATED) / (1 - _UNRELATED), 0, 1))
        return [places[place] for place in order_N[:_NEAREST]], closeness


def _align(claim: Reading, evidence: Sequence[Reading]) -> list[tuple[Reading, Reading]]:
    """Each clause of the claim with the clause that holds enough of its features, of the first sentence that has one.

    Clauses of the same sentence that hold the claim's numbers come along: "a shorter period, but not less than a year".
    """
    pairs = []
    for clause in claim.clauses:
        features = frozenset(clause.features)
        for sentence in evidence if len(features) >= _MIN_FEATURES else ():
            best = max(sentence.clauses, key=lambda other: len(features.intersection(other.features)))
            if len(features.intersection(best.features)) >= _MIN_SHARE * len(features):
                parts = [part.text for part in sentence.clauses if part is best or _share_number(clause, part)]
                pairs.append((clause, Reading(" ".join(parts))))
                break
    return pairs


def _share_number(clause: Reading, other: Reading) -> bool:
    return any(value.equals(there) for value in clause.values for there in other.values)
