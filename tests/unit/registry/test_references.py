import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.errors import InvalidInput
from trine.registry.references import Reference, check_name, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sentiment", Reference("sentiment")),
        ("en-fr@live", Reference("en-fr", alias="live")),
        ("a.b_c-1:12", Reference("a.b_c-1", number=12)),
    ],
)
def test_the_three_forms(text: str, expected: Reference) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "-a",
        "a-",
        "a..b",
        "a/b",
        "../a",
        "a\\b",
        "%2e%2e",
        "a\x00",
        "a" * 64,
        "a:0",
        "a:01",
        "a:x",
        "a:",
        "a@",
        "a@B",
        "a:1:2",
        "a@b@c",
        "a\n",
        "a:1\n",
        "a:٣",
    ],
)
def test_anything_else_names_the_field(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert caught.value.field == "checkpoint"


@given(st.text(max_size=80))
def test_an_accepted_name_cannot_leave_its_folder(text: str) -> None:
    try:
        name = check_name(text)
    except InvalidInput:
        return
    assert "/" not in name
    assert "\\" not in name
    assert ".." not in name
    assert name == name.strip()
    assert 1 <= len(name) <= 63
