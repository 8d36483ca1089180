"""The criteria that a rubric has where nobody writes any: how people rate answers, in two languages."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

from tuneloop.evaluate.judge.config import Criterion
from tuneloop.evaluate.metrics.segment import Language

_ENGLISH = (
    Criterion(
        name="instruction_following",
        question="Does the answer do what the request asks, all of it and in the form that is asked for?",
        anchors={
            1: "It does not do what was asked.",
            3: "It does the main part, and leaves out or changes some of what was asked.",
            5: "It does everything that was asked, in the form that was asked for.",
        },
    ),
    Criterion(
        name="coherence",
        question="Is the answer clear, well ordered and free of contradictions?",
        anchors={
            1: "It cannot be followed, or contradicts itself throughout.",
            3: "It can be followed, with jumps, repetitions or a contradiction.",
            5: "It reads clearly from beginning to end and contradicts itself nowhere.",
        },
    ),
    Criterion(
        name="faithfulness",
        question="Is what the answer states supported by the request, the reference or common knowledge?",
        anchors={
            1: "Its main statements are invented or false.",
            3: "Its main statements hold, and some details are invented or false.",
            5: "Nothing in it is invented or false.",
        },
    ),
)
_CHINESE = (
    Criterion(
        name="instruction_following",
        question="回答是否完成了请求的全部内容，并采用了所要求的形式？",
        anchors={
            1: "没有完成请求的内容。",
            3: "完成了主要部分，但遗漏或改变了部分要求。",
            5: "以所要求的形式完成了全部内容。",
        },
    ),
    Criterion(
        name="coherence",
        question="回答是否清楚、有条理、没有自相矛盾？",
        anchors={
            1: "无法读懂，或者通篇自相矛盾。",
            3: "可以读懂，但有跳跃、重复或一处矛盾。",
            5: "从头到尾清楚，没有任何矛盾。",
        },
    ),
    Criterion(
        name="faithfulness",
        question="回答中的陈述是否有请求、参考答案或常识的支持？",
        anchors={
            1: "主要陈述是编造的或错误的。",
            3: "主要陈述成立，但有些细节是编造的或错误的。",
            5: "没有任何编造或错误的内容。",
        },
    ),
)


def default_criteria(language: Language) -> tuple[Criterion, ...]:
    """Instruction following, coherence and faithfulness (5: nothing is hallucinated); the names are the same."""
    return _CHINESE if language == "zh" else _ENGLISH
