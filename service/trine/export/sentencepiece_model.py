"""A SentencePiece model whose pieces have their ids in a vocab.json, as parts of a tokenizer.json. The export process.

So it is with Marian and M2M100, whose tokenizers have no fast form. Ids come from vocab.json, scores from the SentencePiece model,
and three cases are none that the two share:

- a piece that vocab.json lacks is <unk>. It gets an id at or beyond the vocabulary, which the engine reads as <unk>;
- an entry of vocab.json that the model lacks must never be cut: it gets a name that no text contains;
- but a run of characters that the model has never seen comes out of it as one piece, and may be such an entry. (Not in a BPE
  model: it has no way to make a piece of several characters that is no merge. The gate would tell.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import Regex, normalizers
from tokenizers.models import BPE, Model, Unigram
from transformers.tokenization_utils_base import generate_merges

SPACE = "\u2581"
NOWHERE = "\U0010fffd"
"""A private-use character that stands for a run of unseen characters: in no vocabulary, so it becomes <unk>."""
_DELETED = "\x01"
_UNSEEN_PENALTY = 10.0
"""SentencePiece's own (kUnkPenalty), below the worst piece."""

_NORMAL, _USER_DEFINED = 1, 4
_BPE = 2


class SentencePieceModel:
    def __init__(self, processor: SentencePieceProcessor, vocab: Mapping[str, int]) -> None:
        schema: Any = sentencepiece_model_pb2
        parsed = schema.ModelProto()
        parsed.ParseFromString(processor.serialized_model_proto())
        self._vocab = vocab
        self._spec = parsed.normalizer_spec
        self._is_bpe = parsed.trainer_spec.model_type == _BPE
        self._scores: dict[str, float] = {
            piece.piece: piece.score for piece in parsed.pieces if piece.type in (_NORMAL, _USER_DEFINED)
        }
        self._seen = {character for piece in self._scores for character in piece}

    @property
    def adds_space(self) -> bool:
        """Whether a space is put before every text."""
        return bool(self._spec.add_dummy_prefix)

    def model(self, vocab_size: int, named: Mapping[str, str]) -> Model:
        """The model with an entry for each id below `vocab_size`, and what vocab.json lacks behind them.

        `named`: entries of vocab.json that are no pieces and keep a name, and which.
        """
        entries = self._entries(vocab_size, named)
        if not self._is_bpe:
            return Unigram(entries, unk_id=self._vocab["<unk>"], byte_fallback=False)
        ids = {name: index for index, (name, _) in enumerate(entries)}
        merges = generate_merges({piece: ids[piece] for piece in self._scores}, self._scores)
        return BPE(ids, merges, unk_token="<unk>", fuse_unk=True)

    def _entries(self, vocab_size: int, named: Mapping[str, str]) -> list[tuple[str, float]]:
        worst = min(self._scores.values())
        pieces = {index: piece for piece, index in self._vocab.items()}
        entries = []
        for index in range(vocab_size):
            piece = pieces.get(index, "")
            if piece in self._scores:
                entries.append((piece, self._scores[piece]))
            elif piece in named:
                entries.append((named[piece], 0.0))
            elif piece and self._seen.isdisjoint(piece):
                entries.append((piece, worst - _UNSEEN_PENALTY))
            else:
                entries.append((unreachable(index), worst))
        return entries + [(piece, score) for piece, score in self._scores.items() if piece not in self._vocab]

    def normalizers(self) -> list[normalizers.Normalizer]:
        """What SentencePiece does before it cuts, and the runs of unseen characters that are no entry of the vocabulary."""
        steps: list[normalizers.Normalizer] = []
        if self._spec.precompiled_charsmap:
            steps += _character_map(normalizers.Precompiled(self._spec.precompiled_charsmap))
        if self._spec.remove_extra_whitespaces:
            steps += [
                normalizers.Replace(Regex("^ +|(?<! ) +$"), ""),
                normalizers.Replace(Regex(" {2,}"), " "),
            ]
        steps.append(normalizers.Replace(Regex(_unseen_runs(self._seen, self._vocab)), NOWHERE))
        steps.append(normalizers.Replace(" ", SPACE))
        if self.adds_space:
            steps.append(normalizers.Prepend(SPACE))
        return steps


def unreachable(index: int) -> str:
    """A name that no normalized text contains: its spaces have become `SPACE`."""
    return f" {index}"


def _character_map(precompiled: normalizers.Precompiled) -> list[normalizers.Normalizer]:
    """SentencePiece's map of characters, which `Precompiled` applies to whole grapheme clusters where they are short, and by
    the shortest match: of two combining marks, or of one behind a mapped character (a no-break space, a full-width letter), the
    last would vanish. So marks are composed first, as the map itself would, and a control character that the map deletes parts
    a mapped character from its mark. What is left: a full-width letter with a mark stays decomposed; marks in no canonical
    order are put in order.
    """
    steps: list[normalizers.Normalizer] = [precompiled]
    if not precompiled.normalize_str(_DELETED):
        characters = (chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000)
        mapped = "".join(_escaped(char) for char in characters if precompiled.normalize_str(char) != char)
        parted = Regex(f"(?<=[{mapped}])(?=[\\p{{M}}\\x{{200d}}])")
        steps.insert(0, normalizers.Replace(parted, _DELETED))
    if precompiled.normalize_str("e\u0301") == "\u00e9":
        steps.insert(0, normalizers.NFC())
    return steps


def _unseen_runs(seen: set[str], vocab: Mapping[str, int]) -> str:
    """Matches each run of two or more unseen characters that the vocabulary does not hold as a whole."""
    unseen = f"[^ {''.join(map(_escaped, sorted(seen | {SPACE})))}]"
    whole = sorted(piece for piece in vocab if len(piece) > 1 and seen.isdisjoint(piece) and " " not in piece)
    but = f"(?!(?:{'|'.join(map(re.escape, whole))})(?!{unseen}))" if whole else ""
    return f"(?<!{unseen}){but}{unseen}{{2,}}"


def _escaped(character: str) -> str:
    return f"\\x{{{ord(character):x}}}"
