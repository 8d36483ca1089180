"""By which optimiser, and at which rate: each choice of a tool becomes the stage that learns the same."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from importer_kit import field, import_text, note_of

from tuneloop.core.errors import ConfigError
from tuneloop.importers.rate import share_of_steps
from tuneloop.plan import Plan
from tuneloop.train.config import StageConfig
from tuneloop.train.schedule import learning_rate_factor

LF, AX, TRL, SWIFT = "llamafactory", "axolotl", "trl", "ms-swift"
FULL = "finetuning_type: full\n"
OPTIMIZER, RANK, STEPS = "optimizer", "optimizer_rank", "optimizer_update_steps"
WSD = "lr_scheduler_type: warmup_stable_decay\nmax_steps: 300\nlr_scheduler_kwargs: "
# tool, lines of the config, key -> kind and part of the text, field of the stage -> value
CASES: list[tuple[str, str, dict[str, tuple[str, str]], dict[str, object]]] = [
    # The Trainer's optim
    (LF, "optim: adamw_torch_fused", {"optim": ("carried", "AdamW")}, {OPTIMIZER: None}),
    (LF, "optim: adamw_8bit", {"optim": ("carried", "adamw_8bit")}, {OPTIMIZER: "adamw_8bit"}),
    (AX, "optimizer: adamw_bnb_8bit", {"optimizer": ("carried", "adamw_8bit")}, {OPTIMIZER: "adamw_8bit"}),
    (LF, "optim: paged_adamw_32bit", {"optim": ("carried", "paged_adamw")}, {OPTIMIZER: "paged_adamw"}),
    (TRL, "optim: paged_adamw_8bit", {"optim": ("carried", "paged")}, {OPTIMIZER: "paged_adamw_8bit"}),
    (TRL, "optim: adafactor", {"optim": ("carried", "adafactor")}, {OPTIMIZER: "adafactor"}),
    (LF, "optim: ao_adamw_4bit", {"optim": ("differs", "more memory")}, {OPTIMIZER: "adamw_8bit"}),
    (TRL, "optim: adamw_torch_8bit", {"optim": ("differs", "torchao")}, {OPTIMIZER: "adamw_8bit"}),
    (AX, "optimizer: optimi_adamw", {"optimizer": ("differs", "bf16")}, {OPTIMIZER: "adamw"}),
    (LF, "optim: muon", {"optim": ("carried", "muon")}, {OPTIMIZER: "muon"}),
    (LF, "optim: grokadamw", {"optim": ("not_carried", "another optimiser")}, {OPTIMIZER: None, "learning_rate": 5e-5}),
    (LF, "optim: adamw_torch\noptim_args: a=1", {"optim_args": ("ignored", "no effect")}, {OPTIMIZER: None}),
    (TRL, "optim: lion_32bit", {"optim": ("differs", "0.9 and 0.999 there")}, {OPTIMIZER: "lion"}),
    (TRL, "optim: lion_32bit\nadam_beta2: 0.99", {"optim": ("carried", "lion")}, {OPTIMIZER: "lion"}),
    (TRL, "optim: paged_lion_8bit\nadam_beta2: 0.99", {"optim": ("differs", "8 bits")}, {OPTIMIZER: "lion"}),
    # Muon under keys of its own
    (LF, "use_muon: true\nweight_decay: 0.1", {"use_muon": ("carried", "muon")}, {OPTIMIZER: "muon"}),
    (LF, FULL + "use_muon: true", {"use_muon": ("carried", "muon")}, {OPTIMIZER: "muon", "weight_decay": 0.0}),
    (LF, FULL + "use_muon: true\nweight_decay: 0.1", {"use_muon": ("differs", "biases")}, {OPTIMIZER: "muon"}),
    (LF, "use_muon: true\noptim: adamw_torch", {"optim": ("ignored", "beside Muon")}, {OPTIMIZER: "muon"}),
    (
        *(LF, "use_muon: true\nloraplus_lr_ratio: 4", {"use_muon": ("ignored", "beside loraplus_lr_ratio")}),
        {OPTIMIZER: None},
    ),
    (
        *(AX, "optimizer: muon\nadam_beta1: 0.8", {"optimizer": ("differs", "do not learn there")}),
        {OPTIMIZER: "muon", "adam_beta1": 0.8, "adam_beta2": 0.95},
    ),
    (AX, "adapter: lora\noptimizer: muon", {"optimizer": ("carried", "muon")}, {OPTIMIZER: "muon"}),
    (SWIFT, "optimizer: muon\noptim_args: momentum=0.95", {"optim_args": ("carried", "here")}, {OPTIMIZER: "muon"}),
    (SWIFT, "optimizer: muon\noptim_args: ns_steps=9", {"optim_args": ("differs", "ns_steps=9")}, {OPTIMIZER: "muon"}),
    (SWIFT, "optimizer: muonclip", {"optimizer": ("not_carried", "muonclip")}, {OPTIMIZER: None}),
    # GaLore and APOLLO
    (
        *(LF, FULL + "use_galore: true\ngalore_scale: 0.25\ngalore_target: mlp\ngalore_proj_type: left"),
        {
            "galore_rank": ("carried", "16"),
            "galore_scale": ("differs", "0.25 x sqrt(rank / short side)"),
            "galore_target": ("differs", "every matrix"),
            "galore_proj_type": ("differs", "std"),
        },
        {OPTIMIZER: "galore", RANK: 16, STEPS: 200, "max_grad_norm": None},
    ),
    (
        *(LF, FULL + "use_galore: true\ngalore_layerwise: true\nmax_grad_norm: 0.5"),
        {"galore_layerwise": ("carried", "cannot clip"), "max_grad_norm": ("ignored", "beside galore_layerwise")},
        {"max_grad_norm": 1e9},
    ),
    (LF, FULL + "use_galore: true\noptim: adamw_8bit", {"optim": ("differs", "8 bits")}, {OPTIMIZER: "galore"}),
    (LF, FULL + "use_galore: true\noptim: adamw_torch", {"optim": ("carried", "galore")}, {OPTIMIZER: "galore"}),
    (LF, "galore_rank: 8", {"galore_rank": ("ignored", "without use_galore")}, {OPTIMIZER: None, RANK: None}),
    (LF, "use_galore: false", {"use_galore": ("ignored", "is off")}, {OPTIMIZER: None}),
    (
        *(LF, FULL + "use_apollo: true\napollo_rank: 1\napollo_scale_type: tensor\ngalore_rank: 2"),
        {
            "apollo_scale": ("differs", "sqrt(32 x rank / short side)"),
            "apollo_scale_type": ("differs", "channel"),
            "galore_rank": ("ignored", "without use_galore"),
        },
        {OPTIMIZER: "apollo", RANK: 1, STEPS: 200},
    ),
    (
        *(TRL, "optim: galore_adamw\noptim_args: rank=64, update_proj_gap=50, scale=0.1\nweight_decay: 0.1"),
        {
            "optim": ("carried", "GaLore"),
            "optim_args": ("differs", "0.1 x sqrt(rank / short side)"),
            "weight_decay": ("ignored", "galore_adamw"),
        },
        {OPTIMIZER: "galore", RANK: 64, STEPS: 50, "weight_decay": 0.0, "adam_epsilon": 1e-6},
    ),
    (
        *(SWIFT, "train_type: full\noptim: galore_adamw_8bit_layerwise\nadam_beta1: 0.5"),
        {"optim": ("differs", "moments"), "adam_beta1": ("ignored", "beside")},
        {OPTIMIZER: "galore", RANK: 128, "adam_beta1": 0.9, "adam_beta2": 0.999, "max_grad_norm": 1e9},
    ),
    (
        *(AX, "optimizer: apollo_adamw\noptim_args: {rank: 2, proj: svd}\noptim_target_modules: all_linear"),
        {"optim_args": ("differs", "Not carried: proj=svd"), "optim_target_modules": ("differs", "every matrix")},
        {OPTIMIZER: "apollo", RANK: 2, STEPS: 200, "weight_decay": 0.0},
    ),
    (AX, "optimizer: q_galore_adamw8bit", {"optimizer": ("differs", "rounded there")}, {OPTIMIZER: "galore"}),
    (
        *(SWIFT, "train_type: full\nuse_galore: true\ngalore_rank: 32\ngalore_quantization: true\ngalore_proj_bits: 4"),
        {"galore_quantization": ("differs", "false"), "galore_proj_bits": ("not_carried", "Q-GaLore")},
        {OPTIMIZER: "galore", RANK: 32, STEPS: 50, "weight_decay": 0.1},
    ),
    (SWIFT, "use_galore: true\noptimizer: muon", {"use_galore": ("ignored", "beside muon")}, {OPTIMIZER: "muon"}),
    # How the rate falls
    (
        *(LF, WSD + "{num_decay_steps: 60, decay_type: linear}"),
        {"lr_scheduler_type": ("carried", "wsd"), "lr_scheduler_kwargs": ("carried", "0.2")},
        {"lr_scheduler_type": "wsd", "decay_ratio": 0.2},
    ),
    (
        *(SWIFT, WSD + "'{\"num_decay_steps\": 30, \"min_lr_ratio\": 0.1}'"),
        {"lr_scheduler_kwargs": ("differs", "cosine there"), "lr_scheduler_type": ("differs", "0.1 of")},
        {"lr_scheduler_type": "wsd", "decay_ratio": 0.1},
    ),
    (
        *(TRL, WSD.replace("max_steps: 300\n", "") + "{num_decay_steps: 30, decay_type: linear}"),
        {"lr_scheduler_type": ("differs", "30 / all steps")},
        {"lr_scheduler_type": "wsd", "decay_ratio": None},
    ),
    (
        *(AX, "lr_scheduler: warmup_stable_decay", {"lr_scheduler": ("differs", "num_decay_steps is null")}),
        {"lr_scheduler_type": "wsd", "decay_ratio": None, "warmup_ratio": 0.03},
    ),
    (
        *(LF, "lr_scheduler_type: cosine_with_restarts", {"lr_scheduler_type": ("carried", "never restarts")}),
        {"lr_scheduler_type": "cosine"},
    ),
    (
        *(LF, "lr_scheduler_type: cosine_with_restarts\nlr_scheduler_kwargs: {num_cycles: 3}"),
        {"lr_scheduler_type": ("differs", "cosine"), "lr_scheduler_kwargs": ("not_carried", "stands in")},
        {"lr_scheduler_type": "cosine"},
    ),
    (
        *(LF, "lr_scheduler_type: polynomial", {"lr_scheduler_type": ("differs", "1e-07")}),
        {"lr_scheduler_type": "linear"},
    ),
    (
        *(LF, "lr_scheduler_type: polynomial\nlr_scheduler_kwargs: {power: 2}"),
        {"lr_scheduler_type": ("differs", "as a cosine"), "lr_scheduler_kwargs": ("not_carried", "stands in")},
        {"lr_scheduler_type": "cosine"},
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{index}" for index, case in enumerate(CASES)])
def test_a_choice_becomes_the_stage_that_learns_the_same(
    case: tuple[str, str, dict[str, tuple[str, str]], dict[str, object]], tmp_path: Path
) -> None:
    tool, lines, notes, fields = case
    imported = import_text(tool, tmp_path, lines + "\n")
    for key, (kind, text) in notes.items():
        note = note_of(imported, key)
        assert (note.kind, text in note.text) == (kind, True), note
    assert {name: field(imported, f"stages.0.{name}") for name in fields} == fields
    Plan.model_validate(imported.recipe)


@pytest.mark.parametrize(
    ("tool", "lines", "message"),
    [
        (LF, FULL + "use_galore: true\ngalore_rank: 0", "at least 1"),
        (LF, FULL + "use_galore: true\ngalore_scale: -1", "above 0"),
        (TRL, "optim: galore_adamw\noptim_args: rank", "name=value"),
        (TRL, "optim: galore_adamw\noptim_args: rank=1.5", "whole numbers"),
        (TRL, "optim: galore_adamw\noptim_args: rank=many", "numbers above 0"),
        (LF, "lr_scheduler_type: warmup_stable_decay\nlr_scheduler_kwargs: '{'", "no JSON"),
        (LF, "lr_scheduler_type: warmup_stable_decay\nlr_scheduler_kwargs: [1]", "not a mapping"),
        (LF, "adam_beta1: 1", "below 1"),
        (LF, "weight_decay: -0.1", "not below 0"),
    ],
)
def test_a_number_that_cannot_be_trained_with_is_an_error(tool: str, lines: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        import_text(tool, tmp_path, lines + "\n")


def _stage_with_decay(folder: Path, steps: int, decay: int) -> StageConfig:
    lines = f"lr_scheduler_type: warmup_stable_decay\nmax_steps: {steps}\n"
    lines += f"lr_scheduler_kwargs: {{num_decay_steps: {decay}, decay_type: linear}}\n"
    return Plan.model_validate(import_text(LF, folder, lines).recipe).stages[0]


@pytest.mark.parametrize(("steps", "decay"), [(300, 60), (300, 100), (7, 3), (1000, 1)])
def test_wsd_stays_up_and_falls_in_as_many_steps(steps: int, decay: int, tmp_path: Path) -> None:
    stage = _stage_with_decay(tmp_path, steps, decay)
    for step in range(steps):
        expected = 1.0 if step < steps - decay else (steps - step) / decay
        assert learning_rate_factor(step, steps, stage) == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "decay"), [(300, 60), (7, 3)])
def test_wsd_falls_as_the_trainers_does(steps: int, decay: int, tmp_path: Path) -> None:
    import torch
    from transformers.optimization import get_wsd_schedule

    stage = _stage_with_decay(tmp_path, steps, decay)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_wsd_schedule(optimizer, 0, decay, num_training_steps=steps, decay_type="linear").lr_lambdas[0]
    for step in range(steps):
        assert learning_rate_factor(step, steps, stage) == pytest.approx(theirs(step), abs=1e-12)


@given(steps=st.integers(1, 200_000), data=st.data())
def test_a_share_of_the_steps_gives_the_steps_back(steps: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(1, steps))
    assert math.ceil(steps * share_of_steps(part, steps)) == part


def test_a_share_that_is_rounded_up_by_floating_point_is_taken_from_below() -> None:
    assert 3125 * 0.03552 > 111
    assert share_of_steps(111, 3125) == 0.035519999
