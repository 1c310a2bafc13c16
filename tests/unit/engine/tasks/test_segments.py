"""Texts of any length: sentences as parts, joined in order, whole and streamed."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import pytest

from tests.unit.engine.scheduling.stand_ins import AlphabetDetokenizer, GreedyChoice, NumberTokenizer, call
from tests.unit.engine.tasks.manifests import translator
from trine import frames
from trine.engine.tasks.languages import Told
from trine.engine.tasks.passage import Part, Source
from trine.engine.tasks.segments import MAX_REQUEST_SEGMENTS, MAX_SEGMENTS, segmented, whole
from trine.engine.tasks.translation import Translation
from trine.errors import InvalidInput
from trine.sampling import Decoding, Sampling, Stopping


class Words(NumberTokenizer):
    """Numbers whose punctuation is no token; "no" cannot be read, ">>7<<" is 7, "()" has no token."""

    def encode(self, texts: Any, *, add_special_tokens: bool = True) -> list[list[int]]:
        if any("no" in text for text in texts):
            raise InvalidInput("the text cannot be tokenized")
        return super().encode([re.sub(r"[^\d\s]+", " ", text) for text in texts])


def translation(source: int = 16, target: int = 10) -> Translation:
    return Translation(translator(source, target), Words(), AlphabetDetokenizer(), GreedyChoice)


def prepare(task: Translation, *texts: str, stream: bool = False, **changes: Any) -> list[Part]:
    split = changes.pop("split", True)
    request = frames.Generate(7, list(texts), math.inf, 2, "one", Decoding(**changes), stream, split=split)
    return task.prepare(request, call(7, inputs=len(texts)))


def write(task: Translation, part: Part, *tokens: int) -> list[Any]:
    """What is told after each token, silence left out; a part that was let go takes no more."""
    told = []
    for token in tokens:
        if not part.finish:
            part.take(token)
            told.append(task.tell(part))
    return [message for message in told if message is not None]


def cut(texts: list[str], limit: int) -> list[Source]:
    return segmented(Words(), texts, limit, [Told()] * len(texts))


def parts(text: str, limit: int = 16, told: Told | None = None) -> list[tuple[str, list[int]]]:
    (source,) = segmented(Words(), [text], limit, [told or Told()])
    return [(text[begin:end], ids) for (begin, end), ids in zip(source.spans, source.parts, strict=True)]


# --- reading ---------------------------------------------------------------------------------------------------------


def test_each_sentence_is_a_sequence_of_its_own() -> None:
    assert parts(" 1 2! 3?\n\n4 ") == [("1 2!", [1, 2]), ("3?", [3]), ("4", [4])]
    (source,) = cut([" 1 2! 3?\n\n4 "], 16)
    assert source.gaps == [" ", " ", "\n\n", " "]


def test_a_sentence_beyond_the_context_is_divided_until_it_fits() -> None:
    found = parts("1 2 3, 4 5 6 7 8 9 10 11! 12", limit=3)
    assert [ids for _, ids in found] == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11], [12]]
    assert found[0][0] == "1 2 3,"


def test_what_cannot_be_divided_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"2 tokens .* at most 1") as caught:
        cut(["1", "2, 3-4"], 1)
    assert caught.value.field == "inputs[1].text"


@pytest.mark.parametrize("bad", ["no", "()"])
def test_a_text_that_cannot_be_read_is_named_whatever_its_sentences(bad: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        cut(["1! 2! 3!", "4", f"5! {bad}"], 16)
    assert caught.value.field == "inputs[2].text"


def test_segments_are_bounded() -> None:
    assert len(parts("1! " * MAX_SEGMENTS)) == MAX_SEGMENTS
    for text, limit in (("1! " * (MAX_SEGMENTS + 1), 16), ("1 " * (MAX_SEGMENTS + 1), 1)):
        with pytest.raises(InvalidInput, match="1024") as caught:
            cut(["1", text], limit)
        assert caught.value.field == "inputs[1].text"
    with pytest.raises(InvalidInput, match=str(MAX_REQUEST_SEGMENTS)) as caught:
        cut(["1! " * MAX_SEGMENTS] * 4 + ["1"], 16)
    assert caught.value.field == "inputs"


def test_the_target_language_at_the_beginning_is_for_all_sentences() -> None:
    own = Told(">>7<< ", own=6)
    assert parts(">>7<< 1! 2! 3", told=own) == [(">>7<< 1!", [7, 1]), ("2!", [7, 2]), ("3", [7, 3])]
    assert parts("1! 2!", told=Told(">>7<< ")) == [("1!", [7, 1]), ("2!", [7, 2])]


def test_a_line_end_after_the_target_language_makes_no_sentence_of_it() -> None:
    own = Told(">>7<<\n\n", own=8)
    assert parts(" >>7<<\n\n1! 2!", told=own) == [(">>7<<\n\n1!", [7, 1]), ("2!", [7, 2])]
    assert parts(">>7<<", told=Told(">>7<<", own=5)) == [(">>7<<", [7])]


def test_whole_texts() -> None:
    (source,) = whole(Words(), [" 1! 2! "], 16, [Told()])
    assert (source.parts, source.spans, source.gaps) == ([[1, 2]], [(0, 7)], ["", ""])
    with pytest.raises(InvalidInput, match=r"3 tokens.* 2"):
        whole(Words(), ["1! 2! 3!"], 2, [Told()])
    with pytest.raises(InvalidInput):
        cut([], 2)


def test_a_text_of_whitespace_is_one_segment() -> None:
    with pytest.raises(InvalidInput, match="no token"):
        cut([" "], 2)


# --- writing ---------------------------------------------------------------------------------------------------------

TEXT = "\t1 2!  3?\n4 "


def test_the_answer_is_joined_with_the_whitespace_of_the_source() -> None:
    task = translation()
    first, second, third = prepare(task, TEXT)
    assert write(task, third, 2, 0) == write(task, first, 3, 4, 0) == []
    (told,) = write(task, second, 5, 6, 7, 8, 9, 10, 11, 12, 13)
    (result,) = told.generated
    assert result.text == "\tde  fghijklmn\nc "
    assert (result.finish, result.usage) == ("length", frames.Usage(4, 14))
    assert result.segments == [
        frames.Segment(1, 5, 1, 3, "stop"),
        frames.Segment(7, 9, 5, 14, "length"),
        frames.Segment(10, 11, 15, 16, "stop"),
    ]
    assert [result.text[one.target_begin : one.target_end] for one in result.segments] == [
        "de",
        "fghijklmn",
        "c",
    ]
    assert [TEXT[one.source_begin : one.source_end] for one in result.segments] == ["1 2!", "3?", "4"]


def test_one_sentence_is_one_segment() -> None:
    task = translation()
    (part,) = prepare(task, "1 2")
    (told,) = write(task, part, 3, 0)
    segment = frames.Segment(0, 3, 0, 1, "stop")
    assert told.generated == [frames.Generated("d", "stop", frames.Usage(2, 2), segments=[segment])]


def test_a_stream_withholds_a_segment_until_those_before_it_are_finished() -> None:
    task = translation()
    first, second, third = prepare(task, TEXT, stream=True)
    assert write(task, second, 5, 0) == write(task, third, 6) == []
    assert write(task, first, 3) == [frames.Delta(7, 0, "\td")]
    (told,) = write(task, first, 0)
    assert (told.text, told.finish) == ("  f\ng", "")
    assert told.segments == [frames.Segment(1, 5, 1, 2, "stop"), frames.Segment(7, 9, 4, 5, "stop")]
    assert write(task, third, 7, 0) == [
        frames.Delta(7, 0, "h"),
        frames.Delta(
            7, 0, " ", "stop", frames.Usage(4, 7), True, segments=[frames.Segment(10, 11, 6, 8, "stop")]
        ),
    ]


def test_each_segment_draws_for_itself_and_the_first_as_if_alone() -> None:
    found = prepare(translation(), "1! 2!", "3", sampling=Sampling(temperature=1.0, seed=5))
    seeds = [part.choice.parameters[1] for part in found]  # type: ignore[attr-defined]
    assert (seeds[0], seeds[2]) == (5, 6)
    assert len(set(seeds)) == 3


def test_a_stop_ends_the_whole_text_and_lets_the_rest_go() -> None:
    task = translation()
    first, second, third = prepare(task, TEXT, stopping=Stopping(strings=("fg",)))
    assert write(task, second, 4, 5, 6) == []
    assert (first.limit, third.limit) == (9, 1)
    assert write(task, third, 9) == []
    (told,) = write(task, first, 3, 0)
    (result,) = told.generated
    assert (result.text, result.finish, result.matched) == ("\td  e", "stop_sequence", "fg")
    assert result.usage == frames.Usage(3, 5), "of what was told"
    assert [segment.finish for segment in result.segments] == ["stop", "stop_sequence"]


SCRIPTS = {
    "plain": ([[3, 4, 0], [5, 0], [6, 7, 0]], Stopping()),
    "withheld": ([[25, 25, 0], [25, 0], [25, 3, 4, 5, 6, 7, 8, 9, 10]], Stopping()),
    "empty": ([[0], [0], [0]], Stopping()),
    "stopped first": ([[3, 4, 5], [5, 0], [6, 0]], Stopping(strings=("f",))),
    "stopped last": ([[3, 0], [5, 0], [6, 7, 0]], Stopping(strings=("gh",))),
    "stopped by a token": ([[3, 0], [5, 9, 4], [6, 7, 0]], Stopping(token_ids=(9,))),
    "stopped twice": ([[3, 9], [5, 9], [6, 9]], Stopping(token_ids=(9,))),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_stream_equals_unary_in_every_order(script: str) -> None:
    """Whichever of the parts advances first."""
    tokens, stopping = SCRIPTS[script]
    answers = []
    for order in itertools.permutations(range(3)):
        for stream in (False, True):
            task = translation()
            found = prepare(task, TEXT, stream=stream, stopping=stopping, logprobs=1)
            told = [message for place in order for message in write(task, found[place], *tokens[place])]
            for part in found:
                told += write(task, part, 0)  # those that were let go end with their next token
            answers.append(joined(told) if stream else told[-1].generated[0])
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("tail", [True, False], ids=["written", "searched"])
def test_segments_that_finish_in_one_step_lose_nothing(tail: bool) -> None:
    """All have finished before the first is told. A search, which has no tail, gets its text only when its turn comes."""
    answers = []
    for stream in (False, True):
        task = translation()
        stopping = Stopping(token_ids=(9,))
        found = prepare(task, TEXT, stream=stream, stopping=stopping, max_new_tokens=1, logprobs=1)
        for place, part in enumerate(found):
            part.tail = part.tail if tail else None
            part.take(9 if place == 2 else 4)
        told: list[Any] = [message for message in map(task.tell, found) if message is not None]
        answers.append(joined(told) if stream else told[-1].generated[0])
    assert answers[0] == answers[1]
    assert (answers[0].text, answers[0].matched, len(answers[0].logprobs)) == ("\te  e\n", 9, 3)


def joined(deltas: list[frames.Delta]) -> frames.Generated:
    end = deltas[-1]
    assert end.usage is not None
    assert [delta.last for delta in deltas] == [False] * (len(deltas) - 1) + [True]
    return frames.Generated(
        "".join(delta.text for delta in deltas),
        end.finish,
        end.usage,
        end.matched,
        [entry for delta in deltas for entry in delta.logprobs],
        [segment for delta in deltas for segment in delta.segments],
    )
