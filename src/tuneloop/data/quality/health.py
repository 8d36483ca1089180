"""Finds text that was damaged on its way (wrong encoding, HTML, control tokens) and answers that look wrong."""

# ruff: noqa: RUF001 - Chinese and full-width characters are what these patterns are about

import re
import unicodedata
import zlib
from collections import Counter
from typing import Literal

Code = Literal[
    "mojibake",
    "replacement_character",
    "control_character",
    "invisible_character",
    "bidi_override",
    "not_nfc",
    "html",
    "control_token",
    "repetition",
    "cut_off",
    "refusal",
    "echo",
]

CODE_MEANINGS: dict[Code, tuple[str, str]] = {
    "mojibake": ("text that was read in the wrong encoding", "乱码：文本曾以错误的编码读取"),
    "replacement_character": ("U+FFFD: characters were lost in decoding", "含 U+FFFD：解码时丢失了字符"),
    "control_character": ("control characters that no text needs", "含控制字符"),
    "invisible_character": ("characters of no width", "含零宽字符"),
    "bidi_override": (
        "characters that change the order in which text is shown",
        "含双向文本控制字符，显示顺序可被篡改",
    ),
    "not_nfc": ("characters not in their composed form (NFC)", "字符未按 NFC 规范化"),
    "html": ("remains of HTML", "残留 HTML 标记"),
    "control_token": ("a control token of a chat template, spelled out", "文本中写有对话模板的控制符"),
    "repetition": ("the same words over and over", "大量重复"),
    "cut_off": ("the answer may end in the middle of a sentence (a hint)", "回答可能被截断（仅供参考）"),
    "refusal": ("the answer refuses, or speaks of being an AI", "回答拒绝作答或自称人工智能"),
    "echo": ("the answer repeats the question", "回答与问题相同"),
}
"""What each code means, in English and Chinese."""

# What the bytes of a UTF-8 character look like as Windows-1252 or Latin-1: a lead byte, then continuation bytes.
_TAIL = "[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
_MOJIBAKE = re.compile(f"[ÂÃ]{_TAIL}|(?:[ÐÑ]{_TAIL}){{2}}|[à-ï]{_TAIL}{{2}}|ðŸ{_TAIL}|锟斤拷|烫烫烫|屯屯屯")
# The same as GBK: what the lead bytes of common punctuation and of 的 become. The characters are real, if very rare.
_AS_GBK = re.compile("[锛銆鈥鐨]")

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
# The joiners are needed between letters of Indic and Arabic scripts and inside emoji, not beside Latin or Han.
_INVISIBLE = re.compile("[\u00ad\u200b\u2060-\u2064\ufeff]|(?<=[ -~\u4e00-\u9fff])[\u200c\u200d](?=[ -~\u4e00-\u9fff])")
# CVE-2021-42574: embeddings, overrides and isolates.
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")

_ENTITY = re.compile(r"&(?:nbsp|amp|lt|gt|quot|apos|ldquo|rdquo|lsquo|rsquo|mdash|ndash|hellip|#x?[0-9a-fA-F]{2,6});")
_TAG = re.compile(
    r"</?(?:br|p|div|span|font|strong|em|b|i|u|a|ul|ol|li|table|tr|td|th|img|h[1-6]|center|hr|sup|sub)"
    r"\s{0,4}/?>",
    re.IGNORECASE,
)
# Markup that is meant: its topic, a page or a part of one, an attribute, a tag on a line of its own.
_MEANT_HTML = re.compile(
    r"html|```|css|jsx|</?(?:body|head|form|input|button|svg|xml|script|style|nav)\b|<\w+\s[^<>]{0,80}=|\A\s*</?\w|\n\s*<\w+>\s*\n",
    re.IGNORECASE,
)

# By family: ChatML, Llama 3, GPT, Phi, Qwen and others share the first form; DeepSeek; Llama 2 and Mistral; Gemma;
# ChatGLM; Baichuan; Command R; Llama 4; T5 and others.
_CONTROL_TOKEN = re.compile(
    r"<\|[A-Za-z][A-Za-z0-9_]{1,40}\|>|<｜[^\s<>｜]{2,40}｜>|<\|(?:START|END)_OF_[A-Z_]{2,30}\|>"
    r"|\[/?INST\]|<</?SYS>>|\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT)\]"
    r"|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk|sop|eop|eod)>|\[gMASK\]|\[gmask\]|\[(?:BOS|EOS|PAD|UNK)\]"
    r"|<reserved_[0-9]{1,4}>|<extra_id_[0-9]{1,3}>|</s>\s*(?:<s>|\Z)|\A\s*<s>"
)
# Every token above holds one of these, which are found faster than the pattern.
_CONTROL_SIGNS = (
    *("<|", "<｜", "]", "SYS>>", "_of_turn>", "<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>"),
    *("<sop>", "<eop>", "<eod>", "<reserved_", "<extra_id_"),
)

_REFUSAL = re.compile(
    r"\b(?:as|i am|i['’]m|being) (?:just |only |merely )?an? (?:ai|artificial intelligence)\b"
    r"(?=,| (?:language |chat|assistant|model|i\b))"
    r"|\b(?:as|i am|i['’]m|being) (?:just |only |merely )?an? (?:ai )?(?:large )?language model\b"
    r"|^\W{0,3}(?:i['’]m |i am )?(?:very |so |really )?(?:sorry|apologi[sz]e)[,.!]? ?(?:but |that |for \w+ \w+, but )?"
    r"(?:i |as )(?:can['’]?t|cannot|can not|am unable|am not able|do not have|don['’]?t have|won['’]?t|an ai\b)"
    r"|\bi (?:can['’]?t|cannot|am (?:unable|not able) to|won['’]?t) (?:assist|comply|fulfil|help (?:you|with))"
    r"|(?:作为|身为|我(?:只)?是)(?:一个|一名|一款|一种)?(?:ai|人工智能|大?语言模型)"
    r"|^\W{0,3}(?:很|非常|十分)?(?:抱歉|对不起)[，,。！!](?:但是?|不过)?我(?:无法|不能|没有办法|没法|不会|不具备)"
    r"|^\W{0,3}我(?:无法|不能)(?:提供|回答|协助|帮助|满足|生成)",
    re.IGNORECASE,
)
_REFUSAL_WITHIN = 160

_MIN_CUT_OFF = 60
_FINISHED = frozenset(".!?…。！？；;:：)）]】}》>」』\"'”’`*~|—-%$/_=")
# A sentence does not end with these; without any mark behind them the text stops in its middle.
_OPEN_END = re.compile(
    r"[,，、]$|(?:^|\s)(?:an|the|and|or|but|of|to|with|that|which|because|is|are|was|were|by|as|from|at|their|its|your)$"
    r"|(?:[和与或把被将而及但且]|或者|以及|因为|如果|由于|并且|应当)$",
    re.IGNORECASE,
)
_MIN_OPEN_LINE = 16  # longer than "Best regards,"
_ITEM = re.compile(r"\s*(?:[-*•·+>#|]|\(?[0-9a-zA-Z]{1,3}[.):])")
_SENTENCE_END = re.compile(r"[a-z)\"”][.!?] +[A-Z]")
# Hashtags, addresses, and who said what was quoted.
_SIGNED = re.compile(r"#\S+$|\S+[./]\S+$|[\"”'’] ?[-–—―~] ?[A-Z][^.]{2,40}$")

_MIN_REPETITION = 200
_WINDOW = 4000
# How far texts of some hundred characters compress: language hardly ever more than threefold, a loop far more.
_LANGUAGE_RATIO = 2.5
_LOOP_RATIO = 10.0
_PIECE = re.compile(r"[\n.!?。！？；]")
_MIN_PIECE = 8
_MIN_TIMES = 5


def check_text(text: str) -> list[Code]:
    """What looks damaged in a text, whoever wrote it."""
    codes: list[Code] = [] if text.isascii() else _check_characters(text)
    if _CONTROL.search(text):
        codes.append("control_character")
    if _has_html(text):
        codes.append("html")
    if any(sign in text for sign in _CONTROL_SIGNS) and _CONTROL_TOKEN.search(text):
        codes.append("control_token")
    if _repeats(text):
        codes.append("repetition")
    return codes


def _check_characters(text: str) -> list[Code]:
    """What can be wrong only where a text has characters beyond ASCII."""
    codes: list[Code] = []
    if _is_mojibake(text):
        codes.append("mojibake")
    if "\ufffd" in text:
        codes.append("replacement_character")
    if _INVISIBLE.search(text):
        codes.append("invisible_character")
    if _BIDI.search(text):
        codes.append("bidi_override")
    if not unicodedata.is_normalized("NFC", text):
        codes.append("not_nfc")
    return codes


def check_answer(prompt: str, answer: str) -> list[Code]:
    """As `check_text` for an answer, and what can be said of it as the answer to a prompt."""
    codes = check_text(answer)
    if is_cut_off(answer):
        codes.append("cut_off")
    if _REFUSAL.search(answer[:_REFUSAL_WITHIN]):
        codes.append("refusal")
    if answer and " ".join(answer.split()).casefold() == " ".join(prompt.split()).casefold():
        codes.append("echo")
    return codes


def is_cut_off(answer: str) -> bool:
    """Whether an answer seems to stop in the middle of a sentence; a hint that is often wrong."""
    text = answer.rstrip()
    if len(text) < _MIN_CUT_OFF or text[-1] in _FINISHED:
        return False
    tail = text[-400:]
    line = tail[tail.rfind("\n") + 1 :]
    if len(line) >= _MIN_OPEN_LINE and _OPEN_END.search(line):
        return True
    # A title, a name or an item of a list needs no full stop, nor do many who write Chinese put one at the very end.
    is_prose = len(line) >= _MIN_CUT_OFF and not _ITEM.match(line) and not _SIGNED.search(line) and "```" not in answer
    return is_prose and text[-1].isascii() and text[-1].isalpha() and _SENTENCE_END.search(line) is not None


def _is_mojibake(text: str) -> bool:
    if _MOJIBAKE.search(text):
        return True
    for match in _AS_GBK.finditer(text):
        # Three characters that GBK read from six bytes; if those were UTF-8, a character ends after three or six.
        data = text[match.start() : match.start() + 3].encode("gb18030", "ignore")
        if _is_utf8(data[:3]) or _is_utf8(data[:6]):
            return True
    return False


def _is_utf8(data: bytes) -> bool:
    if len(data) % 3:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _has_html(text: str) -> bool:
    """Whether tags or entities are left in a text that is not about HTML."""
    if "&" in text and _ENTITY.search(text):
        return "html" not in text.lower() and "```" not in text
    return "<" in text and _TAG.search(text) is not None and _MEANT_HTML.search(text) is None


def _repeats(text: str) -> bool:
    """Whether most of a text is one sentence, line or word over and over."""
    if len(text) < _MIN_REPETITION:
        return False
    data = text[-_WINDOW:].encode("utf-8", "surrogatepass")
    ratio = len(data) / len(zlib.compress(data, 1))
    if ratio > _LOOP_RATIO:
        return True
    if ratio < _LANGUAGE_RATIO:
        return False
    pieces = Counter(piece for each in _PIECE.split(text) if len(piece := each.strip()) >= _MIN_PIECE)
    if not pieces:
        return False
    piece, times = pieces.most_common(1)[0]
    return times >= _MIN_TIMES and 2 * times * len(piece) >= len(text)
