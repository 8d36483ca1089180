"""The page of a profile: it adds up, it is whole without a network, and it says what to change."""

import base64
import hashlib
import re
from dataclasses import replace

import pytest
from test_report_page import Page

from tuneloop.report.profile_page import (
    KINDS,
    OperatorTime,
    PartTime,
    Profile,
    find_hints,
    profile_table,
    render_profile_page,
    tell,
)

CPU = Profile(
    first_step=2,
    last_step=4,
    num_steps=3,
    wall_s=10.0,
    step_s=8.0,
    tokens=2_000,
    target_tokens=1_600,
    flops=4e11,
    memory_bytes=3 << 30,
    device="cpu",
    threads=2,
    limit_gflops=100.0,
    limit_is_measured=True,
    kinds={"matmul": 6.0, "head": 1.5, "validation": 1.2, "host": 1.29, "saving": 0.01},
    parts=(PartTime("feed_forward", 2.0, 2.5), PartTime("head", 1.5, 0.0), PartTime("norm", 0.0, 0.0)),
    operators=tuple(OperatorTime(f"aten::op_{i}<b>", "elementwise", 10, 1.0 / (i + 1)) for i in range(20)),
    products=(OperatorTime("tokens × 8 × 8", "matmul", 4, 2.0, 1.6e11),),  # noqa: RUF001
)
CARD = replace(CPU, device="NVIDIA H200", limit_is_measured=False, limit_gflops=989e3, flops=3.5e15)


def text_of(profile: Profile) -> str:
    return Page(render_profile_page(profile)).text.replace("\xa0", " ")


@pytest.mark.parametrize("profile", [CPU, CARD, replace(CPU, limit_gflops=None, operators=(), products=(), parts=())])
def test_the_page_is_whole_without_a_network(profile: Profile) -> None:
    # The reader refuses scripts, addresses, and tags that are not closed.
    html = render_profile_page(profile)
    Page(html)
    assert not re.findall(r"(?:https?:)?//\w|url\(|@import", html.replace("chrome://tracing", ""))
    (css,) = re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()}'" in html
    assert html == render_profile_page(profile)


def test_the_page_says_where_the_time_went() -> None:
    text = text_of(CPU)
    assert "Matrix products: 60 % of the time. Useful work reaches 50 % of the speed of this CPU's" in text
    # Speeds are those of the steps, without what lies between them.
    assert "Target tokens/s 200" in re.sub(r"\s+", " ", text)
    assert "Useful work 50 GFLOP/s" in re.sub(r"\s+", " ", text)
    assert "Together they run at 80 GFLOP/s, 80 % of the limit" in text
    assert "Saving" not in text.split("By part")[0].split("Kind")[1]
    assert "Norms" not in text
    assert "op_14<b>" in text
    assert "op_15<b>" not in text


def test_a_card_is_named_with_its_peak() -> None:
    text = text_of(CARD)
    assert "44 % of the peak of NVIDIA H200" in text
    assert "989 TFLOP/s" in text
    assert "kernels" in text
    assert "Useful work reaches" not in tell(replace(CARD, limit_gflops=None))


def test_hints_name_what_is_slow_and_what_to_change() -> None:
    assert list(find_hints(CPU)) == []
    slow = replace(CPU, kinds={"matmul": 3.0, "host": 4.0, "data": 2.0, "saving": 1.0}, limit_gflops=200.0)
    hints = list(find_hints(slow))
    assert [
        word in hint for hint, word in zip(hints, ("micro_batch_tokens", "Data", "Saving", "thin"), strict=True)
    ] == [True] * 4


def test_the_table_for_a_terminal() -> None:
    assert profile_table(CPU) == (
        "Where the time of steps 2 to 4 went (10.00 s):\n"
        "  Matrix products            60.0 %      6.00 s\n"
        "  Loss and head              15.0 %      1.50 s\n"
        "  Host and idle              12.9 %      1.29 s\n"
        "  Validation                 12.0 %      1.20 s\n"
        "  matrix products run at 80 GFLOP/s (limit 100)\n"
        "  useful work: 50 % of the limit, the profiler's own cost included"
    )
    assert len(set(KINDS.values())) == len(KINDS)
