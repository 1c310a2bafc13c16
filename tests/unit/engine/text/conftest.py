"""Small tokenizers of every kind, trained on a few lines in many scripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "The quick brown fox, isn't it? Don't do that - it's 3.14 o'clock (really).",
    "Der schnelle braune Fuchs „springt“ über den faulen Hund; groß & schön!",
    "日本語のテキスト、中文文本。한국어 텍스트 와 عربي نص",
    "Ünïcödé: café naïve ﬁne №5 👩‍👩‍👧 🇫🇷 👍🏽 e\u0301 a\u200db",
    "  two  spaces\tand a tab\nand a line ",
]


def byte_level() -> Tokenizer:
    """GPT-2's kind, with so few merges that most characters are several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        show_progress=False,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def word_piece() -> Tokenizer:
    """BERT's kind."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=260, show_progress=False, special_tokens=special)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, special.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def unigram() -> Tokenizer:
    """SentencePiece's kind, as T5 and the converted Marian have it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    special = ["</s>", "<unk>", "<pad>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=240, show_progress=False, special_tokens=special, unk_token="<unk>", shrinking_factor=0.75
    )
    tokenizer.train_from_iterator(TEXTS * 5, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    return tokenizer


def byte_fallback() -> Tokenizer:
    """Llama's kind: pieces with bytes for what is unknown."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256))]
    pieces += ["▁", *"abcdefghijklmnopqrstuvwxyz.,é日", "▁a", "▁th", "he", "▁the"]
    merges = [("▁", "a"), ("h", "e"), ("▁t", "h")][:2]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: index for index, piece in enumerate(pieces)},
            merges=merges,
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def unigram_byte_fallback() -> Tokenizer:
    """SentencePiece's kind with bytes for what is unknown."""
    pieces = [("<unk>", 0.0), *((f"<0x{value:02X}>", -9.0) for value in range(256))]
    pieces += [(letter, -5.0) for letter in ["▁", *"abcdefghijklmnopqrstuvwxyz.,é日"]]
    pieces += [("▁a", -3.0), ("▁the", -3.0), ("he", -4.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.add_special_tokens(["<unk>"])
    return tokenizer


def metaspace_bpe() -> Tokenizer:
    """SentencePiece's other kind, without bytes, as M2M100 has it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    special = ["<s>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=260, show_progress=False, special_tokens=special)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "byte_level": byte_level,
    "word_piece": word_piece,
    "unigram": unigram,
    "byte_fallback": byte_fallback,
    "unigram_byte_fallback": unigram_byte_fallback,
    "metaspace_bpe": metaspace_bpe,
}


@pytest.fixture(scope="session")
def path_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """path_of(kind): the saved tokenizer.json."""
    folder = tmp_path_factory.mktemp("tokenizers")

    def path(kind: str) -> Path:
        file = folder / f"{kind}.json"
        if not file.exists():
            KINDS[kind]().save(str(file))
        return file

    return path
