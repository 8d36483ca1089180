"""The words that turn a sentence's meaning: negation, opposites, quantity, certainty, cause; English and Chinese."""

import re
from dataclasses import dataclass


def _pattern(english: str, chinese: str = "") -> re.Pattern[str]:
    parts = [rf"\b(?:{english})\b"] if english else []
    return re.compile("|".join([*parts, *([chinese] if chinese else [])]), re.IGNORECASE)


NEGATION = _pattern(
    r"not|no|never|none|nobody|nothing|neither|nor|without|cannot|can't|won't|don't|doesn't|didn't|isn't|aren't|wasn't"
    r"|weren't|hasn't|haven't|hadn't|couldn't|shouldn't|wouldn't|no one|unable",
    r"(?<![差从])(?:不(?![仅但过断久少同论管料足满到超良动])|没有?|未(?![来必成满])|无(?![论线锡人法院])|并非|勿|禁止|严禁|拒绝|从不)",
)
"""What turns the words behind it; 不同, 不仅 and others that only look like it are left out."""
NEGATION_ENDS = re.compile(r"[，,。.;；:：!?！？()（）]|\bbut\b|\bhowever\b|\bonly\b|但|而", re.IGNORECASE)


@dataclass(frozen=True)
class Contrast:
    """Sides of which a sentence takes one at a time: if the claim takes one and the evidence another, they differ."""

    name: str
    sides: tuple[re.Pattern[str], ...]


CONTRASTS = (
    Contrast(
        "rise or fall",
        (
            _pattern(
                "ris(?:e[sn]?|ing)|rose|increas(?:e[sd]?|ing)|gr[eo]ws?|grown|gain(?:s|ed)?|went up|go(?:es)? up|climb(?:s|ed)?",
                "上升|增加|增长|上涨|提高|升高|增至|升至|涨",
            ),
            _pattern(
                "f[ae]lls?|fallen|decreas(?:e[sd]?|ing)|declin(?:e[sd]?|ing)|drop(?:s|ped)?|reduc(?:e[sd]?|ing)|went down|lost|cut",
                "下降|减少|降低|下跌|下滑|降至|减至|跌",
            ),
        ),
    ),
    Contrast(
        "more or less",
        (
            _pattern(
                r"(?<!not )(?<!no )(?:more than|higher than|over|above|longer than|greater than)|exceed(?:s|ed|ing)?|at least"
                r"|(?:no|not) less than|(?:no|not) fewer than",
                "(?<!不)(?<!不得)(?:高于|大于|多于|超过|超出)|以上|至少|不少于|不得少于|不低于|不得低于|最低",
            ),
            _pattern(
                r"(?<!not )(?<!no )(?:less than|lower than|fewer than|under|below|shorter than)|at most|up to"
                r"|(?:no|not) more than",
                "(?<!不)(?<!不得)(?:低于|小于|少于)|以下|不足|未满|不满|至多|最多|不超过|不得超过|不高于|最高",
            ),
        ),
    ),
    Contrast(
        "stronger or weaker",
        (
            _pattern("more common|more often|stronger|more likely|longer|larger|bigger|higher|faster", "更明显|更多|更强|更高|更大|更长|更快"),
            _pattern("less common|less often|weaker|less likely|shorter|smaller|lower|slower|fewer", "更少|更弱|更低|更小|更短|更慢"),
        ),
    ),
    Contrast("first or last", (_pattern("first|earliest|oldest", "首次|最早|第一"), _pattern("last|latest|newest", "最后|最晚|末"))),
    Contrast("compass", tuple(_pattern(f"{name}(?:ern|wards?)?", han) for name, han in (("north", "北[部侧面边]"), ("south", "南[部侧面边]"), ("east", "东[部侧面边]"), ("west", "西[部侧面边]")))),
    Contrast("left or right", (_pattern("left", "左"), _pattern("right", "右"))),
    Contrast("colour", tuple(_pattern(name, f"{han}色") for name, han in (("red", "红"), ("blue", "蓝"), ("green", "绿"), ("yellow", "黄"), ("white", "白"), ("black", "黑"), ("amber|orange", "橙")))),
    Contrast("time of day", (_pattern("morning|breakfast", "早上|早晨|上午|早饭|早餐|清晨"), _pattern("noon|midday", "中午|正午"), _pattern("evening|dinner|supper", "晚上|傍晚|晚饭|晚餐|夜间"), _pattern("midnight", "零时|午夜|凌晨"))),
    Contrast("positive or negative", (_pattern("positive", "阳性"), _pattern("negative", "阴性"))),
    Contrast("allowed or forbidden", (_pattern("may|can|allowed|permitted|free to", "可以|可(?![能是])|准许|允许|有权"), _pattern("may not|must not|cannot|forbidden|prohibited|not allowed|not permitted", "不得|不能|不可|禁止|严禁|不准|不予|无权"))),
    Contrast("accepted or refused", (_pattern("accept(?:s|ed)?|approv(?:e[sd]?|al)|grant(?:s|ed)?|upheld|allowed", "支持|准予|批准|维持|同意"), _pattern("reject(?:s|ed)?|refus(?:e[sd]?|al)|dismissed|denied|overturned", "驳回|拒绝|撤销|否决|不予"))),
    Contrast("valid or void", (_pattern("valid|lawful|legal", "(?<!无)有效|(?<!不)合法"), _pattern("invalid|void|unlawful|illegal", "无效|违法|非法"))),
    Contrast("open or shut", (_pattern("open(?:s|ed)?|reopen(?:s|ed)?", "开放|开启|开通"), _pattern("clos(?:e[sd]?|ing|ure)|shut", "关闭|关停|停业"))),
    Contrast("party", (_pattern("plaintiff|claimant", "原告"), _pattern("defendant|respondent", "被告(?!人)"), _pattern("", "第三人"))),
    Contrast("sex", (_pattern("male|man|men|boys?", "男"), _pattern("female|woman|women|girls?", "女"))),
    Contrast("winter or summer", (_pattern("summer", "夏"), _pattern("winter", "冬"))),
    Contrast("all or part", (_pattern("full|whole|entire", "全额|全部"), _pattern("part of|partly|partial(?:ly)?|in part", "部分"))),
    Contrast("paid or free", (_pattern("free of charge|for free|free|at no cost|no fee", "免费|免收|免运费|不收费|不收取"), _pattern("charged?|pays?|fee|costs?", "收费|收取|付费|需承担"))),
)  # fmt: skip
"""Pairs and groups that general dictionaries list as opposites."""

UNIVERSAL = _pattern(
    "all|every|everyone|everybody|always|each|any|anyone|entire(?:ly)?|whole|complete(?:ly)?|both|whatever",
    "所有|全部|一律|全体|任何|每(?:个|名|位|家|人|次|一)|均|都|一切|各",
)
PARTIAL = _pattern(
    "some|several|many|most|half|part|partly|a few|majority|minority",
    "部分|半数|一些|有的|有些|多数|若干|几(?:个|名|位|家)",
)
NONE = _pattern("none|nobody|no|never|nothing|neither", "没有任何|从未|均不|都不|均未|都没")
OBLIGATION = _pattern("must|shall|ha(?:s|ve|d) to|required|obliged|need(?:s|ed)? to", "必须|应当|须|务必")
FORBIDDEN = _pattern(
    "may not|must not|cannot|not allowed|forbidden|prohibited|without", "不得|不能|不可|禁止|严禁|未经"
)
"""Says an obligation the other way round."""
EXCLUSIVE = _pattern("only|solely|exclusively|nothing but", "仅|只|唯一|才")
CERTAIN = _pattern(
    "ha(?:s|ve) (?:already )?(?:been )?(?:approved|decided|agreed|signed|completed|confirmed)|prove[sdn]?|show(?:s|ed|n)?|confirmed|demonstrat(?:es|ed)|will|guarantees?|definitely|certain(?:ly)?",
    "已经|已(?=[被决批同签完确])|证实|证明|表明|确定|必定|一定(?!程度)|必然",
)
OPEN = _pattern(
    r"may|might|could|expect(?:s|ed)?|plan(?:s|ned)?|likely|possib(?:le|ly)|suggest(?:s|ed)?|caution(?:s|ed)?|cannot show|not (?:yet )?(?:decided|examined?|said|shown?)|propose[sd]?|unclear|open|whether",
    "可能|预计|有望|拟|计划|建议|尚未|有待|仍需|尚需|(?:无法|不能|未能)(?:说明|证明|证实|确定)|还没有|或将|打算",
)
CAUSE = re.compile(
    r"\b(?:because|since|due to|owing to|on account of|as a result of|thanks to|caused by|in order to)\b|因为|由于|是因为|系因|因此|导致|致使|原因是|以(?=.{2,16}为由)|因(?=.{2,20}[，,而被])",
    re.IGNORECASE,
)
VOICE = _pattern(r"\w+(?:ed|en|wn|t|d) (?:\w+ )?by", "被|由|受到|遭|为.{1,8}所")
"""Marks of a sentence whose doer stands behind its verb: the order of names then says nothing."""
TOGETHER = re.compile(r"\band\b|\bor\b|,|/|、|和|与|及|或", re.IGNORECASE)
"""Between two things that are named together, in whatever order."""
