"""Marian's two SentencePiece models and their joint vocab.json as two tokenizer.json. The export process.

MarianTokenizer cuts text with source.spm and looks the pieces up in vocab.json, whose ids are not SentencePiece's. The same in
one Unigram: ids from vocab.json, scores from source.spm, and three cases that vocab.json and source.spm do not share:

- a piece of source.spm that vocab.json lacks is <unk>. It gets an id at or beyond the vocabulary, which the engine reads as <unk>;
- an entry of vocab.json that source.spm lacks must never be cut: it gets a name that no text contains;
- but a run of characters that source.spm has never seen comes out of it as one piece, and may be such an entry.

Checked against MarianTokenizer in tests/unit/export and by every parity gate.
"""

from __future__ import annotations

import re
from typing import Any

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, processors
from tokenizers.models import Unigram
from transformers import MarianTokenizer

SPACE = "\u2581"
_NOWHERE = "\U0010fffd"
"""A private-use character that stands for a run of unseen characters: in no vocabulary, so it becomes <unk>."""
_DELETED = "\x01"
_UNSEEN_PENALTY = 10.0
"""SentencePiece's own (kUnkPenalty), below the worst piece."""

_NORMAL, _USER_DEFINED = 1, 4


def source(tokenizer: MarianTokenizer, vocab_size: int) -> Tokenizer:
    """Text to ids as `tokenizer(text).input_ids`; ids at or beyond `vocab_size` mean <unk>."""
    model = _parse(tokenizer.spm_source)
    scores = {piece.piece: piece.score for piece in model.pieces if piece.type in (_NORMAL, _USER_DEFINED)}
    seen = {character for piece in scores for character in piece}
    vocab: dict[str, int] = tokenizer.encoder
    converted = Tokenizer(
        Unigram(_entries(vocab, scores, seen, vocab_size), unk_id=vocab["<unk>"], byte_fallback=False)
    )
    converted.normalizer = _normalizer(model.normalizer_spec, seen, vocab)
    converted.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", vocab["</s>"])]
    )
    _add_tokens(converted, tokenizer, vocab)
    return converted


def target(tokenizer: MarianTokenizer) -> Tokenizer:
    """Ids to text as `tokenizer.decode`, but for spaces at the ends, which MarianTokenizer strips."""
    names: dict[int, str] = tokenizer.decoder
    entries = [(names.get(index, _unreachable(index)), 0.0) for index in range(max(names) + 1)]
    converted = Tokenizer(Unigram(entries, unk_id=tokenizer.unk_token_id, byte_fallback=False))
    converted.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    _add_tokens(converted, tokenizer, {name: index for index, name in names.items()})
    return converted


def _parse(processor: SentencePieceProcessor) -> Any:
    schema: Any = sentencepiece_model_pb2
    model = schema.ModelProto()
    model.ParseFromString(processor.serialized_model_proto())
    return model


def _entries(
    vocab: dict[str, int], scores: dict[str, float], seen: set[str], vocab_size: int
) -> list[tuple[str, float]]:
    """One (piece, score) for each id below `vocab_size`, then the pieces of source.spm that vocab.json lacks."""
    worst = min(scores.values())
    names = {index: piece for piece, index in vocab.items()}
    entries = []
    for index in range(vocab_size):
        piece = names.get(index, "")
        if piece in scores:
            entries.append((piece, scores[piece]))
        elif piece in ("</s>", "<unk>", "<pad>"):
            entries.append((piece, 0.0))
        elif piece and seen.isdisjoint(piece):
            entries.append((piece, worst - _UNSEEN_PENALTY))
        else:
            entries.append((_unreachable(index), worst))
    return entries + [(piece, score) for piece, score in scores.items() if piece not in vocab]


def _unreachable(index: int) -> str:
    """A name that no normalized text contains: its spaces have become `SPACE`."""
    return f" {index}"


def _normalizer(spec: Any, seen: set[str], vocab: dict[str, int]) -> normalizers.Normalizer:
    """What SentencePiece does before it cuts, and the runs of unseen characters that are no entry of the vocabulary."""
    steps: list[normalizers.Normalizer] = []
    if spec.precompiled_charsmap:
        steps += _character_map(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [
            normalizers.Replace(Regex("^ +| +$"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    steps.append(normalizers.Replace(Regex(_unseen_runs(seen, vocab)), _NOWHERE))
    steps.append(normalizers.Replace(" ", SPACE))
    if spec.add_dummy_prefix:
        steps.append(normalizers.Prepend(SPACE))
    return normalizers.Sequence(steps)


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


def _unseen_runs(seen: set[str], vocab: dict[str, int]) -> str:
    """Matches each run of two or more unseen characters that the vocabulary does not hold as a whole."""
    unseen = f"[^ {''.join(map(_escaped, sorted(seen | {SPACE})))}]"
    whole = sorted(piece for piece in vocab if len(piece) > 1 and seen.isdisjoint(piece) and " " not in piece)
    but = f"(?!(?:{'|'.join(map(re.escape, whole))})(?!{unseen}))" if whole else ""
    return f"(?<!{unseen}){but}{unseen}{{2,}}"


def _escaped(character: str) -> str:
    return f"\\x{{{ord(character):x}}}"


def _add_tokens(converted: Tokenizer, tokenizer: MarianTokenizer, vocab: dict[str, int]) -> None:
    special = [token for token in ("</s>", "<unk>", "<pad>") if token in vocab]
    converted.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    languages = [code for code in tokenizer.supported_language_codes if code in vocab]
    converted.add_tokens([AddedToken(code, normalized=False) for code in languages])
