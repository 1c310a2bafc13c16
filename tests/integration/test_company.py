"""The answer to a text, over gRPC, does not depend on the texts that run beside it: the same bits alone and inside batches of others,
which come from several callers at once. For each task, in float32 and in int8.

`make test` takes a few texts and batches, `make proof` 50 batches of each text.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from tests.integration.readers import Reader, publish
from tests.integration.server import Server
from trine.artifact import Precision, Task
from trine.v1 import inference_pb2 as pb
from trine.v1.inference_pb2_grpc import InferenceServiceStub

READERS = [
    Reader(task, precision)
    for task in (Task.CLASSIFICATION, Task.TOKEN_CLASSIFICATION, Task.EMBEDDING)
    for precision in (Precision.FP32, Precision.INT8)
]
TEXTS = [
    "yes",
    "The old man saw a small house .",
    "Nobody likes it , and 7 4 of them said so when we asked .",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d",
    "! ?",
    "we saw 1 2 3",
    "good good good good good good good good",
    "x",
]
AT_ONCE = 8


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With batches small enough for several to be needed, and large enough to hold texts of many calls."""
    folder = tmp_path_factory.mktemp("company")
    publish(folder / "repository", folder / "checkpoints", *READERS)
    with Server(
        folder / "server", folder / "repository", engine_threads=2, engine_batch_tokens=512
    ) as server:
        server.wait_ready()
        yield server


@pytest_asyncio.fixture
async def stub(running: Server) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(running.target) as channel:
        yield InferenceServiceStub(channel)


def request_of(reader: Reader, texts: list[str]) -> Any:
    """All that the checkpoint says of the texts, in numbers that are not rounded."""
    match reader.task:
        case Task.CLASSIFICATION:
            inputs = [pb.ClassifyInput(text=text) for text in texts]
            return pb.ClassifyRequest(checkpoint=reader.name, inputs=inputs, raw_scores=True)
        case Task.TOKEN_CLASSIFICATION:
            tokens = [pb.ClassifyTokensInput(text=text) for text in texts]
            return pb.ClassifyTokensRequest(
                checkpoint=reader.name, inputs=tokens, aggregation=pb.AGGREGATION_NONE
            )
        case _:
            embedded = [pb.EmbedInput(text=text) for text in texts]
            return pb.EmbedRequest(checkpoint=reader.name, inputs=embedded, format=pb.VECTOR_FORMAT_PACKED)


async def answers(stub: Any, reader: Reader, texts: list[str]) -> list[bytes]:
    """Each result as it came."""
    call = {
        Task.CLASSIFICATION: stub.Classify,
        Task.TOKEN_CLASSIFICATION: stub.ClassifyTokens,
        Task.EMBEDDING: stub.Embed,
    }[reader.task]
    response = await call(request_of(reader, texts), timeout=120)
    assert len(response.results) == len(texts)
    return [result.SerializeToString(deterministic=True) for result in response.results]


def company(draw: random.Random) -> list[str]:
    """Other texts, up to the context, which is 64 tokens; a few of them twice."""
    letters = "abcdefghijklmnopqrstuvwxyz,.!?0123456789"
    others = [" ".join(draw.choices(letters, k=draw.randint(1, 30))) for _ in range(draw.randint(1, 24))]
    return others + draw.sample(others, min(2, len(others)))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@pytest.mark.parametrize(
    ("texts", "batches"), [(TEXTS[:4], 4), pytest.param(TEXTS, 50, marks=pytest.mark.proof)]
)
async def test_an_answer_is_the_same_alone_and_in_any_company(
    stub: Any, reader: Reader, texts: list[str], batches: int
) -> None:
    alone = {text: (await answers(stub, reader, [text]))[0] for text in texts}
    assert len(set(alone.values())) == len(texts), "texts that are answered alike would prove nothing"
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, text: str) -> None:
        draw = random.Random(number)
        others = company(draw)
        place = draw.randint(0, len(others))
        async with limit:
            together = await answers(stub, reader, [*others[:place], text, *others[place:]])
        assert together[place] == alone[text], f"{text!r} in company {number}"

    await asyncio.gather(
        *(one(1000 * index + number, text) for index, text in enumerate(texts) for number in range(batches))
    )
