"""What is told of a beam search, with scores that a person can compute: "a" ends a text, "b" to "e" have fixed chances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.engine.scheduling.stand_ins import AlphabetDetokenizer, GreedyChoice, NumberTokenizer, call
from tests.unit.engine.tasks.manifests import generator, translator
from tests.unit.engine.tasks.test_segments import Words
from trine import frames
from trine.engine.tasks.generation import Generation
from trine.engine.tasks.generative import GenerativeTask
from trine.engine.tasks.passage import Part
from trine.engine.tasks.translation import Translation
from trine.errors import Bug, InvalidInput
from trine.sampling import BeamSearch, Decoding, Sampling, Stopping

A, B, C, D = range(4)


def generation() -> Generation:
    return Generation(generator(), NumberTokenizer(), AlphabetDetokenizer(), GreedyChoice)


def translation() -> Translation:
    return Translation(translator(), Words(), AlphabetDetokenizer(), GreedyChoice)


def prepare(
    task: GenerativeTask,
    *texts: str,
    stream: bool = False,
    split: bool = True,
    limit: int = 4,
    **changes: Any,
) -> list[Part]:
    search = BeamSearch(**{"beams": 2, "length_penalty": 0.0, **changes.pop("search", {})})
    decoding = Decoding(max_new_tokens=limit, beam_search=search, **changes)
    request = frames.Generate(7, list(texts), math.inf, 2, "one", decoding, stream, split=split)
    return task.prepare(request, call(7, inputs=len(texts)))


def chances(**by_letter: float) -> NDArray[np.float32]:
    """Logits float32 [26]."""
    row = np.full(26, -np.inf, np.float32)
    for letter, chance in by_letter.items():
        row[ord(letter) - ord("a")] = math.log(chance)
    return row


def write(task: GenerativeTask, part: Part, *steps: Sequence[NDArray[np.float32]]) -> list[Any]:
    """What is told after each step, silence left out. A step has the logits of each beam."""
    assert part.search is not None
    told = []
    part.rows = list(range(part.width))
    for rows in steps:
        part.branch(part.search.advance(np.stack(rows), []))
        told.append(task.tell(part))
    return [message for message in told if message is not None]


EVEN = chances(b=0.6, c=0.4)
ENDING = chances(a=0.9, b=0.1)


def test_a_search_takes_a_row_for_each_beam() -> None:
    (part,) = prepare(generation(), "1 2", search={"beams": 5})
    assert (part.width, part.tail, part.choice is part.search) == (5, None, True)


def test_the_best_text_is_the_answer_and_the_n_best_stand_beside_it() -> None:
    task = generation()
    (part,) = prepare(task, "1 2", search={"n_best": 2})
    (told,) = write(task, part, [EVEN], [ENDING, ENDING])
    (result,) = told.generated
    assert (result.text, result.finish, result.usage) == ("b", "stop", frames.Usage(2, 2))
    assert [(one.text, one.finish, one.output_tokens) for one in result.hypotheses] == [
        ("b", "stop", 2),
        ("c", "stop", 2),
    ]
    assert [one.score for one in result.hypotheses] == pytest.approx([math.log(0.54), math.log(0.36)])


def test_only_as_many_as_were_asked_for() -> None:
    task = generation()
    (part,) = prepare(task, "1 2")
    (told,) = write(task, part, [EVEN], [ENDING, ENDING])
    assert [one.text for one in told.generated[0].hypotheses] == ["b"]


def test_the_limit_ends_a_text() -> None:
    task = generation()
    (part,) = prepare(task, "1 2", limit=2, search={"n_best": 2})
    (told,) = write(task, part, [EVEN], [EVEN, EVEN])
    (result,) = told.generated
    assert (result.text, result.finish, result.usage.output_tokens) == ("bb", "length", 2)
    assert [(one.text, one.finish) for one in result.hypotheses] == [("bb", "length"), ("bc", "length")]


def test_a_stop_token_ends_a_text_before_it() -> None:
    task = generation()
    (part,) = prepare(task, "1 2", stopping=Stopping(token_ids=(D,)), search={"n_best": 2})
    (told,) = write(task, part, [EVEN], [chances(d=0.9, b=0.1), ENDING])
    (result,) = told.generated
    assert (result.text, result.finish, result.matched) == ("b", "stop_sequence", D)
    assert [(one.text, one.finish, one.matched, one.output_tokens) for one in result.hypotheses] == [
        ("b", "stop_sequence", D, 2),
        ("c", "stop", None, 2),
    ]


def test_a_stream_tells_a_text_when_it_is_found() -> None:
    task = generation()
    (part,) = prepare(task, "1 2", stream=True, search={"n_best": 2})
    (delta,) = write(task, part, [EVEN], [ENDING, ENDING])
    assert (delta.text, delta.finish, delta.usage, delta.last) == ("b", "stop", frames.Usage(2, 2), True)
    assert [one.text for one in delta.hypotheses] == ["b", "c"]


def test_the_n_best_of_a_translation_are_in_its_segments() -> None:
    task = translation()
    first, second = two_sentences(task)
    assert write(task, second, [EVEN], [ENDING, ENDING]) == []
    (told,) = write(task, first, [chances(d=1.0)], [chances(a=0.5, c=0.5)], [ENDING])
    (result,) = told.generated
    assert (result.text, result.hypotheses) == ("d b", [])
    assert [[one.text for one in segment.hypotheses] for segment in result.segments] == [
        ["d", "dc"],
        ["b", "c"],
    ]
    assert [(segment.target_begin, segment.target_end) for segment in result.segments] == [(0, 1), (2, 3)]
    assert result.usage == frames.Usage(2, 4)


def test_a_streamed_translation_tells_each_segment_in_its_turn() -> None:
    task = translation()
    first, second = two_sentences(task, stream=True)
    assert write(task, second, [EVEN], [ENDING, ENDING]) == []
    (delta,) = write(task, first, [chances(d=1.0)], [chances(a=0.5, c=0.5)], [ENDING])
    assert (delta.text, delta.last, len(delta.segments)) == ("d b", True, 2)
    first, second = two_sentences(task, stream=True)
    (delta,) = write(task, first, [chances(d=1.0)], [chances(a=0.5, c=0.5)], [ENDING])
    assert (delta.text, delta.finish, len(delta.segments)) == ("d", "", 1)
    (delta,) = write(task, second, [EVEN], [ENDING, ENDING])
    assert (delta.text, delta.last, len(delta.segments)) == (" b", True, 1)


def test_a_stop_token_in_a_segment_ends_the_whole_text() -> None:
    task = translation()
    first, second = two_sentences(task, stopping=Stopping(token_ids=(D,)))
    assert write(task, second, [EVEN]) == []
    assert write(task, first, [EVEN], [chances(d=1.0), ENDING]) == []
    (told,) = write(task, second, [EVEN, EVEN])
    assert second.finish == "length", "let go at once"
    (result,) = told.generated
    assert (result.text, result.finish, result.matched, len(result.segments)) == ("b", "stop_sequence", D, 1)


def test_more_beams_than_rows() -> None:
    task = generation()
    task.most_beams = 3
    assert prepare(task, "1", search={"beams": 3})
    with pytest.raises(InvalidInput, match=r"beams is 4.* 3 at once") as caught:
        prepare(task, "1", search={"beams": 4})
    assert caught.value.field == "beam_search.beams"


def test_logits_that_are_no_numbers_fail_the_call_alone() -> None:
    task = generation()
    (part,) = prepare(task, "1")
    with pytest.raises(Bug, match="finite"):
        write(task, part, [np.full(26, np.nan, np.float32)])
    assert part.finish, "its rows are taken back"


def test_a_search_with_nothing_left_to_choose_is_answered_with_what_there_is() -> None:
    task = generation()
    (part,) = prepare(task, "5", sampling=Sampling(no_repeat_ngram_size=1), search={"n_best": 2})
    (told,) = write(task, part, [EVEN], [chances(b=1.0), chances(c=1.0)])
    (result,) = told.generated
    assert (result.text, result.finish, result.usage) == ("b", "length", frames.Usage(1, 1))
    assert [(one.text, one.finish) for one in result.hypotheses] == [("b", "length"), ("c", "length")]


@pytest.mark.parametrize("stream", [False, True])
def test_a_search_with_nothing_to_choose_at_all_is_answered_with_no_text(stream: bool) -> None:
    task = generation()
    (part,) = prepare(task, "1 2", sampling=Sampling(no_repeat_ngram_size=1), stream=stream)
    (told,) = write(task, part, [chances(b=0.6, c=0.4)])
    result = told if stream else told.generated[0]
    assert (result.text, result.finish, result.usage) == ("", "length", frames.Usage(2, 0))
    assert [(one.text, one.output_tokens) for one in result.hypotheses] == [("", 0)]


def two_sentences(task: Translation, **changes: Any) -> list[Part]:
    """Two segments of one token each."""
    return prepare(task, "Go 1. Stay 2.", **{"search": {"n_best": 2}, **changes})
