"""A stand-in for front.serving: the same surface, with answers that the tests choose."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Callable
from typing import Any

from msgspec import structs

from trine import frames
from trine.artifact import Family, Limits, Manifest, Parity, ParityCheck, Precision, SelfTest, Task
from trine.front.serving.inference import Caller, Writing
from trine.front.serving.reading import Reading
from trine.front.serving.views import CheckpointView, EngineState, EngineView, Progress, VersionView
from trine.registry.records import Record, VersionState

USAGE = frames.Usage(input_tokens=5, output_tokens=2)
BEST = [frames.Hypothesis("best", -0.5, "stop", 3), frames.Hypothesis("next", -0.75, "stop_sequence", 2, 0)]
SEGMENTS = [frames.Segment(1, 4, 0, 5, "length"), frames.Segment(6, 7, 7, 9, "stop")]
LOGPROB = frames.TokenLogprob(
    3, "x", -0.5, [frames.Alternative(3, "x", -0.5), frames.Alternative(4, "y", -1.5)]
)


class FakeInference:
    """Answers each text with itself; `error` is raised instead, `gate` is waited for, `calls` holds what was asked."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.error: BaseException | None = None
        self.error_after_deltas: BaseException | None = None
        self.errors: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        """What a text is refused with, and what it waits for; of `read`."""
        self.running = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.closed = asyncio.Event()

    async def _enter(self, reference: str, texts: list[str], options: dict[str, Any]) -> None:
        self.calls.append({"reference": reference, "texts": texts, **options})
        self.entered.set()
        if self.error is not None:
            raise self.error
        await self.gate.wait()

    async def read(self, reference: str, reading: Reading[Any], *, caller: Caller) -> tuple[str, list[Any]]:
        """The text is the first label, an entity's label and text, and its length the first value of two."""
        self.running += 1
        try:
            await self._enter(reference, reading.texts, {"reading": reading, "caller": caller})
            for text in reading.texts:
                if text in self.gates:
                    await self.gates[text].wait()
                if text in self.errors:
                    raise self.errors[text]
        finally:
            self.running -= 1
            self.closed.set()
        texts = reading.texts
        answer = frames.Answer(
            7,
            classified=[frames.Classified([(text, 0.75), ("other", 0.25)], USAGE) for text in texts],
            tagged=[frames.Tagged([frames.Entity(text, 0.5, text, 2, 4)], USAGE) for text in texts],
            embedded=[frames.Embedded(struct.pack("<ff", len(text), -0.5), USAGE) for text in texts],
        )
        return "known:1", reading.results(answer)

    async def generate(
        self, reference: str, writing: Writing, **options: Any
    ) -> tuple[str, list[frames.Generated]]:
        await self._enter(reference, writing.texts, {"writing": writing, **options})
        return "known:1", [self._generated(text, writing, options["task"]) for text in writing.contents()]

    def _generated(self, text: str, writing: Writing, task: Task) -> frames.Generated:
        stopping = writing.decoding.stopping
        if stopping.strings or stopping.token_ids:
            stops: list[str | int] = [*stopping.strings, *stopping.token_ids]
            logprobs = [] if writing.decoding.logprobs is None else [LOGPROB]
            return frames.Generated(text, "stop_sequence", USAGE, stops[0], logprobs)
        best = BEST if writing.decoding.beam_search is not None else []
        if task is Task.TRANSLATION:
            segments = [structs.replace(one, hypotheses=best) for one in SEGMENTS]
            return frames.Generated(text, "stop", USAGE, segments=segments)
        return frames.Generated(text, "stop", USAGE, hypotheses=best)

    async def stream(
        self, reference: str, writing: Writing, **options: Any
    ) -> AsyncGenerator[tuple[str, list[frames.Delta]]]:
        """Each text letter by letter, all inputs in one list a step; the gate is before the second step."""
        texts = writing.contents()
        try:
            self.calls.append({"reference": reference, "texts": writing.texts, "writing": writing, **options})
            if self.error is not None:
                raise self.error
            for step in range(max(len(text) for text in texts)):
                deltas = self._step(texts, step)
                yield "known:1", [self._ending(one, writing, options["task"]) for one in deltas]
                if self.error_after_deltas is not None:
                    raise self.error_after_deltas
                self.entered.set()
                await self.gate.wait()
        finally:
            self.closed.set()

    def _ending(self, delta: frames.Delta, writing: Writing, task: Task) -> frames.Delta:
        if not delta.finish:
            return delta
        best = BEST if writing.decoding.beam_search is not None else []
        if task is Task.TRANSLATION:
            delta = structs.replace(
                delta, segments=[structs.replace(one, hypotheses=best) for one in SEGMENTS]
            )
        else:
            delta = structs.replace(delta, hypotheses=best)
        if strings := writing.decoding.stopping.strings:
            delta = structs.replace(delta, finish="stop_sequence", matched=strings[0], logprobs=[LOGPROB])
        return delta

    def _step(self, texts: list[str], step: int) -> list[frames.Delta]:
        deltas = []
        for index, text in enumerate(texts):
            if step < len(text):
                end = step == len(text) - 1
                deltas.append(
                    frames.Delta(7, index, text[step], "length" if end else "", USAGE if end else None)
                )
        return deltas


def record(number: int = 1, state: VersionState = VersionState.READY, reason: str = "") -> Record:
    return Record(
        checkpoint="known",
        number=number,
        state=state,
        architecture="BertForSequenceClassification",
        family=Family.ENCODER,
        task=Task.CLASSIFICATION,
        precision=Precision.FP32,
        digest="d" * 64,
        create_time=1_700_000_000.25,
        reason=reason,
        parity=Parity(True, (ParityCheck("logits", 1e-6, 1e-4, False, True, 64),)),
    )


def manifest() -> Manifest:
    parity = Parity(True, ())
    return Manifest(
        architecture="BertForSequenceClassification",
        family=Family.ENCODER,
        task=Task.CLASSIFICATION,
        precision=Precision.FP32,
        vocab_size=100,
        limits=Limits(512),
        self_test=SelfTest([], [], 1e-3),
        parity=parity,
        parameters=123,
        opset=21,
        exporter="test",
        labels=("bad", "good"),
    )


def live_version(number: int = 1) -> VersionView:
    return VersionView(record(number), manifest(), 4096, EngineView(EngineState.LIVE, "", 1.5, 2))


class FakeAdministration:
    """One checkpoint, "known", with one live version and one that failed."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.error: BaseException | None = None
        self.progress = [
            Progress("read", 1.0, "read the folder"),
            Progress("export", 0.5, "half of it"),
            Progress("publish", 1.0, "known:1 is ready", live_version(), True),
        ]

    def _call(self, name: str, argument: Any) -> None:
        self.calls.append((name, argument))
        if self.error is not None:
            raise self.error

    async def register(self, name: str, path: str, **options: Any) -> AsyncGenerator[Progress]:
        self._call("register", {"name": name, "path": path, **options})
        for progress in self.progress:
            yield progress

    def get(self, reference: str) -> CheckpointView:
        self._call("get", reference)
        failed = VersionView(record(2, VersionState.FAILED, "the gate refused it"))
        return CheckpointView("known", [live_version(), failed], {"live": 1})

    def list(self, page_size: int, page_token: str) -> tuple[list[CheckpointView], str]:
        self._call("list", (page_size, page_token))
        return [CheckpointView("known", [live_version()], {"live": 1})], "known"

    async def load(self, reference: str) -> VersionView:
        self._call("load", reference)
        return live_version()

    async def unload(self, reference: str) -> VersionView:
        self._call("unload", reference)
        return VersionView(record(), manifest(), 4096)

    async def delete(self, reference: str) -> None:
        self._call("delete", reference)


class FakeStatus:
    def __init__(self) -> None:
        self.ready = False
        self.serving: dict[str, bool] = {}
        self._callbacks: list[Callable[[str, bool | None], None]] = []

    def subscribe(self, callback: Callable[[str, bool | None], None]) -> None:
        self._callbacks.append(callback)
        for name, serving in {"": self.ready, **self.serving}.items():
            callback(name, serving)

    def tell(self, name: str, serving: bool | None) -> None:
        if not name:
            self.ready = bool(serving)
        elif serving is None:
            self.serving.pop(name, None)
        else:
            self.serving[name] = serving
        for callback in self._callbacks:
            callback(name, serving)
