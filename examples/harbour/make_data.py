"""Write the demo's data: cases under a small harbour code of our own, and how each must be ruled.

    python make_data.py --out . --rows 256 --seed 7

Every answer follows from the facts and from `statutes.json`, so that exact match is a fair measure.
The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

INSTRUCTION = "Rule under the Harbour Code."

MIN_ROWS, MAX_ROWS = 48, 1024
"""Fewer would show a paragraph less than twice; more would use up the combinations left for held-out rows."""

OTHER_FACT_SHARE = 0.25
"""Share of the cases that also tell a fact which decides other articles, and counts for nothing here."""


@dataclass(frozen=True)
class Article:
    """One offence of the code, and the wordings by which a case may tell of it."""

    number: int
    offence: str
    elements: str
    decided_by: str
    """The kind of fact, a key of `FACTS`, that chooses paragraph (1) or (2)."""
    tellings: tuple[str, ...]
    """Ways to say that it was done. The last one occurs in held-out cases only."""
    unit: str = "barrels"


@dataclass(frozen=True)
class Fact:
    """A kind of fact with two states: index 0 leads to paragraph (1), index 1 to paragraph (2)."""

    finding: tuple[str, str]
    """What the ruling calls each state."""
    marks: tuple[int, int]
    """The penalty for each state."""
    tellings: tuple[tuple[str, ...], tuple[str, ...]]


ARTICLES = (
    Article(3, "unmarked mooring", "moored without a number", "record", (
        "tied up with no number board", "lay moored with the number board missing",
        "made fast and showed no number", "took a berth with no number board up")),
    Article(4, "blocked fairway", "anchored in the fairway", "time", (
        "dropped anchor in the fairway", "lay at anchor across the main channel",
        "let the anchor go in mid-channel", "anchored in the middle of the fairway")),
    Article(5, "oil discharge", "let oil into the water", "amount", (
        "pumped oil over the side", "drained oil into the harbour",
        "let oily bilge run out", "poured used oil into the sea"), "buckets"),
    Article(6, "unlicensed pilotage", "piloted without a licence", "record", (
        "piloted a barge without a licence", "guided a steamer in, holding no pilot's licence",
        "took a ship in as an unlicensed pilot", "acted as pilot with no licence")),
    Article(7, "hidden cargo", "kept goods off the manifest", "amount", (
        "left goods off the manifest", "carried goods missing from the manifest",
        "hid goods under the deck boards", "landed goods that were not on the manifest"), "crates"),
    Article(8, "false flag", "flew another port's flag", "record", (
        "flew the flag of another port", "hoisted a flag the ship had no right to",
        "sailed in under a borrowed flag", "showed the flag of a foreign port")),
    Article(9, "speeding", "ran above the speed limit", "time", (
        "ran faster than the limit", "came in well over six knots",
        "raced past the speed board", "went at twice the allowed speed")),
    Article(10, "closed-season fishing", "fished in the closed season", "amount", (
        "netted herring in the closed season", "set nets during the closed weeks",
        "took fish out of season", "fished before the season opened"), "baskets"),
    Article(11, "untended fire", "left a fire unwatched", "time", (
        "left a stove burning on an empty boat", "went ashore with the galley fire lit",
        "left a fire with nobody aboard", "walked away from a burning stove")),
    Article(12, "unpaid dues", "left without paying dues", "record", (
        "sailed off without paying the dues", "cast off with the dues unpaid",
        "slipped away owing harbour dues", "departed and never paid the dues")),
    Article(13, "dumping", "threw rubbish overboard", "amount", (
        "threw rubbish overboard", "tipped waste into the basin",
        "dumped refuse over the rail", "cast litter into the harbour"), "sacks"),
    Article(14, "buoy tampering", "moved a buoy", "time", (
        "shifted a buoy", "dragged a channel buoy away",
        "cut a buoy from its chain", "towed a buoy out of position")),
)  # fmt: skip

FACTS = {
    "record": Fact(("first offence", "second offence"), (20, 40), (
        ("The register shows no earlier charge.", "{name} was never charged before.",
         "It is a first charge."),
        ("The register shows one earlier charge.", "{name} was charged last year too.",
         "It is a second charge."),
    )),
    "time": Fact(("by day", "by night"), (30, 60), (
        ("It was a bright day.", "It was midday.", "It was early in the day."),
        ("It was a dark night.", "It was late at night.", "It was midnight."),
    )),
    "amount": Fact(("ten or fewer", "more than ten"), (50, 90), (
        ("Wardens counted {few} {unit}.", "There were {few} {unit}."),
        ("Wardens counted {many} {unit}.", "There were {many} {unit}."),
    )),
}  # fmt: skip

FEW, MANY = ("two", "three", "four", "five", "six"), ("twenty", "thirty", "forty", "fifty", "sixty")
PLACES = ("off Gull Point", "near the salt quay", "by the east mole", "near the old lock",
          "below the signal tower", "off Heron Bank", "by the rope walk", "at the north steps")  # fmt: skip
NOISE = ("The wind was light.", "A choir sang.", "The tide turned.", "The ferry was late.",
         "A bell rang.", "The clerk had a cold.", "Gulls were about.", "Two porters watched.",
         "The soup was cold.")  # fmt: skip
NAMES = ("Finch", "Marlow", "Okoro", "Brandt", "Sato", "Rivers", "Novak", "Pell", "Amari", "Hale",
         "Costa", "Ling", "Moss", "Dufour", "Weber", "Quinn")  # fmt: skip
SHIPS = ("Swallow", "Petrel", "Otter", "Amber", "Comet", "Old Rose", "Juniper", "Lark")
HELDOUT_NAMES = (*NAMES, "Tanaka", "Grey", "Olsen", "Bello", "Frost", "Vance", "Kaur", "Stone")
HELDOUT_SHIPS = (*SHIPS, "Falcon", "Silver Fox", "Willow", "Star")


class Case(NamedTuple):
    """One row, and the choices that made it apart from the persons."""

    row: dict[str, str]
    combination: tuple[str, ...]


class Split(NamedTuple):
    """Rows to train on, and rows kept back that share no combination with them."""

    train: list[dict[str, str]]
    heldout: list[dict[str, str]]


def write_book(path: Path) -> None:
    """Write the statute book: what is an offence, which fact decides, what it costs."""
    book = {
        "title": "Harbour Code of Saltmere (invented)",
        "rule": "The deciding fact of an article chooses its paragraph; other facts do not count.",
        "articles": [
            {
                "article": article.number,
                "offence": article.offence,
                "elements": article.elements,
                "decided_by": article.decided_by,
                "paragraphs": [
                    {
                        "cite": f"{article.number}({state + 1})",
                        "when": FACTS[article.decided_by].finding[state],
                        "marks": FACTS[article.decided_by].marks[state],
                    }
                    for state in (0, 1)
                ],
            }
            for article in ARTICLES
        ],
    }
    path.write_text(json.dumps(book, indent=2) + "\n", encoding="utf-8", newline="\n")


def ruling(article: Article, state: int) -> str:
    """The one right answer: `state` is 0 for paragraph (1) and 1 for paragraph (2)."""
    fact = FACTS[article.decided_by]
    return (
        f"Charge: {article.offence}. Reason: {article.elements}, {fact.finding[state]}. "
        f"Article: {article.number}({state + 1}). Penalty: {fact.marks[state]} marks."
    )


def make_case(rng: random.Random, article: Article, state: int, *, heldout: bool) -> Case:
    """Tell a case of `article` in which the deciding fact has `state`.

    Some cases also tell a fact that counts for nothing here: see `OTHER_FACT_SHARE`.
    """
    name = rng.choice(HELDOUT_NAMES if heldout else NAMES)
    ship = rng.choice(HELDOUT_SHIPS if heldout else SHIPS)
    place = rng.choice(PLACES)
    act = rng.choice(article.tellings if heldout else article.tellings[:-1])
    fact = rng.choice(FACTS[article.decided_by].tellings[state])
    beside = [rng.choice(NOISE)]
    if rng.random() < OTHER_FACT_SHARE:
        other = rng.choice([kind for kind in FACTS if kind != article.decided_by])
        beside.append(rng.choice(FACTS[other].tellings[rng.randrange(2)]))

    person = rng.choice((f"{name} of the {ship}", f"Captain {name}", name))
    told = rng.choice((f"{person} {act} {place}.", f"{place}, {person} {act}."))
    sentences = [told[0].upper() + told[1:], fact, *beside]
    rng.shuffle(sentences)
    facts = " ".join(sentences)
    facts = facts.format(name=name, few=rng.choice(FEW), many=rng.choice(MANY), unit=article.unit)
    row = {"instruction": INSTRUCTION, "input": facts, "output": ruling(article, state)}
    return Case(row, (act, fact, place))


def rows(seed: int, n: int) -> Split:
    """Make `n` training rows and `n // 4` held-out rows, every paragraph of the code as often as the next.

    No held-out row has the act, the deciding fact and the place of a training row, in these words.
    """
    if not MIN_ROWS <= n <= MAX_ROWS:
        raise ValueError(f"rows = {n}: choose from {MIN_ROWS} to {MAX_ROWS}.")
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    paragraphs = [(article, state) for state in (0, 1) for article in ARTICLES]
    trained_on: set[tuple[str, ...]] = set()
    told: set[str] = set()

    def draw(count: int, *, heldout: bool) -> list[dict[str, str]]:
        drawn: list[dict[str, str]] = []
        while len(drawn) < count:
            case = make_case(rng, *paragraphs[len(drawn) % len(paragraphs)], heldout=heldout)
            if case.row["input"] in told or (heldout and case.combination in trained_on):
                continue
            told.add(case.row["input"])
            if not heldout:
                trained_on.add(case.combination)
            drawn.append(case.row)
        rng.shuffle(drawn)
        return drawn

    split = Split(draw(n, heldout=False), draw(n // 4, heldout=True))
    assert not {row["input"] for row in split.train} & {row["input"] for row in split.heldout}
    return split


def write_rows(path: Path, written: list[dict[str, str]]) -> None:
    """Write one JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in written), encoding="utf-8", newline="\n")


def main() -> None:
    """Write `statutes.json`, `train.jsonl` and `heldout.jsonl`."""
    parser = argparse.ArgumentParser(description="Write the demo's data.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
    parser.add_argument("--rows", type=int, default=256, metavar="N", help=f"{MIN_ROWS} to {MAX_ROWS}")
    parser.add_argument("--seed", type=int, default=7, metavar="S")
    args = parser.parse_args()
    try:
        split = rows(args.seed, args.rows)
    except ValueError as error:
        parser.error(str(error))
    args.out.mkdir(parents=True, exist_ok=True)
    write_book(args.out / "statutes.json")
    write_rows(args.out / "train.jsonl", split.train)
    write_rows(args.out / "heldout.jsonl", split.heldout)


if __name__ == "__main__":
    main()
