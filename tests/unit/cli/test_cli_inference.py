"""`trine classify`, `classify-tokens`, `embed`, `generate`, `translate`: what is asked, and what people and machines see."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import Trine
from tests.unit.client.fake_server import FakeServer
from trine.v1 import inference_pb2


def test_classify_for_people(trine: Trine) -> None:
    result = trine("classify", "sentiment", "A delight.")
    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["label", "score"],
        ["positive", "0.7500"],
        ["negative", "0.2500"],
    ]
    assert "A delight." in result.stdout


def test_classify_for_machines(trine: Trine, server: FakeServer) -> None:
    result = trine("classify", "sentiment", "a", "b", "--top-k", "1", "--json")
    found = json.loads(result.stdout)
    usage = {"input_tokens": 5, "output_tokens": 3, "cut_tokens": 0, "cached_tokens": 2, "windows": 0}
    one = {"labels": [{"name": "positive", "score": 0.75}], "usage": usage, "checkpoint": "sentiment:2"}
    assert found == [one, one]
    assert [item.text for item in server.requests[0].inputs] == ["a", "b"]


def test_classify_sends_its_options(trine: Trine, server: FakeServer) -> None:
    options = ["--pair", "c", "--pair", "d", "--raw-scores", "--windows", "--overlap", "7"]
    assert trine("classify", "nli", "a", "b", *options).exit_code == 0
    inputs = [inference_pb2.ClassifyInput(text=t, text_pair=p) for t, p in (("a", "c"), ("b", "d"))]
    (request,) = server.requests
    assert list(request.inputs) == inputs
    assert (request.raw_scores, request.windows.overlap) == (True, 7)


def test_entities_for_people(trine: Trine, server: FakeServer) -> None:
    result = trine("classify-tokens", "ner", "Zoë in Rome", "x", "--aggregation", "max", "--windows")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["label", "score", "entity", "begin", "end", "text"],
        ["PER", "0.5000", "Zoë", "0", "3", "Zoë", "in", "Rome"],
        ["PER", "0.5000", "x", "0", "1", "x"],
    ]
    assert server.requests[0].aggregation == inference_pb2.AGGREGATION_MAX
    assert server.requests[0].HasField("windows")


def test_entities_for_machines(trine: Trine) -> None:
    (found,) = json.loads(trine("classify-tokens", "ner", "Zoë in Rome", "--json").stdout)
    assert found["entities"] == [{"label": "PER", "score": 0.5, "text": "Zoë", "begin": 0, "end": 3}]


def test_embeddings_are_lines_of_numbers(trine: Trine, server: FakeServer) -> None:
    result = trine("embed", "mini", "ab", "abc", "--no-normalize", "--dimensions", "2")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [[2.0, -0.5], [3.0, -0.5]]
    (request,) = server.requests
    assert (request.HasField("normalize"), request.normalize, request.dimensions) == (True, False, 2)


def test_an_overlap_without_windows(trine: Trine, server: FakeServer) -> None:
    result = trine("embed", "mini", "ab", "--overlap", "2")
    assert result.exit_code == 1
    assert "windows.overlap" in result.stderr
    assert server.requests == []


def test_a_dash_reads_stdin(trine: Trine, server: FakeServer) -> None:
    result = trine("translate", "en-fr", "first", "-", stdin="zwei\n\n drei \n")
    assert [item.text for item in server.requests[0].inputs] == ["first", "zwei", " drei "]
    assert result.stdout == "tsrif\niewz\n ierd \n"


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_a_text_need_not_be_split(trine: Trine, server: FakeServer, stream: list[str]) -> None:
    assert trine("translate", "en-fr", "ab", *stream).stdout == "ba\n"
    result = trine("translate", "en-fr", "ab", "--split", "none", "--json", *stream)
    asked = [inference_pb2.SPLIT_SENTENCES, inference_pb2.SPLIT_NONE]
    assert [request.split for request in server.requests] == asked
    (segment,) = json.loads(result.stdout.splitlines()[-1] if stream else result.stdout[1:-2])["segments"]
    assert (segment["source_begin"], segment["target_end"], segment["finish_reason"]) == (1, 5, "stop")


def test_generate_sends_its_options(trine: Trine, server: FakeServer) -> None:
    options = [
        "--max-new-tokens",
        "60",
        "--temperature",
        "0.5",
        "--top-p",
        "0.25",
        "--top-k",
        "8",
        "--seed",
        "7",
    ]
    result = trine("generate", "verse", "ROMEO:", *options)
    assert result.stdout == ":OEMOR\n"
    request = server.requests[0]
    assert request.max_new_tokens == 60
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed) == (0.5, 0.25, 8, 7)


@pytest.mark.parametrize("verb", ["generate", "chat", "translate", "summarize"])
def test_every_control_has_an_option(trine: Trine, server: FakeServer, verb: str) -> None:
    options = {
        "--min-new-tokens": "3",
        "--min-p": "0.25",
        "--repetition-penalty": "1.5",
        "--presence-penalty": "-0.5",
        "--frequency-penalty": "0.75",
        "--no-repeat-ngram-size": "2",
        "--temperature": "0.5",
        "--seed": "7",
        "--logprobs": "2",
    }
    words = [word for option in options.items() for word in option]
    result = trine(verb, "verse", "ab", *words, "--stop", "END", "--stop", "\n", "--json")
    request = server.requests[0]
    sampling = request.sampling
    assert (request.min_new_tokens, request.logprobs, list(request.stop)) == (3, 2, ["END", "\n"])
    assert (sampling.min_p, sampling.repetition_penalty, sampling.presence_penalty) == (0.25, 1.5, -0.5)
    assert (sampling.frequency_penalty, sampling.no_repeat_ngram_size) == (0.75, 2)
    assert (sampling.temperature, sampling.seed) == (0.5, 7)
    (found,) = json.loads(result.stdout)
    assert (found["finish_reason"], found["matched_stop"]) == ("stop_sequence", "END")
    alternative = {"token_id": 4, "text": "y", "logprob": -0.25}
    assert found["logprobs"] == [{"token_id": 3, "text": "x", "logprob": -0.5, "alternatives": [alternative]}]


@pytest.mark.parametrize("verb", ["generate", "chat", "translate", "summarize"])
@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_beams(trine: Trine, server: FakeServer, verb: str, stream: list[str]) -> None:
    words = [
        "--beams",
        "4",
        "--length-penalty",
        "-0.5",
        "--early-stopping",
        "never",
        "--n-best",
        "2",
        "--json",
    ]
    result = trine(verb, "verse", "ab", *words, *stream)
    assert server.requests[0].beam_search == inference_pb2.BeamSearch(
        beams=4, length_penalty=-0.5, early_stopping=inference_pb2.EARLY_STOPPING_NEVER, n_best=2
    )
    if verb != "translate":
        found = json.loads(result.stdout.splitlines()[-1] if stream else result.stdout[1:-2])
        assert [(one["text"], one["score"]) for one in found["hypotheses"]] == [
            ("best", -0.5),
            ("next", -0.75),
        ]


def test_one_beam_is_no_search(trine: Trine, server: FakeServer) -> None:
    trine("generate", "verse", "ab", "--beams", "1")
    assert not server.requests[0].HasField("beam_search")


def test_chat_sends_messages(trine: Trine, server: FakeServer) -> None:
    assert trine("chat", "verse", "Hi!", "--system", "Be brief.").stdout == "!iH\n"
    assert trine("chat", "verse", "Hi!", "--stream").stdout == "!iH\n"
    both, one = ([(m.role, m.content) for m in r.inputs[0].messages] for r in server.requests)
    assert both == [("system", "Be brief."), ("user", "Hi!")]
    assert one == [("user", "Hi!")]


def test_languages_are_those_of_all_texts(trine: Trine, server: FakeServer) -> None:
    trine("translate", "en-fr", "a", "b", "--source-language", "en", "--target-language", "fr")
    assert [(i.source_language, i.target_language) for i in server.requests[0].inputs] == [("en", "fr")] * 2


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_summarize(trine: Trine, stream: list[str]) -> None:
    assert trine("summarize", "news", "abc", *stream).stdout == "cba\n"


def test_log_probabilities_are_for_machines(trine: Trine, server: FakeServer) -> None:
    for option in ("--logprobs", "--n-best"):
        result = trine("generate", "verse", "ab", option, "2")
        assert result.exit_code == 2
        assert "--json" in result.stderr
    assert server.requests == []


def test_generate_for_machines(trine: Trine) -> None:
    (found,) = json.loads(trine("generate", "verse", "ab", "--json").stdout)
    assert (found["text"], found["finish_reason"]) == ("ba", "stop")


def test_a_stream_prints_the_text(trine: Trine) -> None:
    assert trine("generate", "verse", "ROMEO:", "--stream").stdout == ":OEMOR\n"


def test_streams_of_several_inputs_keep_their_order(trine: Trine) -> None:
    """The fake server answers the last input first."""
    assert trine("translate", "en-fr", "abc", "de", "f", "--stream").stdout == "cba\ned\nf\n"


def test_a_stream_for_machines_is_one_object_a_line(trine: Trine) -> None:
    result = trine("translate", "en-fr", "ab", "--stream", "--json")
    deltas = [json.loads(line) for line in result.stdout.splitlines()]
    assert "".join(delta["text"] for delta in deltas) == "ba"
    assert deltas[-1]["finish_reason"] == "stop"
    assert deltas[-1]["usage"]["output_tokens"] == 3
    assert deltas[0]["usage"] is None


@pytest.mark.parametrize("text", ["[bold]:smile: [/x]", "\\[red]"])
def test_foreign_text_is_shown_as_it_is(trine: Trine, text: str) -> None:
    assert trine("generate", "verse", text).stdout == f"{text[::-1]}\n"
    assert text in trine("classify", "sentiment", text).stdout


def test_control_characters_do_not_reach_the_terminal(trine: Trine) -> None:
    assert trine("generate", "verse", "a\x1b[2Jb").stdout == "bJ2[a\n"
    assert trine("generate", "verse", "a\x1b[2Jb", "--stream").stdout == "bJ2[a\n"
