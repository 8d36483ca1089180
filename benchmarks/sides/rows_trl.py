"""JSONL to packed token ids as TRL's SFTTrainer does it, cache empty: `rows_trl.py MODEL ROWS BUDGET WORK [PROCESSES]`.

The trainer's own preparation is timed, with a model of a few thousand weights that is never trained.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

from datasets import load_dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer


def peak_mib() -> float:
    """Most memory that the process, or one of its children, ever held."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def cpu_s() -> float:
    """CPU seconds of the process and of its ended children."""
    return sum(os.times()[:4])


def main() -> None:
    """Time from the open file to the packed data set."""
    model, rows, budget, work = sys.argv[1:5]
    processes = int(sys.argv[5]) if len(sys.argv) > 5 else None  # noqa: PLR2004 - the fifth is the option
    before = peak_mib()
    tokenizer = AutoTokenizer.from_pretrained(model)
    tiny = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    network = LlamaForCausalLM(tiny)
    arguments = SFTConfig(
        output_dir=str(Path(work) / "out"),
        max_length=int(budget),
        packing=True,
        dataset_num_proc=processes,
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
    )
    begun, cpu = time.perf_counter(), cpu_s()
    loaded = load_dataset("json", data_files=rows, split="train", cache_dir=str(Path(work) / "cache"))
    trainer = SFTTrainer(model=network, args=arguments, train_dataset=loaded, processing_class=tokenizer)
    packed = trainer.train_dataset
    num_tokens = sum(len(each) for each in packed["input_ids"])
    wall = time.perf_counter() - begun
    print(
        json.dumps(
            {
                "rows": loaded.num_rows,
                "tokens": num_tokens,
                "packs": packed.num_rows,
                "waste": 1 - num_tokens / (packed.num_rows * int(budget)),
                "wall_s": wall,
                "cpu_s": cpu_s() - cpu,
                "start_mib": before,
                "peak_mib": peak_mib(),
            }
        )
    )


if __name__ == "__main__":
    main()
