"""The front's end of an engine's socket, and loops over stand-ins that a test turns by hand."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from tests.unit.engine.scheduling.stand_ins import (
    AlphabetDetokenizer,
    AlphabetEncoder,
    AlphabetRunner,
    AlphabetSeq2Seq,
    Clock,
    GreedyChoice,
    NumberTokenizer,
)
from tests.unit.engine.tasks.manifests import classifier, generator, translator
from trine import frames
from trine.engine.loop import Loop, Scheduler
from trine.engine.scheduling.continuous import DecoderBatcher, EncoderDecoderBatcher
from trine.engine.scheduling.dynamic import DynamicBatcher
from trine.engine.scheduling.meter import Meter
from trine.engine.scheduling.pace import Pace
from trine.engine.tasks.classification import Classification
from trine.engine.tasks.generation import Generation
from trine.engine.tasks.translation import Translation
from trine.sampling import Decoding, Sampling, Stopping

BUDGET = 16


class Front:
    """Sends, turns the loop, and keeps what it said; checks that each id is closed once and says nothing afterwards."""

    def __init__(self, family: str = "decoder", slots: int = 4, prefix_cache_bytes: int = 0) -> None:
        self.clock = Clock()
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self._meter = Meter(self.clock)
        self.runner: Any
        self.scheduler: Scheduler[Any]
        task: Any
        if family == "encoder":
            self.runner = AlphabetEncoder()
            self.scheduler, task = (
                DynamicBatcher(self.runner, Pace(BUDGET), self.clock),
                Classification(classifier(), NumberTokenizer()),
            )
        elif family == "decoder":
            self.runner = AlphabetRunner(slots)
            self.scheduler = DecoderBatcher(self.runner, BUDGET, self._meter, prefix_cache_bytes)
            task = Generation(generator(64), NumberTokenizer(), AlphabetDetokenizer(), GreedyChoice)
        else:
            self.runner = AlphabetSeq2Seq(slots)
            self.scheduler = EncoderDecoderBatcher(self.runner, BUDGET, self._meter)
            task = Translation(translator(16, 32), NumberTokenizer(), AlphabetDetokenizer(), GreedyChoice)
        self.loop: Loop[Any] = Loop(self.theirs, task, self.scheduler, self._meter, self.clock)
        self._unpack = frames.Unpacker(frames.ToFront)
        self.open: set[int] = set()
        self.closed: dict[int, Any] = {}
        self.text: dict[tuple[int, int], str] = {}
        self.ends: dict[tuple[int, int], frames.Delta] = {}
        self.pongs: list[int] = []
        self.observed: list[frames.Observed] = []

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()

    # --- to the engine -----------------------------------------------------------------------------------------------

    def send(self, *messages: frames.Frame) -> None:
        self.open |= {message.id for message in messages if isinstance(message, frames.Submit)}
        self.ours.sendall(frames.pack(messages))

    def classify(self, number: int, *texts: str, **changes: Any) -> None:
        self.send(classify(number, *texts, **changes))

    def generate(self, number: int, *texts: str, **changes: Any) -> None:
        self.send(generate(number, *texts, **changes))

    def turn(self) -> None:
        assert self.loop.turn()
        self.read()

    def settle(self) -> None:
        """Turn until no id is open."""
        for _ in range(10_000):
            if not self.open:
                return
            self.turn()
        raise AssertionError(f"never closed: {self.open}")

    # --- from the engine ---------------------------------------------------------------------------------------------

    def read(self) -> None:
        while True:
            try:
                data = self.ours.recv(1 << 20)
            except BlockingIOError:
                return
            for message in self._unpack.feed(data):
                self._receive(message)

    def _receive(self, message: Any) -> None:
        match message:
            case frames.Step(deltas=deltas):
                for delta in deltas:
                    self._delta(delta)
            case frames.Pong(number=number):
                self.pongs.append(number)
            case frames.Observed():
                self.observed.append(message)
            case _:
                self._close(message)

    def _delta(self, delta: frames.Delta) -> None:
        key = (delta.id, delta.input_index)
        assert delta.id in self.open, "a delta after its call was closed"
        assert key not in self.ends, "a delta after its input's last one"
        self.text[key] = self.text.get(key, "") + delta.text
        if delta.finish:
            assert delta.usage is not None
            self.ends[key] = delta
        else:
            assert delta.text
        if delta.last:
            self._close(delta)

    def _close(self, message: Any) -> None:
        assert message.id in self.open, f"closed twice, or never opened: {message}"
        self.open.remove(message.id)
        self.closed[message.id] = message

    def texts(self, number: int) -> list[str]:
        """The texts of a call that was answered, by deltas or at once."""
        closing = self.closed[number]
        if isinstance(closing, frames.Answer):
            return [result.text for result in closing.generated]
        assert isinstance(closing, frames.Delta), closing
        return [text for (owner, _), text in sorted(self.text.items()) if owner == number]


def classify(
    number: int, *texts: str, deadline: float = 1e9, priority: int = 2, caller: str = "one", top_k: int = 0
) -> frames.Classify:
    return frames.Classify(number, list(texts), deadline, priority, caller, top_k)


def generate(
    number: int,
    *texts: str,
    limit: int | None = None,
    stream: bool = False,
    deadline: float = 1e9,
    priority: int = 2,
    caller: str = "one",
    stopping: Stopping | None = None,
    logprobs: int | None = None,
) -> frames.Generate:
    decoding = Decoding(Sampling(), stopping or Stopping(), limit, logprobs)
    return frames.Generate(number, list(texts), deadline, priority, caller, decoding, stream)


def letters(tokens: Sequence[int]) -> str:
    """Tokens as the stand-in detokenizer writes them, the end token left out."""
    return "".join(chr(ord("a") + token) for token in tokens if token)
