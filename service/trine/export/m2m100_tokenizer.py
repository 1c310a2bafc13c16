"""M2M100's SentencePiece model and vocab.json as two tokenizer.json. The export process.

As Marian's (see `sentencepiece_model`), but for its languages: tokens behind those of vocab.json, the source's before every text.
The source language is the one that the checkpoint's tokenizer has at registration.
"""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import Unigram
from transformers import M2M100Tokenizer

from trine.export.sentencepiece_model import SPACE, SentencePieceModel, unreachable


def source(tokenizer: M2M100Tokenizer, vocab_size: int) -> Tokenizer:
    """Text to ids as `tokenizer(text).input_ids`; ids at or beyond `vocab_size` mean <unk>."""
    vocab: dict[str, int] = tokenizer.encoder | tokenizer.lang_token_to_id
    special = _special_tokens(tokenizer)
    pieces = SentencePieceModel(tokenizer.sp_model, vocab)
    converted = Tokenizer(pieces.model(vocab_size, {token.content: token.content for token in special}))
    converted.normalizer = normalizers.Sequence(pieces.normalizers())
    language, end = tokenizer.convert_ids_to_tokens([tokenizer.cur_lang_id, tokenizer.eos_token_id])
    converted.post_processor = processors.TemplateProcessing(
        single=f"{language} $A {end}",
        special_tokens=[(language, tokenizer.cur_lang_id), (end, tokenizer.eos_token_id)],
    )
    converted.add_special_tokens(special)
    return converted


def target(tokenizer: M2M100Tokenizer, vocab_size: int) -> Tokenizer:
    """Ids to text as `tokenizer.decode`, but for spaces at the ends, which M2M100Tokenizer strips."""
    names: dict[int, str] = tokenizer.decoder | tokenizer.id_to_lang_token
    entries = [(names.get(index, unreachable(index)), 0.0) for index in range(vocab_size)]
    converted = Tokenizer(Unigram(entries, unk_id=tokenizer.unk_token_id, byte_fallback=False))
    converted.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    converted.add_special_tokens(_special_tokens(tokenizer))
    return converted


def _special_tokens(tokenizer: M2M100Tokenizer) -> list[AddedToken]:
    """In the order of their ids."""
    return [
        AddedToken(token.content, normalized=False, special=token.special)
        for _, token in sorted(tokenizer.added_tokens_decoder.items())
    ]
