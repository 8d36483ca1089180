"""Finds the sentences of a source that say most of what a claim says."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuneloop.evaluate.claims.chunks import MAX_TOKENS, count_estimated
from tuneloop.evaluate.claims.sentences import split_sentences
from tuneloop.evaluate.claims.words import read_features

_MAX_SENTENCES = 3
_MIN_GAIN = 0.08
_SEEDS = 4
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
        self._features = [frozenset(read_features(sentence)) for sentence in self.sentences]
        self._sizes = [count_estimated(sentence) for sentence in self.sentences]
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, features in enumerate(self._features):
            for feature in features:
                self._places[feature].append(place)

    def find(self, features: Sequence[str]) -> Evidence:
        """Up to three sentences that together cover most of the features' weight, each the best next one.

        They stand within 350 tokens of each other, as AlignScore reads a source in pieces and takes the best: in a
        long text every word of a claim stands somewhere. The best four sentences are tried as the first one.
        """
        weights = {feature: self._weight(feature) for feature in dict.fromkeys(features)}
        total = math.fsum(weights.values())
        gains = self._gains(weights)
        if not gains:
            return Evidence((), 0.0)
        seeds = sorted(gains, key=lambda place: (-gains[place], place))[:_SEEDS]
        found = [self._gather(seed, weights, total) for seed in seeds]
        return max(found, key=lambda evidence: evidence.coverage)

    def rank(self, features: Sequence[str], most: int) -> list[int]:
        """Up to `most` sentences in the order of the source: those that cover most of the features' weight."""
        gains = self._gains({feature: self._weight(feature) for feature in dict.fromkeys(features)})
        places = sorted(range(len(self.sentences)), key=lambda place: (-gains.get(place, 0.0), place))
        return sorted(places[:most])

    def _gather(self, seed: int, weights: Mapping[str, float], total: float) -> Evidence:
        places, left = [seed], dict(weights)
        near = self._around(seed)
        while True:
            left = {feature: weight for feature, weight in left.items() if feature not in self._features[places[-1]]}
            gains = {place: sum(left[each] for each in self._features[place] if each in left) for place in near}
            best = min(gains, key=lambda place: (-gains[place], place))
            if len(places) == _MAX_SENTENCES or gains[best] < _MIN_GAIN * total or not gains[best]:
                return Evidence(tuple(places), 1 - math.fsum(left.values()) / total)
            places.append(best)

    def _around(self, seed: int) -> range:
        """The sentences within about 350 tokens, the seed in their middle."""
        start = stop = seed
        room = MAX_TOKENS - self._sizes[seed]
        while True:
            grown = False
            if start > 0 and self._sizes[start - 1] <= room:
                start, grown = start - 1, True
                room -= self._sizes[start]
            if stop + 1 < len(self.sentences) and self._sizes[stop + 1] <= room:
                stop, grown = stop + 1, True
                room -= self._sizes[stop]
            if not grown:
                return range(start, stop + 1)

    def _gains(self, weights: Mapping[str, float]) -> dict[int, float]:
        """Place of each sentence with a feature -> the weight of those it has."""
        gains: dict[int, float] = defaultdict(float)
        for feature, weight in weights.items():
            for place in self._places.get(feature, ()):
                gains[place] += weight
        return gains

    def _weight(self, feature: str) -> float:
        return math.log1p(len(self.sentences) / (len(self._places.get(feature, ())) or _UNSEEN))
