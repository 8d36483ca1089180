"""Planted duplicates and leaks at full size: 500 exact, 500 near, 200 leaks in 20,000 rows, with planted bugs."""

import random
from dataclasses import dataclass

import pytest

from tuneloop.data.quality import leaks, near, texts
from tuneloop.data.quality.leaks import find_leaks
from tuneloop.data.quality.minhash import Banding
from tuneloop.data.quality.near import near_duplicates
from tuneloop.data.quality.shingles import normalise, shingle_hashes

NUM_ROWS, NUM_EXACT, NUM_NEAR, NUM_LEAKS = 20_000, 500, 500, 200
NUM_JUDGED = 3000
THRESHOLD = 0.8


@dataclass(frozen=True)
class Planted:
    """Rows, held-out rows, and what is planted in them."""

    rows: list[str]
    held_out: list[str]
    exact: set[tuple[int, int]]
    near: set[tuple[int, int]]
    leaks: set[tuple[int, int]]


@dataclass(frozen=True)
class Outcome:
    """Shares of what was planted and of what was reported."""

    exact: float
    near: float
    false: float
    leaks: float
    false_leaks: float

    def holds(self):
        return (
            self.exact == 1
            and self.near >= 0.95
            and self.false <= 0.01
            and self.leaks >= 0.99
            and (self.false_leaks <= 0.01)
        )


def similarity(left, right):
    windows = [set(shingle_hashes([normalise(text)])[0].tolist()) for text in (left, right)]
    return len(windows[0] & windows[1]) / len(windows[0] | windows[1])


def dressed(text, chance):
    """The same text to a reader: other case, space and marks."""
    return chance.choice([text.upper(), f"  {text}!", text.replace(" ", "\n "), f"“{text}”", text.title() + " ..."])


def edited(text, chance):
    """One to five words or characters changed, left out, put in or moved, as many as leave it near."""
    result = text
    for _ in range(chance.randint(1, 5)):
        gap = " " if " " in result else ""
        units = result.split(" ") if gap else list(result)
        place = chance.randrange(len(units))
        match chance.randrange(4):
            case 0:
                units[place] = chance.choice(units)
            case 1:
                del units[place]
            case 2:
                units.insert(place, chance.choice(units))
            case _:
                units = units[place:] + units[:place]
        if similarity(text, gap.join(units)) < THRESHOLD:
            break
        result = gap.join(units)
    return result


@pytest.fixture(scope="module")
def planted():
    chance = random.Random(13)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvw", k=chance.randint(2, 9))) for _ in range(3000)]

    def text():
        if chance.random() < 0.3:
            return "".join(chr(0x4E00 + chance.randrange(3000)) for _ in range(chance.randint(40, 90)))
        return " ".join(chance.choice(words) for _ in range(chance.randint(16, 40)))

    own = [text() for _ in range(NUM_ROWS - NUM_EXACT - NUM_NEAR - NUM_LEAKS)]
    held_out = [text() for _ in range(1000)]
    rows, pairs = list(own), {"exact": [], "near": [], "leaks": []}
    sources = chance.sample(range(len(own)), NUM_EXACT + NUM_NEAR)
    for number, source in enumerate(sources):
        kind = "exact" if number < NUM_EXACT else "near"
        copy = dressed(own[source], chance) if kind == "exact" else edited(own[source], chance)
        while kind == "near" and normalise(copy) == normalise(own[source]):
            copy = edited(own[source], chance)
        pairs[kind].append((source, len(rows)))
        rows.append(copy)
    for number, target in enumerate(chance.sample(range(len(held_out)), NUM_LEAKS)):
        leaked = held_out[target]
        match number % 4:
            case 0:
                copy = leaked
            case 1:
                copy = dressed(leaked, chance)
            case 2:
                copy = edited(leaked, chance)
            case _:
                copy = f"{text()} {leaked} {text()}"
        pairs["leaks"].append((len(rows), target))
        rows.append(copy)
    place = list(range(len(rows)))
    chance.shuffle(place)
    mixed = [""] * len(rows)
    for old, new in enumerate(place):
        mixed[new] = rows[old]
    exact, close = (
        {(min(place[a], place[b]), max(place[a], place[b])) for a, b in pairs[kind]} for kind in ("exact", "near")
    )
    return Planted(mixed, held_out, exact, close, {(place[row], target) for row, target in pairs["leaks"]})


def check(planted):
    found = near_duplicates(planted.rows, threshold=THRESHOLD)
    pairs = set(map(tuple, found.pairs.tolist()))
    copies = {
        pair for pair, value in zip(map(tuple, found.pairs.tolist()), found.similarity, strict=True) if value == 1
    }
    judged = random.Random(0).sample(sorted(pairs), min(len(pairs), NUM_JUDGED))
    false = [pair for pair in judged if similarity(planted.rows[pair[0]], planted.rows[pair[1]]) < THRESHOLD]
    named = {(leak.train, leak.eval) for leak in find_leaks(planted.rows, planted.held_out)}
    return Outcome(
        exact=len(planted.exact & copies) / NUM_EXACT,
        near=len(planted.near & pairs) / NUM_NEAR,
        false=len(false) / max(1, len(judged)),
        leaks=len(planted.leaks & named) / NUM_LEAKS,
        false_leaks=len(named - planted.leaks) / max(1, len(named)),
    )


@pytest.mark.slow
def test_planted_duplicates_and_leaks_are_found(planted):
    assert (len(planted.rows), len(planted.exact), len(planted.near), len(planted.leaks)) == (20_000, 500, 500, 200)
    outcome = check(planted)
    assert outcome.holds(), outcome


def drop_bands(patch):
    patch.setattr(near, "banding_for", lambda _: Banding(rows=6, bands=1))


def drop_normalisation(patch):
    patch.setattr(texts, "normalise", str)
    patch.setattr(leaks, "normalise", str)


def drop_the_exact_comparison(patch):
    patch.setattr(near, "jaccard", lambda _, pairs: 0.8 + pairs[:, 0] * 0.0)
    patch.setattr(near, "least_estimate", lambda _: 0.0)
    patch.setattr(near, "banding_for", lambda _: Banding(rows=1, bands=8))


def drop_runs_of_words(patch):
    patch.setattr(leaks.SharedRuns, "add", lambda *_: None)


@pytest.mark.slow
@pytest.mark.parametrize("bug", [drop_bands, drop_normalisation, drop_the_exact_comparison, drop_runs_of_words])
def test_the_check_catches_a_planted_bug(planted, bug, monkeypatch):
    bug(monkeypatch)
    outcome = check(planted)
    assert not outcome.holds(), outcome
