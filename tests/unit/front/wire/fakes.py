"""A stand-in for front.serving: the same surface, with answers that the tests choose."""

from __future__ import annotations

import asyncio
import builtins
import struct
from collections.abc import AsyncGenerator, Callable
from typing import Any

from msgspec import structs

from trine import frames
from trine.artifact import Family, Limits, Manifest, Parity, ParityCheck, Precision, SelfTest, Task
from trine.front.serving.administration import Filter
from trine.front.serving.reading import Reading
from trine.front.serving.views import (
    Change,
    CheckpointView,
    EngineState,
    EngineView,
    Progress,
    ReportView,
    VersionView,
)
from trine.front.serving.work import Caller, Work
from trine.front.serving.writing import Writing
from trine.registry.architectures import ARCHITECTURES, Architecture
from trine.registry.records import Lineage, Record, Report, VersionState
from trine.registry.source import Source

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
        self.held = 0
        """Requests of streams that were begun and not ended."""
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

    async def answer(self, reference: str, work: Work[Any], *, caller: Caller) -> tuple[str, list[Any]]:
        """The text is the first label, an entity's label and text, and its length the first value of two."""
        if isinstance(work, Writing):
            await self._enter(reference, work.texts, {"writing": work, "caller": caller})
            return "known:1", [self._generated(text, work) for text in work.contents()]
        assert isinstance(work, Reading)
        return await self._read(reference, work, caller)

    async def _read(self, reference: str, work: Reading[Any], caller: Caller) -> tuple[str, list[Any]]:
        self.running += 1
        try:
            await self._enter(reference, work.texts, {"reading": work, "caller": caller})
            for text in work.texts:
                if text in self.gates:
                    await self.gates[text].wait()
                if text in self.errors:
                    raise self.errors[text]
        finally:
            self.running -= 1
            self.closed.set()
        answer = frames.Answer(
            7,
            classified=[frames.Classified([(text, 0.75), ("other", 0.25)], USAGE) for text in work.texts],
            tagged=[frames.Tagged([frames.Entity(text, 0.5, text, 2, 4)], USAGE) for text in work.texts],
            embedded=[frames.Embedded(struct.pack("<ff", len(text), -0.5), USAGE) for text in work.texts],
        )
        return "known:1", work.results(answer)

    async def begin(
        self, reference: str, work: Reading[Any], *, caller: Caller, told: Callable[[], None]
    ) -> FakeRequest:
        request = FakeRequest(self, asyncio.create_task(self._read(reference, work, caller)))
        request.task.add_done_callback(lambda task: None if task.cancelled() else told())
        self.held += 1
        return request

    def _generated(self, text: str, writing: Writing) -> frames.Generated:
        stopping = writing.decoding.stopping
        if stopping.strings or stopping.token_ids:
            stops: list[str | int] = [*stopping.strings, *stopping.token_ids]
            logprobs = [] if writing.decoding.logprobs is None else [LOGPROB]
            return frames.Generated(text, "stop_sequence", USAGE, stops[0], logprobs)
        best = BEST if writing.decoding.beam_search is not None else []
        if writing.task is Task.TRANSLATION:
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
                yield "known:1", [self._ending(one, writing) for one in deltas]
                if self.error_after_deltas is not None:
                    raise self.error_after_deltas
                self.entered.set()
                await self.gate.wait()
        finally:
            self.closed.set()

    def _ending(self, delta: frames.Delta, writing: Writing) -> frames.Delta:
        if not delta.finish:
            return delta
        best = BEST if writing.decoding.beam_search is not None else []
        if writing.task is Task.TRANSLATION:
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


LINEAGE = Lineage("org/base", "b" * 64, "reviews", "apache-2.0", "sentiment-en", "c" * 40)
REPORT = Report(
    reason="proved",
    recipe="3",
    packages={"torch": "2.13.0"},
    stage_seconds={"export": 1.5},
    network_isolation="audit hook",
    limits={"descriptors": 256},
)


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
        lineage=LINEAGE,
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
    return VersionView(record(number), manifest(), 4096, EngineView(EngineState.LIVE, "", 1.5, 2, 7_000))


class FakeRequest:
    """One input of a stream, as front.serving.request has it."""

    def __init__(self, inference: FakeInference, task: asyncio.Task[tuple[str, list[Any]]]) -> None:
        self._inference = inference
        self.task = task

    def result(self) -> tuple[str, list[Any]]:
        return self.task.result()

    def end(self, error: BaseException | None = None) -> None:
        self._inference.held -= 1
        self.task.cancel()


class FakeAdministration:
    """One checkpoint, "known", with one live version and one that failed."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.error: BaseException | None = None
        self.unwatched = asyncio.Event()
        self.told: Report | None = REPORT
        self.progress = [
            Progress("read", 1.0, "read the folder"),
            Progress("export", 0.5, "half of it"),
            Progress("publish", 1.0, "known:1 is ready", live_version(), True),
        ]

    def _call(self, name: str, argument: Any) -> None:
        self.calls.append((name, argument))
        if self.error is not None:
            raise self.error

    async def register(self, name: str, source: Source, **options: Any) -> AsyncGenerator[Progress]:
        self._call("register", {"name": name, "source": source, **options})
        for progress in self.progress:
            yield progress

    def get(self, reference: str) -> CheckpointView:
        self._call("get", reference)
        failed = VersionView(record(2, VersionState.FAILED, "the gate refused it"))
        return CheckpointView("known", [live_version(), failed], {"live": 1})

    def list(
        self, page_size: int, page_token: str, wanted: Filter
    ) -> tuple[builtins.list[CheckpointView], str]:
        self._call("list", (page_size, page_token, wanted))
        return [CheckpointView("known", [live_version()], {"live": 1})], "known"

    async def import_artifact(self, name: str, path: str, *, hold: bool) -> tuple[VersionView, bool]:
        self._call("import", (name, path, hold))
        return live_version(), True

    async def set_alias(self, reference: str, alias: str) -> CheckpointView:
        self._call("set_alias", (reference, alias))
        return CheckpointView("known", [live_version()], {"live": 1, alias: 1})

    async def delete_alias(self, reference: str) -> CheckpointView:
        self._call("delete_alias", reference)
        return CheckpointView("known", [live_version()], {"live": 1})

    async def report(self, reference: str) -> ReportView:
        self._call("report", reference)
        return ReportView(live_version(), self.told)

    def architectures(self) -> builtins.list[Architecture]:
        self._call("architectures", None)
        return [ARCHITECTURES["T5ForConditionalGeneration"]]

    async def watch(self, name: str) -> AsyncGenerator[Change]:
        self._call("watch", name)
        try:
            yield Change(CheckpointView("known", [live_version()], {"live": 1}))
            yield Change(current=True)
            yield Change(deleted="known")
            await asyncio.Event().wait()
        finally:
            self.unwatched.set()

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
