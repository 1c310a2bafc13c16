"""A tokenizer tried on texts that hurt, before anything else reads with it. The export process.

The rules of registry.rules.tokenizer_json say what a tokenizer may be; what it costs is measured here, through the code that serves. While
it encodes, the interpreter is free, so a thread watches the processor time, and ends the process when a text takes too long.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from trine.engine.text.tokenizer import Tokenizer
from trine.errors import ArtifactCorrupt, InvalidInput, NotACheckpoint, TrineError, UnsafeCheckpoint
from trine.registry.rules import tokenizer_json, vocabularies
from trine.registry.rules.names import shown_file

logger = logging.getLogger(__name__)

LIMIT = 20.0
"""Processor seconds for one text."""
_LOOK_EVERY = 0.05
GiveUp = Callable[[TrineError], None]
"""Tells the server, and ends the process."""
_WHOLE = 1 << 20
"""Characters: a server's largest message has 4 MiB, one input 65,536 characters."""

TEXTS: Mapping[str, Callable[[], str]] = {
    "1 MB of words": lambda: ("The quick brown fox, 42 of them. " * 40_000)[:_WHOLE],
    "a word of 20,000 characters": lambda: "a" * 20_000,
    "different letters without a space": lambda: "".join(chr(0x4E00 + i % 20_000) for i in range(100_000)),
    "65,536 spaces before a letter": lambda: "a" + " " * 65_536 + "a",
    "65,536 line ends before a letter": lambda: "\n" * 65_536 + "a",
    "100,000 ligatures of 18 letters": lambda: "\ufdfa" * 100_000,
    "20,000 marks on one letter": lambda: "e" + "\u0301" * 20_000,
    "100,000 quotes": lambda: "'" * 100_000,
    "100,000 digits": lambda: "7" * 100_000,
    "control characters": lambda: "".join(map(chr, range(32))) * 1000,
}
"""Each made when it is its turn."""


def end_process(error: TrineError) -> None:
    """Where nobody listens, or the server has been told."""
    logger.critical("ended: %s", error.message)
    os._exit(1)


def check(
    path: Path,
    give_up: GiveUp = end_process,
    *,
    quadratic: bool = False,
    texts: Mapping[str, Callable[[], str]] = TEXTS,
) -> None:
    """The tokenizer in `path` by its rules, and on `texts`. `quadratic`: as in tokenizer_json.

    Raises UnsafeCheckpoint and NotACheckpoint; or ends the process by `give_up`.
    """
    name = shown_file(path.name)
    tokenizer_json.check(path, quadratic=quadratic)
    with _watched(f"{name} takes longer than {LIMIT:g} s to load", give_up), _translated(name):
        tokenizer = Tokenizer(path, 2 * vocabularies.MAX_ENTRIES, None)
    for what, text in texts.items():
        if quadratic and what.startswith("65,536"):
            continue  # its slow patterns are replaced
        with _watched(f"{name} takes longer than {LIMIT:g} s to read {what}", give_up), _translated(name):
            tokenizer.encode([text()])


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except ArtifactCorrupt as error:
        raise NotACheckpoint(f"{name} does not load as a tokenizer") from error
    except InvalidInput:
        logger.info("a trial text is refused", exc_info=True)


@contextlib.contextmanager
def _watched(reason: str, give_up: GiveUp) -> Iterator[None]:
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(done, reason, give_up), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _watch(done: threading.Event, reason: str, give_up: GiveUp) -> None:
    end = time.process_time() + LIMIT
    while not done.wait(_LOOK_EVERY):
        if time.process_time() > end:
            give_up(UnsafeCheckpoint(reason))
            return
