"""Which language a set of texts is in, and where the words of a Chinese text begin and end."""

import re
from collections.abc import Iterable
from typing import Literal, get_args

from tuneloop.core.errors import ConfigError

Language = Literal["en", "zh"]
"""`zh`: Chinese. `en`: everything that writes spaces between its words."""

HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
"""The inside of a character class: the ideographs of Unicode 15 with extensions A to H, the mark that repeats
one (U+3005), and the zero (U+3007)."""

_HAN_CHARACTER = re.compile(f"[{HAN}]")
_LETTERS_AND_DIGITS = re.compile(r"[^\W_]+")
_CHINESE_SHARE = 0.1


def detect_language(texts: Iterable[str]) -> Language:
    """`zh` where Han characters are more than 10 % of all letters, else `en`.

    The share is taken over all texts together, so that one foreign row does not change the tokeniser of its
    own score. Japanese counts as `zh` for its kanji. Texts without letters are `en`.
    """
    num_letters = num_han = 0
    for text in texts:
        han = len(_HAN_CHARACTER.findall(text))
        num_han += han
        # Counted apart, since isalpha is False for U+3007 and for the newest ideographs.
        num_letters += han + sum(map(str.isalpha, _HAN_CHARACTER.sub("", text)))
    return "zh" if num_han > _CHINESE_SHARE * num_letters else "en"


def resolve_language(language: str, references: Iterable[str]) -> Language:
    """Turn `auto` into what the references are written in.

    Raises:
        ConfigError: not one of auto, en, zh.
    """
    return detect_language(references) if language == "auto" else parse_language(language)


def parse_language(language: str) -> Language:
    """Check the name of a language.

    Raises:
        ConfigError: not one of en, zh.
    """
    for known in get_args(Language):
        if language == known:
            return known
    raise ConfigError(f"language '{language}' is not known. Choose auto, en or zh.")


class ChineseTokenizer:
    """Words of Chinese and mixed text in lower case, for `RougeScorer(tokenizer=...)`.

    Runs of letters and digits are found first, so that punctuation and emoji are no words (as in rouge-score's
    own tokeniser). A run that holds Han characters is cut by rjieba (jieba's dictionary, and its hidden Markov
    model for unknown words); any other run is one word. Plain ASCII text thus gives exactly the tokens of
    rouge-score's default.

        "我来到北京清华大学, Hello!" -> 我 来到 北京 清华大学 hello
    """

    def __init__(self) -> None:
        import rjieba

        self._cut = rjieba.cut

    def tokenize(self, text: str) -> list[str]:
        """The words of `text`, in order."""
        words: list[str] = []
        for run in _LETTERS_AND_DIGITS.findall(text):
            if _HAN_CHARACTER.search(run):
                words.extend(self._cut(run))
            else:
                words.append(run)
        # Lowered last: the dictionary knows T恤 and not t恤.
        return [word.lower() for word in words]
