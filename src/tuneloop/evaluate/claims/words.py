"""A sentence as the rules see it: its words in order, what each is compared by, and which of them are names."""

# ruff: noqa: SIM905 - word lists are read more easily as one string

import re
from collections.abc import Iterator
from dataclasses import dataclass

import rjieba

from tuneloop.evaluate.metrics.segment import HAN

_RUN = re.compile(rf"(?P<han>[{HAN}]+)|(?P<word>[^\W_{HAN}]+(?:['’.\-][^\W_{HAN}]+)*)")
_STOP = re.compile(r"[.!?\n]")
_TITLE = re.compile(r"《([^《》]{1,60})》")

_STOP_WORDS = frozenset(
    (
        "a an the and or but if then than that this these those it its he she his her him they them their we "
        "our us you your i my me who whom whose which what when where why how as at by for from in into of "
        "off on onto out over to up with about after before between during through under upon within is are "
        "was were be been being am do does did done has have had having will would shall should may might "
        "can could must not no nor so such there here also too very just only both each other another any "
        "some more most less least own same s t one because since while although though whether however per "
        "via yet still ever even already"
    ).split()
)
_TITLES = frozenset(("mr mrs ms mx dr prof sir madam lord lady").split())
_ROLES = frozenset(
    (
        "mayor president governor minister judge justice councillor senator captain chief director professor "
        "doctor chair king queen prince princess officer sergeant inspector"
    ).split()
)
"""Written with a capital before a name, and no part of it."""
_CALENDAR = frozenset(
    (
        "january february march april may june july august september october november december monday "
        "tuesday wednesday thursday friday saturday sunday i"
    ).split()
)
_SUFFIXES = (
    "izations ization ations ation ingly edly iness ments ment ities ity ances ance ences ence ings ing "
    "ers er ors or ied ies ed es ly al y s e"
).split()
_MIN_STEM = 3
_STEM_LENGTH = 6
_FUNCTION_CHARACTERS = "的了是在和与就而及或之其该由于为被将把对等者所以也已均各都并且则从到向给这那有个"
_MASKED = re.compile(r"[\u4e00-\u9fff]某[某甲乙丙丁]?|[甲乙丙丁](?:公司|方|县|市|银行)")
"""How judgments write those whose names are kept back: 张某, 李某某, 甲公司."""
_PLACE_ENDS = "省市县区州镇乡村路街港岛河江湖"
_MIN_NAME = 2


@dataclass(frozen=True, slots=True)
class Word:
    """A word and where it stands."""

    text: str
    key: str
    """What it is compared by: a stem of Latin letters, Chinese as it is."""
    start: int
    is_content: bool
    """Whether it says what is spoken of, and is no function word."""
    is_name: bool
    """Capitalised within a sentence, or tagged as a name of a person, place or organisation in Chinese."""


def read_words(text: str) -> list[Word]:
    """The words of a sentence, in order. Chinese is cut and tagged by jieba's dictionary."""
    words: list[Word] = []
    end, opens_sentence = 0, True
    for run in _RUN.finditer(text):
        is_after_title = bool(words) and words[-1].text.lower() in _TITLES
        opens_sentence = opens_sentence or bool(_STOP.search(text, end, run.start()) and not is_after_title)
        if run["han"]:
            words.extend(_chinese_words(run["han"], run.start()))
        else:
            words.append(_latin_word(run["word"], run.start(), opens_sentence=opens_sentence))
        end, opens_sentence = run.end(), False
    return words


def _latin_word(text: str, start: int, *, opens_sentence: bool) -> Word:
    plain = text.lower().removesuffix("'s").removesuffix("’s")
    is_capital = text[:1].isupper() and not opens_sentence
    is_code = any(map(str.isdigit, text)) and any(map(str.isalpha, text)) and text[:1].isalpha()
    is_name = (is_capital or is_code) and plain not in _CALENDAR | _TITLES | _ROLES | _STOP_WORDS
    return Word(
        text=text,
        key=plain if is_code else stem(plain),
        start=start,
        is_content=plain not in _STOP_WORDS and plain not in _TITLES,
        is_name=is_name,
    )


def _chinese_words(run: str, start: int) -> Iterator[Word]:
    done = 0
    for found in _MASKED.finditer(run):
        yield from _tagged_words(run[done : found.start()], start + done)
        yield Word(found.group(), found.group(), start + found.start(), is_content=True, is_name=True)
        done = found.end()
    yield from _tagged_words(run[done:], start + done)


def _tagged_words(run: str, start: int) -> Iterator[Word]:
    for text, tag in rjieba.tag(run):
        yield Word(
            text=text,
            key=text,
            start=start,
            is_content=not all(char in _FUNCTION_CHARACTERS for char in text) and tag[:1] not in "upcyoe",
            is_name=len(text) >= _MIN_NAME and _is_chinese_name(text, tag),
        )
        start += len(text)


def _is_chinese_name(text: str, tag: str) -> bool:
    # The dictionary takes common words for names (许可, 聊天, 东西): a person's name is what it does not know, and a
    # place is known by its last character.
    match tag:
        case "nr":
            return not rjieba.has_word(text)
        case "ns":
            return text[-1] in _PLACE_ENDS
        case _:
            return tag == "nt"


def stem(word: str) -> str:
    """A crude stem: one ending off, then at most six letters, so that dismissed and dismissal meet."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _MIN_STEM:
            word = word.removesuffix(suffix)
            break
    return word[:_STEM_LENGTH]


def read_titles(text: str) -> list[str]:
    """What stands between 《 and 》."""
    return _TITLE.findall(text)


def read_features(text: str) -> list[str]:
    """What overlap is counted over: stems of content words, pairs of neighbouring Chinese characters.

    Function words and function characters count as gaps; a Chinese character that stands alone between gaps is a
    feature by itself.
    """
    features: list[str] = []
    for run in _RUN.finditer(text):
        if run["word"]:
            word = _latin_word(run["word"], run.start(), opens_sentence=False)
            if word.is_content:
                features.append(word.key)
            continue
        for part in re.split(f"[{_FUNCTION_CHARACTERS}]", run["han"]):
            features.extend(part[place : place + 2] for place in range(max(1, len(part) - 1)) if part)
    return features
