"""Personal data and secrets: what is found, what only looks like it, and what masking leaves."""

# ruff: noqa: RUF001 - Chinese and full-width characters are what these patterns are about

import itertools
import re
from collections import Counter
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from growth import is_linear
from tuneloop.data.quality.personal import KIND_MEANINGS, find_personal, mask_personal, mask_row
from tuneloop.data.quality.personal_numbers import passes_luhn, resident_check_digit

# Put together here, so that nothing which guards a repository takes them for real ones.
RANDOM = "Zq8Wn2Lx7Vb4Tc9Rk5Hd3Mf6Pj1"
GITHUB = "ghp_" + (RANDOM + RANDOM)[:36]
AMAZON = "AKIA" + "Q3ZT7WXN5KJ2R8VM"
OPENAI = "sk-" + RANDOM
ANTHROPIC = "sk-" + "ant-api03-" + RANDOM + "-_" + RANDOM
GOOGLE = "AIza" + (RANDOM + RANDOM)[:35]
SLACK = "xox" + "b-1234567890-" + RANDOM
TOKEN = "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0" + ".dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
HUGGING_FACE = "hf_" + "kQzWvXbNtYrLpMsJdHgFcAeUoIq7R2x9"
BLOCK = "-----BEGIN RSA PRIVATE KEY-----\n" + (RANDOM * 2 + "+/==\n") * 3 + "-----END RSA PRIVATE KEY-----"

FOUND = [
    ("cn_id", "身份证号⟦11010519491231002X⟧，"),
    ("cn_id", "⟦11010519491231002x⟧"),
    ("cn_id", "号码⟦44052419800101001?⟧"),
    ("cn_id", "⟦110105 19491231 002X⟧"),
    ("cn_id", "⟦１１０１０５１９４９１２３１００２Ｘ⟧"),
    ("cn_id", "身份证：⟦110105491231002⟧"),
    ("cn_phone", "电话⟦13800138001⟧。"),
    ("cn_phone", "请拨打⟦+86 138-0013-8001⟧"),
    ("cn_phone", "⟦138 0013 8001⟧"),
    ("cn_phone", "⟦008613800138001⟧"),
    ("cn_phone", "⟦8613800138001⟧"),
    ("cn_phone", "⟦１３８００１３８００１⟧"),
    ("cn_phone", "⟦138–0013–8001⟧"),
    ("cn_phone", "phone=⟦13800138001⟧&x=1"),
    ("phone", "call ⟦+44 20 7946 0958⟧ now"),
    ("phone", "⟦+14155552671⟧"),
    ("phone", "⟦(415) 355-2671⟧"),
    ("phone", "at ⟦415-355-2671⟧."),
    ("phone", "⟦1-800-799-7233⟧"),
    ("phone", "总机⟦010-62751234⟧"),
    ("phone", "⟦(0755) 26001234⟧"),
    ("bank_card", "card ⟦4539 1488 0343 6467⟧"),
    ("bank_card", "卡号⟦622202123456789012?⟧"),
    ("bank_card", "⟦3782-822463-10005⟧"),
    ("bank_card", "⟦5425233430109903⟧"),
    ("email", "邮箱⟦zhang.san+a@mail.qq.com⟧，"),
    ("email", "<⟦ann@example.org⟧>"),
    ("email", "⟦ann＠example．org⟧"),
    ("email", "end ⟦a@b.io⟧."),
    ("ip", "host ⟦47.95.164.112⟧ is"),
    ("ip", "⟦2606:4700:4700::1111⟧"),
    ("iban", "⟦DE89 3704 0044 0532 0130 00⟧ is"),
    ("iban", "⟦GB82WEST12345698765432⟧"),
    ("passport_cn", "护照号：⟦E12345678⟧"),
    ("key", f"⟦{GITHUB}⟧"),
    ("key", f"key ⟦{AMAZON}⟧ here"),
    ("key", f"OPENAI=⟦{OPENAI}⟧"),
    ("key", f"⟦{ANTHROPIC}⟧"),
    ("key", f"?key=⟦{GOOGLE}⟧"),
    ("key", f"⟦{SLACK}⟧"),
    ("key", f"Bearer ⟦{TOKEN}⟧"),
    ("key", f"⟦{HUGGING_FACE}⟧"),
    ("key", f"a\n⟦{BLOCK}⟧\nb"),
    ("key", 'password = "⟦tR7#kq9Lx2⟧"'),
    ("key", f"api_key: '⟦{RANDOM}⟧'"),
    ("key", f"API_KEY=⟦{RANDOM}⟧"),
    ("key", "密码：⟦X78s0jVxgP⟧"),
    ("url_credentials", "https://⟦root:tR7kq9Lx2⟧@db.example.org/x"),
    ("url_credentials", "postgres://⟦app:hunter22⟧@10.0.0.1:5432/a"),
]

NEAR_MISSES = [
    "(2020)京0105民初12345号",
    "（2019）最高法民终1234号之一",
    "订单号20231105123456789",
    "订单号 4532015112830366",
    "运单13800138001234",
    "2020-01-02 13:45:59.123456",
    "20200102134559123",
    "1700000000 1700000000123",
    "圆周率3.14159265358979323846",
    "0.13800138001",
    "13800138001.5",
    "x = 123456789 * 13800138001",
    "7 + 13800138001",
    "人口14000000000人",
    "$13841287201",
    "13800138001元",
    "110105194912310021",  # wrong check digit
    "11010519491331002X",  # month 13
    "99010519491231002X",  # no such province
    "110105491231002",  # the old form without a word that says what it is
    "4539148803436468",  # Luhn fails
    "9999999999999995",  # no issuer
    "IMEI 490154203237518",
    "DE89370400440532013001",  # mod 97 fails
    "version 91.120.44.12",
    "Chrome/91.0.44.124",
    "v1.2.3.4",
    "第1.2.3.4节",
    "192.168.1.100 10.0.0.1 127.0.0.1 255.255.255.0 224.0.0.251",
    "1.3.6.1.4.1.311.21.20",
    "10:20:30 fe80::1 ::1 std::vector<int> a::b",
    "2001:db8::1",
    "icon@2x.png",
    "npm i lodash@4.17.21",
    "@decorator",
    "git@github.com:owner/name.git",
    "user@localhost",
    "a @ b.com",
    "123-456-7890",
    "911-411-0000",
    "2023-415-1234",
    "+1.23456789",
    "x +123456789",
    "UTC+08:00",
    "+100000000000",
    "ISBN 978-3-16-148410-0",
    "a3f5c9e8b7d6a1f2e3c4b5a6d7e8f9a0b1c2d3e4",
    "550e8400-e29b-41d4-a716-446655440000",
    "sk-learn-2-is-a-long-name-of-a-package",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxx1",
    'password = "password123"',
    'password = "P@ssw0rd1"',
    "password = os.environ['DB_PASSWORD_1']",
    "token = tokens[index1234]",
    "token = get_token1234567()",
    'api_key = "YOUR_API_KEY_1234"',
    'api_key: "<KEY_1>"',
    "password: 12345678",
    "the secret of 2020 was kept",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "http://user:password@host.example/1",
    "https://{user}:{password}@host",
    "https://host:8080/@name1",
    "航班E12345678",
    r"\frac{123456789}{987654321} \times 10^{12}",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
    "[12, 34, 56, 78, 90, 12, 34, 56]",
    "0x1234567890abcdef",
    "13-15 14-16 15-17",
]


def completed(text: str) -> str:
    """A number of the table with its check digit in place of the question mark."""
    for number in re.findall(r"[0-9]+\?", text):
        digits = number[:-1]
        if len(digits) == 17:
            return text.replace("?", resident_check_digit(digits))
        return text.replace("?", next(end for end in "0123456789" if passes_luhn(digits + end)))
    return text


@pytest.mark.parametrize(("kind", "marked"), FOUND)
def test_personal_data_is_found_where_it_stands(kind: str, marked: str) -> None:
    marked = completed(marked)
    text = marked.replace("⟦", "").replace("⟧", "")
    start = marked.index("⟦")
    assert [(item.kind, item.start, item.end) for item in find_personal(text)] == [(kind, start, marked.index("⟧") - 1)]


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_what_only_looks_like_personal_data_is_left_alone(text: str) -> None:
    assert find_personal(text) == []
    assert find_personal(f"见{text}。") == []


def test_every_kind_has_an_example_and_a_meaning() -> None:
    assert {kind for kind, _ in FOUND} == set(KIND_MEANINGS)
    assert all(english and chinese and english != chinese for english, chinese in KIND_MEANINGS.values())


def test_check_digit_is_the_one_of_the_standard() -> None:
    assert resident_check_digit("11010519491231002") == "X"
    assert resident_check_digit("44052418800101001") == "4"


def test_one_wrong_digit_makes_an_identity_number_another_one() -> None:
    number = "11010519491231002X"
    for place in range(17):
        wrong = number[:place] + str((int(number[place]) + 1) % 10) + number[place + 1 :]
        assert "cn_id" not in {item.kind for item in find_personal(f"号 {wrong}")}


def test_equal_values_get_one_placeholder_and_different_ones_another() -> None:
    masked, counts = mask_personal("a@b.io, c@d.io, A@B.IO; 13800138001 和 +86 138-0013-8001")
    assert masked == "<EMAIL_1>, <EMAIL_2>, <EMAIL_1>; <CN_PHONE_1> 和 <CN_PHONE_1>"
    assert counts == Counter(email=3, cn_phone=2)


def test_texts_of_one_row_share_their_placeholders() -> None:
    texts, counts = mask_row(["write to c@d.io or a@b.io", "a@b.io it is", "nothing"])
    assert texts == ["write to <EMAIL_1> or <EMAIL_2>", "<EMAIL_2> it is", "nothing"]
    assert counts == Counter(email=3)


def test_placeholder_that_the_row_already_has_is_not_given_to_another_value() -> None:
    texts, _ = mask_row(["a@b.io", "<EMAIL_1> was masked before"])
    assert texts == ["<EMAIL_2>", "<EMAIL_1> was masked before"]


def test_password_in_an_address_leaves_the_address_readable() -> None:
    assert mask_personal("https://root:tR7kq9Lx2@db.example.org/x")[0] == (
        "https://<URL_CREDENTIALS_1>@db.example.org/x"
    )


PIECES = st.one_of(
    st.sampled_from([completed(marked).replace("⟦", "").replace("⟧", "") for _, marked in FOUND]),
    st.sampled_from(NEAR_MISSES),
    st.sampled_from([" ", "", "-", ".", "@", "+", "1", "0", "，", "\n", "<EMAIL_1>", "<CN_PHONE_2>", "：", "２", "a"]),
    st.text(max_size=6),
    st.text("0123456789 -.+@:/abXx＠５", max_size=24),
)
DETERMINISTIC = settings(derandomize=True, database=None, deadline=None, max_examples=250)


@DETERMINISTIC
@given(st.lists(PIECES, max_size=6).map("".join))
def test_masking_leaves_nothing_to_find_and_nothing_else_changed(text: str) -> None:
    found = find_personal(text)
    assert all(0 <= item.start < item.end <= len(text) for item in found)
    assert all(one.end <= other.start for one, other in itertools.pairwise(found))
    masked, counts = mask_personal(text)
    assert find_personal(masked) == []
    assert mask_personal(masked) == (masked, Counter())
    assert counts.total() >= len(found)
    assert (masked == text) == (not found)
    # What is between the placeholders stands in the text, in this order.
    pattern = "(?s).+?".join(map(re.escape, re.split(r"<[A-Z_]+_[0-9]+>", masked))).replace("(?s)", "")
    assert re.fullmatch(pattern, text, re.DOTALL)


HOSTILE = [
    *("1", "1 ", "1-", "1.", "12.", "255.", "+1", "+", "(", "(4", "0-", "010-", "13800138001", "138 ", "4 ", "62"),
    *("a", "a@", "@", "a.", "a@a.", "a@a-", "://", "://a:", "://a:b", "x@" + "a" * 60 + "."),
    *("2001:", ":", "::", "2a:", "DE89 ", "DE89", "GB82WEST", "E1", "护照", "护照：E1234567"),
    *("sk-1", "sk-", "AKIA1", "eyJ1", "eyJ1-", "eyJ1.", "xoxb-1", "ghp_1", "github_pat_1_", "hf_1", "AIza1"),
    *("-----BEGIN PRIVATE KEY-----1", "-----BEGIN ", "-----BEGIN RSA PRIVATE KEY-----\n" + "Ab1" * 30, "-----END "),
    *('password="1a', "password=1a", "password ", "token:1a2b3c4d", "密码：1a", "secret_", "Bearer 1a", "api key 1"),
    *("１", "＠", "身份证110105491231002 ", "11010519491231002X", "<EMAIL_1>", "1a", "a1@b.io "),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_takes_time_in_proportion_to_its_length(piece: str) -> None:
    def search(length: int) -> None:
        text = "1a2b3c4d " + piece * (length // len(piece.encode()))
        find_personal(text)
        find_personal(text + "!")

    assert is_linear(search, 20_000)


def test_many_values_are_masked_in_proportion_to_their_number() -> None:
    def mask(count: int) -> tuple[str, Counter[str]]:
        return mask_personal("\n".join(f"name{number}@mail.org" for number in range(count)))

    masked, counts = mask(5_000)
    assert counts == Counter(email=5_000)
    assert masked.endswith("<EMAIL_5000>")
    assert is_linear(mask, 1_000)


def test_ordinary_text_holds_nothing_personal() -> None:
    line = "A line of plain words about nothing much, written in 2020 and read on page 17 by 3 people. "
    assert find_personal(line) == []
    assert is_linear(lambda lines: find_personal(line * lines), 500)


@pytest.mark.shared
def test_real_dialogues_hold_no_identity_numbers_and_real_examples_hold_addresses(shared: Path) -> None:
    def kinds(path: Path) -> Counter[str]:
        counts: Counter[str] = Counter()
        for line in path.read_bytes().splitlines():
            counts.update(
                item.kind
                for text in orjson.loads(line).values()
                if isinstance(text, str)
                for item in find_personal(text)
            )
        return counts

    assert kinds(shared / "med_dialogue_zh" / "internal_medicine_sample.jsonl") == Counter()
    examples = kinds(shared / "alpaca_zh" / "alpaca_zh_carbonz0.jsonl")
    assert 10 <= examples["email"] <= 60
    assert set(examples) <= {"email", "phone", "ip", "key"}
