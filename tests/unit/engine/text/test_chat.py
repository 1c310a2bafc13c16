"""Conversations as transformers renders them, and templates that would not end."""

from __future__ import annotations

import random
import re
import resource
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import pytest

from tests.unit.engine.text import bombs
from tests.unit.engine.text.templates import FORMS
from trine.engine.text import chat
from trine.engine.text.allowed import MAX_CHARACTERS, OutOfBounds
from trine.engine.text.chat import MAX_TEMPLATE, ChatTemplate
from trine.errors import ArtifactCorrupt, InvalidInput, TrineError

transformers = pytest.importorskip("transformers.utils.chat_template_utils")

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
WORDS = [
    "a",
    " b ",
    "\n",
    "<|im_end|>",
    "é 😀",
    "</think>",
    "<think>",
    "{{ x }}",
    "{% if %}",
    "'",
    '"',
    "<b>&",
    "\t",
    "world",
]

Conversation = list[dict[str, str]]


def conversations(count: int) -> Iterator[Conversation]:
    """Most alternate, as many templates ask for; some do not."""
    draw = random.Random(11)
    for _ in range(count):
        roles = ["user", "assistant"] * draw.randint(1, 3)
        roles = ["system", *roles] if draw.random() < 0.4 else roles
        roles = (
            draw.sample(roles, len(roles)) if draw.random() < 0.2 else roles[: draw.randint(1, len(roles))]
        )
        roles = [*roles, "tool"] if draw.random() < 0.1 else roles
        yield [
            {"role": role, "content": "".join(draw.choices(WORDS, k=draw.randint(0, 6)))} for role in roles
        ]


def expected(source: str, conversation: Conversation, tokens: Mapping[str, str] = TOKENS) -> str | None:
    """transformers' own text, or None where it raises."""
    try:
        ((text,), _) = transformers.render_jinja_template(
            [conversation], chat_template=source, add_generation_prompt=True, **tokens
        )
    except Exception:
        return None
    return str(text)


def rendered(template: ChatTemplate, conversation: Conversation) -> str | None:
    try:
        return template.render(conversation)
    except InvalidInput as error:
        return None if error.message.endswith("refuses these messages") else error.message


@pytest.mark.parametrize("form", FORMS)
def test_prompts_are_transformers(form: str) -> None:
    template = ChatTemplate(FORMS[form], TOKENS)
    found = [(rendered(template, each), expected(FORMS[form], each)) for each in conversations(120)]
    assert [ours for ours, _ in found] == [theirs for _, theirs in found]
    assert sum(theirs is not None for _, theirs in found) > 40


def test_what_the_template_refuses_is_told_in_our_words() -> None:
    template = ChatTemplate(FORMS["gemma"], TOKENS)
    with pytest.raises(InvalidInput, match=r"^the checkpoint's chat template refuses these messages$"):
        template.render([{"role": "system", "content": "Be brief."}])


def test_the_day_is_told_as_the_template_asks() -> None:
    days = {datetime.now().strftime("%d %b %Y") for _ in range(2)}
    text = ChatTemplate(FORMS["llama 3, dated"], TOKENS).render([{"role": "user", "content": "a"}])
    days.add(datetime.now().strftime("%d %b %Y"))  # midnight may have passed
    assert re.findall(r"Today Date: (.*)", text)[0] in days


def test_a_long_conversation_is_far_from_the_bounds() -> None:
    """64 Ki characters in 400 messages, by the template that does most."""
    conversation = [{"role": role, "content": "word " * 32} for role in ("user", "assistant") * 200]
    template = ChatTemplate(FORMS["qwen"], TOKENS)
    assert template.render(conversation) == expected(FORMS["qwen"], conversation)


@pytest.mark.parametrize(
    "inside",
    [
        "{% set x = messages | selectattr('role', 'equalto', 'user') | list %}{{ x | length }}",
        "{% set x = messages | rejectattr('role', 'equalto', 'user') | list %}{{ (x | last).role }}",
        "{% set x = messages[loop.index0:] | selectattr('role', 'equalto', 'user') | list %}{{ x | length }}",
        "{% for later in messages[loop.index0:] %}{{ later.role[0] }}{% endfor %}",
        "{{ messages | map(attribute='role') | list | length }}{{ (messages | reverse | first).role }}",
        "{% set seen.all = seen.all + [message] %}{{ seen.all | length }}{{ told(message, messages) }}",
        "{% if messages[loop.index0 - 1].role == message.role or 'user' not in message.role %}!{% endif %}",
    ],
)
def test_a_conversation_of_as_many_messages_as_there_may_be(inside: str) -> None:
    """256 of 200 characters, all of which are looked at for each."""
    source = (
        "{% macro told(message, messages) %}{{ messages | length }}{{ message.role }}{% endmacro %}"
        "{% set seen = namespace(all=[]) %}{% for message in messages %}"
        + inside
        + "{{ message.content }}{% endfor %}"
    )
    conversation = [{"role": role, "content": "word " * 40} for role in ("user", "assistant") * 128]
    assert ChatTemplate(source, TOKENS).render(conversation) == expected(source, conversation)


def test_json_of_some_depth_is_written() -> None:
    source = (
        "{{ {'a': [1, {'b': [2.5, none]}], 'c': {}} | tojson(indent=2) }}"
        + "{{ "
        + "[" * 40
        + "]" * 40
        + " | tojson }}"
    )
    conversation = [{"role": "user", "content": ""}]
    assert ChatTemplate(source, TOKENS).render(conversation) == expected(source, conversation)


def test_what_contains_something_is_not_compared_on() -> None:
    with pytest.raises(ArtifactCorrupt):
        ChatTemplate("{{ 'a' in 'ab' == true }}", TOKENS)


def test_the_text_has_a_bound() -> None:
    template = ChatTemplate(FORMS["chatml"], TOKENS)
    with pytest.raises(InvalidInput, match="too long for the checkpoint's chat template"):
        template.render([{"role": "user", "content": "a" * MAX_CHARACTERS}])


def test_a_budget_is_for_one_rendering() -> None:
    template = ChatTemplate("{% for i in range(60000) %}{% endfor %}{{ messages[0].content }}", {})
    assert [template.render([{"role": "user", "content": text}]) for text in "abcd"] == list("abcd")


# --- what would not end ------------------------------------------------------------------------------------------------------


@pytest.fixture
def little_memory() -> Iterator[None]:
    """So that what escapes its bounds fails at once; only counted where the limit can be set."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (512 << 20), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", [*bombs.COSTLY, *bombs.LARGE, *bombs.ESCAPES])
def test_what_would_not_end_is_refused(name: str) -> None:
    source = (bombs.COSTLY | bombs.LARGE | bombs.ESCAPES)[name]
    with pytest.raises((ArtifactCorrupt, InvalidInput)) as caught:
        ChatTemplate(source, {}).render([{"role": "user", "content": "Hi"}])
    assert not isinstance(caught.value.__cause__, MemoryError)


@pytest.mark.parametrize("name", bombs.COSTLY)
def test_what_goes_on_and_on_ends_by_its_budget(name: str) -> None:
    """Or by the interpreter's own bound on recursion; never because of a mistake in the template."""
    with pytest.raises(InvalidInput) as caught:
        ChatTemplate(bombs.COSTLY[name], {}).render([{"role": "user", "content": "Hi"}])
    assert isinstance(caught.value.__cause__, OutOfBounds | RecursionError)


@pytest.mark.parametrize("name", bombs.ESCAPES)
def test_no_bomb_leaves_a_word_of_its_own(name: str) -> None:
    with pytest.raises(TrineError) as caught:
        ChatTemplate(bombs.ESCAPES[name], {}).render([{"role": "user", "content": "Hi"}])
    assert re.fullmatch(
        "the chat template does not compile.*|the checkpoint's chat template refuses.*", caught.value.message
    )


# --- files -------------------------------------------------------------------------------------------------------------------


def test_an_artifacts_files(tmp_path: Path) -> None:
    template, tokens = tmp_path / chat.CHAT_TEMPLATE, tmp_path / chat.SPECIAL_TOKENS
    template.write_text("{{ bos_token }}é\n\n", encoding="utf-8")
    tokens.write_text('{"bos_token": "<s>"}')
    opened = ChatTemplate.open(tmp_path)
    assert opened.render([{"role": "user", "content": ""}]) == "<s>é\n"
    tokens.write_text("{")
    with pytest.raises(ArtifactCorrupt, match=r"^the chat template cannot be read$"):
        ChatTemplate.open(tmp_path)


def test_a_template_has_a_length() -> None:
    ChatTemplate("a" * MAX_TEMPLATE, {})
    with pytest.raises(ArtifactCorrupt, match=str(MAX_TEMPLATE)):
        ChatTemplate("a" * (MAX_TEMPLATE + 1), {})
