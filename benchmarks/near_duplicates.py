"""Makes rows with planted near copies, finds them, and prints speed, memory, recall and the share of false pairs.

    python benchmarks/near_duplicates.py [--rows 1000000] [--json]

The rows are made-up English and Chinese sentences, put together anew for each row. A planted row is another row with
one kind of edit, kept if it reaches the threshold by the plain definition (sets of strings), which also judges a
sample of what is reported.
"""
# ruff: noqa: SIM905  word lists are read more easily as one string

import argparse
import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tuneloop.data.quality.near import NearDuplicates, near_duplicates
from tuneloop.data.quality.shingles import normalise

_PEOPLE = "a farmer,the new nurse,my neighbour,an old sailor,the manager,our teacher,a young lawyer,the baker".split(
    ","
)
_THINGS = (
    "contract,bicycle,engine,recipe,letter,garden,invoice,bridge,window,violin,camera,report,ladder,market,"
    "harbour,kitchen,library,medicine,notebook,orchard,printer,railway,sensor,theatre,vaccine,warehouse"
).split(",")
_VERBS = "repaired,described,measured,sold,borrowed,painted,cancelled,examined,delivered,copied,opened,ordered".split(
    ","
)
_PLACES = "in Leeds,near the river,at the office,behind the school,on the third floor,in the village,by the sea".split(
    ","
)
_WHYS = (
    "because the old one was too slow,although nobody had asked for it,before the rain began,after a long debate,"
    "while the others were waiting,so that the visitors could see it,since the price had fallen again"
).split(",")
_ENGLISH = (
    "{who} {did} the {what} {where} {why}.", "How long does it take until {who} has {did} {n} pieces of {what}?",
    "In {y}, {who} {did} every {what} {where}, {why}.", "List {n} reasons why a {what} matters {where}.",
    "Please explain how {who} {did} the {what} and the {what2}.", "The {what} costs {n} pounds, the {what2} only {m}.",
)  # fmt: skip
_WHO_ZH = "农民,医生,邻居,老水手,经理,老师,年轻的律师,面包师,司机,工程师".split(",")
_WHAT_ZH = (
    "合同,自行车,发动机,菜谱,信件,花园,发票,大桥,窗户,小提琴,相机,报告,梯子,图书馆,药品,笔记本,打印机,铁路".split(",")
)
_DID_ZH = "修理了,描述了,测量了,出售了,借走了,粉刷了,取消了,检查了,交付了,复印了".split(",")
_WHERE_ZH = "在河边,在办公室,在学校后面,在三楼,在村里,在海边,在北京,在火车站".split(",")
_WHY_ZH = "因为旧的太慢了,虽然没有人要求,在下雨之前,经过长时间的讨论,以便客人能够看到,由于价格又下降了".split(",")
_CHINESE = (
    "{who}{where}{did}那个{what},{why}。", "请说明{who}为什么{did}{n}个{what}?",
    "{y}年,{who}{where}{did}所有的{what},{why}。",
    "列出{n}条理由,说明{what}{where}为什么重要。", "{what}的价格是{n}元,{what2}只要{m}元。",
)  # fmt: skip
_SHARE_CHINESE = 0.3
_SAMPLE = 20_000


def make_row(chance: random.Random) -> str:
    """A few sentences: about 180 characters of English, or 100 of Chinese."""
    n, m, y = chance.randint(2, 9999), chance.randint(2, 9999), chance.randint(1500, 2030)
    pick = chance.choice
    if chance.random() < _SHARE_CHINESE:
        return "".join(
            pick(_CHINESE).format(who=pick(_WHO_ZH), where=pick(_WHERE_ZH), did=pick(_DID_ZH), what=pick(_WHAT_ZH),
                                  what2=pick(_WHAT_ZH), why=pick(_WHY_ZH), n=n + k, m=m, y=y)
            for k in range(chance.randint(3, 6))
        )  # fmt: skip
    return " ".join(
        pick(_ENGLISH).format(who=pick(_PEOPLE), where=pick(_PLACES), did=pick(_VERBS), what=pick(_THINGS),
                              what2=pick(_THINGS), why=pick(_WHYS), n=n + k, m=m, y=y)
        for k in range(chance.randint(2, 4))
    )  # fmt: skip


def _is_chinese(text: str) -> bool:
    return "\u4e00" <= max(text) <= "\u9fff"


def _change_word(text: str, chance: random.Random) -> str:
    words = _THINGS if not _is_chinese(text) else _WHAT_ZH
    there = [word for word in words if word in text] or [text[:3]]
    return text.replace(chance.choice(there), chance.choice(words), 1)


def _insert(text: str, chance: random.Random) -> str:
    place = chance.randrange(len(text))
    return text[:place] + ("也许" if _is_chinese(text) else " perhaps") + text[place:]


def _delete(text: str, chance: random.Random) -> str:
    place = chance.randrange(len(text) - 8)
    return text[:place] + text[place + (2 if _is_chinese(text) else 6) :]


def _reorder(text: str, chance: random.Random) -> str:
    end = "。" if _is_chinese(text) else ". "
    parts = text.split(end)
    cut = chance.randint(1, max(1, len(parts) - 1))
    return end.join(parts[cut:] + parts[:cut])


def _dress(text: str, chance: random.Random) -> str:
    shouted = text.upper() if chance.random() < 0.5 else text.title()  # noqa: PLR2004  a coin
    return "  " + shouted.replace(",", " ,\n").replace(".", "!") + " \u3002"


EDITS: dict[str, Callable[[str, random.Random], str]] = {
    "word": _change_word, "insertion": _insert, "deletion": _delete, "clause order": _reorder,
    "case, space, marks": _dress,
}  # fmt: skip


def plain_similarity(left: str, right: str) -> float:
    """The similarity by its definition: sets of strings, no hashes."""
    a, b = _plain_shingles(normalise(left)), _plain_shingles(normalise(right))
    return len(a & b) / len(a | b)


def _plain_shingles(text: str) -> set[str]:
    windows = set()
    for place, letter in enumerate(text):
        size = 3 if "\u3040" <= letter <= "\u30ff" or "\u3400" <= letter <= "\u9fff" else 5
        if place + size <= len(text):
            windows.add(text[place : place + size])
    return windows or {text}


@dataclass(frozen=True)
class Planted:
    """Rows, and which two of them are near copies by which edit."""

    rows: list[str]
    pairs: list[tuple[int, int, str]]


def _edit(text: str, edit: Callable[[str, random.Random], str], threshold: float, chance: random.Random) -> str:
    """The text after one to six edits, as many as leave it similar enough: so many pairs lie near the threshold."""
    edited = text
    for _ in range(chance.randint(1, 6)):
        again = edit(edited, chance)
        if plain_similarity(text, again) < threshold:
            break
        edited = again
    return edited


def plant(num_rows: int, num_planted: int, threshold: float, seed: int) -> Planted:
    """`num_rows` rows, `num_planted` of which are edited copies of others; the same seed gives the same rows."""
    chance = random.Random(seed)  # noqa: S311  text, not secrets
    rows: dict[str, None] = {}
    while len(rows) < num_rows - num_planted:
        rows.setdefault(make_row(chance))
    texts = list(rows)
    del rows
    pairs: list[tuple[int, int, str]] = []
    sources = iter(chance.sample(range(len(texts)), len(texts)))
    kinds = list(EDITS)
    while len(pairs) < num_planted:
        source, kind = next(sources), kinds[len(pairs) % len(kinds)]
        edited = _edit(texts[source], EDITS[kind], threshold, chance)
        if edited != texts[source]:
            pairs.append((source, len(texts), kind))
            texts.append(edited)
    place = list(range(len(texts)))
    chance.shuffle(place)
    shuffled = [""] * len(texts)
    for old, new in enumerate(place):
        shuffled[new] = texts[old]
    return Planted(shuffled, [(min(place[a], place[b]), max(place[a], place[b]), kind) for a, b, kind in pairs])


def judge(planted: Planted, found: NearDuplicates, threshold: float, seed: int) -> dict[str, object]:
    """Recall by kind of edit, and the share of false pairs in a sample of the reported ones."""
    reported = set(map(tuple, found.pairs.tolist()))
    hits: dict[str, list[bool]] = {kind: [] for kind in EDITS}
    for a, b, kind in planted.pairs:
        hits[kind].append((a, b) in reported)
    every = [hit for kind in hits.values() for hit in kind]
    sample = np.random.default_rng(seed).permutation(len(found.pairs))[:_SAMPLE]
    wrong = sum(plain_similarity(planted.rows[a], planted.rows[b]) < threshold for a, b in found.pairs[sample].tolist())
    similar = float(np.mean([plain_similarity(planted.rows[a], planted.rows[b]) for a, b, _ in planted.pairs]))
    return {
        "planted": len(every),
        "recall": sum(every) / len(every),
        "recall_by_edit": {kind: round(sum(hit) / len(hit), 4) for kind, hit in hits.items() if hit},
        "planted_mean_similarity": round(similar, 3),
        "reported_pairs": len(found.pairs),
        "judged_pairs": len(sample),
        "false_share": wrong / max(1, len(sample)),
    }


def main() -> int:
    """Make, find, judge, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--planted", type=int, help="rows that are edited copies (default: one in 40)")
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    num_planted = options.planted or max(len(EDITS), options.rows // 40)
    planted = plant(options.rows, num_planted, options.threshold, options.seed)
    held_bytes = _peak_bytes()
    wall, cpu = time.perf_counter(), time.process_time()
    found = near_duplicates(planted.rows, threshold=options.threshold, seed=options.seed)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak_bytes = _peak_bytes()
    result = {
        "rows": len(planted.rows),
        "mean_characters": round(sum(map(len, planted.rows)) / len(planted.rows), 1),
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
        "cores": os.cpu_count(),
        "peak_memory_mib": peak_bytes >> 20,
        "peak_memory_of_the_rows_mib": held_bytes >> 20,
        **judge(planted, found, options.threshold, options.seed),
        "clusters": len(np.unique(found.clusters())),
    }
    print(json.dumps(result) if options.json else "\n".join(f"{name:28} {value}" for name, value in result.items()))
    return 0


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
