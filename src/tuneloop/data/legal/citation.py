"""Citations of Chinese law in a text: which law, which article, paragraph and item, and where they stand."""

# ruff: noqa: RUF001, RUF002 - Chinese is written with its own punctuation

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tuneloop.data.legal.law_names import looks_like_contract, looks_like_law
from tuneloop.data.legal.naming import Context, is_contract, named_before
from tuneloop.data.legal.provision import Provision, format_provision, number_of, plain

# Few, so that a long run of blanks costs no time; a line's end parts 第 from no number.
_S = r"[^\S\n]{0,3}"
_NUMBER = r"(?:[0-9]{1,5}|[〇零一二三四五六七八九十百千万两]{1,12})"
_SUFFIX = rf"(?:{_S}之{_S}(?:[一二三四五六七八九十]{{1,3}}|[0-9]{{1,2}}))"
_ONE = rf"（?{_S}{_NUMBER}{_S}）?{_SUFFIX}?"
_AND = r"(?:、|和|与|及|以及|或者?|至|到|-|－|—{1,2}|~|～)"
_MORE = rf"(?:{_S}(?:{_AND}|(?<=[0-9])[,，](?=[0-9])|(?<=）)(?={_S}（)){_S}{_ONE})"
# 之一般规定 is no suffix.
_OF = rf"(?:{_S}之{_S}(?P<suffix>[一二三四五六七八九十]{{1,3}}|[0-9]{{1,2}})(?![般些切种旦定致样个半方]))?"
_LEVEL = rf"第{_S}(?P<list>{_ONE}{_MORE}{{0,40}}){_S}(?P<unit>[条款项目]){_OF}"
_BOOK = r"《(?P<book>[^《》\n]{1,120}(?:《[^《》\n]{1,80}》[^《》\n]{0,80})*)》"
_TOKEN = re.compile(rf"{_BOOK}|{_LEVEL}")
_AND_THEN = re.compile(rf"{_S}{_AND}{_S}")
_BARE_LEVEL = re.compile(rf"(?P<list>{_NUMBER})\s*(?P<unit>条)(?:\s*之\s*(?P<suffix>[一二三四五六七八九十]{{1,3}}))?")
_MEMBER = re.compile(rf"(?P<number>{_NUMBER})\s*）?(?:\s*之\s*(?P<suffix>[一二三四五六七八九十]{{1,3}}|[0-9]{{1,2}}))?")
_RANGE = re.compile(r"至|到|-|－|—|~|～")

_DEFINITION = re.compile(
    r"\s*（\s*(?:以?下)?(?:统|合)?简?称(?:为)?\s*[:：]?\s*[《“\"「‘]*(?P<alias>[^《》“”\"「」‘’（）\n]{1,30})"
)
_BELOW = re.compile(r"\s*(?:的|之|中|中的)?\s*")
_BESIDE = re.compile(rf"\s*[，,；;]?\s*(?:{_AND}|，|,|；|以及|、\s*(?:和|与|及|以及)|及其)\s*")
_AFTER_BOOK = re.compile(r"\s*(?:（[^（）\n]{0,40}）)?\s*(?:的|之|中|中的|里的|规定的|附则)?\s*")
# What is counted with 条 and is no article, and ordinals of other things.
_OTHER_THING = re.compile(
    r"(?:短信|建议|意见|理由|信息|消息|微信|评论|路|线|街|船|鱼|狗|裤|腿|证据|生产线|铁路|措施|原因|请求|主张|航线|视频|微博|记录)"
)
_SAYS = re.compile(r"\s*(?:的|之|所|中|明确|也)*(?:规定|之规定|所列|所述|情形|[，,。；;：:、）])")
_SAME = re.compile(r"(?:同|该|本)(?:条|款)(?:的|之|中)?\s*\Z")
_CONTEXT = 45
_WIDEST_RANGE = 300
_RANKS = {"条": 0, "款": 1, "项": 2, "目": 3}


@dataclass(frozen=True, slots=True)
class Citation:
    """One provision that a text names; a list or a range of them gives one each."""

    law: str
    """As the text writes it, without 《》; a name that the text defines as short for another is that other."""
    article: int
    article_suffix: int = 0
    """1 for 之一; 0 where there is none."""
    paragraph: int | None = None
    """款"""
    item: int | None = None
    """项"""
    subitem: int | None = None
    """目"""
    start: int = 0
    """The text from `start` to `end` names it, with its law where that is written there. Members of one list such
    as 第（一）、（二）项 share the place of the list."""
    end: int = 0

    def provision(self) -> Provision:
        """The place in the law."""
        return Provision(self.article, self.article_suffix, self.paragraph, self.item, self.subitem)


@dataclass
class _Reader:
    """What was read so far: the law that a bare 第…条 would mean, and the provision that a bare 第…款 lies in."""

    text: str
    own: str = ""
    """The law whose text this is; "" for any other text."""
    law: str = ""
    here: Provision | None = None
    start: int = 0
    end: int = 0
    """Where the last token ends."""
    book: str = ""
    """The title that stands there, if it was a title."""
    laws: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """Short name -> the name that the text defines it for."""
    found: list[Citation] = field(default_factory=list)

    def name_law(self, law: str) -> None:
        self.law = law
        self.laws.append(law)

    def forget(self) -> None:
        """Something that is no law has an article: nothing that follows inherits from the law before it."""
        self.law, self.here = "", None


def find_citations(text: str, law: str = "") -> list[Citation]:
    """The provisions of Chinese law that a text names, in its order.

    Understood are 《法》第…条第…款第（…）项第…目 with spaces, Arabic or full-width digits; lists and ranges; names
    without 《》 directly before 第…条; 本法 and 该法; short names that the text defines; and bare follow-ups, which
    inherit what they leave out. An article of a contract is no citation, and nothing inherits across it.

    Args:
        text: Any text.
        law: Where the text is a law's own, its name: what 本法 means, and a 第…条 that begins a sentence's reference.
    """
    reader = _Reader(plain(text), own=law, law=law)
    place = 0
    while match := _TOKEN.search(reader.text, place):
        place = match.end()
        if match["book"]:
            _read_title(reader, match)
            continue
        place = _read_level(reader, match)
        while more := _level_without_mark(reader, place):
            place = _read_level(reader, more)
    return reader.found


def format_citation(citation: Citation) -> str:
    """《law》第一百三十三条之一第一款第（二）项."""
    return f"《{citation.law}》{format_provision(citation.provision())}"


def _read_title(reader: _Reader, match: re.Match[str]) -> None:
    written = match["book"]
    name = reader.names.get(written, written)
    reader.book, reader.start, reader.end = name, match.start(), match.end()
    defined = _DEFINITION.match(reader.text, match.end())
    if defined:
        reader.names[defined["alias"].strip()] = name
    if looks_like_contract(name):
        reader.forget()
    elif looks_like_law(name):
        reader.name_law(name)
        reader.here = None


def _level_without_mark(reader: _Reader, place: int) -> re.Match[str] | None:
    """The 十二条 of 第十条和十二条."""
    if reader.here is None or reader.end != place or reader.book:
        return None
    beside = _AND_THEN.match(reader.text, place)
    return _BARE_LEVEL.match(reader.text, beside.end()) if beside else None


def _read_level(reader: _Reader, match: re.Match[str]) -> int:
    """Read 第…条 or a part of one; returns where to go on."""
    members = _members(match)
    gap = reader.text[reader.end : match.start()]
    rank = _RANKS[match["unit"]]
    is_start = not reader.book and reader.end == 0
    was_level = not reader.book and reader.end > 0
    if not members:
        found = False
    elif rank == 0:
        found = _find_law(reader, match, gap, is_chained=was_level and bool(_BESIDE.fullmatch(gap)))
    else:
        found = not is_start and _find_article(reader, match, gap, rank)
    if found:
        _add(reader, match, members, rank, gap)
    elif rank == 0:
        reader.here = None
    reader.book, reader.end = "", match.end()
    return match.end()


def _find_law(reader: _Reader, match: re.Match[str], gap: str, *, is_chained: bool) -> bool:
    """Decide which law an article is of; False where it is none of any."""
    if reader.book and _AFTER_BOOK.fullmatch(gap):
        if not looks_like_contract(reader.book) and reader.law != reader.book:
            reader.name_law(reader.book)
        return bool(reader.law)
    reader.start = match.start()
    if is_chained:
        return reader.here is not None
    before = reader.text[max(reader.end, match.start() - _CONTEXT) : match.start()]
    if is_contract(before):
        reader.forget()
        return False
    named = named_before(before, Context(reader.laws, reader.names, reader.own))
    if named is not None:
        if named.law:
            reader.start = match.start() - named.size
            reader.name_law(named.law)
        return bool(named.law)
    if reader.own and "。" in gap:
        reader.name_law(reader.own)
    is_other = bool(_OTHER_THING.match(reader.text, match.end())) or _is_heading(reader.text, match)
    return bool(reader.law) and not is_other


def _is_heading(text: str, match: re.Match[str]) -> bool:
    """An article's own heading in the text of a law, 第二十条 and a space on a new line, unless a colon leads there."""
    after = text[match.end() : match.end() + 1]
    head = text[max(0, match.start() - _CONTEXT) : match.start()].rstrip(" \t\u3000#*>-")
    is_line = not head or head.endswith("\n")
    return is_line and (not after or after.isspace() or after in "*【") and not head.rstrip().endswith((":", "："))


def _find_article(reader: _Reader, match: re.Match[str], gap: str, rank: int) -> bool:
    """Whether a paragraph or an item lies in the provision that was named last."""
    if reader.here is None:
        return False
    if _BELOW.fullmatch(gap) or _BESIDE.fullmatch(gap):
        reader.start = match.start()
        return True
    same = _SAME.search(gap)
    near = "\n" not in gap and (rank == 1 or "。" not in gap)
    reader.start = match.start() - (len(gap) - same.start() if same else 0)
    return bool(same) or (near and bool(_SAYS.match(reader.text, match.end())) and not is_contract(gap[-_CONTEXT:]))


def _members(match: re.Match[str]) -> list[tuple[int, int]]:
    """The numbers of one list with their suffixes, ranges written out; empty where one cannot be read."""
    found: list[tuple[int, int]] = []
    last_end = 0
    parts = list(_MEMBER.finditer(match["list"]))
    for index, part in enumerate(parts):
        number, suffix = number_of(part["number"]), number_of(part["suffix"]) if part["suffix"] else 0
        if index == len(parts) - 1 and match["suffix"] and match["unit"] == "条":
            suffix = number_of(match["suffix"])
        if not number or suffix is None:
            return []
        if found and _RANGE.search(match["list"][last_end : part.start()]):
            found += _between(found[-1], (number, suffix))
        found.append((number, suffix))
        last_end = part.end()
    return found


def _between(first: tuple[int, int], last: tuple[int, int]) -> Iterable[tuple[int, int]]:
    """What lies between the ends of a range; nothing where it is the wrong way round or wider than any law's."""
    if first[0] == last[0]:
        return [(first[0], suffix) for suffix in range(first[1] + 1, last[1])][:_WIDEST_RANGE]
    if last[0] - first[0] > _WIDEST_RANGE:
        return []
    return [(number, 0) for number in range(first[0] + 1, last[0] + bool(last[1]))]


def _add(reader: _Reader, match: re.Match[str], members: list[tuple[int, int]], rank: int, gap: str) -> None:
    """Add the citations of one token: deeper parts refine the citation before, parts of one rank stand beside it."""
    before = reader.here
    is_deeper = rank > 0 and before is not None and _BELOW.fullmatch(gap) and _rank_of(before) < rank
    if is_deeper and reader.found and reader.found[-1].end == reader.end:
        reader.start = reader.found.pop().start
    elif before is not None and _RANGE.search(gap) and _BESIDE.fullmatch(gap) and _rank_of(before) == rank:
        members = [*_between(_member_of(before, rank), members[0]), *members]
    for number, suffix in members:
        here = _replace_part(before, rank, number, suffix)
        reader.found.append(
            Citation(
                reader.law,
                here.article,
                here.article_suffix,
                here.paragraph,
                here.item,
                here.subitem,
                start=reader.start,
                end=match.end(),
            )
        )
        reader.here = here


def _rank_of(provision: Provision) -> int:
    parts = (provision.paragraph, provision.item, provision.subitem)
    return max((rank for rank, part in enumerate(parts, start=1) if part is not None), default=0)


def _member_of(provision: Provision, rank: int) -> tuple[int, int]:
    if rank == 0:
        return provision.article, provision.article_suffix
    return (provision.paragraph, provision.item, provision.subitem)[rank - 1] or 0, 0


def _replace_part(before: Provision | None, rank: int, number: int, suffix: int) -> Provision:
    if rank == 0 or before is None:
        return Provision(number, suffix)
    match rank:
        case 1:
            return replace(before, paragraph=number, item=None, subitem=None)
        case 2:
            return replace(before, item=number, subitem=None)
        case _:
            return replace(before, subitem=number)
