"""Which options an answer to a multiple-choice question chooses, in English and Chinese."""

# ruff: noqa: RUF001, RUF002 - Chinese is written with its own punctuation

import re
from dataclasses import dataclass
from functools import cache

from tuneloop.evaluate.metrics.answer import final_part, last_boxed
from tuneloop.evaluate.metrics.segment import HAN

MOST_LETTERS = "ABCDEFGHIJ"

# Full-width capitals, full-width small letters, circled capitals.
_PLAIN = str.maketrans(
    "".join(chr(first + place) for first in (0xFF21, 0xFF41, 0x24B6) for place in range(len(MOST_LETTERS)))
    + "（），：；．【】",
    MOST_LETTERS + MOST_LETTERS.lower() + MOST_LETTERS + "(),:;.[]",
    "*_`$",
)
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]{0,40})\}")
_END_MARK = re.compile(r"<eoa>|</answer>|<\|[a-z_]{1,20}\|>")

_DECLARED = re.compile(
    r"\[(?:正确|参考|最终|标准)?答案\]\s*:?\s*|<answer>\s*"
    r"|(?<!回)答\s*:\s*|(?:答案|正确选项|正确的选项)(?:选项)?[\"”]?\s*"
    r"(?:应该|应当|应|就|便|只能|也)?\s*(?:是|为|有|包括|选择?|即)?\s*:?\s*"
    r"|\b(?:answers?|(?:correct|right|best) (?:option|choice|answer|statement|response)s?)"
    r"(?:\s+(?:option|choice|letter)s?)?"
    r"(?:\s+(?:to|for) (?:the|this) question)?[\"']?\s*(?::|=|(?:is|are|was|would be|should be|must be)\b)\s*:?\s*"
    r"(?:(?:therefore|thus|both|simply|clearly|most likely)\s+)?"
    r"|^[ \t]*(?:final[ \t]+)?answer[ \t]+",
    re.IGNORECASE | re.MULTILINE,
)
_GAP = r"[ \t]*(?::\s*)?"
_STATED = rf"的?(?:选项|说法|表述|叙述|观点|做法|一项|项)?[ \t]*(?:应该?|就)?(?:(?:是|为|有|包括){_GAP}|:\s*)"
_CHOSEN = re.compile(
    r"(?<![不误勿若别未错漏少候筛])(?<!如果)(?<!假如)(?<!假设)(?<!不[能应可要会])(?<!是否)"
    rf"选(?:择|取|出)?(?:了|的是|的答案是)?{_GAP}"
    rf"|(?<!不)(?:正确|符合题意|恰当|合适|成立){_STATED}|(?:而|应该|应当|应)[是为]\s*"
    r"|(?<!not )(?<!n't )(?<!n’t )\b(?:choose|chose|pick|select|go with|opt for)\s+"
    r"|\bit(?:['’]s| is| must be| should be)\s+",
    re.IGNORECASE,
)
_FAULTY_IS = re.compile(rf"(?:错误|不正确|不恰当|不符合题意){_STATED}")

# Blanks are bounded: several unbounded runs side by side would take quadratic time.
_COUNTED = r"\s{0,3}(?:两|三|四|2|3|4)?个?(?:选?项)?(?:的?(?:说法|表述|观点|叙述|做法))?\s{0,3}"
_RIGHT = re.compile(
    rf"{_COUNTED}(?:是|为|均|都|皆|才|最|完全){{0,3}}\s{{0,3}}(?:正确|对的|符合题意|恰当|准确)"
    r"|\s+(?:is|are)\s+(?:both\s+|indeed\s+|clearly\s+)?(?:the\s+)?(?:most\s+)?(?:correct|right|best|answers?\b)",
    re.IGNORECASE,
)
_WRONG = re.compile(
    rf"{_COUNTED}(?:是|为|均|都|皆|也){{0,3}}\s{{0,3}}(?:错|不|有误|误|并非)"
    r"|\s+(?:is|are)(?:n't|n’t)?\s+(?:both\s+|clearly\s+|all\s+)?(?:not|wrong|incorrect|false)\b|\s+(?:isn|aren)['’]t\b",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"(?:^|[\n.。!！?？:,;；、(]|\b(?:options?|choices?|answers?|statements?|so|thus|therefore|hence|only|both|that|and)\b"
    r"|[选项故以此即有上为])\s*[(\[\"“'‘]*\Z",
    re.IGNORECASE,
)
_JUDGED_WRONG = re.compile(
    r"\s*(?:是|该项|此项|本项|这是|说法|表述|选项){0,2}(?:错误?|不正确|有误|不对)(?=[\s,.。;:]|\Z)"
    r"|\s*(?:(?:this )?is )?(?:incorrect|wrong|false|not correct)\b",
    re.IGNORECASE,
)
_SAYS_WRONG = re.compile(r"错|不|误|\b(?:wrong|incorrect|false|not|neither|cannot)\b|n['’]t\b", re.IGNORECASE)
# What may stand directly after a letter and leave it a letter: 答案是B因为, but not A公司 or B型.
_HAN_AFTER = r"[项选答因理解所故这其根依按由即且考]|[两三四]个?选?项|正确|以上|本题|错误|的(?:理由|原因)"
_STAYS_LETTER = re.compile(rf"(?![{HAN}])|{_HAN_AFTER}")
_JOINED = rf"(?!(?!{_HAN_AFTER}|[和与及以或是为都均皆不错有符对才最])[{HAN}])"
_THING = r"(?:公司|企业|银行|集团|市(?!场)|国(?![家际])|股(?![东权])|方(?![法案式面])|[省县型级某栋轮超])"
_BEFORE_THING = re.compile(rf"\s+{_THING}")
_WORD_AFTER = re.compile(r"\s+(?!(?:because|since|as|and|for|is|which|with)\b)[a-z]")


@dataclass(frozen=True, slots=True)
class _Grammar:
    """How lists of the accepted letters are written."""

    letters: str
    run: re.Pattern[str]
    """Letters side by side that are no part of a word: ACD."""
    chosen: re.Pattern[str]
    """A list: AC; A、C; (A) and (C); A, C; A C; 选项A和选项C."""
    lower: re.Pattern[str]
    """One small letter that ends a statement."""
    lone: re.Pattern[str]
    """One small letter."""
    small: re.Pattern[str]
    """A line that is small letters and nothing else."""
    whole: re.Pattern[str]
    """A line that is a list and nothing else."""
    head: re.Pattern[str]
    """A line that begins with a list, as options are written: `B. text`."""
    mark: re.Pattern[str]
    """A letter written as the mark of an option, anywhere."""
    mention: re.Pattern[str]
    """option B, B选项, (B)."""
    other: re.Pattern[str]
    """... or C: two letters, and no choice between them."""


def chosen_letters(text: str, letters: str = "ABCD") -> frozenset[str] | None:
    r"""The options that `text` chooses, as a set of `letters`; None where it makes no choice that can be told.

    The first of these that is found:

    1. a declared answer: `[正确答案]A<eoa>`, `\boxed{C}`, 答案是AC, 正确答案：B、D, "The answer is (C)"; the last one
    2. a choice: 选A, 故选 ACD, 正确的是C, "I choose B"; the last one, unless it is denied or supposed (不选A, 若选A)
    3. a line that is nothing but letters, the last one, then the first
    4. what is called correct ("Option C is correct", B项正确), or 错误的是D, if only one thing is
    5. lines that begin as options do (`B. text`), unless they are all options, or judged one by one
    6. the only option that is mentioned (`option B`, `(B)`), where nothing is denied

    Letters may be full-width or circled, in brackets or emphasised, small where one ends its statement. A letter inside
    a word, before a unit or a name (A公司, B型), and the article "A" are none. "A or B" chooses nothing. Thoughts and a
    next question do not count (see `answer.final_part`).

    Args:
        text: An answer.
        letters: The options' capital letters: `ABCD`, and up to `ABCDEFGHIJ`.
    """
    grammar = _grammar(letters)
    part = final_part(text)
    boxed = last_boxed(part)
    plain = _plain(part)
    return (
        (_boxed(_plain(boxed), grammar) if boxed else None)
        or _after_cue(_DECLARED, plain, grammar)
        or _after_cue(_CHOSEN, plain, grammar)
        or _letters_alone(plain, grammar)
        or _called(plain, grammar)
        or _heads(plain, grammar)
        or _only_mention(plain, grammar)
    )


def _plain(text: str) -> str:
    text = _LATEX_TEXT.sub(r"\1", text)
    return _END_MARK.sub("\n", text).translate(_PLAIN).strip()


@cache
def _grammar(letters: str) -> _Grammar:
    letter = f"[{letters}]"
    start = r"(?<![A-Za-z0-9°'’\-])"
    run = rf"{start}{letter}{{1,10}}(?![A-Za-z0-9+#°]|['’][a-z]|-[A-Za-z0-9])"
    bracket = r"[ \t\u3000(\[{\"“'‘「《]{0,4}"
    opened = rf"{bracket}(?:选项|(?i:options?|choices?|letters?|statements?)\b)?{bracket}"
    item = rf"{opened}{run}(?:[)\]}}\"”'’」》]{{0,3}}(?:\s?选?项(?![A-Za-z]))?)"
    firm = rf"{item}(?:\s?(?:、|和|与|及|以及|&|\+|\band\b){item}{_JOINED})*+"
    # A comma or a blank joins only what is nothing but letters: in "C, B is wrong" it does not.
    bare = rf"(?=\s*(?:[,;、.。)\]\"”!！<]|and\b|和|$|\n)|\s{run})"
    lone = rf"\b[{letters.lower()}]\b"
    listed = rf"(?>{firm}(?:(?:\s?[,;，；]\s?(?:and\s|和)?|[ \t]){firm}{bare})*)"
    return _Grammar(
        letters=letters,
        run=re.compile(run),
        chosen=re.compile(listed),
        lower=re.compile(rf"[\s(\[\"“]{{0,3}}(?P<small>[{letters.lower()}])[)\]\"”]{{0,2}}(?=\s*(?:[.,;。]|\n|\Z))"),
        lone=re.compile(lone),
        small=re.compile(
            rf"\W{{0,9}}(?:(?i:options?|choices?)\s)?{lone}(?:\W{{0,3}}(?:[,、;]|\band\b|和)\W{{0,3}}{lone}){{0,9}}\W{{0,9}}"
        ),
        whole=re.compile(rf"[^\w\n]*{listed}[^\w\n]*"),
        head=re.compile(
            rf"[\s>\-]*(?P<list>(?>{firm}))\s*"
            rf"(?:[.:、。—–)\]]|,(?!\s*{run})|\s(?=because\b|since\b|(?!{_THING})[{HAN}])|(?<=\))\s)"
        ),
        mark=re.compile(rf"(?:^|(?<=\s))\(?{run}\s?[).:\]]"),
        mention=re.compile(
            rf"(?:选项|\b(?i:options?|choices?)\b)\s*[(\[\"“]?{run}|{run}[)\]\"”]?\s?选?项|[(\[]{run}[)\]]"
        ),
        other=re.compile(rf"\s*(?:或者?|/|\bor\b)\s*{item}"),
    )


def _boxed(text: str, grammar: _Grammar) -> frozenset[str] | None:
    return _whole_line(text, grammar) or _heads(text, grammar)


def _after_cue(cue: re.Pattern[str], text: str, grammar: _Grammar) -> frozenset[str] | None:
    """The last list that stands directly after such words."""
    found = None
    for match in cue.finditer(text):
        found = _list_at(text, match.end(), grammar) or found
    return found


def _list_at(text: str, place: int, grammar: _Grammar) -> frozenset[str] | None:
    """The letters of the list that begins there, unless what follows shows that it is none, or denies it."""
    listed = grammar.chosen.match(text, place)
    if listed is None:
        small = grammar.lower.match(text, place)
        return frozenset(small["small"].upper()) if small else None
    letters = _letters_in(listed.group(), grammar)
    end = listed.end()
    if letters is None or _WRONG.match(text, end) or grammar.other.match(text, end):
        return None
    is_article = letters <= {"A", "I"} and len(letters) == 1 and _WORD_AFTER.match(text, end)
    is_thing = _BEFORE_THING.match(text, end) or not _STAYS_LETTER.match(text, end)
    return None if is_article or is_thing else letters


def _letters_in(listed: str, grammar: _Grammar) -> frozenset[str] | None:
    """The set of a list's letters; None where a run says one twice, as a model that loops does."""
    runs = grammar.run.findall(listed)
    return None if any(len(set(run)) < len(run) for run in runs) else frozenset("".join(runs))


def _whole_line(line: str, grammar: _Grammar) -> frozenset[str] | None:
    if grammar.whole.fullmatch(line):
        return _letters_in(line, grammar)
    if grammar.small.fullmatch(line):
        return frozenset(letter.upper() for letter in grammar.lone.findall(line))
    return None


def _letters_alone(text: str, grammar: _Grammar) -> frozenset[str] | None:
    lines = [line for line in text.split("\n") if line.strip()]
    return (_whole_line(lines[-1], grammar) or _whole_line(lines[0], grammar)) if lines else None


def _called(text: str, grammar: _Grammar) -> frozenset[str] | None:
    """What is called correct, or said to be the wrong one that was asked for."""
    found = {
        _letters_in(listed.group(), grammar)
        for listed in grammar.chosen.finditer(text)
        if _RIGHT.match(text, listed.end())
        and _SUBJECT.search(text, max(0, listed.start() - 20), _first_letter(listed, grammar))
    }
    if not found:
        found = {_list_at(text, match.end(), grammar) for match in _FAULTY_IS.finditer(text)}
    return found.pop() if len(found) == 1 else None


def _first_letter(listed: re.Match[str], grammar: _Grammar) -> int:
    run = grammar.run.search(listed.group())
    return listed.start() + (run.start() if run else 0)


def _heads(text: str, grammar: _Grammar) -> frozenset[str] | None:
    lines = [line for line in text.split("\n") if line.strip()]
    heads = [(line, match) for line in lines if (match := grammar.head.match(line))]
    found: set[str] = set()
    for line, match in heads:
        letters = _letters_in(match["list"], grammar)
        marks = {letter for mark in grammar.mark.findall(line) for letter in grammar.run.findall(mark)}
        if letters is None or marks - letters or _JUDGED_WRONG.match(line, match.end()):
            return None
        found |= letters
    is_whole = len(heads) == len(lines) and (len(heads) == 1 or len(found) < len(grammar.letters))
    return frozenset(found) if found and (len(heads) == 1 or is_whole) else None


def _only_mention(text: str, grammar: _Grammar) -> frozenset[str] | None:
    if _SAYS_WRONG.search(text):
        return None
    found = {_letters_in(mention.group(), grammar) for mention in grammar.mention.finditer(text)}
    return found.pop() if len(found) == 1 else None
