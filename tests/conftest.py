"""Tiny models of several families, made in the tests: nothing is fetched."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Examples take as long as a busy machine needs for them; how long is no finding.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Before anything loads torch: threads that wait by spinning take the cores from the tests beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "shared" in item.keywords and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason="the folder of real data is not beside the checkout"))
        if "gpu" in item.keywords:
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Whatever the test before asked for: tiny products are slower on two threads, and workers share the cores."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)


@pytest.fixture
def shared() -> Path:
    """The folder of real data."""
    return SHARED


def write_tokenizer(folder: Path, *, chat_template: str | None = CHATML) -> int:
    """A small byte-level tokenizer with ChatML's tokens; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat and the dog ran to the house"] * 4, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIAL[2], "pad_token": SPECIAL[0]}
    config |= {"bos_token": SPECIAL[1], "model_max_length": 4096}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if chat_template:
        (folder / "chat_template.jinja").write_text(chat_template)
    return tokenizer.get_vocab_size()


FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gpt2")


def write_model(folder: Path, family: str = "llama", *, seed: int = 0, chat_template: str | None = CHATML) -> Path:
    """A random network of a few thousand weights with a tokenizer, saved as anyone would."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    vocab_size = write_tokenizer(folder, chat_template=chat_template)
    common = {"vocab_size": vocab_size, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
    if family == "gpt2":
        shape = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 512}
    else:
        shape = {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 512,
        }
    if family == "mistral":
        shape["sliding_window"] = 16
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **common, **shape), dtype=torch.float32)
    # Freshly made weights are so small that every answer looks alike: spread them.
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6.0)
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama, made once."""
    return write_model(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def family_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny model of a family, each made once."""
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = write_model(tmp_path_factory.mktemp("models") / family, family)
        return made[family]

    return get


def alpaca_rows(number: int) -> list[dict[str, str]]:
    """Rows of different lengths, all different."""
    words = ["the", "cat", "dog", "mat", "house", "ran", "sat", "on"]
    return [
        {
            "instruction": f"Say {' '.join(words[(i + j) % 8] for j in range(2 + i % 7))} {i}",
            "input": "",
            "output": f"{' '.join(words[(i * 3 + j) % 8] for j in range(1 + i % 5))} {i % 10}",
        }
        for i in range(number)
    ]


@pytest.fixture
def recipe(tmp_path: Path, tiny_model: Path) -> Callable[..., Path]:
    """Write a small recipe with its rows; sections are replaced by keyword."""
    import yaml

    def write(rows: int = 24, **sections: object) -> Path:
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in alpaca_rows(rows)))
        values: dict[str, object] = {
            "name": "tiny",
            "model": {"source": str(tiny_model)},
            "data": {"train": ["rows.jsonl"], "eval_fraction": 0.25, "cutoff_len": 256},
            "tune": {"kind": "lora", "rank": 4, "alpha": 8},
            "stages": [{"num_train_epochs": 2, "batch_size": 8, "learning_rate": 1e-2, "micro_batch_tokens": 128}],
            "evaluate": {"metrics": ["exact_match", "rougeL"], "generate": {"max_new_tokens": 8}, "resamples": 100},
            "hardware": {"threads": 1},
        }
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(values | sections))
        return path

    return write
