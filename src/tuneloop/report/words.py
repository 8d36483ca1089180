"""The words of the report, each in English and in Chinese, in one table."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

from dataclasses import dataclass
from typing import Literal

from tuneloop.report import figures
from tuneloop.report.data_words import DATA_WORDS, LANGUAGES, REASONS

Language = Literal["en", "zh"]

_METRICS: dict[str, tuple[str, str]] = {
    "exact_match": ("exact match", "完全匹配率"),
    "bleu": ("BLEU", "BLEU"),
    "chrf": ("chrF", "chrF"),
    "rouge_1": ("ROUGE-1", "ROUGE-1"),
    "rouge_2": ("ROUGE-2", "ROUGE-2"),
    "rouge_l": ("ROUGE-L", "ROUGE-L"),
    "token_f1": ("token F1", "词元 F1"),
    "f1": ("F1", "F1"),
    "accuracy": ("accuracy", "准确率"),
    "finished": ("answers finished", "完整作答率"),
    "loss": ("loss on the reference", "参考答案损失"),
    "perplexity": ("perplexity", "困惑度"),
}

_WORDS: dict[str, tuple[str, str]] = {
    "eyebrow": ("Run report", "训练报告"),
    "rows.1": ("{n} row", "{n} 条数据"),
    "rows.n": ("{n} rows", "{n} 条数据"),
    "held_out.1": ("{n} held-out row", "{n} 条留出数据"),
    "held_out.n": ("{n} held-out rows", "{n} 条留出数据"),
    "rounds.1": ("{n} round", "{n} 轮"),
    "rounds.n": ("{n} rounds", "{n} 轮"),
    "steps.1": ("{n} step", "{n} 步"),
    "steps.n": ("{n} steps", "{n} 步"),
    # The verdict.
    "accepted": ("Accepted", "已采纳"),
    "rejected": ("Rejected", "未采纳"),
    "measured": ("Measured, not judged", "已评测，未裁决"),
    "trained": ("Trained, not evaluated", "已训练，未评测"),
    "training": ("Training is not finished", "训练尚未完成"),
    "prepared": ("Data prepared, nothing trained", "数据已就绪，尚未训练"),
    "empty": ("Nothing here yet", "暂无内容"),
    "verdict.line": ("{lead}: {change} on {rows}.", "{lead}：在 {rows}上，{change}。"),
    "verdict.plain": ("{lead}: {rest}.", "{lead}：{rest}。"),
    "rose": ("{metric} rose from {before} to {after}", "{metric}从 {before} 升至 {after}"),
    "fell": ("{metric} fell from {before} to {after}", "{metric}从 {before} 降至 {after}"),
    "stayed": ("{metric} stayed at {after}", "{metric}保持在 {after}"),
    "unclear": (
        "{metric} did not clearly change, {before} before and {after} after",
        "{metric}没有明确变化（训练前 {before}，训练后 {after}）",
    ),
    "reached": ("{metric} is {after}", "{metric}为 {after}"),
    "interval.gain": (" ({level} interval of the gain {low} to {high})", "（提升的 {level} 区间：{low} 至 {high}）"),
    "interval.drop": (" ({level} interval of the drop {low} to {high})", "（下降的 {level} 区间：{low} 至 {high}）"),
    "interval.change": (
        " ({level} interval of the difference {low} to {high})",
        "（差值的 {level} 区间：{low} 至 {high}）",
    ),
    "interval.none": (", too few rows for an interval", "，数据太少，无法给出区间"),
    "base_stays": ("The base model stays.", "继续使用基座模型。"),
    "best_round": ("Round {round} of {rounds} is the one that is kept.", "共 {rounds} 轮，保留第 {round} 轮。"),
    "target.met": ("The target {target} is met.", "已达到目标 {target}。"),
    "target.not_met": ("The target {target} is not met.", "未达到目标 {target}。"),
    "got_worse": ("Worse than the base: {metrics}.", "比基座更差：{metrics}。"),
    "trained.rest": (
        "{steps}, final training loss {loss}; nothing here says yet whether the model got better",
        "共 {steps}，最终训练损失 {loss}；尚无评测说明模型是否变好",
    ),
    "training.rest": (
        "the last step seen is {step} of {steps} in round {round}",
        "第 {round} 轮，最后记录到第 {step} 步，共 {steps} 步",
    ),
    "prepared.rest": ("{rows} kept, no training so far", "保留 {rows}，尚未开始训练"),
    "empty.rest": ("the folder holds no records", "此文件夹中没有任何记录"),
    # Facts under the verdict.
    "base_model": ("Base model", "基座模型"),
    "method": ("Method", "方法"),
    "rows": ("Rows", "数据"),
    "rows.split": ("{train} train · {eval} held out", "训练 {train} · 留出 {eval}"),
    "rounds": ("Rounds", "轮数"),
    "training_time": ("Training time", "训练用时"),
    "device": ("Device", "设备"),
    "finished_at": ("Last record", "最后记录"),
    # Headings.
    "scores": ("Before and after", "训练前后"),
    "curves": ("Training curves", "训练曲线"),
    "story": ("Round by round", "逐轮经过"),
    "samples": ("Side by side", "样例对照"),
    "data": ("Where every row went", "数据去向"),
    "training_how": ("How it was trained", "训练方式"),
    "lineage": ("Lineage", "来源链"),
    "environment": ("Environment", "运行环境"),
    "cost": ("Cost", "开销"),
    "recipe": ("Recipe", "配方"),
    "notices": ("Please note", "请注意"),
    # Scores.
    "better": ("Better", "更好"),
    "worse": ("Worse", "更差"),
    "no_clear_difference": ("No clear difference", "无明确差异"),
    "not_compared": ("Not compared", "未比较"),
    "main_score": ("main score", "主指标"),
    "lower_better": ("lower is better", "越低越好"),
    "before": ("before", "训练前"),
    "after": ("after", "训练后"),
    "difference": ("difference", "差值"),
    "scores.intro": (
        """The base model and the model of round {round} on the same {rows}. Whiskers are {level} intervals;
        a difference counts only where its whole paired interval lies on one side of zero.""",
        "第 {round} 轮模型与基座模型在同样的 {rows}上的得分。须线为 {level} 区间；差值区间全在零的一侧才算有差异。",
    ),
    "scores.alone": (
        "The model of round {round} on {rows}. The base model was not measured on them, so nothing can be compared.",
        "第 {round} 轮模型在 {rows}上的得分。基座模型未在其上评测，因此无法比较。",
    ),
    "scores.base": (
        "Only the base model was measured, on {rows}.",
        "仅在 {rows}上评测了基座模型。",
    ),
    "scores.none": (
        "No evaluation in this folder: nothing here says whether the model got better.",
        "此文件夹中没有评测：无法判断模型是否变好。",
    ),
    "how_measured": ("How each number was measured", "各项数字的测量方式"),
    "metric": ("Metric", "指标"),
    "signature": ("Signature", "签名"),
    "no_interval": ("no interval", "无区间"),
    "to": ("{low} to {high}", "{low} 至 {high}"),
    "level": ("{percent}\u00a0%", "{percent}%"),
    # Curves.
    "round": ("Round {n}", "第 {n} 轮"),
    "base": ("Base", "基座"),
    "loss": ("Loss", "损失"),
    "learning_rate.axis": ("learning rate", "学习率"),
    "loss.unit": ("loss (nats per target token)", "损失（纳特 / 目标词元）"),
    "learning_rate": ("Learning rate", "学习率"),
    "step": ("step", "步"),
    "step_n": ("step {n}", "第 {n} 步"),
    "stage_n": ("stage {n}", "阶段 {n}"),
    "raw": ("train", "训练"),
    "smoothed": ("train, smoothed (mean of {n} steps)", "训练，平滑（{n} 步均值）"),
    "smoothed.short": ("smoothed", "平滑"),
    "validation": ("validation", "验证"),
    "kept_step": ("kept", "保留"),
    "skipped_mark": ("step not applied", "未应用的步"),
    "curves.summary": (
        "Training loss went from {first} at the first of {steps} to {last} over the last {n}.",
        "共 {steps}：首步训练损失 {first}，最后 {n} 步平均 {last}。",
    ),
    "curves.validation": (" Best validation loss: {loss} at step {step}.", "最低验证损失：第 {step} 步，{loss}。"),
    "curves.cut": (
        " Cut off or still running: {done} of {steps} steps are there.",
        "已中断或仍在进行：共 {steps} 步，现有 {done} 步。",
    ),
    "curves.none": ("No training steps are recorded in this folder.", "此文件夹中没有训练步骤记录。"),
    # Rounds.
    "rounds.none": ("No round is finished.", "尚无完成的轮次。"),
    "changed": ("What changed", "改变"),
    "changed.first": ("The recipe as it stands.", "按配方原样执行。"),
    "changed.unknown": ("Not recorded.", "无记录。"),
    "found": ("What was found", "发现"),
    "found.nothing": ("No rule noticed anything.", "规则未发现问题。"),
    "cost.short": ("What it cost", "开销"),
    "cost.line": ("{time} of training, {steps}, {tokens} tokens", "训练 {time}，{steps}，{tokens} 词元"),
    "cost.eval": ("{time} of evaluation", "评测 {time}"),
    "result": ("What came out", "结果"),
    "against": ("against the best so far", "与此前最佳相比"),
    "next": ("What follows", "后续"),
    "stopped": ("The loop ended here", "循环在此结束"),
    "not_judged": ("Not judged", "未裁决"),
    "not_judged.text": (
        "No decision is recorded for this round.",
        "此轮没有裁决记录。",
    ),
    "target": ("target", "目标"),
    "main_by_round": ("{metric} by round", "各轮{metric}"),
    # Samples.
    "samples.intro": (
        """The same question, answered before and after: {shown} of {all}. First the most improved, then the worst,
        then some drawn at random (seed {seed}).""",
        "同一问题训练前后的回答，{all} 条中的 {shown} 条：先是进步最大的，再是最差的，然后随机抽取（种子 {seed}）。",
    ),
    "samples.legend": (
        "in the answer, not in the reference",
        "回答中有、参考答案中没有",
    ),
    "samples.legend.missing": ("in the reference, missing here", "参考答案中有、此处缺失"),
    "samples.none": ("No samples to show: {why}.", "没有可展示的样例：{why}。"),
    "samples.no_eval": ("this folder has no evaluation", "此文件夹中没有评测"),
    "samples.no_file": ("the file of samples is not there", "样例文件不存在"),
    "samples.unpaired": (
        "The answers before training are not shown: they were given to other rows.",
        "未展示训练前的回答：它们对应的是另外的数据。",
    ),
    "samples.no_gain": ("No row got better by this score.", "按此指标，没有数据变好。"),
    "samples.rest": ("{n} more samples", "另外 {n} 条样例"),
    "samples.file": ("All of them are in {file}.", "全部样例见 {file}。"),
    "improved": ("Most improved", "进步最大"),
    "best": ("Best", "最好"),
    "worst": ("Worst", "最差"),
    "random": ("Drawn at random", "随机抽取"),
    "more": ("More", "更多"),
    "input": ("Input", "输入"),
    "reference": ("Reference", "参考答案"),
    "before.title": ("Before", "训练前"),
    "after.title": ("After", "训练后"),
    "same": ("same as the reference", "与参考答案一致"),
    "far": ("almost nothing in common with the reference", "与参考答案几乎没有共同之处"),
    "long": ("too long to be marked word by word", "过长，未逐词标记"),
    "unfinished": ("cut off at the length limit", "达到长度上限被截断"),
    "nothing": ("(empty)", "（空）"),
    "cut.n": ("… {n} more characters", "……另有 {n} 个字符"),
    # Data.
    "data.none": ("No record of the rows in this folder.", "此文件夹中没有数据记录。"),
    "data.intro": (
        "Every row that was read is accounted for: read = kept + left out, reason by reason.",
        "每一条读入的数据都有交代：读入 = 保留 + 各原因排除。",
    ),
    "file": ("File", "文件"),
    "format": ("Format", "格式"),
    "read": ("Read", "读入"),
    "kept.title": ("Kept", "保留"),
    "left_out": ("Left out", "排除"),
    "all_files": ("All files", "全部文件"),
    "adds_up": ("adds up", "账目相符"),
    "does_not_add_up": ("does not add up: {n} unaccounted for", "账目不符：{n} 条下落不明"),
    "none": ("none", "无"),
    "split": ("Split", "划分"),
    "train": ("Train", "训练"),
    "held_out": ("Held out", "留出"),
    "tokens": ("Tokens", "词元"),
    "target_tokens": ("Trained on", "参与训练"),
    "target_share": ("Share", "占比"),
    "lengths": ("Tokens a row: mean", "每条词元：均值"),
    "median": ("median", "中位数"),
    "p95": ("95th percentile", "95 分位"),
    "longest": ("longest", "最长"),
    "contract": ("Prompt contract", "提示契约"),
    "contract.text": (
        "How a conversation becomes tokens. Training, evaluation, export and serving share it.",
        "对话如何变成词元。训练、评测、导出与服务共用同一契约。",
    ),
    "template": ("Template", "模板"),
    "trained_turns": ("Trained on", "训练目标"),
    "trained_turns.all": ("every answer of a conversation", "对话中的每个回答"),
    "trained_turns.last": ("the last answer of a conversation", "对话中的最后一个回答"),
    "stop_tokens": ("Stop tokens", "停止词元"),
    "end_of_turn": ("End of turn", "回合结束"),
    "hidden_text": ("Hidden system text", "隐藏的系统文本"),
    "hidden_text.none": ("none: the template adds no text by itself", "无：模板不会自行添加文本"),
    "fingerprint": ("Hash", "哈希"),
    "problem_rows": ("The rows that were left out ({n})", "被排除的数据（{n} 条）"),
    "problem_rows.first": ("The first {n} of them; all are in {file}.", "前 {n} 条；全部见 {file}。"),
    "line": ("Line", "行"),
    "reason": ("Reason", "原因"),
    "other_rounds": ("The rows of round {n}", "第 {n} 轮的数据"),
    "same_rows": ("Round {n} used the same rows.", "第 {n} 轮使用相同的数据。"),
    # How it was trained.
    "training.none": ("No checkpoint is recorded in this folder.", "此文件夹中没有检查点记录。"),
    "trainable": ("Trainable", "可训练"),
    "trainable.text": ("{share} of {total} parameters ({n})", "{total} 个参数中的 {share}（{n}）"),
    "precision": ("Precision", "精度"),
    "threads": ("{n} threads", "{n} 线程"),
    "kept_at": ("Kept checkpoint", "保留的检查点"),
    "losses": ("Loss", "损失"),
    "losses.text": ("{train} train · {validation} validation", "训练 {train} · 验证 {validation}"),
    "losses.train": ("{train} train", "训练 {train}"),
    "skipped": ("Steps not applied", "未应用的步"),
    "skipped.text": ("{n} (loss or gradient was not finite)", "{n}（损失或梯度不是有限值）"),
    "settings": ("Key settings", "主要设置"),
    # Lineage.
    "lineage.intro": (
        "Each record names its parents by hash. The links below were checked while this page was made.",
        "每条记录都以哈希指明其来源。以下链接在生成本页时已核对。",
    ),
    "lineage.none": ("No records in this folder.", "此文件夹中没有记录。"),
    "node.files": ("Files", "文件"),
    "node.dataset": ("Dataset", "数据集"),
    "node.base": ("Base model", "基座模型"),
    "node.checkpoint": ("Checkpoint", "检查点"),
    "node.eval": ("Evaluation", "评测"),
    "node.decision": ("Decision", "裁决"),
    "node.export": ("Export", "导出"),
    "from": ("from", "来自"),
    "not_in_folder": ("not in this folder", "不在此文件夹中"),
    "export.check": (
        "largest logit difference {difference} (allowed {tolerance}) on {n} probes",
        "{n} 次探测，最大 logit 差 {difference}（允许 {tolerance}）",
    ),
    "check.passed": ("check passed", "核对通过"),
    "check.failed": ("check failed", "核对未通过"),
    "more_files": ("and {n} more", "以及另外 {n} 个"),
    # Environment and cost.
    "environment.none": ("No record names its environment.", "没有记录说明运行环境。"),
    "cost.none": ("Nothing in this folder says what was spent.", "此文件夹中没有开销记录。"),
    "phase": ("Phase", "阶段"),
    "wall": ("Wall time", "用时"),
    "tokens_per_s": ("Tokens/s", "词元/秒"),
    "utilisation": ("Of the device's limit", "占设备上限"),
    "peak_memory": ("Peak memory", "内存峰值"),
    "phase.train": ("Training, round {n}", "训练，第 {n} 轮"),
    "phase.eval": ("Evaluation, round {n}", "评测，第 {n} 轮"),
    "phase.base": ("Evaluation, base model", "评测，基座模型"),
    "total": ("Sum", "合计"),
    "cost.elapsed": (
        "From the first event to the last: {time}, pauses included.",
        "从首个事件到最后事件：{time}（含停顿）。",
    ),
    "cost.time_only": ("from the events; no checkpoint record", "取自事件；无检查点记录"),
    "recipe.open": ("The resolved recipe, as it was run", "实际运行的完整配方"),
    "recipe.none": ("recipe.yaml is not in this folder.", "此文件夹中没有 recipe.yaml。"),
    "damaged": ("could not be used: {what}", "无法使用：{what}"),
    "samples.changed": (
        "{file}: differs from the hash in its record: it was changed after it was saved.",
        "{file}：与记录中的哈希不符，保存后被修改过。",
    ),
    "generating": (
        "Evaluation of round {round} stopped at {done} of {total}.",
        "第 {round} 轮评测停在 {done} / {total}。",
    ),
    "footer": (
        "Made by tuneloop from the records of the run. One file, no network.",
        "由 tuneloop 根据运行记录生成。单个文件，无需联网。",
    ),
    "nav": ("Contents", "目录"),
    **DATA_WORDS,
}


@dataclass(frozen=True)
class Words:
    """The table in one language."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """The words of a key, with `{names}` filled in."""
        text = _WORDS[key][0 if self.language == "en" else 1]
        return text.format(**values) if values else text

    def many(self, key: str, number: int) -> str:
        """A number with its noun: 1 row, 64 rows."""
        return self(f"{key}.1" if number == 1 else f"{key}.n", n=figures.count(number))

    def metric(self, name: str) -> str:
        """A metric's name for people; unknown names lose their underscores only."""
        known = _METRICS.get(name)
        return known[0 if self.language == "en" else 1] if known else name.replace("_", " ")

    def reason(self, code: str) -> str:
        """What the code of a row that is left out means; "" where the table does not say."""
        return _in_language(REASONS.get(code), self.language) or ""

    def tongue(self, code: str) -> str:
        """A language's name; its code where the table has none."""
        return _in_language(LANGUAGES.get(code), self.language) or code

    def duration(self, seconds: float) -> str:
        """A time in its two largest units."""
        if self.language == "zh":
            return figures.duration(seconds, ("天", "小时", "分", "秒"))
        return figures.duration(seconds)

    def between(self, low: str, high: str) -> str:
        """`0.71 to 0.90`, from values already written."""
        return self("to", low=low, high=high)

    def level(self, share: float) -> str:
        """`95 %`."""
        return self("level", percent=f"{100 * share:g}")


def _in_language(pair: tuple[str, str] | None, language: Language) -> str | None:
    return pair and pair[0 if language == "en" else 1]
