"""Which weights move, and on which base: each way of tuning becomes the section of the recipe that means the same."""

import fnmatch
import re
from pathlib import Path

import pytest
from importer_kit import field, import_text, note_of

from tuneloop.core.errors import ConfigError
from tuneloop.importers.tuning import names_of
from tuneloop.plan import Plan

LF, AX, TRL, SWIFT = "llamafactory", "axolotl", "trl", "ms-swift"
QUANT, DOUBLE = "model.quantization", "model.double_quantization"
PATTERNS = "tune.trainable_patterns"
# tool, lines of the config, key -> kind and part of the text, field of the recipe -> value
CASES: list[tuple[str, str, dict[str, tuple[str, str]], dict[str, object]]] = [
    # LoRA's relatives
    (LF, "use_dora: true", {"use_dora": ("carried", "use_dora")}, {"tune.use_dora": True, "tune.use_rslora": None}),
    (TRL, "use_peft: true\nuse_dora: true", {"use_dora": ("carried", "use_dora")}, {"tune.use_dora": True}),
    (TRL, "use_dora: true", {"use_dora": ("ignored", "without use_peft")}, {"tune.kind": "full"}),
    (
        *(AX, "adapter: lora\npeft_use_dora: true\npeft_use_rslora: true", {"peft_use_dora": ("carried", "use_dora")}),
        {"tune.use_dora": True, "tune.use_rslora": True},
    ),
    (AX, "peft_use_dora: true", {"peft_use_dora": ("ignored", "without an adapter")}, {"tune.kind": "full"}),
    (
        *(LF, "loraplus_lr_ratio: 16\nloraplus_lr_embedding: 1e-6\nweight_decay: 0.1"),
        {"loraplus_lr_ratio": ("carried", "rate of A"), "loraplus_lr_embedding": ("ignored", "embeddings")},
        {"tune.loraplus_lr_ratio": 16.0, "stages.0.weight_decay": 0.1},
    ),
    (
        *(AX, "adapter: lora\nloraplus_lr_ratio: 8\nweight_decay: 0.1"),
        {"loraplus_lr_ratio": ("carried", "A"), "weight_decay": ("ignored", "beside loraplus_lr_ratio")},
        {"tune.loraplus_lr_ratio": 8.0, "stages.0.weight_decay": 0.0},
    ),
    (SWIFT, "lorap_lr_ratio: 4", {"lorap_lr_ratio": ("carried", "A")}, {"tune.loraplus_lr_ratio": 4.0}),
    (SWIFT, "lora_lr_ratio: 4", {"lora_lr_ratio": ("carried", "A")}, {"tune.loraplus_lr_ratio": 4.0}),
    (
        *(SWIFT, "lorap_lr_ratio: 4\noptimizer: muon", {"lorap_lr_ratio": ("ignored", "beside optimizer: muon")}),
        {"tune.loraplus_lr_ratio": None, "stages.0.optimizer": "muon"},
    ),
    (
        *(AX, "adapter: lora\nlora_rank_pattern: {q_proj: 32, 'mlp.*': 4}\nlora_alpha_pattern: {q_proj: 64}"),
        {"lora_rank_pattern": ("carried", "matches no layer"), "lora_alpha_pattern": ("carried", "alpha_pattern")},
        {"tune.rank_pattern": {"q_proj": 32, "mlp.*": 4}, "tune.alpha_pattern": {"q_proj": 64.0}},
    ),
    # How A and B begin
    (
        *(LF, "pissa_init: true\npissa_iter: -1", {"pissa_iter": ("carried", "exact")}),
        {"tune.init": "pissa", "tune.pissa_iterations": None},
    ),
    (LF, "pissa_init: true", {"pissa_iter": ("carried", "16")}, {"tune.init": "pissa", "tune.pissa_iterations": 16}),
    (LF, "pissa_iter: 4", {"pissa_iter": ("ignored", "without pissa_init")}, {"tune.init": None}),
    (
        *(AX, "adapter: lora\npeft_init_lora_weights: pissa_niter_8", {"peft_init_lora_weights": ("carried", "8")}),
        {"tune.init": "pissa", "tune.pissa_iterations": 8},
    ),
    (SWIFT, "init_weights: olora", {"init_weights": ("carried", "olora")}, {"tune.init": "olora"}),
    (SWIFT, "init_weights: gaussian", {"init_weights": ("carried", "gaussian")}, {"tune.init": "gaussian"}),
    (SWIFT, "init_weights: 'true'", {"init_weights": ("carried", "default")}, {"tune.init": None}),
    (SWIFT, "init_weights: 'false'", {"init_weights": ("not_carried", "random B")}, {"tune.init": None}),
    (SWIFT, "init_weights: lora-ga", {"init_weights": ("not_carried", "not a way to begin")}, {"tune.init": None}),
    (
        *(AX, "adapter: lora\npeft: {loftq_config: {loftq_bits: 4}}", {"peft": ("not_carried", "LoftQ")}),
        {"tune.init": None, QUANT: None},
    ),
    # Chosen layers
    (
        *(SWIFT, "target_regex: '.*\\.(q_proj|v_proj)$'\ntarget_modules: [all-linear]"),
        {"target_regex": ("carried", "q_proj"), "target_modules": ("ignored", "beside target_regex")},
        {"tune.targets": ["q_proj", "v_proj"]},
    ),
    (
        *(SWIFT, "target_regex: 'model.layers.[0-3].*'", {"target_regex": ("differs", "pattern")}),
        {"tune.targets": "all-linear"},
    ),
    (
        *(SWIFT, "target_modules: [all-linear, lm_head]", {"target_modules": ("differs", "without lm_head")}),
        {"tune.targets": "all-linear"},
    ),
    # Other ways of tuning
    (
        *(LF, "finetuning_type: oft\noft_block_size: 16\noft_target: q_proj\nlora_target: v_proj\nlora_rank: 4"),
        {"oft_target": ("ignored", "not read"), "lora_target": ("carried", "v_proj"), "lora_rank": ("ignored", "oft")},
        {"tune.kind": "oft", "tune.block_size": 16, "tune.targets": ["v_proj"], "tune.rank": None},
    ),
    (
        *(LF, "finetuning_type: oft\noft_rank: 8\nmodule_dropout: 0.1\nuse_dora: true"),
        {
            "oft_rank": ("differs", "one width"),
            "module_dropout": ("not_carried", "no dropout"),
            "use_dora": ("ignored", "oft"),
        },
        {"tune.kind": "oft", "tune.block_size": 32, "tune.use_dora": None},
    ),
    (
        *(SWIFT, "tuner_type: vera\nvera_rank: 64\nvera_projection_prng_key: 3\ntarget_modules: v_proj\nlora_rank: 9"),
        {
            "tuner_type": ("carried", "vera"),
            "vera_projection_prng_key": ("differs", "seed"),
            "lora_rank": ("ignored", "vera"),
        },
        {"tune.kind": "vera", "tune.rank": 64, "tune.d_initial": 0.1, "tune.targets": ["v_proj"]},
    ),
    (SWIFT, "tuner_type: vera", {"(target_modules)": ("differs", "v_proj")}, {"tune.targets": "all-linear"}),
    (SWIFT, "tuner_type: ia3", {"tuner_type": ("differs", "keys, values")}, {"tune.kind": "ia3"}),
    (
        *(SWIFT, "tuner_type: adapter\nadapter_length: 64", {"tuner_type": ("differs", "silent")}),
        {"tune.kind": "adapter", "tune.style": "pfeiffer", "tune.bottleneck": 64, "tune.activation": "gelu"},
    ),
    (
        *(SWIFT, "tuner_type: adapter\nadapter_act: mish", {"adapter_act": ("differs", "mish")}),
        {"tune.activation": "gelu", "tune.bottleneck": 128},
    ),
    (
        *(SWIFT, "adapter_length: 64\nvera_rank: 2\nfreeze_parameters_ratio: 0.5", {"vera_rank": ("ignored", "lora")}),
        {"tune.kind": "lora", "tune.bottleneck": None},
    ),
    # Freezing
    (LF, "finetuning_type: freeze", {"freeze_trainable_layers": ("carried", "2")}, {"tune.trainable_blocks": 2}),
    (
        *(LF, "finetuning_type: freeze\nfreeze_trainable_layers: -2\nfreeze_extra_modules: embed_tokens,norm"),
        {"freeze_trainable_layers": ("carried", "first 2"), "freeze_extra_modules": ("carried", "norm")},
        {"tune.trainable_blocks": 0, PATTERNS: ["*.0.*", "*.1.*", "*embed_tokens*", "*norm*"]},
    ),
    (
        *(LF, "finetuning_type: freeze\nfreeze_trainable_layers: -1\nfreeze_trainable_modules: mlp,self_attn"),
        {"freeze_trainable_modules": ("carried", "trainable_patterns")},
        {"tune.trainable_blocks": 0, PATTERNS: ["*.0.mlp*", "*.0.self_attn*"]},
    ),
    (
        *(LF, "finetuning_type: freeze\nfreeze_trainable_modules: mlp"),
        {"freeze_trainable_modules": ("differs", "only mlp")},
        {"tune.trainable_blocks": 2, PATTERNS: None},
    ),
    (
        *(AX, "unfrozen_parameters: ['^lm_head.weight$', '^model.layers.3.+mlp', model.norm.*]"),
        {"unfrozen_parameters": ("carried", "trainable_patterns")},
        {
            "tune.kind": "freeze",
            "tune.trainable_blocks": 0,
            PATTERNS: ["lm_head.weight", "model.layers.3?*mlp*", "model.norm*"],
        },
    ),
    (
        *(AX, "unfrozen_parameters: ['^lm_head.weight$[:32000]']", {"unfrozen_parameters": ("not_carried", "every")}),
        {"tune.kind": "full", PATTERNS: None},
    ),
    (
        *(AX, "adapter: lora\nunfrozen_parameters: [lm_head]", {"unfrozen_parameters": ("not_carried", "adapter")}),
        {"tune.kind": "lora", PATTERNS: None},
    ),
    (
        *(SWIFT, "train_type: full\nfreeze_parameters_ratio: 1\ntrainable_parameters: [model.norm, lm_head]"),
        {"trainable_parameters": ("carried", "model.norm"), "freeze_parameters_ratio": ("carried", "all but")},
        {"tune.kind": "freeze", PATTERNS: ["model.norm*", "lm_head*"], "stages.0.learning_rate": 1e-5},
    ),
    (
        *(SWIFT, "train_type: full\nfreeze_parameters_ratio: 0.5"),
        {"freeze_parameters_ratio": ("not_carried", "every weight moves")},
        {"tune.kind": "full"},
    ),
    # A base in 4 or 8 bits
    (LF, "quantization_bit: 4", {"quantization_bit": ("carried", "nf4")}, {QUANT: "nf4", DOUBLE: None}),
    (
        *(LF, "quantization_bit: 4\nquantization_type: fp4\ndouble_quantization: false"),
        {"quantization_type": ("carried", "fp4"), "double_quantization": ("carried", "false")},
        {QUANT: "fp4", DOUBLE: False},
    ),
    (LF, "quantization_bit: 8", {"quantization_bit": ("differs", "rounds the inputs")}, {QUANT: "int8"}),
    (
        *(LF, "quantization_bit: 3\nquantization_method: hqq", {"quantization_bit": ("differs", "hqq in 3 bits")}),
        {QUANT: "nf4"},
    ),
    (
        *(LF, "quantization_method: bnb\nquantization_type: fp4", {"quantization_type": ("ignored", "not quantised")}),
        {QUANT: None},
    ),
    (
        *(LF, "quantization_bit: 4\nfinetuning_type: full"),
        {"quantization_bit": ("not_carried", "weights themselves")},
        {QUANT: None, "tune.kind": "full"},
    ),
    (
        *(LF, "quantization_bit: 4\npissa_init: true", {"quantization_bit": ("not_carried", "takes a part out")}),
        {QUANT: None, "tune.init": "pissa"},
    ),
    (LF, "quantization_bit: 4\nfinetuning_type: oft", {}, {QUANT: "nf4", "tune.kind": "oft"}),
    (LF, "quantization_bit: 4\nuse_dora: true", {}, {QUANT: "nf4", "tune.use_dora": True}),
    (AX, "adapter: qlora\nload_in_4bit: true", {"load_in_4bit": ("carried", "nf4")}, {QUANT: "nf4", DOUBLE: None}),
    (AX, "adapter: qlora", {"load_in_4bit": ("carried", "nf4")}, {QUANT: "nf4", "tune.kind": "lora"}),
    (
        *(AX, "adapter: qlora\nbnb_config_kwargs: {bnb_4bit_quant_type: fp4, llm_int8_threshold: 1}"),
        {
            "bnb_config_kwargs.bnb_4bit_quant_type": ("carried", "fp4"),
            "bnb_config_kwargs.llm_int8_threshold": ("not_carried", "nothing else"),
        },
        {QUANT: "fp4"},
    ),
    (AX, "adapter: lora\nload_in_4bit: true", {"load_in_4bit": ("ignored", "qlora takes")}, {QUANT: None}),
    (AX, "adapter: lora\nload_in_8bit: true", {"load_in_8bit": ("differs", "rounds the inputs")}, {QUANT: "int8"}),
    (AX, "load_in_8bit: true", {"load_in_8bit": ("not_carried", "without an adapter")}, {QUANT: None}),
    (AX, "adapter: lora\ngptq: true", {"gptq": ("not_carried", "quantised already")}, {QUANT: None}),
    (
        *(TRL, "use_peft: true\nload_in_4bit: true", {"use_bnb_nested_quant": ("carried", "False")}),
        {QUANT: "nf4", DOUBLE: False},
    ),
    (
        *(TRL, "use_peft: true\nload_in_4bit: true\nuse_bnb_nested_quant: true\nbnb_4bit_quant_storage: uint8"),
        {"use_bnb_nested_quant": ("carried", "true"), "bnb_4bit_quant_storage": ("ignored", "types")},
        {QUANT: "nf4", DOUBLE: True},
    ),
    (TRL, "load_in_4bit: true", {"load_in_4bit": ("not_carried", "weights themselves")}, {QUANT: None}),
    (SWIFT, "quant_method: bnb\nquant_bits: 4", {"quant_bits": ("carried", "nf4")}, {QUANT: "nf4", DOUBLE: None}),
    (SWIFT, "quant_bits: 4", {"quant_bits": ("ignored", "without quant_method")}, {QUANT: None}),
    (SWIFT, "quant_method: fp8", {"quant_method": ("differs", "fp8 in 8 bits")}, {QUANT: "int8"}),
    (SWIFT, "quant_method: gptq\nquant_bits: 4", {"quant_method": ("not_carried", "already")}, {QUANT: None}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{index}" for index, case in enumerate(CASES)])
def test_a_way_of_tuning_becomes_the_section_that_means_the_same(
    case: tuple[str, str, dict[str, tuple[str, str]], dict[str, object]], tmp_path: Path
) -> None:
    tool, lines, notes, fields = case
    imported = import_text(tool, tmp_path, lines + "\n")
    for key, (kind, text) in notes.items():
        note = note_of(imported, key)
        assert (note.kind, text in note.text) == (kind, True), note
    assert {dotted: field(imported, dotted) for dotted in fields} == fields
    assert not imported.untrainable
    Plan.model_validate(imported.recipe)


@pytest.mark.parametrize(
    ("tool", "lines", "message"),
    [
        (LF, "quantization_bit: 3", "bitsandbytes has 4 and 8"),
        (LF, "quantization_bit: 4\nquantization_type: nf5", "no 'nf5'"),
        (LF, "pissa_init: true\npissa_iter: 0", "-1 for an exact"),
        (LF, "finetuning_type: oft\noft_block_size: 1", "at least 2"),
        (LF, "finetuning_type: freeze\nfreeze_trainable_layers: -1000000", "so many blocks"),
        (LF, "loraplus_lr_ratio: 0", "above 0"),
        (AX, "adapter: lora\nlora_rank_pattern: {q_proj: 0}", "lora_rank_pattern.q_proj: is 0; give a number of at"),
        (AX, "adapter: lora\nlora_rank_pattern: {'(': 4}", "no regular expression"),
        (AX, "adapter: lora\nlora_rank_pattern: {q_proj: null}", "is empty"),
        (AX, "adapter: lora\nlora_r: 7\npeft_init_lora_weights: orthogonal", "even ranks"),
        (TRL, "use_peft: true\nload_in_4bit: true\nload_in_8bit: true", "Keep one"),
        (SWIFT, "quant_method: bnb", "quant_bits is missing"),
        (SWIFT, "tuner_type: vera\nvera_dropout: 1", "below 1"),
    ],
)
def test_a_setting_that_cannot_be_trained_with_is_an_error(tool: str, lines: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        import_text(tool, tmp_path, lines + "\n")


NAMES = [
    *(f"model.layers.{block}.{part}" for block in (0, 1, 3, 10, 31) for part in ("mlp.up_proj.weight", "norm.weight")),
    *("model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", "language_model.lm_head.weight"),
]


@pytest.mark.parametrize(
    "items",
    [
        ["^lm_head.weight$"],
        ["lm_head"],
        ["^model.layers.3.+mlp"],
        ["model.layers.1.mlp.*", "^model.norm.weight$"],
        ["^model.embed_tokens.weight$", "^model.layers.1"],
    ],
)
def test_unfrozen_names_are_those_that_axolotl_would_move(items: list[str], tmp_path: Path) -> None:
    # Axolotl's own rule: a dot is a dot unless a plus follows, and the beginning decides.
    rules = [re.compile(re.sub(r"\.(?!\+)", r"\\.", item)) for item in items]
    expected = {name for name in NAMES if any(rule.match(name) for rule in rules)}
    imported = import_text(AX, tmp_path, f"unfrozen_parameters: {items}\n")
    patterns = field(imported, PATTERNS)
    assert isinstance(patterns, list)
    assert {name for name in NAMES if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)} == expected
    assert expected


@pytest.mark.parametrize("modules", ["all", "mlp", "mlp,norm"])
def test_first_blocks_are_those_that_llamafactory_would_move(modules: str, tmp_path: Path) -> None:
    # LLaMA-Factory's own rule: `.0.mlp` anywhere in the name.
    wanted = [f".{block}.{'' if name == 'all' else name}" for block in range(2) for name in modules.split(",")]
    expected = {name for name in NAMES if any(part in name for part in wanted)}
    lines = f"finetuning_type: freeze\nfreeze_trainable_layers: -2\nfreeze_trainable_modules: {modules}\n"
    patterns = field(import_text(LF, tmp_path, lines), PATTERNS)
    assert isinstance(patterns, list)
    assert {name for name in NAMES if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)} == expected
    assert 0 < len(expected) < len(NAMES)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (".*(q_proj|v_proj)", ["q_proj", "v_proj"]),
        (r".*\.q_proj$", ["q_proj"]),
        (r"^(.*)(?:up_proj|down_proj)$", ["up_proj", "down_proj"]),
        ("model.layers.[0-3].*", None),
        (".*", None),
        (".*proj.*", None),
    ],
)
def test_a_pattern_that_only_names_ends_is_a_list_of_them(pattern: str, names: list[str] | None) -> None:
    assert names_of([pattern]) == names
    layers = [f"model.layers.0.{name}" for name in ("q_proj", "v_proj", "up_proj", "down_proj")]
    if names is not None:
        # peft's rules: a text must match the whole name, an item of a list is its end.
        by_pattern = [name for name in layers if re.fullmatch(pattern, name)]
        assert by_pattern == [name for name in layers if any(name.endswith(f".{end}") for end in names)]
