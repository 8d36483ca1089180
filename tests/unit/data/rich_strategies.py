"""Contents of every kind as hypothesis draws them, as rows hold them."""

from dataclasses import replace

from hypothesis import strategies as st

from tuneloop.data.content import Conversation, Critique, Feedback, Preference, Text
from tuneloop.data.formats.critique import parse_verdict
from tuneloop.data.formats.sides import split_answer, unlearned
from tuneloop.data.legal.record import LegalRecord
from tuneloop.data.schema import Message
from unit.data.content_strategies import conversations, spoken_texts, texts

_VERDICT_LINES = (
    "",
    "\nConclusion: right [END]",
    "\n**Conclusion: wrong**",
    "\n结论：正确",  # noqa: RUF001
    "\nConclusion: right/wrong",
)


@st.composite
def feedbacks(draw: st.DrawFn, *, with_tools: bool = True) -> Feedback:
    """The last answer of any sound conversation, with a label."""
    conversation = draw(conversations(with_tools=with_tools))
    prompt, completion = split_answer(conversation.messages)
    return Feedback(prompt, _last_learned(completion), draw(st.booleans()), conversation.tools)


@st.composite
def preferences(draw: st.DrawFn, *, with_tools: bool = True) -> Preference:
    """The last answer of any sound conversation, and another one."""
    conversation = draw(conversations(with_tools=with_tools))
    prompt, chosen = split_answer(conversation.messages)
    chosen = _last_learned(chosen)
    # A last turn with other text cannot be the same answer.
    rejected = (*chosen[:-1], Message("assistant", chosen[-1].content + draw(spoken_texts())))
    return Preference(prompt, chosen, rejected, conversation.tools)


def _last_learned(answer: tuple[Message, ...]) -> tuple[Message, ...]:
    return (*answer[:-1], replace(answer[-1], weight=1.0))


@st.composite
def critiques(draw: st.DrawFn) -> Critique:
    """Any texts; the verdict is that of the critique where it says one."""
    text = draw(spoken_texts()) + draw(st.sampled_from(_VERDICT_LINES))
    concluded = parse_verdict(text)
    is_right = draw(st.sampled_from([None, True, False])) if concluded is None else concluded
    return Critique(draw(texts()), draw(texts()), text, is_right)


def plain_texts() -> st.SearchStrategy[Text]:
    """Any text."""
    return st.builds(Text, texts())


@st.composite
def completions(draw: st.DrawFn, *, with_tools: bool = True) -> Conversation:
    """Conversations that a prompt and a completion can hold: of what stands before the first answer none is learned."""
    conversation = draw(conversations(with_tools=with_tools))
    if draw(st.booleans()):
        prompt, answer = split_answer(conversation.messages)
        return Conversation(unlearned(prompt) + _last_learned(answer), conversation.tools)
    return conversation


def records() -> list[LegalRecord]:
    """A question and a criminal case, in our own words."""
    question = {"id": "7", "doc_type": "legal_question", "jurisdiction": "CN", "question": "借款合同必须是书面的吗？"}  # noqa: RUF001
    case = {
        "doc_type": "criminal_judgment",
        "jurisdiction": "CN",
        "facts": [{"fid": "F1", "text": "被告人甲取走乙的自行车。"}],
        "statutes": [{"sid": "S1", "law": "中华人民共和国刑法", "article": "第二百六十四条"}],
        "judgment": {"accusation": ["盗窃"], "imprisonment_months": 6, "fine": 1000, "criminals": ["甲"]},
    }
    return [
        LegalRecord.model_validate(question | {"output": "不一定。自然人之间的借款可以另行约定。"}),
        LegalRecord.model_validate(case),
    ]
