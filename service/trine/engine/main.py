"""The engine process: load one artifact, prove it, serve it over the inherited socket until the front ends it.

    python -m trine.engine.main --fd 3 --artifact DIR --threads 2 --cache-bytes 268435456 --prefix-cache-bytes 67108864 \
        --max-slots 64 --batch-tokens 2048

One thread (the graphs' and the tokenizer's own pools aside): main loads, then `loop` runs. The first message to the front is
Ready, or LoadFailed and exit status 1. SIGINT and SIGTERM are ignored, since the front decides when its engines end: by Stop,
by closing the socket, or by SIGKILL.
"""

from __future__ import annotations

import os

# numpy's matrix product is never used, and its pool would start with the import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The key/value cache is touched here and there, a few kB at a time: in pages of 2 MB all of it would become resident.
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")

import argparse
import contextlib
import ctypes
import gc
import logging
import math
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trine import frames
from trine.artifact import Artifact, Family, Target, Task, open_artifact
from trine.engine.loop import Loop, Scheduler
from trine.engine.runtime import paged_cache
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.device import RUNTIME, Device
from trine.engine.runtime.encoder import EncoderRunner
from trine.engine.runtime.kv import slots_for
from trine.engine.runtime.paged_decoder import PagedDecoderRunner
from trine.engine.runtime.sampler import Choice
from trine.engine.runtime.selftest import drift
from trine.engine.runtime.seq2seq import Seq2SeqRunner
from trine.engine.scheduling.call import Call
from trine.engine.scheduling.continuous import DecoderBatcher, EncoderDecoderBatcher
from trine.engine.scheduling.dynamic import DynamicBatcher
from trine.engine.scheduling.kept import KeptSweep
from trine.engine.scheduling.meter import Meter
from trine.engine.scheduling.pace import Pace
from trine.engine.scheduling.sweep import sweep
from trine.engine.tasks.classification import Classification
from trine.engine.tasks.embedding import Embedding
from trine.engine.tasks.generation import Generation
from trine.engine.tasks.generative import GenerativeTask
from trine.engine.tasks.summarization import Summarization
from trine.engine.tasks.token_classification import TokenClassification
from trine.engine.tasks.translation import Translation
from trine.engine.text.chat import CHAT_TEMPLATE, ChatTemplate
from trine.engine.text.detokenizer import Detokenizer
from trine.engine.text.tokenizer import Tokenizer
from trine.errors import ArtifactCorrupt, Bug, InvalidInput, TrineError
from trine.sampling import Decoding
from trine.telemetry import logs

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_MAX_CHUNK = {Target.CPU: 64, Target.CUDA: 256}
"""Most prompt tokens of one row in one step; it also sizes the rows of the cache."""
_UNDISTURBED = 0.8
"""Processors that a sweep had if it is worth keeping: others had the rest, and tomorrow they may be gone (docs/decisions/0015)."""

Runner = EncoderRunner | DecoderRunner | PagedDecoderRunner | Seq2SeqRunner
AnyTask = Classification | TokenClassification | Embedding | Generation | Translation | Summarization


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the process's exit status."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_with_the_front()
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if options.threads > 1 else "false"
    logs.configure(options.log_level, json=options.log_json)
    with socket.socket(fileno=options.fd) as sock:
        sock.setblocking(True)
        try:
            loop, ready = _load(options, sock)
        except Exception as error:
            logger.exception("the artifact cannot be loaded")
            _say(sock, _load_failed(error))
            return 1
        _say(sock, ready)
        loop.run()
    return 0


def _end_with_the_front() -> None:
    """Have the kernel kill this process when the front dies, also while a graph or a tokenizer does not return (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trine.engine.main", description="Serves one artifact.")
    parser.add_argument("--fd", type=int, required=True, help="the inherited end of a socket pair")
    parser.add_argument("--artifact", type=Path, required=True, help="the artifact's folder")
    parser.add_argument("--provider", choices=list(Target), default=Target.CPU, help="what graphs run on")
    parser.add_argument("--device-id", type=int, default=0, help="which CUDA device")
    parser.add_argument("--threads", type=int, required=True, help="threads of a graph run")
    parser.add_argument("--cache-bytes", type=int, required=True, help="size of the key/value cache")
    parser.add_argument(
        "--prefix-cache-bytes",
        type=int,
        required=True,
        help="most memory for the beginnings of prompts; 0: none",
    )
    parser.add_argument("--max-slots", type=int, required=True, help="most sequences that run at once")
    parser.add_argument("--batch-tokens", type=int, required=True, help="tokens of one batch or mixed step")
    parser.add_argument(
        "--max-batch-ms", type=int, default=100, help="time of one encoder batch, which sets its tokens"
    )
    parser.add_argument("--log-level", default="INFO", help="as the standard logging spells it")
    parser.add_argument("--log-json", action="store_true", help="log JSON lines")
    return parser


def _load(options: argparse.Namespace, sock: socket.socket) -> tuple[Loop[Any], frames.Ready]:
    """All that must go well before the first request. Raises TrineError."""
    began = time.monotonic()
    device = Device(Target(options.provider), options.device_id)
    device.require()
    artifact = open_artifact(options.artifact)
    device.require_written_for(artifact.manifest)
    runner = _runner(artifact, options, device)
    self_test_drift = _self_test(artifact, runner)
    meter = Meter(time.monotonic)
    scheduler: Scheduler[Any] = _scheduler(artifact, runner, options, meter)
    task = _task(artifact)
    slots = 0 if isinstance(runner, EncoderRunner) else runner.slots
    if isinstance(task, GenerativeTask):
        task.most_beams = slots
    _warm_up(scheduler, task)
    meter.forget()
    # What is loaded lives as long as the process: the collector need not look at it at every step.
    gc.collect()
    gc.freeze()
    loop: Loop[Any] = Loop(sock, task, scheduler, meter)
    return loop, frames.Ready(time.monotonic() - began, self_test_drift, slots)


def _runner(artifact: Artifact, options: argparse.Namespace, device: Device) -> Runner:
    manifest, threads = artifact.manifest, options.threads
    if manifest.family is Family.ENCODER:
        return EncoderRunner(artifact, threads)
    if manifest.cache is None:
        raise ArtifactCorrupt("the artifact states no cache layout")
    chunk = (
        min(_MAX_CHUNK[device.target], manifest.limits.max_input_tokens)
        if manifest.family is Family.DECODER
        else 1
    )
    if device.target is Target.CUDA:
        slots = paged_cache.slots_for(
            manifest.cache, manifest.limits, manifest.precision, options.cache_bytes, options.max_slots
        )
        return PagedDecoderRunner(artifact, threads, slots, chunk, device)
    slots = slots_for(
        manifest.cache, manifest.limits, options.cache_bytes, options.max_slots, chunk, manifest.cross
    )
    if manifest.family is Family.DECODER:
        return DecoderRunner(artifact, threads, slots, chunk)
    return Seq2SeqRunner(artifact, threads, slots)


def _scheduler(
    artifact: Artifact, runner: Runner, options: argparse.Namespace, meter: Meter
) -> DynamicBatcher | DecoderBatcher[Any] | EncoderDecoderBatcher[Any]:
    match runner:
        case EncoderRunner():
            return DynamicBatcher(runner, _pace(artifact, runner, options), time.monotonic)
        case DecoderRunner() | PagedDecoderRunner():
            return DecoderBatcher(runner, options.batch_tokens, meter, options.prefix_cache_bytes)
        case Seq2SeqRunner():
            return EncoderDecoderBatcher(runner, options.batch_tokens, meter)


def _pace(artifact: Artifact, runner: EncoderRunner, options: argparse.Namespace) -> Pace:
    """How long batches last, from a sweep that was kept beside the artifact, or that is made now."""
    manifest, most, longest = artifact.manifest, options.batch_tokens, options.max_batch_ms / 1000
    settings = [RUNTIME, options.threads, most, longest, manifest.files["model.onnx"].sha256]
    kept = KeptSweep(artifact.folder.parent, settings)
    points = kept.read()
    if points is None:
        token, context = manifest.self_test.inputs[0][0], manifest.limits.max_input_tokens
        began, used = time.perf_counter(), time.process_time()
        points = sweep(runner, token, context, most, longest, time.perf_counter)
        if time.process_time() - used > _UNDISTURBED * (time.perf_counter() - began):
            kept.write(points)
    pace = Pace(most, longest, points)
    logger.info("batches of up to %d tokens", pace.budget)
    return pace


def _task(artifact: Artifact) -> AnyTask:
    manifest = artifact.manifest
    tokenizer = Tokenizer(artifact.path("tokenizer.json"), manifest.vocab_size, manifest.unk_id)
    match manifest.task:
        case Task.CLASSIFICATION:
            return Classification(manifest, tokenizer)
        case Task.TOKEN_CLASSIFICATION:
            return TokenClassification(manifest, tokenizer)
        case Task.EMBEDDING:
            return Embedding(manifest, tokenizer)
    target = "target_tokenizer.json" if "target_tokenizer.json" in manifest.files else "tokenizer.json"
    detokenizer = Detokenizer(artifact.path(target))
    match manifest.task:
        case Task.SUMMARIZATION:
            return Summarization(manifest, tokenizer, detokenizer, Choice)
        case Task.TRANSLATION:
            return Translation(manifest, tokenizer, detokenizer, Choice)
        case _:
            chat = ChatTemplate.open(artifact.folder) if CHAT_TEMPLATE in manifest.files else None
            return Generation(manifest, tokenizer, detokenizer, Choice, chat)


def _self_test(artifact: Artifact, runner: Runner) -> float:
    """How far this machine's answer is from the stored one. Raises ArtifactCorrupt beyond the tolerance."""
    found, allowed = drift(artifact, runner), artifact.manifest.self_test.tolerance
    if not found <= allowed:
        raise ArtifactCorrupt(
            f"the self-test differs by {found:.1e} from its stored answer, and {allowed:.1e} is allowed"
        )
    return found


def _warm_up(scheduler: Scheduler[Any], task: AnyTask) -> None:
    """One short request through everything that serves, so that the first caller does not pay for first touches."""
    request: frames.Submit
    if isinstance(task, Classification):
        request = frames.Classify(0, ["a"], math.inf, 2, "", 0)
    elif isinstance(task, TokenClassification):
        request = frames.ClassifyTokens(0, ["a"], math.inf, 2, "", "simple")
    elif isinstance(task, Embedding):
        request = frames.Embed(0, ["a"], math.inf, 2, "")
    else:
        request = frames.Generate(0, ["a"], math.inf, 2, "", Decoding(max_new_tokens=2), stream=True)
    call = Call(request.id, request.caller, request.priority, request.deadline, time.monotonic(), 1)
    with contextlib.suppress(InvalidInput):  # a context too short for it, or a language that has to be told
        scheduler.add(task.prepare(request, call))
    while scheduler.waiting or scheduler.running:
        batch = scheduler.choose()
        for item in scheduler.settle(batch, scheduler.run(batch)):
            task.tell(item)


def _load_failed(error: Exception) -> frames.LoadFailed:
    if isinstance(error, TrineError):
        return frames.LoadFailed(error.reason, error.message)
    return frames.LoadFailed(Bug.reason, "the engine failed while it loaded the artifact")


def _say(sock: socket.socket, message: frames.Frame) -> None:
    """A front that is gone already needs no answer; the loop notices by itself."""
    with contextlib.suppress(ConnectionError):
        sock.sendall(frames.pack([message]))


if __name__ == "__main__":
    sys.exit(main())
