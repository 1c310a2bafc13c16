"""Stop strings, stop tokens, minimal lengths and log-probabilities of texts being written, on paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engine.scheduling.stand_ins import (
    AlphabetDetokenizer,
    AlphabetStream,
    GreedyChoice,
    NumberTokenizer,
    call,
)
from tests.unit.engine.tasks.manifests import generator, translator
from trine import artifact, frames
from trine.engine.runtime.sampler import Choice, choose
from trine.engine.tasks.generation import Generation
from trine.engine.tasks.generative import GenerativeTask
from trine.engine.tasks.passage import Part
from trine.engine.tasks.translation import Translation
from trine.errors import Bug, InvalidInput
from trine.sampling import Decoding, Sampling, Stopping


def generation(context: int = 32) -> Generation:
    return Generation(generator(context), NumberTokenizer(), AlphabetDetokenizer(), GreedyChoice)


def prepare(
    task: GenerativeTask,
    *texts: str,
    limit: int | None = None,
    stream: bool = False,
    stop: Sequence[str] = (),
    ids: Sequence[int] = (),
    least: int = 0,
    logprobs: int | None = None,
    sampling: Sampling | None = None,
) -> list[Part]:
    stopping = Stopping(least, tuple(stop), tuple(ids))
    decoding = Decoding(sampling or Sampling(), stopping, limit, logprobs)
    request = frames.Generate(7, list(texts), math.inf, 2, "one", decoding, stream)
    return task.prepare(request, call(7, inputs=len(texts)))


def write(task: GenerativeTask, draft: Part, *tokens: int) -> list[Any]:
    """What is told after each token until the text ends, silence left out."""
    told = []
    for token in tokens:
        if not draft.finish:
            draft.take(token)
            told.append(task.tell(draft))
    return [message for message in told if message is not None]


# --- stop strings and stop tokens -------------------------------------------------------------------------------------


def test_a_stop_string_ends_the_text_before_it() -> None:
    task = generation()
    (draft,) = prepare(task, "1 2", stop=["x", "de"])
    (told,) = write(task, draft, 2, 3, 4, 5)
    assert told.generated == [frames.Generated("c", "stop_sequence", frames.Usage(2, 3), "de")]


def test_a_stream_withholds_what_could_become_one() -> None:
    task = generation()
    (draft,) = prepare(task, "1", stream=True, stop=["de"])
    assert write(task, draft, 2, 3, 3, 5, 3, 4, 9) == [
        frames.Delta(7, 0, "c"),
        frames.Delta(7, 0, "d"),
        frames.Delta(7, 0, "df"),
        frames.Delta(7, 0, "", "stop_sequence", frames.Usage(1, 6), True, "de"),
    ]


def test_text_that_the_end_lets_go_can_stop_too() -> None:
    """The stand-in's stream withholds a "z" until the next token or the end."""
    task = generation()
    (draft,) = prepare(task, "1", limit=2, stop=["z"])
    (told,) = write(task, draft, 3, 25)
    assert told.generated == [frames.Generated("d", "stop_sequence", frames.Usage(1, 2), "z")]


def test_the_limit_ends_what_only_began_to_stop() -> None:
    task = generation()
    (draft,) = prepare(task, "1", limit=2, stream=True, stop=["def"])
    assert write(task, draft, 3, 4) == [frames.Delta(7, 0, "de", "length", frames.Usage(1, 2), True)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_token_ends_the_text_before_it(stream: bool) -> None:
    task = generation()
    (draft,) = prepare(task, "1", stream=stream, ids=[9, 5])
    told = write(task, draft, 2, 5, 3)[-1]
    end = told if stream else told.generated[0]
    assert (end.finish, end.matched, end.usage) == ("stop_sequence", 5, frames.Usage(1, 2))
    assert end.text == ("" if stream else "c")


def test_an_end_token_of_the_checkpoints_own_stays_one() -> None:
    task = generation()
    (draft,) = prepare(task, "1", ids=[0])
    (told,) = write(task, draft, 2, 0)
    assert (told.generated[0].finish, told.generated[0].matched) == ("stop", None)


def test_forced_tokens_are_no_stop_tokens() -> None:
    task = Translation(translator(forced_first_id=4), NumberTokenizer(), AlphabetDetokenizer(), GreedyChoice)
    (draft,) = prepare(task, "1", ids=[4])
    (told,) = write(task, draft, 9, 3, 4)
    assert (told.generated[0].text, told.generated[0].matched) == ("ed", 4)


def test_stop_strings_do_not_count_in_the_first_tokens() -> None:
    task = generation()
    (draft,) = prepare(task, "1", stop=["cd", "d"], least=2)
    (told,) = write(task, draft, 2, 3, 4, 3)
    assert (told.generated[0].text, told.generated[0].matched) == ("cde", "d")


TOKENS = st.lists(st.integers(1, 4) | st.just(25), min_size=1, max_size=20)


@given(
    tokens=TOKENS,
    stop=st.lists(st.text("bcdez", min_size=1, max_size=4), max_size=3),
    ids=st.lists(st.sampled_from([4, 25]), max_size=1),
    least=st.integers(0, 6),
    logprobs=st.none() | st.integers(0, 3),
)
def test_stream_equals_unary(
    tokens: list[int], stop: list[str], ids: list[int], least: int, logprobs: int | None
) -> None:
    task, tokens = generation(), [*tokens, 0]
    least = min(least, len(tokens))
    options: dict[str, Any] = {
        "limit": len(tokens),
        "stop": stop,
        "ids": ids,
        "least": least,
        "logprobs": logprobs,
    }
    (streamed,), (whole,) = prepare(task, "1", stream=True, **options), prepare(task, "1", **options)
    deltas = write(task, streamed, *tokens)
    (told,) = write(task, whole, *tokens)
    (result,) = told.generated
    end = deltas[-1]
    assert "".join(delta.text for delta in deltas) == result.text
    assert [entry for delta in deltas for entry in delta.logprobs] == result.logprobs
    assert (end.finish, end.usage, end.matched) == (result.finish, result.usage, result.matched)
    assert len(result.logprobs) == (0 if logprobs is None else result.usage.output_tokens)


# --- log-probabilities -----------------------------------------------------------------------------------------------


def test_each_written_token_has_its_log_probability() -> None:
    task = generation()
    (draft,) = prepare(task, "1", logprobs=2)
    (told,) = write(task, draft, 2, 3, 0)
    best = [frames.Alternative(0, "a", 0.0), frames.Alternative(1, "b", -1.0)]
    assert told.generated[0].logprobs == [
        frames.TokenLogprob(2, "c", -2.0, best),
        frames.TokenLogprob(3, "d", -3.0, best),
        frames.TokenLogprob(0, "a", 0.0, best),
    ]


def test_they_wait_with_the_text_of_their_token() -> None:
    task = generation()
    (draft,) = prepare(task, "1", stream=True, stop=["df"], logprobs=0)
    deltas = write(task, draft, 2, 3, 4, 3, 5)
    assert [(delta.text, [entry.token_id for entry in delta.logprobs]) for delta in deltas] == [
        ("c", [2]),
        ("de", [3, 4]),
        ("", [3, 5]),
    ]


def test_a_forced_token_has_its_own_log_probability() -> None:
    task = Translation(translator(forced_first_id=4), NumberTokenizer(), AlphabetDetokenizer(), GreedyChoice)
    (draft,) = prepare(task, "1", logprobs=0)
    (told,) = write(task, draft, 9, 0)
    assert told.generated[0].logprobs[0] == frames.TokenLogprob(4, "e", -4.0)


def test_logits_that_are_no_numbers_are_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    task = generation()
    (draft,) = prepare(task, "1", logprobs=0)
    monkeypatch.setattr("tests.unit.engine.scheduling.stand_ins.AlphabetScores.of", lambda *_: math.nan)
    with pytest.raises(Bug, match="no finite score"):
        write(task, draft, 2)


# --- what the sampler gets ----------------------------------------------------------------------------------------------


def test_the_sampler_follows_the_sequences_own_context() -> None:
    (draft,) = prepare(generation(), "1 2", ids=[3, 4], least=5, logprobs=0)
    assert isinstance(draft.choice, GreedyChoice)
    state = draft.choice.state
    assert state["context"] is draft.context
    assert state == {
        "context": [1, 2],
        "begin": 2,
        "end_ids": {0, 3, 4},
        "min_new_tokens": 5,
        "logprobs": True,
    }


def test_a_translations_sampler_sees_the_decoders_tokens() -> None:
    task = Translation(translator(), NumberTokenizer(), AlphabetDetokenizer(), GreedyChoice)
    (draft,) = prepare(task, "5 6")
    assert isinstance(draft.choice, GreedyChoice)
    assert (draft.choice.state["context"], draft.choice.state["begin"]) == ([1], 1)


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"ids": [3, 26]}, "stop_token_ids", "0 to 25"),
        ({"sampling": Sampling(logit_bias={26: 1.0})}, "sampling.logit_bias", "26 is no token"),
        ({"sampling": Sampling(logit_bias={-1: 1.0})}, "sampling.logit_bias", "-1 is no token"),
        ({"limit": 3, "least": 4}, "min_new_tokens", "is 4, and at most 3"),
        ({"least": 32}, "min_new_tokens", "at most 31"),
    ],
)
def test_what_the_checkpoint_cannot_do_is_refused_by_name(
    options: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        prepare(generation(), "1", **options)
    assert caught.value.field == field


def test_log_probabilities_that_fit_no_answer_are_refused() -> None:
    task = generation(100_000)
    assert len(prepare(task, "1", limit=65_536, logprobs=1)) == 1
    for texts, logprobs in ((["1"], 2), (["1", "1"], 1)):
        with pytest.raises(InvalidInput, match="at most 131072") as caught:
            prepare(task, *texts, limit=65_536, logprobs=logprobs)
        assert caught.value.field == "logprobs"


# --- a text that cannot be made --------------------------------------------------------------------------------------


def test_a_detokenizer_that_breaks_ends_its_own_text_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking a token never raises: batch-mates are settled in the same step."""
    task = generation()
    (draft,) = prepare(task, "1", stop=["x"])

    def push(stream: AlphabetStream, token: int) -> str:
        raise Bug("the tokens cannot be turned into text")

    monkeypatch.setattr(AlphabetStream, "push", push)
    draft.take(3)
    assert draft.finish
    with pytest.raises(Bug, match="cannot be turned into text"):
        task.tell(draft)


def test_an_end_token_beyond_the_vocabulary_is_none() -> None:
    manifest = msgspec.structs.replace(generator(), generation=artifact.Generation(eos_ids=(0, 26, -1)))
    task = Generation(manifest, NumberTokenizer(), AlphabetDetokenizer(), Choice)
    (draft,) = prepare(task, "1", least=1)
    assert isinstance(draft.choice, Choice)
    assert choose(np.array([[3.0] + [1.0] * 24 + [2.0]], np.float32), [draft.choice]) == [25]
