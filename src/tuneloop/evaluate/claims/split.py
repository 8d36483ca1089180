"""An answer to its claims: the sentences that say something which a source could bear out."""

import re

from tuneloop.evaluate.claims.sentences import split_sentences
from tuneloop.evaluate.metrics.segment import HAN

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_FENCE = re.compile(r"^[ \t]*(?P<mark>```+|~~~+).*?(?:^[ \t]*(?P=mark)`*~*[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"\s*(?:#{1,6}\s.*|(?P<mark>\*\*|__)(?:(?!(?P=mark)).)*(?P=mark)\s*[:：]?|【[^】]*】)\s*")
_UNDERLINE = re.compile(r"\s*(?:[-=*_]\s*){3,}")
_BULLET = re.compile(
    r"\s*(?:>\s*)*(?:[-*+•·●▪]\s+|\(?\d{1,3}[.)]\s+|[(（]?[0-9一二三四五六七八九十]{1,3}(?:[)）]|、)\s*|[①-⑳]\s*|>\s*)?"
)
_TABLE_ROW = re.compile(r"\s*\|.*\|\s*")
_TABLE_RULE = re.compile(r"[\s|:\-]*")
_EMPHASIS = re.compile(r"\*\*|__|`")

_WORD = re.compile(r"[^\W_]+")
_HAN_CHARACTER = re.compile(f"[{HAN}]")
_DIGIT = re.compile(r"\d")
_MIN_WORDS = 2
_MIN_HAN = 4
_MIN_HAN_WITH_NUMBER = 2

_TRAILING = "\"'”’」』）)》】]*_ "

_GREETING = re.compile(
    r"(?:(?:hello|hi|hey|dear|greetings|good (?:morning|afternoon|evening)|thank(?:s| you)|sure|certainly|of course"
    r"|great question|good question|no problem|you're welcome|welcome|sorry|i apologi[sz]e|best regards)\b.{0,80}"
    r"|(?:i )?hope (?:this|that|it) (?:helps|answers).*|(?:please )?(?:feel free|let me know|do not hesitate)\b.*"
    r"|(?:您好|你好|大家好|尊敬的|亲爱的|谢谢|感谢|好的|当然|没问题|不客气|抱歉|对不起|很高兴).{0,40}"
    r"|(?:希望|祝).{0,12}(?:帮助|帮到|顺利|愉快|健康).{0,10}|如(?:果您|果你|有|您|果还有).{0,12}(?:疑问|问题|需要).{0,30})",
    re.IGNORECASE | re.DOTALL,
)
_FRAME = re.compile(
    r"(?:as an? (?:ai|language model|assistant)\b.*|here (?:is|are)\b.{0,80}|below (?:is|are)\b.{0,80}"
    r"|(?:i (?:will|can|'ll)|i'll|let me|let us|let's) (?:now )?(?:help|explain|summari[sz]e|answer|list|look|go|think|start|begin|check)\b.*"
    r"|作为(?:一个|一名)?(?:人工智能|AI|语言模型|助手).*|(?:以下|下面)(?:是|为|将|我).{0,40}"
    r"|(?:让我|我来|我将|我会)(?:们)?(?:来)?(?:为您|帮您|给您)?(?:解释|总结|回答|分析|介绍|说明|梳理).{0,30})",
    re.IGNORECASE | re.DOTALL,
)
_ABSTENTION = re.compile(
    r"\b(?:i (?:do not|don't) (?:know|have)|i(?:'m| am) (?:not sure|unsure|unable|not able)|i (?:cannot|can't|could not) "
    r"|(?:cannot|can't|can not|could not) be (?:determined|answered|inferred|established|verified)"
    r"|(?:is|are) not (?:mentioned|stated|specified|given|provided|addressed|indicated)\b"
    r"|(?:text|source|document|passage|context|article|report|record)s? (?:do(?:es)?|did) not "
    r"(?:say|mention|state|specify|provide|give|contain|address|indicate|tell|include)"
    r"|no information (?:is|was|about|on)\b|there is no (?:information|mention)|not enough information)"
    r"|我不(?:知道|清楚|确定|了解)|(?:无法|不能|难以)(?:确定|判断|回答|得知|核实|从中)"
    r"|(?:文中|原文|材料|文章|资料|上文|文档|来源|报告)(?:中|里|内)?(?:并)?(?:没有|未|不曾)(?:明确)?(?:提到|提及|说明|给出|指出|涉及|载明|写明|介绍)"
    r"|信息不足|(?:没有|缺乏)相关(?:信息|内容|资料)",
    re.IGNORECASE,
)
_ADVICE = re.compile(
    r"(?:please )?(?:consult|seek|contact|ask|see|speak to|talk to) (?:a|an|your) (?:qualified |licensed |local )?"
    r"(?:lawyer|attorney|doctor|physician|professional|pharmacist|expert|specialist)\b.*"
    r"|(?:you should|we recommend|it is advisable to|i recommend|i suggest).{0,20}"
    r"(?:consult|seek|speak|talk).{0,20}(?:lawyer|attorney|doctor|physician|professional|expert|advice)\b.*"
    r"|(?:建议|请)(?:您|你)?(?:及时|尽快|最好)?(?:咨询|寻求).{0,12}(?:律师|医生|专业人士|专业人员|专家|医师|法律帮助|帮助).{0,20}"
    r"|以上(?:内容|信息|回答)?仅供参考.{0,20}",
    re.IGNORECASE | re.DOTALL,
)


def split_claims(answer: str) -> list[str]:
    """The claims of an answer, in order, each a sentence.

    Left out before the sentences are cut: the reasoning between `<think>` and `</think>`, fenced code, headings
    (`# ...`, a line that is bold as a whole, 【...】), rules, and the head of a table. Marks of lists and quotations
    are taken off; a row of a table is one sentence. Sentences are cut as `split_sentences` says, and at ；.

    Left out as claiming nothing: what `is_claim` refuses.

    By hand: "Hello! The rent is $5. Shall I go on?" has one claim: "The rent is $5."
    """
    text = _FENCE.sub("\n", _THOUGHT.sub("\n", answer))
    lines = []
    rows = text.splitlines()
    for number, line in enumerate(rows):
        if _TABLE_ROW.fullmatch(line):
            below = rows[number + 1] if number + 1 < len(rows) else ""
            is_head = bool(_TABLE_ROW.fullmatch(below) and _TABLE_RULE.fullmatch(below))
            if not is_head and not _TABLE_RULE.fullmatch(line):
                lines.append(", ".join(cell.strip() for cell in line.strip().strip("|").split("|") if cell.strip()))
        elif _HEADING.fullmatch(line) or _UNDERLINE.fullmatch(line):
            lines.append("")
        else:
            lines.append(_EMPHASIS.sub("", _strip_bullet(line)))
    sentences = split_sentences("\n".join(lines), at_semicolons=True)
    return [sentence for sentence in sentences if is_claim(sentence)]


def _strip_bullet(line: str) -> str:
    found = _BULLET.match(line)
    return line[found.end() :] if found else line


def is_claim(sentence: str) -> bool:
    """Whether a sentence says something that a source could bear out or not.

    No claims are: questions; lines that lead in and end with a colon; fewer than two words or four Chinese
    characters (two beside a number); greetings, thanks and closing words; what announces the answer ("Here is",
    以下是); what says that something is not known or not in the source ("I don't know", 文中没有提到), which no
    source can support; and the advice to ask a lawyer or a doctor. A hedged statement ("it may be that ...") is one.
    """
    bare = sentence.rstrip(_TRAILING)
    if bare.endswith(("?", "？", ":", "：")) or not _has_content(bare):
        return False
    core = bare.rstrip(".。!！…~～ ")
    if any(pattern.fullmatch(core) for pattern in (_GREETING, _FRAME, _ADVICE)):
        return False
    return not _ABSTENTION.search(core)


def _has_content(sentence: str) -> bool:
    num_han = len(_HAN_CHARACTER.findall(sentence))
    if num_han:
        least = _MIN_HAN_WITH_NUMBER if _DIGIT.search(sentence) else _MIN_HAN
        return num_han + len(_WORD.findall(_HAN_CHARACTER.sub(" ", sentence))) >= least
    words = _WORD.findall(sentence)
    return len(words) >= _MIN_WORDS and not all(map(str.isdigit, words))
