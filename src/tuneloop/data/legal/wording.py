"""The words around a legal record in its conversations, Chinese and English."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """The fixed lines of one language. Each heading fills a line; each label begins one."""

    is_chinese: bool
    answer: str
    """What the user asks for, first line of the turn; so for the next two."""
    charge: str
    syllogism: str
    question: str
    facts: str
    statutes: str
    issues: str
    offences: str
    sentence: str
    step: str
    """The heading of a step of reasoning, `{}` for its number."""
    element: str
    article: str
    paragraph: str
    item: str
    text: str
    issue: str
    major: str
    minor: str
    conclusion: str
    kind: str
    months: str
    probation: str
    fine: str
    death: str
    life: str
    yes: str
    unit_months: str
    unit_fine: str

    def headings(self) -> tuple[str, ...]:
        """The headings of a user's turn and of a judgment."""
        return (self.question, self.facts, self.statutes, self.issues, self.offences, self.sentence)

    def labels(self) -> tuple[str, ...]:
        """Every label that can begin a line."""
        entries = (self.element, self.article, self.paragraph, self.item, self.text)
        steps = (self.issue, self.major, self.minor, self.conclusion)
        return (*entries, *steps)


CHINESE = Wording(
    is_chinese=True,
    answer="请依据法律回答问题，并说明理由。",
    charge="请根据案件事实判断罪名和刑罚。",
    syllogism="请根据事实和法条，以三段论逐步推理，得出结论。",
    question="【问题】",
    facts="【事实】",
    statutes="【法条】",
    issues="【争议焦点】",
    offences="【罪名】",
    sentence="【刑罚】",
    step="【推理{}】",
    element="要素：",
    article="条：",
    paragraph="款：",
    item="项：",
    text="内容：",
    issue="争议焦点：",
    major="大前提：",
    minor="小前提：",
    conclusion="结论：",
    kind="刑种：",
    months="刑期：",
    probation="缓刑：",
    fine="罚金：",
    death="死刑：",
    life="无期徒刑：",
    yes="是",
    unit_months="个月",
    unit_fine="元",
)

ENGLISH = Wording(
    is_chinese=False,
    answer="Answer the question from the law, and give the reasons.",
    charge="Decide from the facts which offences were committed, and the sentence.",
    syllogism="Reason step by step from the facts and the law: major premise, minor premise, conclusion.",
    question="## Question",
    facts="## Facts",
    statutes="## Law",
    issues="## Issues",
    offences="## Offences",
    sentence="## Sentence",
    step="## Step {}",
    element="Element: ",
    article="Article: ",
    paragraph="Paragraph: ",
    item="Item: ",
    text="Text: ",
    issue="Issue: ",
    major="Major premise: ",
    minor="Minor premise: ",
    conclusion="Conclusion: ",
    kind="Kind: ",
    months="Imprisonment in months: ",
    probation="Probation in months: ",
    fine="Fine: ",
    death="Death penalty: ",
    life="Imprisonment for life: ",
    yes="yes",
    unit_months="",
    unit_fine="",
)
WORDINGS = (CHINESE, ENGLISH)
