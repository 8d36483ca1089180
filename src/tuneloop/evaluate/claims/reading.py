"""A sentence read once for all rules: words, numbers, names, clauses, and what is negated in it."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from tuneloop.evaluate.claims.lexicon import NEGATION, NEGATION_ENDS
from tuneloop.evaluate.claims.values import Value, read_values
from tuneloop.evaluate.claims.words import Word, read_features, read_words
from tuneloop.evaluate.metrics.segment import HAN

_SCOPE_WORDS = 3
_HAN_CHARACTER = re.compile(f"[{HAN}]")
_CLAUSE_END = re.compile(r"[，；;。:：]|,(?!\d)|\b(?:and|but|while|whereas)\b|而(?!且)", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """A text, its parts computed when a rule first asks for them."""

    text: str

    @cached_property
    def words(self) -> list[Word]:
        """In order."""
        return read_words(self.text)

    @cached_property
    def values(self) -> list[Value]:
        """In order."""
        return read_values(self.text)

    @cached_property
    def features(self) -> list[str]:
        """What overlap is counted over."""
        return read_features(self.text)

    @cached_property
    def names(self) -> list[Word]:
        """The words that are names, in order."""
        return [word for word in self.words if word.is_name]

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys of its content words."""
        return frozenset(word.key for word in self.words if word.is_content)

    @cached_property
    def order(self) -> dict[str, int]:
        """Key of each content word that occurs once -> its place among them."""
        keys = [word.key for word in self.words if word.is_content]
        counts = Counter(keys)
        return {key: place for place, key in enumerate(key for key in keys if counts[key] == 1)}

    @cached_property
    def surfaces(self) -> frozenset[str]:
        """Its words as they are written."""
        return frozenset(word.text for word in self.words)

    @cached_property
    def folded(self) -> str:
        """The text without upper case."""
        return self.text.casefold()

    @cached_property
    def clause_spans(self) -> list[tuple[int, int]]:
        """Start and end of each clause: between commas and other marks, and at and, but, while, 而."""
        cuts = [found.end() for found in _CLAUSE_END.finditer(self.text)]
        return list(zip([0, *cuts], [*cuts, len(self.text)], strict=True))

    @cached_property
    def clauses(self) -> list["Reading"]:
        """Its clauses, each read by itself."""
        return [Reading(part) for start, end in self.clause_spans if (part := self.text[start:end].strip())]

    @property
    def clauses_and_whole(self) -> list["Reading"]:
        """Itself, and its clauses where it has more than one."""
        return [self, *self.clauses] if len(self.clauses) > 1 else [self]

    @cached_property
    def has_han(self) -> bool:
        """Whether there is Chinese in it."""
        return bool(_HAN_CHARACTER.search(self.text))

    @cached_property
    def anchors(self) -> dict[str, int]:
        """Names and numbers that occur once, with their places, in order."""
        places = [(word.start, word.key) for word in self.names]
        places += [(value.start, str(value.number)) for value in self.values]
        counts = Counter(key for _, key in places)
        return {key: start for start, key in sorted(places) if counts[key] == 1}

    @cached_property
    def before_names(self) -> dict[str, str]:
        """Key of each name -> key of the content word right before it, where that is no name itself."""
        content = [word for word in self.words if word.is_content]
        return {word.key: before.key for before, word in pairwise(content) if word.is_name and not before.is_name}

    @cached_property
    def negated(self) -> frozenset[str]:
        """The keys of content words in the scope of a negation: the next three of its clause."""
        keys: set[str] = set()
        for found in NEGATION.finditer(self.text):
            end = NEGATION_ENDS.search(self.text, found.end())
            stop = end.start() if end else len(self.text)
            inside = [word for word in self.words if word.is_content and found.end() <= word.start < stop]
            keys.update(word.key for word in inside[:_SCOPE_WORDS])
        return frozenset(keys)
