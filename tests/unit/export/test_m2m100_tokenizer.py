"""M2M100's converted tokenizer against the original, for both kinds of SentencePiece model."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import sentencepiece
    from transformers import M2M100Tokenizer
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

    from tests.unit.export import architectures, tiny
    from tests.unit.export.conftest import export
    from trine.engine.text.detokenizer import Detokenizer
    from trine.engine.text.tokenizer import Tokenizer
    from trine.export import probes
    from trine.export import tokenizer as tokenizers

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

LANGUAGES = [f"__{code}__" for code in FAIRSEQ_LANGUAGE_CODES["m2m100"]]
"""Published checkpoints name all of them as special tokens, in this order."""


def original(folder: Path, kind: str) -> M2M100Tokenizer:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(tiny.ENGLISH + tiny.FRENCH),
        model_prefix=str(folder / "pieces"),
        model_type=kind,
        vocab_size=200,
        hard_vocab_limit=kind == "bpe",
        normalization_rule_name="nmt_nfkc",
        character_coverage=1.0,
        minloglevel=2,
        num_threads=1,
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "pieces.model"))
    pieces = [processor.id_to_piece(index) for index in range(3, processor.get_piece_size())]
    kept = [piece for piece in pieces if piece != pieces[50]] + ["madeup"]
    vocab = {piece: index for index, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *kept])}
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    return M2M100Tokenizer(
        vocab_file=str(folder / "vocab.json"),
        spm_file=str(folder / "pieces.model"),
        src_lang="fr",
        additional_special_tokens=LANGUAGES,
    )


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[M2M100Tokenizer, Tokenizer, Detokenizer]:
    folder = tmp_path_factory.mktemp(request.param)
    theirs = original(folder, request.param)
    size = theirs.vocab_size + len(theirs.lang_token_to_id) + theirs.num_madeup_words
    tokenizers.write(theirs, size, folder)
    ours = Tokenizer(folder / tokenizers.SOURCE, size, tokenizers.unknown_id(theirs))
    return theirs, ours, Detokenizer(folder / tokenizers.TARGET)


Pair = tuple[M2M100Tokenizer, Tokenizer, Detokenizer]


def test_the_source_language_is_before_every_text(pair: Pair) -> None:
    theirs, ours, _ = pair
    ((first, *_, last),) = ours.encode(["Nous voit la clé."])
    assert (first, last) == (theirs.get_lang_id("fr"), theirs.eos_token_id)


def test_probes_are_cut_alike(pair: Pair) -> None:
    theirs, ours, _ = pair
    texts = list(probes.PLAIN)
    assert ours.encode(texts) == [theirs(text).input_ids for text in texts]


def test_random_texts_are_cut_alike(pair: Pair) -> None:
    theirs, ours, _ = pair
    draw = random.Random(3)
    parts = [*"abcdefgé .,\n😀世ｑ", "世界", "madeup", "__en__", "the ", " maison", "saw", "  "]
    texts = ["".join(draw.choices(parts, k=draw.randint(1, 12))) for _ in range(400)]
    assert ours.encode(texts) == [theirs(text).input_ids for text in texts]


def test_outputs_read_alike(pair: Pair) -> None:
    theirs, _, target = pair
    draw = random.Random(4)
    language = theirs.get_lang_id("en")
    for _ in range(100):
        ids = [language, *(draw.randrange(4, theirs.vocab_size) for _ in range(8)), 2]
        assert target.decode(ids).strip() == theirs.decode(ids, skip_special_tokens=True).strip()


@pytest.mark.proof
def test_the_gate_passes_with_it(pair: Pair, tmp_path: Path) -> None:
    theirs, _, _ = pair

    def build(folder: Path) -> Path:
        size = theirs.vocab_size + len(theirs.lang_token_to_id) + theirs.num_madeup_words
        architectures.build("m2m100", folder, vocab_size=size, forced_bos_token_id=theirs.get_lang_id("de"))
        for path in folder.glob("*token*"):
            path.unlink()
        theirs.save_pretrained(folder)
        return folder

    exported = export(build, tmp_path)
    assert exported.report.passed, exported.report.reason
    generation = exported.artifact.manifest.generation
    assert generation is not None
    assert generation.forced_first_id == theirs.get_lang_id("de")
