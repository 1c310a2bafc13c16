"""How a checkpoint is told from which language to which it translates: by tokens, or by words before the text. Engine process.

mBART, M2M100, NLLB      a token of the source's language before or after the text, one of the target's as the first that is written
OPUS-MT with many        ">>fra<<" before each sentence
T5                       "translate English to French: " before each sentence
all others               translate in one direction, and are told nothing
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from trine.artifact import Manifest
from trine.engine.tasks.inputs import Tokenizer
from trine.errors import InvalidInput
from trine.frames import Direction

_SHOWN = 8
"""Languages that an error names."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one text's direction comes to."""

    lead: str = ""
    """Goes before each segment."""
    own: int = 0
    """Characters at the beginning of the text that are the lead already."""
    source_id: int | None = None
    """Token of the source's language, in the place of the one that the tokenizer puts; None: as it is."""
    source_place: int = 0
    """Where the tokenizer puts it: 0 before all others, -1 behind them."""
    target_id: int | None = None
    """Token of the target's language; None: the checkpoint's default."""


class Languages(ABC):
    def told(self, index: int, direction: Direction, text: str) -> Told:
        """Raises InvalidInput that names the field."""
        own = self._own(text)
        if not own:
            return self._told(index, direction)
        if direction.target or direction.source:
            field = _field(index, "target" if direction.target else "source")
            raise InvalidInput("the text itself begins with its languages", field=field)
        return Told(own, len(own))

    def _own(self, text: str) -> str:
        """How the text says its direction itself, at its beginning; empty where it does not."""
        return ""

    @abstractmethod
    def _told(self, index: int, direction: Direction) -> Told: ...


def languages(manifest: Manifest, tokenizer: Tokenizer) -> Languages:
    """The way of the manifest's architecture."""
    match manifest.architecture:
        case "MarianMTModel":
            return _Codes(manifest.languages)
        case "T5ForConditionalGeneration":
            return _Words()
        case _ if manifest.languages:
            return _Tokens(manifest, tokenizer)
        case _:
            return _OneDirection()


class _OneDirection(Languages):
    def _told(self, index: int, direction: Direction) -> Told:
        _refuse(index, direction, "source", "target")
        return Told()


class _Codes(Languages):
    """Marian. Of one target language, the vocabulary has no codes."""

    _PATTERN = re.compile(r"\s*>>([^\s<>]{1,32})<<\s*")

    def __init__(self, codes: Iterable[str]) -> None:
        self._codes = frozenset(codes)

    def _own(self, text: str) -> str:
        """What is no code of the vocabulary is text, as quotation marks in angles are."""
        match = self._PATTERN.match(text)
        return match[0] if match is not None and match[1] in self._codes else ""

    def _told(self, index: int, direction: Direction) -> Told:
        _refuse(index, direction, "source")
        if not direction.target:
            return Told()
        if not self._codes:
            _refuse(index, direction, "target")
        _require(index, "target", direction.target, self._codes)
        return Told(f">>{direction.target}<< ")


class _Words(Languages):
    """T5 knows the names that its trainer used, as English, German, French and Romanian."""

    _PATTERN = re.compile(r"\s*translate \w{1,32} to \w{1,32}:\s*")
    _NAME = re.compile(r"[^\W\d_]{1,32}")

    def _own(self, text: str) -> str:
        match = self._PATTERN.match(text)
        return match[0] if match is not None else ""

    def _told(self, index: int, direction: Direction) -> Told:
        if not direction.source and not direction.target:
            return Told()
        for side, name in (("source", direction.source), ("target", direction.target)):
            if not self._NAME.fullmatch(name):
                raise InvalidInput(
                    "the checkpoint is told both languages, each by one word, as English",
                    field=_field(index, side),
                )
        return Told(f"translate {direction.source} to {direction.target}: ")


class _Tokens(Languages):
    """mBART, M2M100, NLLB."""

    def __init__(self, manifest: Manifest, tokenizer: Tokenizer) -> None:
        generation = manifest.generation
        self._ids = manifest.languages
        ids = frozenset(self._ids.values())
        (added,) = tokenizer.encode([""])
        self._place = next((place for place in (0, -1) if added and added[place] in ids), None)
        defaults = set() if generation is None else {generation.forced_first_id, generation.start_id}
        self._needs_target = len(self._ids) > 1 and defaults.isdisjoint(ids)

    def _told(self, index: int, direction: Direction) -> Told:
        if not direction.target and self._needs_target:
            raise InvalidInput(
                f"the checkpoint needs a target language: {_some(self._ids)}", field=_field(index, "target")
            )
        if self._place is None:
            _refuse(index, direction, "source")
        return Told(
            source_id=self._id(index, "source", direction.source),
            source_place=self._place or 0,
            target_id=self._id(index, "target", direction.target),
        )

    def _id(self, index: int, side: str, code: str) -> int | None:
        if not code:
            return None
        _require(index, side, code, self._ids)
        return self._ids[code]


def _refuse(index: int, direction: Direction, *sides: str) -> None:
    """Raises InvalidInput where one of the sides is told."""
    for side in sides:
        if getattr(direction, side):
            raise InvalidInput(
                f"the checkpoint has one {side} language and is not told it", field=_field(index, side)
            )


def _require(index: int, side: str, code: str, known: Iterable[str]) -> None:
    if code not in known:
        raise InvalidInput(
            f"the checkpoint does not know this language; it knows {_some(known)}", field=_field(index, side)
        )


def _some(codes: Iterable[str]) -> str:
    names = sorted(codes)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _field(index: int, side: str) -> str:
    return f"inputs[{index}].{side}_language"
