"""The whole recipe: what it refuses, what it advises, and how it changes from round to round."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tuneloop.core.errors import ConfigError
from tuneloop.plan import Plan, differences, load_plan
from tuneloop.tune.config import FreezeConfig

DATA = "data: {train: [rows.jsonl]}\n"
HOW = "write it as 'rougeL >= 0.45': a metric, one of >= <= > <, a number"


def load(folder: Path, text: str, *overrides: str, name: str = "recipe.yaml") -> Plan:
    (folder / name).write_text(text)
    return load_plan(folder / name, overrides)


def complaint(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, *overrides)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def plan(**sections: Any) -> Plan:
    return Plan.model_validate({"data": {"train": ["rows.jsonl"]}} | sections)


def test_the_smallest_recipe(tmp_path: Path) -> None:
    assert load(tmp_path, DATA) == plan(name="recipe")
    assert complaint(tmp_path, "") == ["recipe.yaml: data is required."]


def test_name_is_the_file_s_where_none_is_given(tmp_path: Path) -> None:
    assert load(tmp_path, DATA, name="my-run.v2.yaml").name == "my-run.v2"
    assert load(tmp_path, DATA + "name: other\n", name="my-run.yaml").name == "other"
    assert load(tmp_path, DATA, "name=third", name="my-run.yaml").name == "third"


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../x", "a b", "-x", "é", "a\n"])
def test_names_that_are_no_folder(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        plan(name=name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("modle: {}\n", "recipe.yaml:2: the recipe has no field 'modle'. Did you mean 'model'?"),
        ("tune:\n  kind: lora\n  rnak: 8\n", "recipe.yaml:4: tune has no field 'rnak'. Did you mean 'rank'?"),
        (
            "tune:\n  kind: freeze\n  rank: 8\n",
            f"recipe.yaml:4: tune has no field 'rank'. It knows: {', '.join(sorted(FreezeConfig.model_fields))}.",
        ),
        ("tune: {kind: qlora}\n", "recipe.yaml:2: tune has no kind 'qlora'. Did you mean 'lora'?"),
        ("tune: {rank: 8}\n", "recipe.yaml:2: tune needs a 'kind'."),
        (
            "stages:\n- batch_size: 4\n- lerning_rate: 1\n",
            "recipe.yaml:4: stages.1 has no field 'lerning_rate'. Did you mean 'learning_rate'?",
        ),
        (
            "evaluate:\n  generate:\n    max_tokens: 3\n",
            "recipe.yaml:4: evaluate.generate has no field 'max_tokens'. Did you mean 'max_new_tokens'?",
        ),
        (
            "stages:\n- objective: {kind: sft, beta: 1}\n",
            "recipe.yaml:3: stages.0.objective has no field 'beta'. It knows: kind.",
        ),
        (
            "iterate:\n  target: x\n",
            f"recipe.yaml:3: iterate.target: {HOW} (got 'x').",
        ),
        (
            "tune:\n  kind: lora\n  targets: q_proj\n",
            "recipe.yaml:4: tune.targets: is 'all-linear' or a list of module names (got 'q_proj').",
        ),
    ],
)
def test_mistakes_with_their_place(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, DATA + text)


def test_a_mistake_in_a_file_of_rows(tmp_path: Path) -> None:
    said = complaint(tmp_path, "data:\n  train:\n  - a.jsonl\n  - path: b.jsonl\n    wieght: 2\n")
    assert "recipe.yaml:5: data.train.1 has no field 'wieght'. Did you mean 'weight'?" in said


@pytest.mark.parametrize("text", ["data: {train: [{path: a, wieght: 2}]}\n", DATA + "stages: [{batch_size: 0}]\n"])
def test_one_mistake_is_said_once(tmp_path: Path, text: str) -> None:
    assert len(complaint(tmp_path, text)) == 1


def test_unknown_metric_has_a_place(tmp_path: Path) -> None:
    (said,) = complaint(tmp_path, DATA + "evaluate:\n  metrics: [rougeM]\n")
    assert said.startswith("recipe.yaml:3: ")


def test_unknown_metric(tmp_path: Path) -> None:
    (said,) = complaint(tmp_path, DATA + "evaluate:\n  metrics: [rougeM]\n")
    assert "there is no metric 'rougeM'. Did you mean" in said


@pytest.mark.parametrize(("field", "value"), [("target", "chrf >= 3"), ("protect", ["bleu", "chrf"])])
def test_metrics_of_the_loop_are_measured(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        plan(evaluate={"metrics": ["bleu", "rouge"]}, iterate={field: value})
    expected = f"iterate.{field}: 'chrf' is not measured. Measured are: bleu, rouge1, rouge2, rougeL, rougeLsum, loss"
    assert expected in str(caught.value)
    # The loss is always measured, and a group stands for its members.
    assert plan(evaluate={"metrics": ["bleu"]}, iterate={"target": "loss < 2", "protect": ["bleu", "loss"]})
    assert plan(evaluate={"metrics": ["rouge"]}, iterate={"target": "rouge2 > 0.1"})
    # Also where it comes from the command line.
    assert (
        "'chrf' is not measured"
        in complaint(tmp_path, DATA + "evaluate: {metrics: [bleu]}\n", "iterate.target=chrf > 1")[0]
    )


@pytest.mark.parametrize(
    "sections",
    [
        {"data": {"train": []}},
        {"data": {"train": ["a"], "eval_fraction": 0.95}},
        {"data": {"train": ["a"], "cutoff_len": 4}},
        {"data": {"train": [{"path": "a", "weight": 0}]}},
        {"stages": []},
        {"stages": [{"batch_size": 0}]},
        {"stages": [{"learning_rate": 0}]},
        {"stages": [{"warmup_ratio": 1}]},
        {"seed": -1},
        {"iterate": {"max_rounds": 0}},
        {"tune": {"kind": "lora", "dropout": 1}},
        {"hardware": {"device": "tpu"}},
        {"deploy": {"export": ["gguf"]}},
    ],
)
def test_values_out_of_range(sections: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        plan(**sections)


@pytest.mark.parametrize(
    "sections",
    [
        {"stages": [{"num_train_epochs": float("inf")}]},
        {"stages": [{"learning_rate": float("inf")}]},
        {"tune": {"kind": "lora", "alpha": float("inf")}},
        {"data": {"train": [{"path": "a", "weight": float("inf")}]}},
    ],
)
def test_infinity_is_no_value(sections: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        plan(**sections)


def test_frozen_to_the_leaves() -> None:
    made = plan()
    for owner, field in (
        (made, "seed"),
        (made.data, "cutoff_len"),
        (made.stages[0], "batch_size"),
        (made.tune, "kind"),
    ):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(owner, field, 1)


def test_hash_is_of_the_resolved_recipe(tmp_path: Path) -> None:
    written = load(tmp_path, DATA)
    assert load(tmp_path, DATA + "seed: 0\ntune: {kind: lora, rank: 16}\n").hash == written.hash
    assert load(tmp_path, DATA, "seed=1").hash != written.hash
    assert load(tmp_path, DATA, "evaluate.generate.top_p=0.9").hash != written.hash
    assert Plan.model_validate(written.model_dump(mode="json")).hash == written.hash


# The JSON schema that editors use.


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every object of a schema, wherever it stands."""
    if isinstance(schema, list):
        return [found for item in schema for found in objects(item)]
    if not isinstance(schema, dict):
        return []
    here = [schema] if schema.get("type") == "object" else []
    return here + [found for item in schema.values() for found in objects(item)]


def references(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {name for item in schema for name in references(item)}
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"]} if isinstance(schema.get("$ref"), str) else set()
    return own | {name for item in schema.values() for name in references(item)}


def test_json_schema_is_closed_and_whole() -> None:
    schema = Plan.model_json_schema()
    assert set(schema["properties"]) == set(Plan.model_fields)
    assert schema["required"] == ["data"]
    found = objects(schema)
    assert len(found) >= 12
    # Maps (of columns, of roles) are open in their keys and closed in their values.
    maps = [item for item in found if "properties" not in item]
    assert all(item["additionalProperties"]["type"] in {"string", "integer", "number"} for item in maps)
    assert len(maps) == 4
    assert all(item["additionalProperties"] is False for item in found if item not in maps)
    assert references(schema) == {f"#/$defs/{name}" for name in schema["$defs"]}
    kinds = schema["properties"]["tune"]["discriminator"]["mapping"]
    assert set(kinds) == {"full", "freeze", "lora", "oft", "vera", "ia3", "adapter"}


PLAIN = {"string": str, "integer": int, "number": int | float, "boolean": bool, "null": type(None)}


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:  # noqa: PLR0911 - one per kind
    """As much of JSON Schema as decides whether keys, kinds and types are known."""
    if "$ref" in schema:
        return accepts(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return any(accepts(choice, value, root) for choice in choices)
    if allowed := schema.get("enum") or [schema[key] for key in ("const",) if key in schema]:
        return value in allowed
    if schema["type"] == "array":
        return isinstance(value, list) and all(accepts(schema["items"], item, root) for item in value)
    if schema["type"] != "object":
        return isinstance(value, PLAIN[schema["type"]])
    if "properties" not in schema:
        return isinstance(value, dict) and all(
            accepts(schema["additionalProperties"], item, root) for item in value.values()
        )
    known, required = schema["properties"], set(schema.get("required", ()))
    return (
        isinstance(value, dict)
        and required <= set(value) <= set(known)
        and all(accepts(known[key], item, root) for key, item in value.items())
    )


@pytest.mark.parametrize("kind", ["full", "freeze", "lora"])
def test_a_resolved_recipe_fits_the_schema(kind: str) -> None:
    schema = Plan.model_json_schema()
    values = plan(tune={"kind": kind}).model_dump(mode="json")
    assert accepts(schema, values, schema)
    assert not accepts(schema, values | {"sede": 1}, schema)
    assert not accepts(schema, values | {"tune": values["tune"] | {"rnak": 1}}, schema)
    assert not accepts(schema, values | {"data": {"train": [{"path": "a", "wieght": 1}]}}, schema)


def test_the_schema_knows_the_short_form_of_files() -> None:
    schema = Plan.model_json_schema()
    assert accepts(schema, {"data": {"train": ["rows.jsonl"]}}, schema)


# Advice.


def test_no_advice_for_the_usual() -> None:
    assert plan().advice() == []
    assert plan(tune={"kind": "full"}).advice() == []
    assert plan(tune={"kind": "freeze"}).advice() == []


@pytest.mark.parametrize(
    ("kind", "stage", "expected"),
    [
        ("lora", {"learning_rate": 1e-4}, None),
        ("lora", {"learning_rate": 5e-4}, None),
        (
            "lora",
            {"learning_rate": 9e-5},
            "learning_rate is 9e-05; usual for lora is 0.0001 to 0.0005: below it",
        ),
        (
            "lora",
            {"learning_rate": 1e-2},
            "learning_rate is 0.01; usual for lora is 0.0001 to 0.0005: above it",
        ),
        ("full", {"learning_rate": 2e-4}, "learning_rate is 0.0002; usual for full is 1e-05 to 5e-05: above it"),
        ("freeze", {"learning_rate": 1e-6}, "learning_rate is 1e-06; usual for freeze is 1e-05 to 5e-05: below it"),
        ("lora", {"batch_size": 16}, None),
        ("lora", {"batch_size": 64}, None),
        ("lora", {"batch_size": 15}, "batch_size is 15; usual is 16 to 64: small batches are noisy."),
        ("lora", {"batch_size": 65}, "batch_size is 65; usual is 16 to 64: large ones mean few updates."),
        ("lora", {"num_train_epochs": 3}, None),
        ("lora", {"num_train_epochs": 10}, None),
        ("lora", {"num_train_epochs": 0.5}, "num_train_epochs is 0.5; usual is 3 to 10: few passes may not be enough."),
        ("lora", {"num_train_epochs": 11}, "num_train_epochs is 11; usual is 3 to 10: many passes learn the rows by"),
        # Where steps are counted, epochs do not matter.
        ("lora", {"num_train_epochs": 1, "max_steps": 10}, None),
    ],
)
def test_advice(kind: str, stage: dict[str, Any], expected: str | None) -> None:
    advice = plan(tune={"kind": kind}, stages=[{}, stage]).advice()
    if expected is None:
        assert advice == []
    else:
        (line,) = advice
        assert line.startswith(f"stages.1.{expected}")


def test_advice_is_never_an_error(tmp_path: Path) -> None:
    odd = [{"learning_rate": 5, "batch_size": 1, "num_train_epochs": 500}, {"batch_size": 9999}]
    assert len(plan(stages=odd).advice()) == 4
    assert load(tmp_path, DATA + "stages: [{learning_rate: 5, batch_size: 1}]\n").stages[0].learning_rate == 5


def test_learning_rates_by_kind() -> None:
    stages = [{}, {"learning_rate": 3e-4}]
    assert plan(stages=stages).learning_rates() == (2e-4, 3e-4)
    assert plan(stages=stages, tune={"kind": "full"}).learning_rates() == (2e-5, 3e-4)
    assert plan(stages=stages, tune={"kind": "freeze"}).learning_rates() == (2e-5, 3e-4)


# Changes from round to round.


def test_with_changes() -> None:
    made = plan(stages=[{}, {"batch_size": 16}], tune={"kind": "lora", "rank": 4})
    changed = made.with_changes(
        {"stages.-1.num_train_epochs": 1.5, "stages.0.batch_size": 64, "tune.rank": 8, "seed": 3}
    )
    assert [(stage.num_train_epochs, stage.batch_size) for stage in changed.stages] == [(3.0, 64), (1.5, 16)]
    assert (changed.tune.rank, changed.seed) == (8, 3)  # type: ignore[union-attr]
    assert made == plan(stages=[{}, {"batch_size": 16}], tune={"kind": "lora", "rank": 4})
    assert made.with_changes({}) == made


def test_with_changes_is_checked() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        plan().with_changes({"stages.-1.num_train_epochs": -1})
    with pytest.raises(ValidationError, match="Extra inputs"):
        plan().with_changes({"stages.-1.epochs": 1})


def test_with_changes_of_an_item_of_a_list() -> None:
    assert plan().with_changes({"evaluate.metrics.-1": "bleu"}).evaluate.metrics[-1] == "bleu"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["a: was 1, is 2"]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ["a.c: was 2, is 3"]),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 5}]}, ["a.1.b: was 2, is 5"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a: was [1], is [1, 2]"]),
        ({"a": 1}, {"b": 1}, ["a: was 1, is None", "b: was None, is 1"]),
        ({"a": {"b": 1}}, {"a": 3}, ["a: was {'b': 1}, is 3"]),
        ({"b": 1, "a": 1}, {"a": 2, "b": 2}, ["a: was 1, is 2", "b: was 1, is 2"]),
    ],
)
def test_differences(old: Any, new: Any, expected: list[str]) -> None:
    assert differences(old, new) == expected


def test_differences_of_two_plans() -> None:
    old = plan(tune={"kind": "lora", "rank": 4}).model_dump(mode="json")
    new = plan(tune={"kind": "lora", "rank": 8}, stages=[{"batch_size": 16}]).model_dump(mode="json")
    assert differences(old, new) == ["stages.0.batch_size: was 32, is 16", "tune.rank: was 4, is 8"]
    assert differences(old, new, where="recipe")[1] == "recipe.tune.rank: was 4, is 8"
    assert differences(old, old) == []
