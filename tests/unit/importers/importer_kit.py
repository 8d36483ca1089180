"""Shared by the tests of importers: the configs that ship with the tools, and short ones written on the spot."""

import textwrap
from pathlib import Path

from tuneloop.importers.ledger import Imported, Note
from tuneloop.importers.registry import import_recipe

FIXTURES = Path(__file__).parents[2] / "fixtures" / "importers"
REFUSED = {"ray_sft.yaml", "v1_lora_sft.yaml"}
UNTRAINABLE = {
    *("lora_dpo.yaml", "lora_kto.yaml", "lora_pretrain.yaml"),
    *("qlora_kto.yaml", "dpo.yaml", "reward_model.yaml"),
    *("dpo_full.sh", "dpo_lora.sh", "kto_full.sh", "kto_lora.sh", "kto_old.sh", "pretrain.sh"),
}
CONFIGS = [
    (folder.name, path)
    for folder in sorted(FIXTURES.iterdir())
    for path in sorted(folder.iterdir())
    if path.suffix in {".yaml", ".yml", ".sh"} and path.name not in REFUSED
]
HEADS = {
    "llamafactory": "model_name_or_path: org/model\ndataset_dir: ONLINE\ndataset: org/rows\n",
    "axolotl": "base_model: org/model\ndatasets: [{path: org/rows, type: chat_template}]\n",
    "trl": "model_name_or_path: org/model\ndataset_name: org/rows\n",
    "ms-swift": "model: org/model\ndataset: [org/rows]\n",
}
"""The least that each tool trains with."""


def write_config(folder: Path, text: str, name: str = "config.yaml") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def import_text(tool: str, folder: Path, lines: str = "", *, head: str | None = None) -> Imported:
    """Import the least config of a tool with some lines added."""
    text = (HEADS[tool] if head is None else textwrap.dedent(head)) + textwrap.dedent(lines)
    return import_recipe(tool, write_config(folder, text), folder)


def note_of(imported: Imported, key: str) -> Note:
    """The one note of a key, or what the tool does where the config is silent."""
    found = [note for note in (*imported.notes, *imported.defaults) if note.key == key]
    assert found, f"nothing is said of {key}"
    return found[0]


def field(imported: Imported, dotted: str) -> object:
    """A field of the recipe; None where it keeps tuneloop's default."""
    here: object = imported.recipe
    for key in dotted.split("."):
        if isinstance(here, list):
            here = here[int(key)]
        elif isinstance(here, dict) and key in here:
            here = here[key]
        else:
            return None
    return here
