"""A legal case or question as data: facts, issues, cited statutes, syllogisms, judgment."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import datetime as dt
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from tuneloop.core.config import Config
from tuneloop.data.legal.provision import Provision, format_article, format_provision, parse_provision

Id = Annotated[str, Field(pattern=r"^[\w.\-]{1,64}$")]
"""A short name without blanks: F1, S2."""
Line = Annotated[str, Field(min_length=1, pattern=r"^[^\r\n]+$")]
"""Text of one line."""
Number = Annotated[int, Field(strict=True)]
Ordinal = Annotated[int, Field(strict=True, ge=1, le=99_999)]


def _iso(value: object) -> object:
    # pydantic would also take a number of seconds and other spellings of a date.
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        raise ValueError("a date is written as YYYY-MM-DD")
    if not isinstance(value, str | dt.date) and value is not None:
        raise ValueError("a date is text, written as YYYY-MM-DD")
    return value


Date = Annotated[dt.date, BeforeValidator(_iso)]


def is_chinese(jurisdiction: str) -> bool:
    """Whether a jurisdiction is the People's Republic or a part of it that is written CN-..."""
    return jurisdiction == "CN" or jurisdiction.startswith("CN-")


class Fact(Config):
    """Something that happened."""

    fid: Id
    text: str
    element: str = ""
    """The element of the offence or claim that it speaks to: 血液酒精含量."""


class Issue(Config):
    """A question that the case has to decide."""

    iid: Id
    text: str


class Statute(Config):
    """A provision of law."""

    sid: Id
    law: str
    """Its name without 《》."""
    article: str
    """第一百三十三条之一. 第133条之一 is written so too, and 133 in a record of jurisdiction CN; other text stays."""
    paragraph: Ordinal | None = None
    """款"""
    item: Ordinal | None = None
    """项"""
    text: str = ""
    valid_from: Date | None = None
    """The first day on which it holds, in this wording."""
    valid_to: Date | None = None
    """The first day on which it holds no longer; None where it still does."""
    source: str = ""
    """How the row that it came from wrote it, where that is not 《law》article：text."""

    @field_validator("law", mode="after")
    @classmethod
    def _bare_name(cls, law: str) -> str:
        law = law.strip()
        if law.startswith("《") and law.endswith("》") and "《" not in law[1:-1]:
            law = law[1:-1].strip()
        if "\n" in law:
            raise ValueError("the name of a law is one line")
        return law

    @model_validator(mode="before")
    @classmethod
    def _one_spelling(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        article = values.get("article")
        is_chinese = isinstance(article, str) and re.search("[条條]", article)
        place = parse_provision(article) if is_chinese else None
        if place is None:
            return values
        values = dict(values)
        for name, part in (("paragraph", place.paragraph), ("item", place.item)):
            if part is None:
                continue
            if values.get(name) not in {None, part}:
                raise ValueError(f"'article' says {name} {part}, '{name}' says {values[name]}")
            values[name] = part
        values["article"] = format_article(place.article, place.article_suffix)
        return values

    @field_validator("article", mode="after")
    @classmethod
    def _one_line(cls, article: str) -> str:
        article = article.strip()
        if re.search(r"[\r\n《》]", article):
            raise ValueError("an article is one line without 《》")
        return article

    def provision(self) -> Provision | None:
        """The place in the law; None where the article is no number of a Chinese article."""
        place = parse_provision(self.article)
        return place and Provision(place.article, place.article_suffix, self.paragraph, self.item)


class Syllogism(Config):
    """One step of reasoning: from law and facts to a conclusion."""

    issue: str = ""
    """The `iid` that it answers; "" where the record names no issues."""
    major: tuple[str, ...] = ()
    """The `sid` of each statute that is its major premise."""
    minor: tuple[str, ...] = ()
    """The `fid` of each fact that is its minor premise."""
    conclusion: str


class Judgment(Config):
    """What a criminal court decided about the accused."""

    accusation: tuple[Line, ...] = ()
    """The offences, as the file names them."""
    kind: Annotated[str, Field(pattern=r"^[^\r\n]*$")] = ""
    """The kind of punishment: 管制, 拘役, 有期徒刑, 无期徒刑, 死刑."""
    imprisonment_months: Number | None = None
    probation_months: Number | None = None
    fine: Number | None = None
    """In the currency of the jurisdiction (yuan)."""
    death_penalty: Annotated[bool, Field(strict=True)] = False
    life_imprisonment: Annotated[bool, Field(strict=True)] = False
    criminals: tuple[str, ...] | None = None
    """The accused, where the file names them."""


class LegalRecord(Config):
    """One case or question. Every part may be missing; ids within it must be found in it (`validate`)."""

    id: str = ""
    doc_type: str = ""
    """criminal_judgment, legal_question ..."""
    jurisdiction: str = "CN"
    """CN: rendered in Chinese, citations checked. Any other: rendered in English."""
    as_of: Date | None = None
    """The day whose law applies."""
    question: str = ""
    """What was asked."""
    facts: tuple[Fact, ...] = ()
    issues: tuple[Issue, ...] = ()
    statutes: tuple[Statute, ...] = ()
    syllogism: tuple[Syllogism, ...] = ()
    judgment: Judgment | None = None
    output: str = ""
    """The reasoned answer."""
    meta: dict[str, Any] = Field(default_factory=dict)
    """What the row said beside this, unchanged."""

    @field_validator("statutes", mode="after")
    @classmethod
    def _chinese_numbers(cls, statutes: tuple[Statute, ...], info: ValidationInfo) -> tuple[Statute, ...]:
        if not is_chinese(info.data.get("jurisdiction", "")):
            return statutes
        places = [parse_provision(statute.article) for statute in statutes]
        return tuple(
            statute.replace(article=format_provision(place)) if place else statute
            for statute, place in zip(statutes, places, strict=True)
        )

    def is_chinese(self) -> bool:
        """Whether the law is that of the People's Republic."""
        return is_chinese(self.jurisdiction)
