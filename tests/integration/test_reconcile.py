"""Many callers of the real server at once, each with texts that nobody else sends: every answer is the one that the same artifact gives
offline, none is lost, none comes twice, and the server's metrics say what the callers say.

`make test` sends 1,500 requests, `make proof` 100,000. The first part of them is patient, so that every count is known exactly. Of the
second part one in ten is left and one in ten has too little time. Such a call may have been answered, refused, or ended before the server
read it, when its caller gave it up: what the caller does not know is summed up, and the sums are exact again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.readers import Reader, publish
from tests.integration.server import Server
from trine.artifact import Precision, Task, open_artifact
from trine.engine.runtime.encoder import EncoderRunner
from trine.engine.text.tokenizer import Tokenizer
from trine.v1 import inference_pb2
from trine.v1.inference_pb2_grpc import InferenceServiceStub

READER = Reader(Task.CLASSIFICATION, Precision.FP32)
PERMITS = 96
WORKERS = 112
"""Calls at once: more than there are permits, so that some are refused."""
CHANNELS = 4
SIZES = (1, 1, 1, 2, 3, 4, 8, 16)
FILLERS = ("", "we saw", "the old house of", "nobody knows where they had been when", "good")
TOLERANCE = 1e-5
KINDS = [1_500, pytest.param(100_000, marks=[pytest.mark.proof, pytest.mark.timeout(7200)])]

Scores = NDArray[np.float32]
"""[texts, labels], in the order of the checkpoint's labels."""


def texts_of(number: int) -> list[str]:
    """The texts of one request. Each says its number and its place, so no two of all requests are alike."""
    draw = random.Random(number)
    return [
        f"{draw.choice(FILLERS)} {' '.join(str(number))} , {index}" for index in range(draw.choice(SIZES))
    ]


class Offline:
    """The artifact that the server serves, run in this process."""

    def __init__(self, folder: Path) -> None:
        artifact = open_artifact(folder)
        manifest = artifact.manifest
        self.labels = {label: index for index, label in enumerate(manifest.labels)}
        self._runner = EncoderRunner(artifact, 1)
        self._tokenizer = Tokenizer(artifact.path("tokenizer.json"), manifest.vocab_size, manifest.unk_id)

    def tokens(self, texts: list[str]) -> list[int]:
        return [len(ids) for ids in self._tokenizer.encode(texts)]

    def scores(self, texts: list[str]) -> Scores:
        return np.stack(self._runner.run(self._tokenizer.encode(texts)))


@dataclass
class Told:
    """What all callers together were told."""

    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """OK, refused, late or left."""
    answers: dict[int, Scores] = field(default_factory=dict)
    tokens: Counter[int] = field(default_factory=Counter)
    """What the answers to each request say that they cost."""


class Page:
    """The metrics at one moment."""

    def __init__(self, server: Server) -> None:
        self._samples = [
            sample
            for family in text_string_to_metric_families(server.http("/metrics")[1])
            for sample in family.samples
        ]

    def sum(self, name: str, **labels: str) -> float:
        """Over all series with these labels."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@dataclass
class Growth:
    """What counters have counted between two moments."""

    before: Page
    after: Page

    def __call__(self, name: str, **labels: str) -> int:
        return int(self.after.sum(name, **labels) - self.before.sum(name, **labels))

    def ended(self, code: str) -> int:
        """Calls, as the server's gRPC side counts them."""
        return self("grpc_server_handled_total", grpc_method="Classify", grpc_code=code)

    def requests(self, code: str) -> int:
        """Requests, as its inference counts them."""
        return self("trine_requests_total", checkpoint=READER.name, code=code)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reconcile")
    publish(folder / "repository", folder / "checkpoints", READER)
    return folder


@pytest.fixture(scope="module")
def running(root: Path) -> Iterator[Server]:
    with Server(root / "server", root / "repository", max_requests=PERMITS, engine_threads=1) as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="module")
def offline(root: Path) -> Offline:
    return Offline(root / "repository" / READER.name / "1" / "artifact")


@pytest_asyncio.fixture
async def stubs(running: Server) -> AsyncIterator[list[Any]]:
    """One for each connection. A call is sent once: what the library repeats by itself nobody could count."""
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(running.target, options) for _ in range(CHANNELS)]
    yield [InferenceServiceStub(channel) for channel in channels]
    for channel in channels:
        await channel.close()


class Callers:
    """WORKERS tasks that send one request after another."""

    def __init__(self, stubs: list[Any], offline: Offline) -> None:
        self._stubs = stubs
        self._labels = offline.labels
        self.told = Told()

    async def patient(self, number: int) -> str:
        """A request that is sent until it is answered."""
        while (outcome := await self._call(number, None, None)) == "refused":
            await asyncio.sleep(0.002)
        return outcome

    async def mixed(self, number: int) -> str:
        """One in ten leaves, one in ten has too little time, the others are patient."""
        draw = random.Random(-1 - number)
        fate = draw.randrange(10)
        if fate == 0:
            return await self._call(number, None, draw.uniform(0, 0.03))
        if fate == 1:
            return await self._call(number, draw.uniform(0.001, 0.1), None)
        return await self.patient(number)

    async def send(self, numbers: range, way: Callable[[int], Coroutine[Any, Any, str]]) -> Told:
        """All of them; whatever goes wrong with one ends it all. Returns what was told since the last time."""
        left = iter(numbers)

        async def work() -> None:
            for number in left:
                await way(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(work())
        told, self.told = self.told, Told()
        return told

    async def _call(self, number: int, timeout: float | None, leave_after: float | None) -> str:
        request = inference_pb2.ClassifyRequest(
            checkpoint=READER.name,
            inputs=[inference_pb2.ClassifyInput(text=text) for text in texts_of(number)],
            raw_scores=True,
        )
        self.told.calls += 1
        call = self._stubs[number % CHANNELS].Classify(request, timeout=timeout)
        if leave_after is not None:
            asyncio.get_running_loop().call_later(leave_after, call.cancel)
        outcome = await self._outcome(call, number, timeout, leave_after)
        self.told.outcomes[outcome] += 1
        return outcome

    async def _outcome(self, call: Any, number: int, timeout: float | None, leave_after: float | None) -> str:
        try:
            response = await call
        except asyncio.CancelledError:
            if leave_after is None or not call.cancelled():
                raise
            return "left"
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                return "refused"
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and timeout is not None:
                return "late"
            raise
        assert number not in self.told.answers, "answered twice"
        self.told.answers[number] = self._scores(response)
        self.told.tokens[number] = sum(result.usage.input_tokens for result in response.results)
        return "OK"

    def _scores(self, response: inference_pb2.ClassifyResponse) -> Scores:
        scores = np.full((len(response.results), len(self._labels)), np.nan, np.float32)
        for row, result in zip(scores, response.results, strict=True):
            for label in result.labels:
                row[self._labels[label.name]] = label.score
        return scores


def compare(told: Told, offline: Offline) -> int:
    """Every answer with the offline one. Returns the tokens of all that were answered."""
    numbers, tokens = sorted(told.answers), 0
    for begin in range(0, len(numbers), 64):
        some = numbers[begin : begin + 64]
        texts = [text for number in some for text in texts_of(number)]
        expected = offline.scores(texts)
        found = np.concatenate([told.answers[number] for number in some])
        assert found.shape == expected.shape, "an answer with more or fewer results than it was asked for"
        right = np.abs(found - expected).max(1) <= TOLERANCE
        assert right.all(), f"the answer to {texts[int(right.argmin())]!r} is another text's"
        tokens += sum(offline.tokens(texts))
    assert sum(told.tokens.values()) == tokens
    return tokens


async def idle(server: Server) -> Page:
    """The page once nothing runs any more; raises when something still does after a while."""
    end = time.monotonic() + 60
    while True:
        page = Page(server)
        busy = page.sum("trine_requests_waiting") + page.sum("trine_requests_running")
        ended = page.sum("grpc_server_handled_total", grpc_method="Classify")
        if not busy and page.sum("grpc_server_started_total", grpc_method="Classify") == ended:
            return page
        assert time.monotonic() < end, "something is still running"
        await asyncio.sleep(0.05)


def engine_counts_agree(grown: Growth) -> None:
    """Each input runs once, whole, and is counted in its batch and by itself."""
    assert grown("trine_batch_tokens_sum") == grown("trine_prompt_tokens_total")
    assert grown("trine_batch_size_sum") == grown("trine_queue_duration_seconds_count")
    assert grown("trine_wasted_tokens_total") == 0


def test_no_two_texts_have_the_same_answer(offline: Offline) -> None:
    """Else the proof would prove nothing."""
    scores = offline.scores([text for number in range(300) for text in texts_of(number)])
    apart = np.abs(scores[:, None] - scores[None]).max(2)
    close = int((apart <= 2 * TOLERANCE).sum()) - len(scores)
    assert close <= 1e-4 * apart.size, "how often a wrong answer would be taken for the right one"


@pytest.mark.parametrize("count", KINDS)
async def test_every_count_is_what_the_callers_were_told(
    running: Server, stubs: list[Any], offline: Offline, count: int
) -> None:
    callers, before = Callers(stubs, offline), await idle(running)
    numbers = range(2 * count // 5)
    told = await callers.send(numbers, callers.patient)
    grown = Growth(before, Page(running))  # at once: the counts never lag behind what callers know
    assert sorted(told.answers) == list(numbers)
    tokens = compare(told, offline)

    refused = told.outcomes["refused"]
    assert told.outcomes == {"OK": len(numbers), "refused": refused}
    assert refused > 0
    assert told.calls == grown("grpc_server_started_total", grpc_method="Classify")
    assert told.calls == grown("trine_request_duration_seconds_count") == grown("trine_requests_total")
    assert grown.requests("OK") == grown.ended("OK") == len(numbers)
    assert grown.requests("OVERLOADED") == grown.ended("RESOURCE_EXHAUSTED") == refused
    assert grown("trine_rejected_total", reason="queue_full") == refused
    assert grown("trine_prompt_tokens_total") == tokens
    assert grown("trine_batch_size_sum") == sum(map(len, told.answers.values()))
    assert grown("trine_tokenize_duration_seconds_count") == len(numbers)
    engine_counts_agree(grown)


@pytest.mark.parametrize("count", KINDS)
async def test_those_who_leave_and_those_who_are_late_are_all_accounted_for(
    running: Server, stubs: list[Any], offline: Offline, count: int
) -> None:
    callers, before = Callers(stubs, offline), await idle(running)
    numbers = range(2 * count // 5, count)
    told = await callers.send(numbers, callers.mixed)
    grown = Growth(before, await idle(running))
    tokens = compare(told, offline)

    outcomes = told.outcomes
    assert outcomes.keys() <= {"OK", "refused", "late", "left"}
    assert sum(outcomes.values()) == told.calls, "each call has one end"
    assert len(told.answers) == outcomes["OK"] > 0.75 * len(numbers)
    assert outcomes["left"] > 0.02 * len(numbers)
    assert outcomes["late"] > 0.02 * len(numbers)

    # The server counts each call that it saw once, and each request that it read once more, with the same end.
    started = grown("grpc_server_started_total", grpc_method="Classify")
    given_up = grown.ended("CANCELLED") + grown.ended("DEADLINE_EXCEEDED")
    stopped = grown.requests("CANCELLED") + grown.requests("DEADLINE_EXCEEDED")
    assert started == grown.ended("OK") + grown.ended("RESOURCE_EXHAUSTED") + given_up
    assert grown("trine_requests_total") == grown.requests("OK") + grown.requests("OVERLOADED") + stopped
    assert grown.requests("OK") == grown.ended("OK")
    assert grown.requests("OVERLOADED") == grown.ended("RESOURCE_EXHAUSTED")
    assert grown("trine_rejected_total", reason="queue_full") == grown.requests("OVERLOADED")
    assert given_up - stopped == started - grown("trine_requests_total") >= 0, "left before they were read"

    # What callers were told is counted; what is counted beyond it, or never came, are calls that their callers gave up.
    unseen = told.calls - started
    answered_in_vain = grown.ended("OK") - outcomes["OK"]
    refused_in_vain = grown.ended("RESOURCE_EXHAUSTED") - outcomes["refused"]
    assert min(unseen, answered_in_vain, refused_in_vain) >= 0
    assert unseen + answered_in_vain + refused_in_vain + given_up == outcomes["left"] + outcomes["late"]

    engine_counts_agree(grown)
    most = sum(sum(offline.tokens(texts_of(number))) for number in numbers)
    assert tokens <= grown("trine_prompt_tokens_total") <= most, (
        "nothing that was refused or left is computed twice"
    )


async def test_all_permits_are_there_again(running: Server, stubs: list[Any], offline: Offline) -> None:
    callers = Callers(stubs, offline)
    numbers = range(10**6, 10**6 + PERMITS)
    outcomes = await asyncio.gather(*(callers._call(number, None, None) for number in numbers))
    assert outcomes == ["OK"] * PERMITS
    compare(callers.told, offline)
    assert not [record for record in running.records() if record["level"] in ("error", "critical")]
