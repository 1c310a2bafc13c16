"""Limits, forced tokens, seeds, and what generation and translation tell."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.unit.engine.scheduling.stand_ins import AlphabetDetokenizer, GreedyChoice, NumberTokenizer, call
from tests.unit.engine.tasks.manifests import classifier, generator, translator
from trine import frames
from trine.engine.tasks.generation import Generation
from trine.engine.tasks.generative import GenerativeTask
from trine.engine.tasks.passage import Part
from trine.engine.tasks.translation import Translation
from trine.errors import Bug, InvalidInput, WrongTask
from trine.sampling import Decoding, Sampling


def generation(context: int = 16) -> Generation:
    return Generation(generator(context), NumberTokenizer(), AlphabetDetokenizer(), GreedyChoice)


def translation(**changes: Any) -> Translation:
    return Translation(translator(**changes), NumberTokenizer(), AlphabetDetokenizer(), GreedyChoice)


def prepare(
    task: GenerativeTask,
    *texts: str,
    limit: int | None = None,
    stream: bool = False,
    split: bool = True,
    **sampling: Any,
) -> list[Part]:
    decoding = Decoding(Sampling(**sampling), max_new_tokens=limit)
    request = frames.Generate(7, list(texts), math.inf, 2, "one", decoding, stream, split=split)
    return task.prepare(request, call(7, inputs=len(texts)))


def write(task: GenerativeTask, draft: Part, *tokens: int) -> list[Any]:
    """What is told after each token, silence left out."""
    told = []
    for token in tokens:
        draft.take(token)
        told.append(task.tell(draft))
    return [message for message in told if message is not None]


# --- limits ----------------------------------------------------------------------------------------------------------


def test_prompt_and_new_tokens_share_the_context() -> None:
    (draft,) = prepare(generation(), "1 2 3")
    assert (draft.context, draft.begin, draft.limit) == ([1, 2, 3], 3, 13)
    assert prepare(generation(), "1 2 3", limit=13)[0].limit == 13
    assert prepare(generation(1000), "1 2 3")[0].limit == 256, "unset: what fits, at most 256"


@pytest.mark.parametrize("limit", [0, -1, 14])
def test_max_new_tokens_that_does_not_fit(limit: int) -> None:
    with pytest.raises(InvalidInput, match="1 to 13") as caught:
        prepare(generation(), "1 2 3", limit=limit)
    assert caught.value.field == "max_new_tokens"


@pytest.mark.parametrize(("length", "words"), [(16, "fills the context of 16"), (17, "17 tokens.* 16")])
def test_prompt_that_leaves_no_room(length: int, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        prepare(generation(), "1", " ".join("1" * length))
    assert caught.value.field == "inputs[1].text"
    assert prepare(generation(), " ".join("1" * 15))[0].limit == 1


def test_prompt_without_a_token() -> None:
    with pytest.raises(InvalidInput) as caught:
        prepare(generation(), " ")
    assert caught.value.field == "inputs[0].text"


def test_the_start_token_takes_a_place_of_the_targets_context() -> None:
    (draft,) = prepare(translation(), "5 6")
    assert (draft.tokens, draft.context, draft.begin, draft.limit) == ([5, 6], [1], 1, 9)
    assert prepare(translation(), "5 6", limit=9)[0].limit == 9
    with pytest.raises(InvalidInput, match="1 to 9") as caught:
        prepare(translation(), "5 6", limit=10)
    assert caught.value.field == "max_new_tokens"


def test_source_that_is_too_long() -> None:
    with pytest.raises(InvalidInput, match=r"17 tokens.* 16") as caught:
        prepare(translation(), "1", " ".join("1" * 17), split=False)
    assert caught.value.field == "inputs[1].text"
    assert len(prepare(translation(), " ".join("1" * 16), split=False)) == 1


def test_another_tasks_request() -> None:
    request = frames.Classify(7, ["1"], math.inf, 2, "one", 0)
    with pytest.raises(WrongTask):
        generation().prepare(request, call(7))


def test_a_manifest_that_cannot_generate() -> None:
    with pytest.raises(Bug):
        Generation(classifier(), NumberTokenizer(), AlphabetDetokenizer(), GreedyChoice)
    with pytest.raises(Bug):
        Translation(generator(), NumberTokenizer(), AlphabetDetokenizer(), GreedyChoice)


# --- forced tokens and seeds -----------------------------------------------------------------------------------------


def test_forced_tokens() -> None:
    task = translation(forced_first_id=4, forced_last_id=0)
    assert prepare(task, "1")[0].forced == {0: 4, 8: 0}, "the last place of the context"
    assert prepare(task, "1", limit=8)[0].forced == {0: 4}, "a limit before the context's end forces nothing"
    assert prepare(translation(), "1")[0].forced == {}


def test_each_input_has_a_seed_of_its_own() -> None:
    drafts = prepare(generation(), "1", "2", "3", temperature=0.5, seed=2**64 - 2)
    seeds = [draft.choice.parameters[1] for draft in drafts]  # type: ignore[attr-defined]
    assert seeds == [2**64 - 2, 2**64 - 1, 0]


# --- what is told ----------------------------------------------------------------------------------------------------


def test_unary_answers_once_without_the_end_token() -> None:
    task = generation()
    (draft,) = prepare(task, "1 2")
    assert write(task, draft, 2, 3, 0) == [
        frames.Answer(7, generated=[frames.Generated("cd", "stop", frames.Usage(2, 3))])
    ]


def test_unary_waits_for_its_last_input_and_keeps_their_order() -> None:
    task = generation()
    first, second = prepare(task, "1 2", "3", limit=2)
    assert write(task, second, 5, 6) == []
    (told,) = write(task, first, 7, 8)
    assert [(result.text, result.finish) for result in told.generated] == [("hi", "length"), ("fg", "length")]
    assert [result.usage for result in told.generated] == [frames.Usage(2, 2), frames.Usage(1, 2)]


def test_stream_tells_each_token_and_the_usage_last() -> None:
    task = generation()
    (draft,) = prepare(task, "1 2", stream=True)
    assert write(task, draft, 2, 3, 0) == [
        frames.Delta(7, 0, "c"),
        frames.Delta(7, 0, "d"),
        frames.Delta(7, 0, "", "stop", frames.Usage(2, 3), last=True),
    ]


def test_withheld_text_makes_no_delta_and_is_not_lost() -> None:
    task = generation()
    (draft,) = prepare(task, "1 2", limit=4, stream=True)
    assert write(task, draft, 25, 2, 25, 25) == [
        frames.Delta(7, 0, "zc"),
        frames.Delta(7, 0, "zz", "length", frames.Usage(2, 4), last=True),
    ]


def test_stream_of_several_inputs_closes_with_the_last_one() -> None:
    task = generation()
    first, second = prepare(task, "1", "2", limit=1, stream=True)
    assert [(delta.input_index, delta.last) for delta in write(task, second, 3)] == [(1, False)]
    assert [(delta.input_index, delta.last) for delta in write(task, first, 3)] == [(0, True)]


@pytest.mark.parametrize("tokens", [[2, 3, 0], [25, 25, 4, 5], [25, 0], [0], [4, 5, 6, 25]])
def test_stream_equals_unary(tokens: list[int]) -> None:
    task = generation()
    (streamed,), (whole,) = prepare(task, "1", limit=4, stream=True), prepare(task, "1", limit=4)
    deltas = write(task, streamed, *tokens)
    (told,) = write(task, whole, *tokens)
    (result,) = told.generated
    assert "".join(delta.text for delta in deltas) == result.text
    assert (deltas[-1].finish, deltas[-1].usage) == (result.finish, result.usage)
