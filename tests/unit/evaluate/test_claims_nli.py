"""A classifier of pairs as a checker: tiny models made here, one of which is right by construction."""

import json
from pathlib import Path

import pytest

from tuneloop.core.errors import ConfigError, ModelError
from tuneloop.evaluate.claims.build import build_checker
from tuneloop.evaluate.claims.checker import Pair
from tuneloop.evaluate.claims.nli import NliChecker, NliSettings, find_support, load_nli

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "rent", "is", "due", "mill", "burnt", "gold", ".", "word"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BERT of one layer with words for tokens."""
    return make_model(tmp_path / "nli", {0: "contradiction", 1: "neutral", 2: "entailment"})


def make_model(folder: Path, labels: dict[int, str], *, positions: int = 64) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir()
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    BertTokenizerFast(vocab=vocabulary, model_max_length=positions).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=positions,
        id2label=labels,
        label2id={name: number for number, name in labels.items()},
    )
    network = BertForSequenceClassification(config)
    make_gold_detector(network)
    network.save_pretrained(folder)
    return folder


def make_gold_detector(network) -> None:
    """Set the weights so that the last label wins where "gold" stands in the text, and the first one else.

    Attention is uniform and hands on one feature: whether the word is gold.
    """
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        bert = network.bert
        # Two opposite features, so that the layer norms, which centre, keep them.
        bert.embeddings.word_embeddings.weight[WORDS.index("gold"), :2] = torch.tensor([1.0, -1.0])
        for norm in (module for module in network.modules() if isinstance(module, torch.nn.LayerNorm)):
            norm.weight.fill_(1.0)
        layer = bert.encoder.layer[0]
        layer.attention.self.value.weight.copy_(torch.eye(16))
        layer.attention.output.dense.weight.copy_(torch.eye(16))
        bert.pooler.dense.weight.copy_(torch.eye(16))
        network.classifier.weight[-1, 0] = 20.0
        network.classifier.bias[0] = 1.0


def test_the_model_made_here_sees_gold(folder: Path) -> None:
    checker = load_nli(str(folder))
    gold, none = checker.check(
        [Pair("the mill is gold .", "the rent is due ."), Pair("the mill burnt .", "the rent is due .")]
    )
    assert gold.supported
    assert gold.score > 0.9
    assert not none.supported
    assert none.score < 0.3
    assert checker.name == f"nli:{folder}"


def test_the_best_piece_of_a_long_source_counts(folder: Path) -> None:
    checker = load_nli(str(folder), NliSettings(chunk_tokens=12))
    source = "\n".join(["the mill burnt ."] * 30 + ["the rent is gold ."] + ["the mill burnt ."] * 30)
    claim = "the rent is due ."
    found, missing = checker.check([Pair(source, claim), Pair(source.replace("gold", "due"), claim)])
    alone = max(checker.check([Pair(piece, claim)])[0].score for piece in source.split("\n"))
    assert found.supported
    assert not missing.supported
    assert found.score <= alone + 1e-6


def test_batches_change_nothing(folder: Path) -> None:
    pairs = [Pair("the mill is gold . " * number, "the rent is due .") for number in range(6)]
    one, many = (load_nli(str(folder), NliSettings(batch_size=size, chunk_tokens=12)).check(pairs) for size in (1, 16))
    assert [verdict.score for verdict in one] == pytest.approx([verdict.score for verdict in many], abs=1e-5)
    assert one[0].score == 0
    assert not one[0].supported


def test_the_threshold_can_be_set_and_is_part_of_the_version(folder: Path) -> None:
    pair = [Pair("the mill burnt .", "the rent is due .")]
    strict, loose = (load_nli(str(folder), NliSettings(threshold=limit)) for limit in (0.5, 0.01))
    assert not strict.check(pair)[0].supported
    assert loose.check(pair)[0].supported
    assert strict.version != loose.version


@pytest.mark.slow
def test_claims_longer_than_the_model_are_cut_and_do_not_fail(folder: Path) -> None:
    verdicts = load_nli(str(folder)).check([Pair("the mill . " * 500, "word " * 500), Pair("", "the rent is due .")])
    assert [verdict.supported for verdict in verdicts] == [False, False]


@pytest.mark.parametrize(
    ("labels", "wanted", "index"),
    [
        (["contradiction", "neutral", "entailment"], None, 2),
        (["ENTAILMENT", "NEUTRAL", "CONTRADICTION"], None, 0),
        (["entailment", "not_entailment"], None, 0),
        (["non-entailment", "entailment"], None, 1),
        (["unsupported", "supported"], None, 1),
        (["inconsistent", "consistent"], None, 1),
        (["LABEL_0", "LABEL_1"], None, 1),
        (["蕴含", "中立", "矛盾"], None, 0),
        (["LABEL_0", "LABEL_1", "LABEL_2"], "label_2", 2),
    ],
)
def test_the_label_of_support(labels: list[str], wanted: str | None, index: int) -> None:
    assert find_support(dict(enumerate(labels)), wanted) == index


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [(["LABEL_0", "LABEL_1", "LABEL_2"], None), (["a", "b"], "c"), (["entailment", "entails"], None), (["one"], None)],
)
def test_labels_that_do_not_say_it_are_asked_for(labels: list[str], wanted: str | None) -> None:
    with pytest.raises(ConfigError, match="which of the model's labels"):
        find_support(dict(enumerate(labels)), wanted)


def test_names_lead_to_the_checker(folder: Path) -> None:
    assert isinstance(build_checker(f"nli:{folder}"), NliChecker)
    with pytest.raises(ModelError, match="checker: no folder"):
        build_checker("nli:nowhere")


def test_a_model_without_a_head_is_refused(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "classifier" not in name}, folder / "model.safetensors"
    )
    with pytest.raises(ModelError, match=r"no classifier of pairs: it lacks classifier"):
        load_nli(str(folder))


def test_pickled_weights_and_foreign_code_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled"):
        load_nli(str(folder))
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "strange", "auto_map": {"AutoModelForSequenceClassification": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('foreign code ran')")
    with pytest.raises(ModelError, match="does not load"):
        load_nli(str(folder))
