"""Chat and summaries over gRPC, on checkpoints with random weights that this test makes and registers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.server import Server
from tests.unit.export.architectures import build
from trine.client import Client
from trine.errors import InvalidInput, WrongTask

TEMPLATE = (
    "{% for message in messages %}{{ message.role[0] }}:{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server with a Llama that has a chat template, and a BART that summarizes."""
    folder = tmp_path_factory.mktemp("tasks")
    chatty = build("llama", folder / "llama")
    settings = json.loads((chatty / "tokenizer_config.json").read_text())
    (chatty / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": TEMPLATE}))
    (chatty / "chat_template.jinja").unlink(missing_ok=True)
    build("bart", folder / "bart")
    with (
        Server(folder / "server", folder / "repository", import_root=folder) as server,
        server.client() as client,
    ):
        for name in ("llama", "bart"):
            steps = list(client.register(name, folder / name, precision="fp32"))
            assert steps[-1].version is not None
            assert steps[-1].version.state == "ready", steps[-1].message
        yield client


def test_a_conversation_is_the_prompt_that_its_template_makes(tasks: Client) -> None:
    messages = [{"role": "system", "content": "Be."}, {"role": "user", "content": "Hi"}]
    prompt = "s:Be.\nu:Hi\na:"
    answer = tasks.chat("llama", messages, max_new_tokens=8)
    # The template decides about special tokens, so the prompt has none; a text gets them from the tokenizer.
    assert answer.usage.input_tokens == len(prompt)
    plain = tasks.generate("llama", prompt, max_new_tokens=8)
    assert plain.usage.input_tokens > len(prompt)
    deltas = list(tasks.stream_chat("llama", messages, max_new_tokens=8))
    assert "".join(delta.text for delta in deltas) == answer.text
    assert deltas[-1].usage == answer.usage


def test_a_conversation_that_does_not_fit_is_refused_by_name(tasks: Client) -> None:
    with pytest.raises(InvalidInput) as refused:
        tasks.chat("llama", [{"role": "user", "content": "x" * 100}])
    assert refused.value.field == "inputs[0].messages"


def test_a_checkpoint_without_a_template_has_no_conversations(client: Client) -> None:
    with pytest.raises(Exception, match="chat template") as refused:
        client.chat("verse", [{"role": "user", "content": "Hi"}])
    assert type(refused.value) is not Exception


def test_summaries(tasks: Client) -> None:
    texts = ["The old man saw a small house.", "Nobody likes it."]
    together = tasks.summarize("bart", texts, max_new_tokens=12)
    assert together == [tasks.summarize("bart", text, max_new_tokens=12) for text in texts]
    deltas = list(tasks.stream_summarize("bart", texts[0], max_new_tokens=12))
    assert "".join(delta.text for delta in deltas) == together[0].text
    best = tasks.summarize("bart", texts[0], max_new_tokens=12, beams=3, n_best=2)
    assert best.hypotheses[0].text == best.text
    with pytest.raises(InvalidInput, match="tokens") as refused:
        tasks.summarize("bart", "x" * 200)
    assert refused.value.field == "inputs[0].text"


def test_every_task_has_its_own_call(tasks: Client, client: Client) -> None:
    with pytest.raises(WrongTask, match="Summarize"):
        tasks.translate("bart", "Hi")
    with pytest.raises(WrongTask, match="Translate"):
        client.summarize("en-fr", "Hi")


def test_a_checkpoint_of_one_direction_takes_no_language(client: Client) -> None:
    with pytest.raises(InvalidInput) as refused:
        client.translate("en-fr", ["Hi", "Hi"], target_language="de")
    assert refused.value.field == "inputs[0].target_language"
