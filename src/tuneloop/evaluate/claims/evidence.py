"""Finds the sentences of a source that say most of what a claim says."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tuneloop.evaluate.claims.sentences import split_sentences
from tuneloop.evaluate.claims.words import read_features

_MAX_SENTENCES = 3
_MIN_GAIN = 0.08
_UNSEEN = 0.5


@dataclass(frozen=True)
class Evidence:
    """What a source has to say about a claim."""

    places: tuple[int, ...]
    """Indices of the chosen sentences, the best first."""
    coverage: float
    """Which part of the claim's weight they hold, 0 to 1."""


class SourceIndex:
    """A source's sentences, and how rare each feature is among them.

    weight(feature) = log(1 + N / n),   N sentences, n of them with the feature (0.5 where none has it)
    """

    def __init__(self, source: str) -> None:
        self.sentences = split_sentences(source)
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, sentence in enumerate(self.sentences):
            for feature in dict.fromkeys(read_features(sentence)):
                self._places[feature].append(place)

    def find(self, features: Sequence[str]) -> Evidence:
        """Up to three sentences that together cover most of the features' weight, each the best next one."""
        weights = {feature: self._weight(feature) for feature in dict.fromkeys(features)}
        total = math.fsum(weights.values())
        if not total or not self.sentences:
            return Evidence((), 0.0)
        left = dict(weights)
        places: list[int] = []
        covered = 0.0
        while left and len(places) < _MAX_SENTENCES:
            gains: dict[int, float] = defaultdict(float)
            for feature, weight in left.items():
                for place in self._places.get(feature, ()):
                    gains[place] += weight
            if not gains:
                break
            best = min(gains, key=lambda place: (-gains[place], place))
            if places and gains[best] < _MIN_GAIN * total:
                break
            places.append(best)
            covered += gains[best]
            left = {feature: weight for feature, weight in left.items() if best not in self._places.get(feature, ())}
        return Evidence(tuple(places), covered / total)

    def rank(self, features: Sequence[str], most: int) -> list[int]:
        """Up to `most` sentences in the order of the source: those that cover most of the features' weight."""
        if len(self.sentences) <= most:
            return list(range(len(self.sentences)))
        gains: dict[int, float] = defaultdict(float)
        for feature in dict.fromkeys(features):
            weight = self._weight(feature)
            for place in self._places.get(feature, ()):
                gains[place] += weight
        chosen = sorted(range(len(self.sentences)), key=lambda place: (-gains.get(place, 0.0), place))[:most]
        return sorted(chosen)

    def _weight(self, feature: str) -> float:
        return math.log1p(len(self.sentences) / (len(self._places.get(feature, ())) or _UNSEEN))
