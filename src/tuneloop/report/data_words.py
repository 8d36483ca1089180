"""The words of the data page, each in English and in Chinese; they join the table of words.py."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

DATA_WORDS: dict[str, tuple[str, str]] = {
    "check.eyebrow": ("Data check", "数据检查"),
    "check.title.none": ("No files", "没有文件"),
    "check.title.n": ("{n} files", "{n} 个文件"),
    "check.fine": ("Fine", "可用"),
    "check.look": ("Worth a look", "值得一看"),
    "check.mend": ("Mend first", "请先处理"),
    "check.empty": ("No rows", "没有数据"),
    # The verdict. Every sentence about a fault ends with what to do.
    "check.read.none": (
        "No rows were read: the files hold none.",
        "没有读到任何数据：文件中没有数据行。",
    ),
    "check.read.all.1": ("1 row was read, and it can be used.", "读入 1 条数据，可以使用。"),
    "check.read.all.n": ("{n} rows were read, and all of them can be used.", "读入 {n} 条数据，全部可以使用。"),
    "check.read.some.1": ("{n} rows were read, 1 can be used.", "读入 {n} 条数据，1 条可以使用。"),
    "check.read.some.n": ("{n} rows were read, {kept} can be used.", "读入 {n} 条数据，{kept} 条可以使用。"),
    "check.read.useless.1": ("1 row was read, and it cannot be used.", "读入 1 条数据，不可使用。"),
    "check.read.useless.n": (
        "{n} rows were read, and none of them can be used.",
        "读入 {n} 条数据，没有一条可以使用。",
    ),
    "check.nothing_found": (
        "Nothing was found that has to be mended before training.",
        "没有发现训练前必须处理的问题。",
    ),
    "check.at_least": ("At least {n}", "至少 {n}"),
    "check.leaks.1": (
        "1 held-out row also stands among the training rows, word for word or nearly: take it out there, or the "
        "score means nothing.",
        "1 条留出数据也出现在训练数据中（相同或近似）：请从训练数据中删除，否则得分没有意义。",
    ),
    "check.leaks.n": (
        "{n} held-out rows also stand among the training rows, word for word or nearly: take them out there, or the "
        "score means nothing.",
        "{n} 条留出数据也出现在训练数据中（相同或近似）：请从训练数据中删除，否则得分没有意义。",
    ),
    "check.secrets.1": (
        "1 row holds a password or a key: set data.personal to mask, or the model may tell it.",
        "1 条数据含密码或密钥：请将 data.personal 设为 mask，否则模型可能泄露它。",
    ),
    "check.secrets.n": (
        "{n} rows hold passwords or keys: set data.personal to mask, or the model may tell them.",
        "{n} 条数据含密码或密钥：请将 data.personal 设为 mask，否则模型可能泄露它们。",
    ),
    "check.broken.1": (
        "1 row ({share}) is broken and left out: {reason}. Mend it in its file, if it matters.",
        "1 条数据（{share}）有错误，已排除：{reason}。如有需要，请在原文件中修正。",
    ),
    "check.broken.n": (
        "{n} rows ({share}) are broken and left out, most often: {reason}. Mend them in their files, if they matter.",
        "{n} 条数据（{share}）有错误，已排除，最常见：{reason}。如有需要，请在原文件中修正。",
    ),
    "check.overlong.1": (
        "1 row ({share}) is longer than {limit} tokens and left out: raise data.cutoff_len, or set data.overlong to "
        "split_turns.",
        "1 条数据（{share}）超过 {limit} 词元，已排除：可调高 data.cutoff_len，或将 data.overlong 设为 split_turns。",
    ),
    "check.overlong.n": (
        "{n} rows ({share}) are longer than {limit} tokens and left out: raise data.cutoff_len, or set data.overlong "
        "to split_turns.",
        "{n} 条数据（{share}）超过 {limit} 词元，已排除：可调高 data.cutoff_len，或将 data.overlong 设为 split_turns。",
    ),
    "check.contradictions.1": (
        "1 question is answered in more than one way: keep the right answer.",
        "1 个问题有多种不同回答：请保留正确的一个。",
    ),
    "check.contradictions.n": (
        "{n} questions are answered in more than one way: keep the right answers.",
        "{n} 个问题有多种不同回答：请保留正确的回答。",
    ),
    "check.damaged.1": (
        "1 row looks wrong ({what}): read it before training.",
        "1 条数据可能有问题（{what}）：请在训练前查看。",
    ),
    "check.damaged.n": (
        "{n} rows look wrong ({what}): read some of them before training.",
        "{n} 条数据可能有问题（{what}）：请在训练前抽查。",
    ),
    "check.personal.1": (
        "1 row holds personal data ({what}): data.personal: mask puts a placeholder there.",
        "1 条数据含个人信息（{what}）：data.personal: mask 会以占位符替换。",
    ),
    "check.personal.n": (
        "{n} rows hold personal data ({what}): data.personal: mask puts placeholders there.",
        "{n} 条数据含个人信息（{what}）：data.personal: mask 会以占位符替换。",
    ),
    "check.near.1": (
        "1 pair of rows says almost the same: data.near_duplicates: drop keeps the first.",
        "1 对数据几乎相同：data.near_duplicates: drop 只保留第一条。",
    ),
    "check.near.n": (
        "{n} pairs of rows say almost the same: data.near_duplicates: drop keeps the first of each.",
        "{n} 对数据几乎相同：data.near_duplicates: drop 只保留每对的第一条。",
    ),
    "check.todo": ("What to do, the worst first", "处理建议（按严重程度）"),
    "check.see": ("see below", "见下文"),
    # Facts under the verdict.
    "check.used": ("Can be used", "可用"),
    "check.files": ("Files", "文件数"),
    "check.train_tokens": ("Training tokens", "训练词元"),
    "check.share.of": ("{share} of {n} rows", "{n} 条中的 {share}"),
    "check.share.targets": ("{share} of them trained on", "其中 {share} 参与训练"),
    "check.language": ("Language", "语言"),
    # Headings.
    "check.rows": ("Where every row goes", "数据去向"),
    "check.tokens": ("Tokens", "词元"),
    "check.shape": ("What the rows look like", "数据概貌"),
    "check.texts": ("Texts that look wrong", "可疑文本"),
    "check.personal": ("Personal data and secrets", "个人信息与密钥"),
    "check.findings": ("Rows that should not stand together", "不应并存的数据"),
    "check.notes": ("Not looked for, and notes", "未检查的内容与说明"),
    # Rows.
    "check.added": ("{n} made by dividing long rows", "由长数据切分所得 {n}"),
    "check.truncated": ("{n} questions shortened", "{n} 个问题被缩短"),
    "check.streamed": ("read while training: not counted", "训练时流式读取：未计数"),
    "check.more_files": ("{n} more files", "另外 {n} 个文件"),
    "check.problem_rows": (
        "The rows that are left out: the first {n} of {all}",
        "被排除的数据：共 {all} 条，前 {n} 条",
    ),
    "check.problem_rows.json": (
        "tuneloop data check --json lists all of them.",
        "tuneloop data check --json 会列出全部。",
    ),
    "check.no_rows": ("No rows to show.", "没有可展示的数据。"),
    "check.more_codes": ("other reasons", "其他原因"),
    # Tokens.
    "check.tokens.intro": (
        "With the template {template}: {mean} tokens a row on average, {longest} in the longest.",
        "使用模板 {template}：平均每条 {mean} 词元，最长 {longest} 词元。",
    ),
    "check.tokens.none": (
        "No model was given, so nothing was counted in tokens. With --model NAME lengths and targets are shown too.",
        "未指定模型，因此没有统计词元。使用 --model NAME 可显示长度与训练目标。",
    ),
    "check.x.tokens": ("tokens a row", "每条词元数"),
    "check.x.characters": ("characters a row", "每条字符数"),
    "check.y.rows": ("rows", "条数"),
    "check.limit": ("cutoff {n}", "上限 {n}"),
    "check.longest": ("longest {n}", "最长 {n}"),
    "check.bar": ("{low} to {high}: {rows}", "{low} 至 {high}：{rows}"),
    "check.long": ("Longer than {n} tokens", "超过 {n} 词元"),
    "check.long.none": ("No row is longer than {n} tokens.", "没有数据超过 {n} 词元。"),
    "check.long.rows": ("Rows", "数据"),
    "check.long.drop": ("Targets left out with them", "随之排除的训练目标"),
    "check.long.drop.text": (
        "{n} of {all} target tokens ({share}). data.overlong is drop: the whole row is left out.",
        "{all} 个目标词元中的 {n} 个（{share}）。data.overlong 为 drop：整条数据被排除。",
    ),
    "check.long.other": ("What becomes of them", "处理方式"),
    "check.long.truncate_prompt": (
        "data.overlong is truncate_prompt: questions are shortened until the row fits, answers never.",
        "data.overlong 为 truncate_prompt：缩短问题直至放得下，回答从不缩短。",
    ),
    "check.long.split_turns": (
        "data.overlong is split_turns: long conversations are divided between exchanges.",
        "data.overlong 为 split_turns：长对话在轮次之间切分。",
    ),
    "check.long.error": ("data.overlong is error: a run stops there.", "data.overlong 为 error：运行将在此停止。"),
    "check.long.cut": ("If they were cut there instead", "若改为截断"),
    "check.long.cut.text": (
        "{n} target tokens would be lost without a word, and answers would stop in mid-sentence. That is why no row "
        "is cut.",
        "将有 {n} 个目标词元无声丢失，回答会在句中中断。因此不作截断。",
    ),
    # Shape.
    "check.characters": ("Characters", "字符"),
    "check.turns": ("Turns", "轮数"),
    "check.turns.n": ("{n} turns", "{n} 轮"),
    "check.turns.1": ("1 turn", "1 轮"),
    "check.turns.more": ("{n} or more", "{n} 轮及以上"),
    "check.languages": ("Languages", "语言"),
    "check.other": ("other", "其他"),
    "check.files.capped": ("{n} more files are not drawn.", "另有 {n} 个文件未绘出。"),
    "check.shape.intro": (
        "Rows that can be read, copies included. Turns count without the system turn; und is text too short, or too "
        "little language, to tell.",
        "可读取的数据，含重复。轮数不含系统轮；und 表示文本太短或难以判断语言。",
    ),
    # Marks and findings.
    "check.what": ("What", "内容"),
    "check.share": ("Share", "占比"),
    "check.in_files": ("Files", "文件数"),
    "check.first": ("First places (file:line)", "最先出现处（文件:行）"),
    "check.texts.none": ("No text looks wrong.", "没有发现可疑文本。"),
    "check.personal.none": (
        "Nothing was found. Numbers, addresses and keys were looked for; names of people were not.",
        "未发现。已检查号码、地址与密钥，未检查人名。",
    ),
    "check.personal.intro": (
        "Found by patterns and check digits; names of people and street addresses are not looked for.",
        "根据格式与校验位查找；不查找人名与街道地址。",
    ),
    "check.texts.intro": (
        "Signs of damage, and answers that a model had better not learn. A sign is a hint: read the rows.",
        "文本损坏的迹象，以及模型不宜学习的回答。仅为提示，请阅读原文。",
    ),
    "check.findings.none": ("Nothing was found.", "未发现。"),
    "check.kind.leak_exact": ("The same question is held out", "相同问题出现在留出数据中"),
    "check.kind.leak_near": ("Nearly the same as a held-out row", "与留出数据近似"),
    "check.kind.leak_ngram": ("Holds a large part of a held-out row", "含有留出数据的大段原文"),
    "check.kind.contradiction": ("One question, different answers", "同一问题，不同回答"),
    "check.kind.near_duplicate": ("Nearly the same", "近似重复"),
    "check.advice.leak_exact": (
        "Take these training rows out: the model has seen the answers that it is asked for.",
        "请删除这些训练数据：模型已见过被考查的内容。",
    ),
    "check.advice.leak_near": (
        "Take these training rows out, or the score measures memory.",
        "请删除这些训练数据，否则得分衡量的只是记忆。",
    ),
    "check.advice.leak_ngram": (
        "Similarity is the share of the held-out text that stands word for word in the training row.",
        "相似度为留出文本中逐字出现在训练数据里的比例。",
    ),
    "check.advice.contradiction": (
        "Different answers need not be wrong; where one is, the model learns both.",
        "不同回答未必有错；若有错，模型会两者都学。",
    ),
    "check.advice.near_duplicate": (
        "Harmless in small numbers. data.near_duplicates: drop keeps the first of each.",
        "少量无妨。data.near_duplicates: drop 只保留第一条。",
    ),
    "check.group": ("{count} findings in {rows} rows", "{count} 处，涉及 {rows} 条数据"),
    "check.group.1": ("1 finding in {rows} rows", "1 处，涉及 {rows} 条数据"),
    "check.group.first": ("the first {n} of {all}", "共 {all} 处，前 {n} 处"),
    "check.more_findings": ("{n} more", "另外 {n} 处"),
    "check.train_row": ("Training row", "训练数据"),
    "check.held_row": ("Held-out row", "留出数据"),
    "check.row_1": ("First row", "第一条"),
    "check.row_2": ("The others", "其他"),
    "check.similarity": ("Similarity", "相似度"),
    "check.text": ("Text", "文本"),
    "check.no_model": (
        "lengths in tokens and targets: no model was given (--model)",
        "词元长度与训练目标：未指定模型（--model）",
    ),
    "check.notes.none": ("Everything was looked for, and there is nothing to add.", "全部项目均已检查，无补充说明。"),
    "check.skipped": ("Not looked for", "未检查"),
    "check.footer": (
        "Made by tuneloop data check. One file, no network.",
        "由 tuneloop data check 生成。单个文件，无需联网。",
    ),
}

REASONS: dict[str, tuple[str, str]] = {
    "bad_quotes": ("a quoted cell is malformed", "引号单元格格式有误"),
    "bad_tool_call": ("a tool call is malformed", "工具调用格式有误"),
    "bad_tools": ("the list of tools is malformed", "工具列表格式有误"),
    "cannot_render": ("what `render` asks for is not in the row", "数据中没有 render 所需的内容"),
    "control_token": ("text that would become a control token", "文本会变成控制符"),
    "damaged": ("the file is damaged here", "文件在此处损坏"),
    "duplicate": ("an exact copy of an earlier row", "与之前的数据完全相同"),
    "duplicate_key": ("a key stands twice in one object", "同一对象中键重复"),
    "empty_answer": ("the answer is empty", "回答为空"),
    "empty_text": ("the text is empty", "文本为空"),
    "leak": ("the same conversation is held out", "与留出数据相同"),
    "line_too_long": ("the line is too long to be a row", "该行过长"),
    "lone_surrogate": ("half of a surrogate pair: not valid text", "含半个代理对，不是有效文本"),
    "missing_key": ("a field is missing", "缺少字段"),
    "near_duplicate": ("nearly the same as an earlier row", "与之前的数据近似"),
    "no_answer": ("there is no answer to learn", "没有可学习的回答"),
    "no_end_of_turn": ("the answer's end would not be learned", "学不到回答的结束"),
    "no_target": ("nothing in it is trained on", "没有任何训练目标"),
    "no_turns": ("the conversation has no turns", "对话没有内容"),
    "not_an_object": ("the line is JSON, but not an object", "该行是 JSON，但不是对象"),
    "not_json": ("the line is not valid JSON", "该行不是有效的 JSON"),
    "not_text": ("a field is not text", "字段不是文本"),
    "not_utf8": ("the bytes are not UTF-8", "不是有效的 UTF-8"),
    "open_quote": ("a quoted cell is not closed", "引号未闭合"),
    "overlong": ("longer than data.cutoff_len", "超过 data.cutoff_len"),
    "personal": ("holds personal data or secrets", "含个人信息或密钥"),
    "prompts_differ": ("chosen and rejected answer different questions", "chosen 与 rejected 的问题不同"),
    "reasoning": ("the reasoning is kept apart from the answer", "推理与回答分开存放"),
    "reserved_character": ("holds a code point that is no character", "含非字符码位"),
    "role_order": ("the turns are not in an order that can be learned", "轮次顺序有误"),
    "same_answers": ("chosen and rejected are the same", "chosen 与 rejected 相同"),
    "template_refused": ("the chat template refuses it", "对话模板拒绝该数据"),
    "too_deep": ("nested too deep", "嵌套过深"),
    "tool_order": ("a tool's turn stands in the wrong place", "工具轮次位置有误"),
    "tools_ignored": ("the chat template writes no tools", "对话模板不支持工具"),
    "truncated": ("the file is cut off here", "文件在此处被截断"),
    "unknown_key": ("a field that the format does not have", "格式中没有的字段"),
    "unreadable": ("the disk refuses to read on", "磁盘无法继续读取"),
    "wrong_columns": ("more or fewer cells than the header", "单元格数与表头不符"),
    "wrong_type": ("a field is of another type than it should be", "字段类型有误"),
    "wrong_value": ("a field holds a value that it cannot have", "字段取值有误"),
}
"""What the commonest reasons mean for which a row is left out."""

LANGUAGES: dict[str, tuple[str, str]] = {
    "ar": ("Arabic", "阿拉伯语"),
    "de": ("German", "德语"),
    "en": ("English", "英语"),
    "es": ("Spanish", "西班牙语"),
    "fr": ("French", "法语"),
    "hi": ("Hindi", "印地语"),
    "id": ("Indonesian", "印尼语"),
    "it": ("Italian", "意大利语"),
    "ja": ("Japanese", "日语"),
    "ko": ("Korean", "韩语"),
    "nl": ("Dutch", "荷兰语"),
    "pt": ("Portuguese", "葡萄牙语"),
    "ru": ("Russian", "俄语"),
    "th": ("Thai", "泰语"),
    "tr": ("Turkish", "土耳其语"),
    "und": ("not told", "未判定"),
    "vi": ("Vietnamese", "越南语"),
    "zh": ("Chinese", "中文"),
    "zh-Hans": ("Chinese, simplified", "简体中文"),
    "zh-Hant": ("Chinese, traditional", "繁体中文"),
}
