"""A statute book: which articles of which laws exist, so that an invented one is told from a real one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tuneloop.core.errors import DataError
from tuneloop.core.store import hash_json
from tuneloop.data.legal.law_names import normalise_law
from tuneloop.data.legal.provision import parse_provision
from tuneloop.data.read.files import SourceFile
from tuneloop.data.read.values import parse_found, read_values
from tuneloop.data.schema import Problem, RowError

_PART = r"(?:[\u4e00-\u9fff]{1,8}编|总则|分则|附则)"
_PART_ALONE = re.compile(_PART)
_PART_OF_CODE = re.compile(rf"(?P<code>[\u4e00-\u9fff]{{1,20}}法典)[·・\s]?{_PART}")
_CODE_ENDING = "法典"


@dataclass(frozen=True, slots=True, order=True)
class Article:
    """One article of one law."""

    law: str
    """As `law_key` writes it."""
    number: int
    suffix: int = 0
    """1 for 之一; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class StatuteBook:
    """The articles that exist. A law of which several versions are given has the articles of all of them."""

    articles: frozenset[Article]
    laws: frozenset[str]
    """The laws of those articles: of any other law the book says nothing."""

    @classmethod
    def of(cls, articles: Iterable[Article]) -> "StatuteBook":
        """The book of these articles."""
        held = frozenset(articles)
        return cls(held, frozenset(article.law for article in held))

    @classmethod
    def load(cls, path: Path) -> "StatuteBook":
        """Read a book from JSONL (or any other file of rows): `{"law": "刑法", "article": "第一百三十三条之一", ...}`.

        Articles may also be written 133, 133-1 or 第133条之一. A law's name may carry its version, 公司法(2023-12-29).
        A row whose `law` is a part of a code (合同编, 总则) belongs to the code that its `category` names (民法典).
        Other fields are not looked at.

        Raises:
            DataError: the file cannot be read, or a row of it names no law or no article.
        """
        articles = []
        for found in read_values(SourceFile(path, str(path))):
            if isinstance(found, Problem):
                raise DataError(f"{found}. Correct the statute book: every row is one article.")
            try:
                articles.append(_article_of(parse_found(found)))
            except RowError as error:
                raise DataError(f"{path}:{found.line}: {error}") from error
        return cls.of(articles)

    def digest(self) -> str:
        """A hash of what is in it, the same for every order of rows."""
        return hash_json([[article.law, article.number, article.suffix] for article in sorted(self.articles)])


def law_key(law: str) -> str:
    """A law's name for comparing: `normalise_law`, and a part of a code is the code (民法典合同编 is 民法典)."""
    name = normalise_law(law)
    part = _PART_OF_CODE.fullmatch(name)
    return part["code"] if part else name


def _article_of(row: object) -> Article:
    if not isinstance(row, dict) or not isinstance(row.get("law"), str) or not row["law"].strip():
        raise RowError("no_law", 'the row names no law. Write it under \'law\', as in "law": "刑法".')
    written = str(row.get("article", ""))
    place = parse_provision(written)
    if place is None:
        raise RowError(
            "no_article", f"{written[:40]!r} is no article. Write it under 'article', as in 第一百三十三条之一."
        )
    law, category = row["law"], row.get("category")
    is_part = _PART_ALONE.fullmatch(normalise_law(law)) and isinstance(category, str)
    if is_part and normalise_law(category).endswith(_CODE_ENDING):
        law = category
    return Article(law_key(law), place.article, place.article_suffix)
