"""Chat templates on their way into an artifact, and the prompts that an engine makes with them: ids as transformers has them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from transformers import AutoTokenizer

    from tests.unit.engine.text.bombs import COSTLY
    from tests.unit.engine.text.templates import FORMS
    from tests.unit.export import tiny
    from tests.unit.export.conftest import Exported, export
    from tests.unit.export.engine import generate, prepared
    from trine.artifact import REPORT
    from trine.engine.text.chat import CHAT_TEMPLATE, SPECIAL_TOKENS, ChatTemplate
    from trine.errors import InvalidInput, NotPossible
    from trine.export import chat, probes
    from trine.frames import Message

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

TEMPLATE = (
    "{% for message in messages %}{% if message.role not in ['user', 'assistant'] %}{{ raise_exception('Not you!') }}{% endif %}"
    "{{ '<|' + message.role + '|>' + message.content + eos_token }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CHAT = [
    Message("user", "I saw the dog."),
    Message("assistant", "Yes."),
    Message("user", "again<|endoftext|>"),
]


def with_template(folder: Path, template: Any) -> Path:
    """A GPT-2 whose tokenizer_config.json has it, as older checkpoints do."""
    tiny.gpt2(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": template}))
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "PLAIN", probes.PLAIN[3:9])
        return export(lambda folder: with_template(folder, TEMPLATE), tmp_path_factory.mktemp("chat"))


def test_a_conversation_is_read_as_transformers_reads_it(exported: Exported) -> None:
    theirs = AutoTokenizer.from_pretrained(exported.folder)
    messages = [{"role": each.role, "content": each.content} for each in CHAT]
    expected = theirs.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    chatting, plain = prepared(exported.artifact, "", "I saw", conversations=[CHAT, []])
    assert chatting.tokens == list(expected)
    assert plain.tokens == theirs("I saw").input_ids
    assert chatting.tokens.count(theirs.eos_token_id) == 4, "what a message names is read as the token"


def test_a_conversation_is_answered(exported: Exported) -> None:
    (answer, plain), _ = generate(exported.artifact, "", "I saw", conversations=[CHAT, []])
    (alone,), _ = generate(exported.artifact, "I saw")
    assert answer.usage.input_tokens > 20
    assert (plain.text, plain.usage) == (alone.text, alone.usage)


def test_what_the_template_refuses_names_the_messages(exported: Exported) -> None:
    with pytest.raises(
        InvalidInput, match=r"^the checkpoint's chat template refuses these messages$"
    ) as caught:
        prepared(exported.artifact, "a", "", conversations=[[], [Message("system", "a")]])
    assert caught.value.field == "inputs[1].messages"


@pytest.mark.parametrize("length", [70, 96 - 25, 1000])
def test_a_conversation_beyond_the_context_names_the_messages(exported: Exported, length: int) -> None:
    with pytest.raises(InvalidInput, match="tokens") as caught:
        prepared(exported.artifact, "", conversations=[[Message("user", "é" * length)]])
    assert caught.value.field == "inputs[0].messages"


def test_the_artifact_has_the_template_and_its_tokens(exported: Exported) -> None:
    assert exported.artifact.path(CHAT_TEMPLATE).read_text() == TEMPLATE
    tokens = json.loads(exported.artifact.path(SPECIAL_TOKENS).read_text())
    assert tokens["eos_token"] == "<|endoftext|>"
    assert json.loads(exported.artifact.path(REPORT).read_text())["chat_template"] == "taken over"


def test_a_checkpoint_without_a_template(gpt2: Exported) -> None:
    assert CHAT_TEMPLATE not in gpt2.artifact.manifest.files
    with pytest.raises(NotPossible, match=r"^the checkpoint has no chat template$") as caught:
        prepared(gpt2.artifact, "", conversations=[CHAT])
    assert caught.value.field == "inputs[0].messages"
    assert json.loads(gpt2.artifact.path(REPORT).read_text())["chat_template"] == "the checkpoint has none"


# --- what is taken over --------------------------------------------------------------------------------------------------------


def taken(folder: Path, template: Any) -> str:
    """What was done with it, and whether there are files for it."""
    tokenizer = AutoTokenizer.from_pretrained(with_template(folder / "checkpoint", template))
    told = chat.write(tokenizer, folder)
    files = {path.name for path in folder.iterdir()} - {"checkpoint"}
    assert files == ({CHAT_TEMPLATE, SPECIAL_TOKENS} if told == "taken over" else set())
    return told


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_of_published_checkpoints_are_taken_over(tmp_path: Path, form: str) -> None:
    assert taken(tmp_path, FORMS[form]) == "taken over"
    assert ChatTemplate.open(tmp_path).render([{"role": "user", "content": "Hi"}])


def test_of_several_templates_the_default_is_taken(tmp_path: Path) -> None:
    several = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": TEMPLATE}]
    assert taken(tmp_path, several) == "taken over"
    assert (tmp_path / CHAT_TEMPLATE).read_text() == TEMPLATE
    assert taken(tmp_path / "none", several[:1]) == "left out: the checkpoint has several, and no default"


def test_a_file_of_its_own_is_taken(tmp_path: Path) -> None:
    folder = tiny.gpt2(tmp_path / "checkpoint")
    (folder / CHAT_TEMPLATE).write_text(TEMPLATE + "\n", encoding="utf-8")
    assert chat.write(AutoTokenizer.from_pretrained(folder), tmp_path) == "taken over"
    assert (tmp_path / CHAT_TEMPLATE).read_text() == TEMPLATE + "\n"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for %}", "does not compile"),
        ("{{ 'a' | center(9) }}", "uses what is not allowed"),
        ("a" * 70_000, "more than 65536 characters"),
        ("{{ raise_exception('No!') }}", "refuses every conversation"),
        (COSTLY["nested loops that write nothing"], "refuses every conversation"),
        ("{% if lipsum is defined %}a{% endif %}b", "not rendered as transformers does"),
    ],
)
def test_a_template_that_is_no_use_is_left_out_and_it_is_said_why(
    tmp_path: Path, template: str, reason: str
) -> None:
    told = taken(tmp_path, template)
    assert told.startswith("left out: ")
    assert reason in told
