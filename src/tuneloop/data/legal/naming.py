"""What is named without 《》 directly before 第…条: a law, a short name, 本法, or a contract."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuneloop.data.legal.law_names import (
    KNOWN_LAWS,
    LAW_ENDINGS,
    LONGEST_KNOWN,
    STATE,
    looks_like_contract,
    normalise_law,
)

_CONTRACT = re.compile(
    r"(?:合同|协议|契约|章程|条款|约定|保单|遗嘱|手册|制度|起诉书|起诉状|反诉状|答辩状|判决|裁定|清单|承诺书|保证书|责任书|通知书|意见书"
    r"|方案|请求|主张|观点|备忘录|公告)书?(?:里|中|的|之|约定的?|规定的?|中的|里的)?[^\S\n]*\Z"
)
_BACK = re.compile(
    r"(?:(?<!基)(?<!日)本|该|同|此|上述|前述|前引|上引)"
    r"(?P<kind>法典|法|条例|规定|解释|办法|细则|规则|公约|规约|决定|通则|纪要|通知|意见)(?:的|之|中|中的|规定的)?[^\S\n]*\Z"
)
_GAP = re.compile(r"[^\S\n]*(?:[12][0-9]{3}年)?(?:中的|规定的|的|之|中)?[^\S\n]*\Z")
_BRACKET = re.compile(r"（[^（）\n]{1,20}）\Z")
_UNKNOWN = re.compile(rf"[\u4e00-\u9fff]{{1,40}}?(?:{LAW_ENDINGS})\Z")
_FOREIGN = re.compile(r"(?:德国|法国|美国|英国|日本|韩国|瑞士|意大利|俄罗斯|苏联|和平)\Z")
_CARRIES_OUT = re.compile(r"实施(?:条例|细则|办法)\Z")
# Words that end what stands before a law's name.
_CUT = re.compile(
    r".*(?:根据|依据|依照|按照|参照|违反|适用|符合|触犯|参见|属于|以及|或者|包括|我国|现行|关于|援引|遵守|参考|对比|有关"
    r"|和|与|及|或|的|了|在|是|由|将|从|即|如|因|而|但|则|若|又|也)"
)
_NO_LAW = re.compile(
    r"(?:(?:方|做|看|说|想|无|合|违|非|司|执|立|用|书|依|守|普|手|语|算|疗|枪|戏|相关|有关)法"
    r"|(?:相关|有关|法律|以上|上述|前述|下列|如下|本节|本章|前款|前条|特别|一般|其他|基本|特殊|明确)规定)\Z"
)
_FEWEST = 3


@dataclass(frozen=True, slots=True)
class Named:
    """What stands before an article."""

    law: str
    """"" where it is named and is no law that can be told."""
    size: int
    """How many characters before the article belong to it."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the text has named so far."""

    laws: Sequence[str]
    """In the order in which they were last named."""
    short: Mapping[str, str]
    """Short name -> the name that the text defines it for."""
    own: str = ""
    """The law whose text this is."""


def is_contract(before: str) -> bool:
    """Whether a text ends by naming a contract or another paper that has articles of its own."""
    return bool(_CONTRACT.search(before))


def named_before(before: str, context: Context) -> Named | None:
    """What the end of a text names, with or without 的 after it; None where it names nothing."""
    gap = _GAP.search(before)
    stem = before[: gap.start()] if gap else before
    tail = len(before) - len(stem)
    for short in sorted(context.short, key=len, reverse=True):
        if stem.endswith(short):
            law = context.short[short]
            return Named("" if looks_like_contract(law) else law, len(short) + tail)
    found = _BRACKET.search(stem)
    bracket = found.group() if found else ""
    core = stem.removesuffix(bracket)
    known = _known_at_end(core)
    if known:
        return Named(known + bracket, len(known + bracket) + tail)
    back = _BACK.search(before)
    if back:
        return Named(_meant_by(back, context), len(before) - back.start())
    unknown = _UNKNOWN.search(core)
    if not unknown:
        return None
    name = _CUT.sub("", unknown.group())
    if len(name) < _FEWEST or _NO_LAW.search(name):
        return Named("", 0)
    return Named(name + bracket, len(name + bracket) + tail)


def _known_at_end(text: str) -> str:
    # 实施条例 and the like carry the name of the law that they carry out.
    found = _CARRIES_OUT.search(text)
    ending = found.group() if found else ""
    for stem, after in ((text, ""), (text.removesuffix(ending), ending)):
        for size in range(min(len(stem), LONGEST_KNOWN), 1, -1):
            name, head = stem[-size:], stem[:-size]
            if name in KNOWN_LAWS:
                foreign = _FOREIGN.search(head)
                return (foreign.group() if foreign else STATE if head.endswith(STATE) else "") + name + after
    return ""


def _meant_by(back: re.Match[str], context: Context) -> str:
    """The law that 本法 or 该条例 means: the last of its kind, or the text's own."""
    if context.own and back.group().startswith("本"):
        return context.own
    return next((law for law in reversed(context.laws) if _is_kind(law, back["kind"])), "")


def _is_kind(law: str, kind: str) -> bool:
    name = re.sub(r"（[^（）]*）\Z", "", normalise_law(law))
    return name.endswith((kind, "法典") if kind == "法" else kind)
