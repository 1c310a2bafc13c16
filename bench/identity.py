"""What the server alone can carry: requests to a checkpoint that computes nothing, sent by h2load. The bench's process.

    python -m bench.identity [--rounds 3] [--seconds 5] [--folder var/bench]

One server, one engine, all at their defaults, h2load beside them on the same cores (Debian: nghttp2-client). Three kinds of load, each with 64
inputs or calls in flight: unary calls of one text; unary calls of 16 texts; streams in both directions. h2load sees a call's HTTP
status only, so each round also asks whether the server counted as many inputs answered as were sent, and before the first round a
client reads every answer to the same bodies.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc

from bench import identity_checkpoint, machine, report
from bench.identity_checkpoint import LABELS, NAME, WORDS
from bench.identity_server import Server
from bench.options import RESULTS, ROOT
from bench.summary import spread
from trine.v1 import inference_pb2

SERVICE = "trine.v1.InferenceService"
WORDS_OF_A_TEXT = 8
_FINISHED = re.compile(rb"finished in ([0-9.]+)(us|ms|s),")
_UNITS = {b"us": 1e-6, b"ms": 1e-3, b"s": 1.0}
_SUCCEEDED = re.compile(rb"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")


@dataclass(frozen=True, slots=True)
class Load:
    """One way to ask. `clients` connections have `calls` open calls each; a call's body has `messages` of `inputs` texts."""

    name: str
    method: str
    clients: int
    calls: int
    messages: int
    inputs: int
    floor: float
    """Inputs a second."""

    @property
    def inputs_of_a_call(self) -> int:
        return self.messages * self.inputs

    def requests(self) -> list[inference_pb2.ClassifyRequest | inference_pb2.StreamClassifyRequest]:
        """What one call sends. Every call of a load sends the same, as h2load has one body."""
        if self.method == "Classify":
            inputs = [inference_pb2.ClassifyInput(text=text(number)) for number in range(self.inputs)]
            return [inference_pb2.ClassifyRequest(checkpoint=NAME, inputs=inputs, raw_scores=True)]
        return [
            inference_pb2.StreamClassifyRequest(
                id=str(number),
                checkpoint=NAME,
                input=inference_pb2.ClassifyInput(text=text(number)),
                raw_scores=True,
            )
            for number in range(self.messages)
        ]


LOADS = (
    Load("unary", "Classify", 8, 8, 1, 1, 2000),
    Load("unary, 16 inputs", "Classify", 8, 8, 1, 16, 20_000),
    Load("a stream", "StreamClassify", 1, 1, 2000, 1, 5000),
    Load("four streams", "StreamClassify", 1, 4, 2000, 1, 5000),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of h2load."""

    inputs: int
    seconds: float
    front: float
    """Processor seconds; likewise `engine` and `h2load`."""
    engine: float
    h2load: float

    @property
    def rate(self) -> float:
        """Inputs a second."""
        return self.inputs / self.seconds


def text(number: int) -> str:
    """Begins with what the checkpoint answers."""
    return " ".join(str((number + word) % WORDS) for word in range(WORDS_OF_A_TEXT))


def framed(messages: list[bytes]) -> bytes:
    """As gRPC puts messages into a request's body: not compressed, 4 bytes of length."""
    return b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in messages)


# --- asking -------------------------------------------------------------------------------------------------------------------


def check(load: Load, target: str) -> None:
    """Send what h2load will send, and read the answers. Raises RuntimeError where one is wrong or missing."""
    with grpc.insecure_channel(target) as channel:
        call: Any = channel.stream_stream(f"/{SERVICE}/{load.method}")
        bodies = (request.SerializeToString() for request in load.requests())
        told = sorted(number for answer in call(bodies, timeout=60) for number in _numbers(load, answer))
    if told != sorted(number % WORDS for number in range(load.inputs_of_a_call)):
        raise RuntimeError(f"{load.name}: wrong answers, or not all of them")


def _numbers(load: Load, answer: Any) -> Iterator[int]:
    if load.method == "Classify":
        results = list(inference_pb2.ClassifyResponse.FromString(answer).results)
        expected = list(range(load.inputs))
    else:
        response = inference_pb2.StreamClassifyResponse.FromString(answer)
        results, expected = [response.result], [int(response.id) % WORDS]
    for result, number in zip(results, expected, strict=True):
        scores = {label.name: label.score for label in result.labels}
        if scores != dict(zip(LABELS, (number, -number), strict=True)):
            raise RuntimeError(f"{load.name}: {scores} is the answer to the text of {number}")
        yield number


def run(load: Load, server: Server, calls: int, folder: Path) -> Run:
    """`calls` calls of h2load. Raises RuntimeError unless all end well, and the server says the same."""
    body = folder / "body"
    body.write_bytes(framed([request.SerializeToString() for request in load.requests()]))
    counted, (front, engine) = server.answered(), server.processor_seconds()
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = subprocess.run(
        [
            *("h2load", "-n", str(calls), "-c", str(load.clients), "-m", str(load.calls), "-d", str(body)),
            *("-H", "content-type: application/grpc", "-H", "te: trailers"),
            f"http://{server.target}/{SERVICE}/{load.method}",
        ],
        capture_output=True,
        check=True,
    ).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    front_after, engine_after = server.processor_seconds()
    finished, succeeded = _FINISHED.search(found), _SUCCEEDED.search(found)
    if not finished or not succeeded or [int(n) for n in succeeded.groups()] != [calls, 0, 0, 0]:
        raise RuntimeError(f"h2load: {found.decode()}")
    answers = server.answered() - counted
    if answers != calls * load.messages:
        raise RuntimeError(f"{load.name}: {calls * load.messages} requests sent, {answers} answered")
    return Run(
        calls * load.inputs_of_a_call,
        float(finished[1]) * _UNITS[finished[2]],
        front_after - front,
        engine_after - engine,
        after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime,
    )


def measure(server: Server, folder: Path, rounds: int, seconds: float) -> dict[str, list[Run]]:
    """Each load in turn, `rounds` times, for about `seconds` each."""
    calls = {}
    for load in LOADS:
        check(load, server.target)
        least = load.clients * load.calls
        first = run(load, server, least * max(1, 1000 // (least * load.inputs_of_a_call)), folder)
        rounded = int(seconds * first.rate / load.inputs_of_a_call / least)
        calls[load.name] = least * max(1, rounded)
    runs: dict[str, list[Run]] = {load.name: [] for load in LOADS}
    for _ in range(rounds):
        for load in LOADS:
            runs[load.name].append(run(load, server, calls[load.name], folder))
    return runs


# --- telling ------------------------------------------------------------------------------------------------------------------


def lines(runs: dict[str, list[Run]]) -> list[str]:
    table = [
        "| load | inputs a second | floor | processor us an input: front | engine | h2load | busy cores |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for load in LOADS:
        of = runs[load.name]
        costs = [
            f"{spread([1e6 * getattr(one, who) / one.inputs for one in of]).median:.0f}"
            for who in ("front", "engine", "h2load")
        ]
        rate = spread([one.rate for one in of])
        busy = spread([(one.front + one.engine + one.h2load) / one.seconds for one in of]).median
        verdict = "reached" if rate.median >= load.floor else "**missed**"
        told = f"{rate.median:,.0f} ({rate.lower:,.0f} to {rate.upper:,.0f})"
        table.append(
            f"| {load.name} | {told} | {load.floor:,.0f}: {verdict} | {' | '.join(costs)} | {busy:.2f} |"
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.identity", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "bench", help="for the checkpoint")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of one load in one round")
    options = parser.parse_args()
    if shutil.which("h2load") is None:
        parser.error("h2load is missing (Debian: nghttp2-client)")
    folder = options.folder / "identity"
    folder.mkdir(parents=True, exist_ok=True)
    identity_checkpoint.publish(folder / "repository")
    watch = machine.Watch()
    with Server(folder) as server:
        runs = measure(server, folder, options.rounds, options.seconds)
        load = watch.load()
    page = report.headed("What the server alone can carry", machine.describe(), load, lines(runs))
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "identity.md").write_text(page, encoding="utf-8")
    found = {name: [asdict(one) | {"rate": one.rate} for one in of] for name, of in runs.items()}
    (options.results / "identity.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
