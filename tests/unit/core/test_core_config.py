"""Recipes on a small model of its own: where each mistake is found, and what is said about it."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from tuneloop.core.config import Config, load_source, parse_config, set_value
from tuneloop.core.errors import ConfigError


class Inner(Config):
    depth: int = 1
    label: str = ""


class Part(Config):
    path: str
    weight: float = Field(default=1.0, gt=0)
    inner: Inner = Inner()


class Round(Config):
    kind: Literal["round"] = "round"
    radius: int = Field(default=1, gt=0)
    inner: Inner = Inner()


class Square(Config):
    kind: Literal["square"] = "square"
    side: int = Field(gt=0)
    parts: tuple[Part, ...] = ()


Shape = Annotated[Round | Square, Field(discriminator="kind")]


class Recipe(Config):
    """What the tests parse."""

    name: str = "a"
    seed: int = Field(default=0, ge=0)
    part: Part | None = None
    parts: tuple[Part, ...] = ()
    shape: Shape = Round()
    shapes: tuple[Shape, ...] = ()
    sizes: tuple[int, ...] = ()


def parse(folder: Path, text: str, *assignments: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    source = load_source(path)
    for assignment in assignments:
        set_value(source, assignment)
    return parse_config(Recipe, source)


def complaint(folder: Path, text: str, *assignments: str) -> str:
    """What is said about a recipe, without the folder."""
    with pytest.raises(ConfigError) as caught:
        parse(folder, text, *assignments)
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: b\nsede: 3\n", "recipe.yaml:2: the recipe has no field 'sede'. Did you mean 'seed'?"),
        (
            "part:\n  path: x\n  wieght: 2\n",
            "recipe.yaml:3: part has no field 'wieght'. Did you mean 'weight'?",
        ),
        (
            "part:\n  path: x\n  inner:\n    labell: y\n",
            "recipe.yaml:4: part.inner has no field 'labell'. Did you mean 'label'?",
        ),
        (
            "parts:\n- path: x\n- path: y\n  wheight: 2\n",
            "recipe.yaml:4: parts.1 has no field 'wheight'. Did you mean 'weight'?",
        ),
        (
            "parts:\n- path: x\n  inner: {dept: 2}\n",
            "recipe.yaml:3: parts.0.inner has no field 'dept'. Did you mean 'depth'?",
        ),
        (
            "shape:\n  kind: round\n  radios: 3\n",
            "recipe.yaml:3: shape has no field 'radios'. Did you mean 'radius'?",
        ),
        (
            "shape:\n  kind: round\n  inner:\n    lable: x\n",
            "recipe.yaml:4: shape.inner has no field 'lable'. Did you mean 'label'?",
        ),
        (
            "shapes:\n- {kind: round}\n- kind: square\n  side: 2\n  part: []\n",
            "recipe.yaml:5: shapes.1 has no field 'part'. Did you mean 'parts'?",
        ),
        (
            "shapes:\n- kind: square\n  side: 2\n  parts:\n  - {path: a}\n  - path: b\n    pth: c\n",
            "recipe.yaml:7: shapes.0.parts.1 has no field 'pth'. Did you mean 'path'?",
        ),
        # A field of the other kind is unknown too, and the hint names fields of the kind that was chosen.
        (
            "shape:\n  kind: square\n  side: 1\n  zzz: 3\n",
            "recipe.yaml:4: shape has no field 'zzz'. It knows: kind, parts, side.",
        ),
        # The unknown field has the name of the kind.
        (
            "shape:\n  kind: round\n  round: 3\n",
            "recipe.yaml:3: shape has no field 'round'. It knows: inner, kind, radius.",
        ),
    ],
)
def test_unknown_key(tmp_path: Path, text: str, expected: str) -> None:
    assert complaint(tmp_path, text) == expected


def test_every_mistake_is_said_at_once(tmp_path: Path) -> None:
    said = complaint(tmp_path, "seed: -1\nparts:\n- {}\nshape: {kind: rund}\nsizes: [1, two]\n")
    assert said.splitlines() == [
        "recipe.yaml:1: seed: Input should be greater than or equal to 0 (got -1).",
        "recipe.yaml:3: parts.0.path is required.",
        "recipe.yaml:4: shape has no kind 'rund'. Did you mean 'round'?",
        "recipe.yaml:5: sizes.1: Input should be a valid integer, unable to parse string as an integer (got 'two').",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shape:\n  radius: 2\n", "recipe.yaml:1: shape needs a 'kind'."),
        ("shape: {kind: sqare}\n", "recipe.yaml:1: shape has no kind 'sqare'. Did you mean 'square'?"),
        ("shape: {kind: xyz}\n", "recipe.yaml:1: shape has no kind 'xyz'. Choose one of: round, square."),
        pytest.param(
            "shape:\n  kind: square\n",
            "recipe.yaml:1: shape.side is required.",
        ),
        ("part:\n  weight: 2\n", "recipe.yaml:1: part.path is required."),
        ("part:\n  path: a\n  weight: 0\n", "recipe.yaml:3: part.weight: Input should be greater than 0 (got 0)."),
    ],
)
def test_other_mistakes(tmp_path: Path, text: str, expected: str) -> None:
    assert complaint(tmp_path, text) == expected


def test_a_long_value_is_shortened(tmp_path: Path) -> None:
    said = complaint(tmp_path, f"seed: [{'7, ' * 200}7]\n")
    assert said.startswith("recipe.yaml:1: seed: ")
    assert said.endswith("...).")
    assert len(said) < 150


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("name: a\nseed: 1\nname: b\n", 3, "name"),
        ("part:\n  path: a\n  inner:\n    depth: 1\n    depth: 2\n", 5, "depth"),
        ("parts:\n- path: a\n  path: b\n", 3, "path"),
    ],
)
def test_a_key_twice(tmp_path: Path, text: str, line: int, key: str) -> None:
    assert complaint(tmp_path, text) == f"recipe.yaml:{line}: '{key}' is given twice. Keep one."


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ("name: a\npart: {path: b\n", "recipe.yaml:3: not valid YAML:"),
        ("name: a\n  seed: 1\n", "recipe.yaml:2: not valid YAML:"),
        ("name: 'a\n", "recipe.yaml:2: not valid YAML:"),
        ("name: *nobody\n", "recipe.yaml:1: not valid YAML:"),
        ("name: !secret x\n", "recipe.yaml:1: not valid YAML:"),
        ("name: a\n---\nname: b\n", "recipe.yaml:2: not valid YAML:"),
        ("- name\n", "recipe.yaml:1: a recipe is a mapping of sections"),
        ("just words\n", "recipe.yaml:1: a recipe is a mapping of sections"),
    ],
)
def test_bad_yaml(tmp_path: Path, text: str, begin: str) -> None:
    assert complaint(tmp_path, text).startswith(begin)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("name: a\x07b\n", id="control character: yaml.reader.ReaderError"),
        pytest.param("name: 2024-13-45\n", id="a date that does not exist: ValueError"),
        pytest.param("seed: !!int many\n", id="a tag that does not fit: ValueError"),
        pytest.param("parts: &all [*all]\n", id="an alias inside itself: RecursionError"),
        pytest.param("name: " + "[" * 1000 + "]" * 1000 + "\n", id="nested too deep: RecursionError"),
    ],
)
def test_bad_yaml_of_other_kinds(tmp_path: Path, text: str) -> None:
    assert complaint(tmp_path, text).startswith("recipe.yaml")


def test_set_a_date_that_does_not_exist(tmp_path: Path) -> None:
    assert complaint(tmp_path, "name: a\n", "name=2024-13-45").startswith("--set name=2024-13-45")


def test_no_code_is_run_by_a_tag(tmp_path: Path) -> None:
    marker = tmp_path / "made"
    complaint(tmp_path, f"seed: !!python/object/apply:os.mkdir ['{marker}']\n")
    assert not marker.exists()


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_source(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="not a UTF-8 text file"):
        load_source(tmp_path)
    (tmp_path / "wide.yaml").write_bytes("name: a\n".encode("utf-16"))
    with pytest.raises(ConfigError, match="not a UTF-8 text file"):
        load_source(tmp_path / "wide.yaml")


def test_empty_file_is_an_empty_recipe(tmp_path: Path) -> None:
    assert parse(tmp_path, "") == Recipe()
    assert parse(tmp_path, "# nothing but a comment\n") == Recipe()


def test_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    assert parse(tmp_path, "\ufeffname: b\n").name == "b"


def test_aliases_keep_the_line_of_their_use(tmp_path: Path) -> None:
    recipe = parse(tmp_path, "part: &p {path: x, weight: 2}\nparts: [*p, *p]\n")
    assert recipe.parts == (recipe.part, recipe.part)


def test_values_are_read_as_yaml_means_them(tmp_path: Path) -> None:
    recipe = parse(tmp_path, "name: 'yes'\nseed: 0x10\nsizes: [1, 2]\nshapes:\n- {kind: square, side: 3}\n")
    assert recipe == Recipe(name="yes", seed=16, sizes=(1, 2), shapes=(Square(side=3),))


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        (["name=b"], Recipe(name="b")),
        (["seed=7"], Recipe(seed=7)),
        (["name=a=b"], Recipe(name="a=b")),
        (["name='7'"], Recipe(name="7")),
        (["part.path=x"], Recipe(part=Part(path="x"))),
        (["part.path=x", "part.inner.depth=4"], Recipe(part=Part(path="x", inner=Inner(depth=4)))),
        (["shape={kind: square, side: 2}"], Recipe(shape=Square(side=2))),
        (["shape.kind=square", "shape.side=5"], Recipe(shape=Square(side=5))),
        (["sizes=[3, 4]"], Recipe(sizes=(3, 4))),
        (["sizes=[3, 4]", "sizes.1=9"], Recipe(sizes=(3, 9))),
        (["parts=[{path: x}]", "parts.0.inner.label=y"], Recipe(parts=(Part(path="x", inner=Inner(label="y")),))),
        (["seed=1", "seed=2"], Recipe(seed=2)),
    ],
)
def test_set(tmp_path: Path, assignments: list[str], expected: Recipe) -> None:
    assert parse(tmp_path, "", *assignments) == expected


def test_set_wins_over_the_file_and_leaves_the_rest(tmp_path: Path) -> None:
    text = "part:\n  path: x\n  weight: 2\n  inner: {depth: 3, label: q}\nparts:\n- {path: a}\n- {path: b}\n"
    recipe = parse(tmp_path, text, "part.inner.depth=9", "parts.1.weight=5")
    assert recipe.part == Part(path="x", weight=2, inner=Inner(depth=9, label="q"))
    assert recipe.parts == (Part(path="a"), Part(path="b", weight=5))


@pytest.mark.parametrize(
    ("text", "assignment", "expected"),
    [
        ("", "name", "--set name: write it as --set section.field=value."),
        ("", "=3", "--set =3: write it as --set section.field=value."),
        ("", "name={", "--set name={: the value is not valid YAML."),
        ("parts: [{path: a}]\n", "parts.1.path=b", "--set parts.1.path=b: 'parts.1' does not exist."),
        ("parts: [{path: a}]\n", "parts.-1.path=b", "--set parts.-1.path=b: 'parts.-1' does not exist."),
        ("parts: [{path: a}]\n", "parts.path=b", "--set parts.path=b: 'parts.path' does not exist."),
        ("name: a\n", "name.first=b", "--set name.first=b: 'name.first' does not exist."),
        ("", "sede=3", "--set sede=3: the recipe has no field 'sede'. Did you mean 'seed'?"),
        ("", "part.inner.dpth=3", "--set part.inner.dpth=3: part.inner has no field 'dpth'. Did you mean 'depth'?"),
        ("seed: 1\n", "seed=-1", "--set seed=-1: seed: Input should be greater than or equal to 0 (got -1)."),
    ],
)
def test_set_wrongly(tmp_path: Path, text: str, assignment: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text, assignment).splitlines()


def test_set_below_an_empty_section(tmp_path: Path) -> None:
    assert parse(tmp_path, "part:\n", "part.path=x").part == Part(path="x")


def test_set_does_not_change_the_place_of_other_keys(tmp_path: Path) -> None:
    said = complaint(tmp_path, "part:\n  path: x\n  weight: -1\n", "part.inner.depth=2")
    assert said == "recipe.yaml:3: part.weight: Input should be greater than 0 (got -1)."


def test_frozen() -> None:
    recipe = Recipe()
    with pytest.raises(ValidationError, match="frozen"):
        recipe.seed = 3  # type: ignore[misc]


def test_closed_in_python_too() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Recipe(sede=3)  # type: ignore[call-arg]


def test_replace_checks() -> None:
    part = Part(path="a", weight=2)
    assert part.replace(weight=3) == Part(path="a", weight=3)
    assert part.weight == 2
    with pytest.raises(ValidationError, match="greater than 0"):
        part.replace(weight=-1)
    with pytest.raises(ValidationError, match="Extra inputs"):
        part.replace(wieght=1)


def test_replace_keeps_nested_values_and_kinds() -> None:
    recipe = Recipe(shape=Square(side=3, parts=(Part(path="x"),)), sizes=(1, 2))
    assert recipe.replace(seed=1) == Recipe(shape=Square(side=3, parts=(Part(path="x"),)), sizes=(1, 2), seed=1)
    assert recipe.replace(shape=Round(radius=2)).shape == Round(radius=2)


def test_a_few_lines_of_aliases_do_not_fill_the_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="that is no recipe"):
        load_source(path)
