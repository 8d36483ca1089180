"""Each line on a difference: it is said, and the recipe holds what it promises."""

from pathlib import Path

import pytest
from importer_kit import field, import_text, note_of

from tuneloop.core.errors import ConfigError

LF, AX, TRL, SWIFT = "llamafactory", "axolotl", "trl", "ms-swift"
# tool, lines of the config, key, kind, part of the text, field of the recipe, its value
CASES = [
    (LF, "template: qwen", "template", "differs", "default system text", "data.template", None),
    (LF, "", "template", "differs", "bare text", "data.template", None),
    (LF, "default_system: Be kind.", "default_system", "not_carried", "adds no system text", "model.system", None),
    (LF, "", "(over-long rows)", "differs", "cuts question and answer", "data.overlong", None),
    (LF, "", "(doubled rows)", "differs", "keeps copies", "data.duplicates", None),
    (LF, "", "(processes)", "differs", "number of processes", "stages.0.batch_size", 8),
    (LF, "", "(loss)", "carried", "mean over all target tokens", "seed", 42),
    (LF, "", "enable_thinking", "differs", "empty thought", "data.template", None),
    (LF, "seed: 7", "seed", "differs", "orders of rows", "seed", 7),
    (LF, "lora_rank: 12", "lora_alpha", "carried", "tune.alpha: 24", "tune.alpha", 24.0),
    (LF, "mask_history: true", "mask_history", "carried", "last", "data.train_on", "last"),
    (LF, "train_on_prompt: true", "train_on_prompt", "not_carried", "learns questions", "data.train_on", None),
    (LF, "packing: true", "packing", "differs", "see each other", "stages.0.batch_size", 8),
    (LF, "packing: true\nneat_packing: true", "packing", "carried", "neat_packing", "stages.0.batch_size", 8),
    (
        *(LF, "neat_packing: true\nper_device_train_batch_size: 2", "per_device_train_batch_size"),
        *("differs", "packed sequences", "stages.0.batch_size", 2),
    ),
    (LF, "mix_strategy: interleave_over", "mix_strategy", "differs", "epochs", "data.mixing", None),
    (LF, "interleave_probs: 0.5,0.5", "interleave_probs", "not_carried", "epochs x rows", "data.mixing", None),
    (LF, "max_samples: 10", "max_samples", "differs", "by chance", "data.train.0.num_samples", 10),
    (LF, "val_size: 0.2", "val_size", "differs", "other rows", "data.eval_fraction", 0.2),
    (LF, "val_size: 50", "val_size", "differs", "counts rows", "data.max_eval_rows", 50),
    (LF, "eval_dataset: org/held", "eval_dataset", "carried", "data.eval", "data.eval.0.path", "hf:org/held"),
    (LF, "", "val_size", "differs", "trains on every row", "data.eval_fraction", None),
    (LF, "streaming: true", "streaming", "not_carried", "max_steps", "data.streaming", None),
    (
        *(LF, "streaming: true\nmax_steps: 9\neval_dataset: org/held", "streaming"),
        *("carried", "data.streaming", "data.streaming", True),
    ),
    (LF, "disable_shuffling: true", "disable_shuffling", "carried", "order", "data.order", "file"),
    (
        *(LF, "disable_gradient_checkpointing: true", "disable_gradient_checkpointing"),
        *("carried", "false", "stages.0.gradient_checkpointing", False),
    ),
    (LF, "early_stopping_steps: 3", "early_stopping_steps", "carried", "3", "stages.0.early_stopping_patience", 3),
    (LF, "pure_bf16: true", "pure_bf16", "differs", "float32", "hardware.precision", None),
    (LF, "fp16: true", "fp16", "differs", "float16 is not there", "hardware.precision", None),
    (LF, "bf16: true", "bf16", "carried", "auto", "hardware.precision", None),
    (LF, "deepspeed: ds.json", "deepspeed", "not_carried", "one process", "tune.kind", "lora"),
    (LF, "use_rslora: true", "use_rslora", "carried", "use_rslora", "tune.use_rslora", True),
    (LF, "additional_target: lm_head", "additional_target", "not_carried", "frozen", "tune.kind", "lora"),
    (
        *(LF, "lr_scheduler_type: inverse_sqrt", "lr_scheduler_type"),
        *("differs", "cosine", "stages.0.lr_scheduler_type", "cosine"),
    ),
    (
        *(LF, "lr_scheduler_type: constant_with_warmup", "lr_scheduler_type"),
        *("carried", "rises", "stages.0.lr_scheduler_type", "constant"),
    ),
    (
        *(LF, "lr_scheduler_type: constant\nwarmup_ratio: 0.1", "warmup_ratio"),
        *("ignored", "constant rate", "stages.0.warmup_ratio", 0.0),
    ),
    (LF, "warmup_steps: 20", "warmup_steps", "differs", "20 / all steps", "stages.0.warmup_ratio", None),
    (LF, "warmup_steps: 20\nmax_steps: 200", "warmup_steps", "carried", "20 of 200", "stages.0.warmup_ratio", 0.1),
    (LF, "max_steps: 200", "num_train_epochs", "carried", "does not end", "stages.0.num_train_epochs", 1000.0),
    (LF, "max_steps: -1", "max_steps", "ignored", "no limit", "stages.0.max_steps", None),
    (LF, "max_grad_norm: 0", "max_grad_norm", "carried", "does not clip", "stages.0.max_grad_norm", 1e9),
    (LF, "eval_steps: 0.1", "eval_steps", "differs", "share of the run", "stages.0.eval_steps", None),
    (LF, "load_best_model_at_end: true", "load_best_model_at_end", "carried", "best", "stages.0.keep", "best"),
    (LF, "save_steps: 5", "save_steps", "carried", "validation", "stages.0.save_steps", 5),
    (LF, "save_steps: 5\nsave_strategy: epoch", "save_steps", "ignored", "saving", "stages.0.save_steps", None),
    (LF, "save_steps: 0.5", "save_steps", "ignored", "saving", "stages.0.save_steps", None),
    (LF, "use_cpu: true", "use_cpu", "carried", "cpu", "hardware.device", "cpu"),
    (
        *(LF, "activation_checkpointing: false\ngradient_checkpointing: true", "gradient_checkpointing"),
        *("ignored", "new name", "stages.0.gradient_checkpointing", False),
    ),
    (LF, "report_to: wandb", "report_to", "ignored", "logging", "stages.0.keep", "last"),
    (LF, "use_dora: false", "use_dora", "ignored", "is off", "tune.use_dora", None),
    (LF, "lora_rnak: 4", "lora_rnak", "not_carried", "Did you mean 'lora_rank'?", "tune.rank", 8),
    (LF, "zzz: 4", "zzz", "not_carried", "is not a key of LLaMA-Factory", "tune.rank", 8),
    (AX, "", "(over-long rows)", "carried", "leaves such rows out", "data.overlong", None),
    (AX, "excess_length_strategy: raise", "excess_length_strategy", "carried", "error", "data.overlong", "error"),
    (AX, "excess_length_strategy: truncate", "excess_length_strategy", "differs", "answers too", "data.overlong", None),
    (
        *(AX, "gradient_checkpointing: true\nselective_checkpointing: {save: [attention]}", "selective_checkpointing"),
        *("carried", "memory", "stages.0.gradient_checkpointing", "selective"),
    ),
    (
        *(AX, "gradient_checkpointing: offload", "gradient_checkpointing"),
        *("carried", "true", "stages.0.gradient_checkpointing", True),
    ),
    (AX, "", "adapter", "carried", "every weight", "tune.kind", "full"),
    (
        *(AX, "adapter: lora\nlora_target_linear: true", "lora_target_linear"),
        *("carried", "all", "tune.targets", "all-linear"),
    ),
    (AX, "chat_template: llama3", "chat_template", "differs", "Axolotl's own", "data.template", None),
    (AX, "train_on_inputs: true", "train_on_inputs", "not_carried", "questions", "data.train_on", None),
    (
        *(AX, "dataset_exact_deduplication: true", "dataset_exact_deduplication"),
        *("carried", "drop", "data.duplicates", None),
    ),
    (AX, "shuffle_merged_datasets: false", "shuffle_merged_datasets", "carried", "file", "data.order", "file"),
    (AX, "sample_packing: true", "micro_batch_size", "differs", "packed sequences", "stages.0.batch_size", 1),
    (AX, "", "warmup_ratio", "carried", "0.03", "stages.0.warmup_ratio", 0.03),
    (AX, "", "sequence_len", "carried", "512", "data.cutoff_len", 512),
    (AX, "evals_per_epoch: 4", "evals_per_epoch", "differs", "twice", "stages.0.eval_steps", None),
    (AX, "test_datasets: [{path: org/t}]", "test_datasets.0.path", "carried", "hf", "data.eval.0.path", "hf:org/t"),
    (AX, "fsdp_config: {a: 1}", "fsdp_config", "not_carried", "one process", "tune.kind", "full"),
    (TRL, "", "(over-long rows)", "differs", "cuts the end", "data.overlong", None),
    (TRL, "truncation_mode: keep_end", "truncation_mode", "differs", "cuts nothing", "data.overlong", None),
    (TRL, "max_length: null", "max_length", "differs", "no limit", "data.cutoff_len", 32768),
    (TRL, "", "assistant_only_loss", "differs", "questions too", "data.train_on", None),
    (TRL, "assistant_only_loss: true", "assistant_only_loss", "carried", "answers alone", "data.train_on", None),
    (TRL, "completion_only_loss: false", "completion_only_loss", "differs", "learns prompts", "data.train_on", None),
    (TRL, "packing: true", "packing", "carried", "apart", "stages.0.batch_size", 8),
    (
        *(TRL, "packing: true\npacking_strategy: wrapped", "packing_strategy"),
        *("differs", "pieces", "stages.0.batch_size", 8),
    ),
    (TRL, "", "(template)", "differs", "hidden system text", "data.template", None),
    (TRL, "use_peft: true", "lora_alpha", "carried", "32", "tune.alpha", 32.0),
    (TRL, "lora_r: 4", "lora_r", "ignored", "without use_peft", "tune.kind", "full"),
    (TRL, "", "learning_rate", "carried", "2e-05", "stages.0.learning_rate", 2e-5),
    (TRL, "dataset_config: en", "dataset_config", "carried", "subset", "data.train.0.subset", "en"),
    (
        *(TRL, "dataset_text_field: body", "dataset_text_field"),
        *("carried", "columns", "data.train.0.columns", {"text": "body"}),
    ),
    (TRL, "loss_type: dft", "loss_type", "not_carried", "another loss", "stages.0.objective", None),
    (TRL, "num_processes: 4", "num_processes", "differs", "4 processes", "stages.0.batch_size", 32),
    (TRL, "env: {A: 1}", "env.A", "ignored", "processes", "stages.0.batch_size", 8),
    (SWIFT, "", "truncation_strategy", "carried", "leaves such rows out", "data.overlong", None),
    (SWIFT, "truncation_strategy: left", "truncation_strategy", "differs", "left end", "data.overlong", None),
    (
        *(SWIFT, "truncation_strategy: split", "truncation_strategy"),
        *("differs", "stretches", "data.overlong", "split_turns"),
    ),
    (SWIFT, "loss_scale: last_round", "loss_scale", "carried", "last", "data.train_on", "last"),
    (SWIFT, "loss_scale: hermes", "loss_scale", "not_carried", "patterns", "data.train_on", None),
    (SWIFT, "loss_scale: all", "loss_scale", "not_carried", "questions", "data.train_on", None),
    (SWIFT, "system: Be kind.", "system", "not_carried", "Write it into the rows", "data.template", None),
    (SWIFT, "", "max_length", "differs", "model's own limit", "data.cutoff_len", 32768),
    (SWIFT, "use_hf: true", "use_hf", "carried", "Hugging Face", "model.source", "hf:org/model"),
    (SWIFT, "", "dataset", "differs", "ModelScope", "model.source", "modelscope:org/model"),
    (SWIFT, "train_type: full", "train_type", "carried", "full", "stages.0.learning_rate", 1e-5),
    (SWIFT, "", "learning_rate", "carried", "0.0001", "stages.0.learning_rate", 1e-4),
    (
        *(SWIFT, "per_device_train_batch_size: 3", "gradient_accumulation_steps"),
        *("carried", "3 x 6", "stages.0.batch_size", 18),
    ),
    (SWIFT, "early_stop_interval: 3", "early_stop_interval", "carried", "3", "stages.0.early_stopping_patience", 3),
    (SWIFT, "dataset_shuffle: false", "dataset_shuffle", "carried", "order", "data.order", "file"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{case[2]}-{index}" for index, case in enumerate(CASES)])
def test_a_difference_is_said_and_done(case: tuple[str, str, str, str, str, str, object], tmp_path: Path) -> None:
    tool, lines, key, kind, text, dotted, value = case
    imported = import_text(tool, tmp_path, lines + "\n")
    note = note_of(imported, key)
    assert (note.kind, text in note.text) == (kind, True), note
    assert field(imported, dotted) == value


@pytest.mark.parametrize(
    ("entry", "key", "kind", "expected"),
    [
        ("type: alpaca", "type", "differs", {"format": "alpaca"}),
        ("type: 'alpaca:chat'", "type", "differs", {"format": "alpaca"}),
        ("type: alpaca_chat.load_qa", "type", "differs", {"format": "alpaca"}),
        ("type: sharegpt", "type", "carried", {"format": "sharegpt"}),
        ("type: input_output", "type", "carried", {"format": "segments"}),
        ("{type: completion, field: body}", "field", "carried", {"format": "text", "columns": {"text": "body"}}),
        ("type: metharme", "type", "not_carried", {}),
        ("{type: alpaca, name: en}", "name", "carried", {"format": "alpaca", "subset": "en"}),
        ("{type: alpaca, split: 'train[:5%]'}", "split", "differs", {"format": "alpaca", "split": "train"}),
        ("{type: alpaca, shards: 10}", "shards", "not_carried", {"format": "alpaca"}),
        ("{type: chat_template, train_on_eos: last}", "train_on_eos", "differs", {"format": "messages"}),
        ("{type: chat_template, roles_to_train: [user]}", "roles_to_train", "differs", {"format": "messages"}),
        ("{type: chat_template, roles_to_train: [assistant]}", "roles_to_train", "carried", {"format": "messages"}),
        (
            "{type: chat_template, message_field_training: train}",
            "message_field_training",
            "carried",
            {"format": "messages", "columns": {"messages.weight": "train"}},
        ),
        (
            "{type: chat_template, message_field_training_detail: spans}",
            "message_field_training_detail",
            "not_carried",
            {"format": "messages"},
        ),
        (
            "{type: chat_template, field_tools: functions, message_field_role: from, message_field_content: value}",
            "field_tools",
            "carried",
            {
                "format": "messages",
                "columns": {"tools": "functions", "messages.role": "from", "messages.content": "value"},
            },
        ),
        (
            "{type: chat_template, roles: {assistant: [bot, assistant], user: [asker]}}",
            "roles.assistant",
            "carried",
            {"format": "messages", "roles": {"bot": "assistant", "asker": "user"}},
        ),
        (
            "type: {field_instruction: q, field_output: a, format: '{instruction}'}",
            "type.format",
            "not_carried",
            {"format": "alpaca", "columns": {"instruction": "q", "output": "a"}, "only_columns": True},
        ),
    ],
)
def test_an_axolotl_data_set_is_read_key_by_key(
    entry: str, key: str, kind: str, expected: dict[str, object], tmp_path: Path
) -> None:
    body = entry.removeprefix("{").removesuffix("}") if entry.startswith("{") else entry
    head = f"base_model: org/model\ndatasets:\n  - {{path: org/rows, {body}}}\n"
    imported = import_text("axolotl", tmp_path, head=head)
    assert note_of(imported, f"datasets.0.{key}").kind == kind
    assert field(imported, "data.train.0") == {"path": "hf:org/rows", **expected}


def test_files_of_an_axolotl_data_set_are_found(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    head = "base_model: org/model\ndatasets: [{path: json, ds_type: json, data_files: rows.jsonl, type: alpaca}]\n"
    assert field(import_text("axolotl", tmp_path, head=head), "data.train.0.path") == "rows.jsonl"
    head = "base_model: org/model\ndatasets: [{path: rows.jsonl, type: alpaca}]\n"
    assert field(import_text("axolotl", tmp_path, head=head), "data.train.0.path") == "rows.jsonl"


def test_an_unknown_key_of_a_data_set_is_said(tmp_path: Path) -> None:
    head = "base_model: org/model\ndatasets: [{path: org/rows, typ: alpaca}]\n"
    imported = import_text("axolotl", tmp_path, head=head)
    assert note_of(imported, "datasets.0.typ").kind == "not_carried"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/rows#50", [{"path": "hf:org/rows", "num_samples": 50}]),
        ("HF::org/rows", [{"path": "hf:org/rows"}]),
        ("org/rows:en/zh#5", [{"path": "hf:org/rows", "num_samples": 5, "subset": part} for part in ("en", "zh")]),
        ("rows.jsonl#5", [{"path": "rows.jsonl", "num_samples": 5}]),
    ],
)
def test_a_swift_data_set_is_split_into_its_parts(text: str, expected: list[object], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    imported = import_text("ms-swift", tmp_path, head=f"model: org/model\ndataset: ['{text}']\n")
    assert field(imported, "data.train") == expected


def test_a_mixture_of_trl_is_read_entry_by_entry(tmp_path: Path) -> None:
    head = "model_name_or_path: org/model\ndatasets:\n  - path: org/a\n    name: en\n    split: val\n  - path: org/b\n"
    imported = import_text("trl", tmp_path, head=head)
    expected = [{"path": "hf:org/a", "subset": "en", "split": "val"}, {"path": "hf:org/b"}]
    assert field(imported, "data.train") == expected


@pytest.mark.parametrize(
    ("tool", "line", "reason"),
    [
        ("llamafactory", "stage: ppo", "PPO"),
        ("llamafactory", "stage: rm", "reward"),
        ("axolotl", "rl: grpo", "rl: grpo"),
        ("axolotl", "process_reward_model: true", "reward"),
        ("trl", "num_generations: 8", "num_generations"),
        ("ms-swift", "rlhf_type: grpo", "grpo"),
        ("ms-swift", "task_type: seq_cls", "seq_cls"),
        ("ms-swift", "tuner_type: adalora", "adalora"),
    ],
)
def test_a_method_that_cannot_be_trained_leaves_the_data(tool: str, line: str, reason: str, tmp_path: Path) -> None:
    imported = import_text(tool, tmp_path, line + "\n")
    assert reason in imported.untrainable
    assert set(imported.recipe) == {"name", "model", "data"}


@pytest.mark.parametrize(
    ("tool", "line", "message"),
    [
        ("llamafactory", "learning_rate: fast", r"config.yaml:4: learning_rate: is not a number \(got fast\)"),
        ("llamafactory", "learning_rate: .nan", "not a finite number"),
        ("llamafactory", "learning_rate: -1", "above 0"),
        ("llamafactory", "lora_rank: 0", "at least 1"),
        ("llamafactory", "lora_rank: 2.5", "not a whole number"),
        ("llamafactory", "lora_dropout: 1", "below 1"),
        ("llamafactory", "bf16: perhaps", "not true or false"),
        ("llamafactory", "stage: dqo", "no stage 'dqo'"),
        ("llamafactory", "per_device_train_batch_size: 0", "at least 1"),
        ("llamafactory", "cutoff_len: 4", "at least 8"),
        ("llamafactory", "val_size: -0.1", "share or a number"),
        ("axolotl", "excess_length_strategy: cut", "no 'cut'"),
        ("ms-swift", "truncation_strategy: cut", "no 'cut'"),
        ("trl", "lora_target_modules: {a: 1}\nuse_peft: true", "not a list of names"),
    ],
)
def test_a_value_that_is_none_is_an_error_with_its_line(tool: str, line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        import_text(tool, tmp_path, line + "\n")
