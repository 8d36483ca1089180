"""A real specialisation: PubMedQA (abstract + question -> yes, no or maybe) against its commonest class.

Takes the published `ori_pqal.json` and `test_ground_truth.json` (github.com/pubmedqa/pubmedqa, MIT), trains on
the rows that are not test rows, and prints accuracy before and after beside always answering the commonest class.

    python benchmarks/pubmedqa.py --data FOLDER --out runs/pubmedqa [--set stages.0.num_train_epochs=2]
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import yaml

_INSTRUCTION = "Answer the question from the abstract with one word: yes, no or maybe."


def write_rows(data: Path, folder: Path, *, sections: int | None) -> tuple[int, int, float]:
    """Write train and test rows as Alpaca JSONL; return their numbers and the share of the commonest test answer.

    `sections` keeps only the last ones of each abstract: shorter rows, where time is short.
    """
    questions = json.loads((data / "ori_pqal.json").read_text(encoding="utf-8"))
    test = json.loads((data / "test_ground_truth.json").read_text(encoding="utf-8"))
    rows: dict[str, list[dict[str, str]]] = {"train": [], "test": []}
    for number, item in questions.items():
        context = "\n".join(item["CONTEXTS"][-sections:] if sections else item["CONTEXTS"])
        row = {
            "instruction": _INSTRUCTION,
            "input": f"{context}\nQuestion: {item['QUESTION']}",
            "output": item["final_decision"],
        }
        rows["test" if number in test else "train"].append(row)
    for name, values in rows.items():
        text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    commonest = Counter(test.values()).most_common(1)[0][1] / len(test)
    return len(rows["train"]), len(rows["test"]), commonest


def write_recipe(folder: Path) -> Path:
    """The recipe: LoRA on the upper half; the test rows choose nothing (the last step is kept)."""
    recipe = {
        "name": "pubmedqa",
        "data": {"train": ["train.jsonl"], "eval": ["test.jsonl"], "cutoff_len": 1024},
        "tune": {"kind": "lora", "rank": 16, "alpha": 32, "trainable_blocks": 15},
        "stages": [
            {"num_train_epochs": 3, "batch_size": 16, "learning_rate": 5.0e-4, "eval_steps": 1000, "keep": "last"}
        ],
        "evaluate": {
            "metrics": ["accuracy:yes|no|maybe", "exact_match"],
            "generate": {"max_new_tokens": 8, "batch_size": 16},
        },
        "deploy": {"export": ["adapter"]},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return path


def main() -> int:
    """Prepare, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/pubmedqa"))
    parser.add_argument("--sections", type=int, help="only the last sections of each abstract (results stand there)")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    folder = arguments.out.with_name(arguments.out.name + "-rows")
    folder.mkdir(parents=True, exist_ok=True)
    num_train, num_test, commonest = write_rows(arguments.data, folder, sections=arguments.sections)
    print(f"{num_train} training rows, {num_test} test rows; always the commonest answer: {commonest:.3f}")
    overrides = [word for item in arguments.overrides for word in ("--set", item)]
    command = [str(Path(sys.executable).parent / "tuneloop"), "run", str(write_recipe(folder))]
    return subprocess.run([*command, "--out", str(arguments.out), *overrides], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
