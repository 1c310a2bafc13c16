"""Languages: the ids that an engine makes for a direction, against the tokenizer of each architecture; and one checkpoint run."""

from __future__ import annotations

import json
import math
import string
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from tokenizers import processors
    from transformers import (
        M2M100ForConditionalGeneration,
        M2M100Tokenizer,
        MarianTokenizer,
        MBart50Tokenizer,
        MBartTokenizer,
        NllbTokenizer,
    )

    from tests.unit.engine.scheduling.stand_ins import AlphabetDetokenizer, GreedyChoice, call
    from tests.unit.engine.tasks.manifests import manifest
    from tests.unit.export import architectures, tiny
    from tests.unit.export.conftest import export
    from tests.unit.export.engine import generate
    from tests.unit.export.test_m2m100_tokenizer import original
    from trine import frames
    from trine.artifact import Generation, Task
    from trine.engine.tasks.passage import Part
    from trine.engine.tasks.translation import Translation
    from trine.engine.text.tokenizer import Tokenizer
    from trine.errors import InvalidInput
    from trine.export import probes
    from trine.export import tokenizer as tokenizers
    from trine.frames import Direction
    from trine.sampling import Decoding

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
PIECES = ["▁", *string.printable[:94]]
UNTIED = {"tie_word_embeddings": False}
"""Else a small random model repeats what it reads."""
TEXTS = ("The ferry is late.", "Yes, en_XX and fra_Latn!", " a")


def mbart(folder: Path) -> MBartTokenizer:
    codes = ["ar_AR", "en_XX", "fr_XX", "ro_RO"]
    return MBartTokenizer([(piece, -1.0) for piece in [*SPECIAL, *PIECES, *codes, "<mask>"]])


def mbart50(folder: Path) -> MBart50Tokenizer:
    return MBart50Tokenizer([(piece, -1.0) for piece in [*SPECIAL[:3], *PIECES]], src_lang="de_DE")


def nllb(folder: Path, **options: Any) -> NllbTokenizer:
    vocab = {piece: index for index, piece in enumerate([*SPECIAL, *PIECES])}
    return NllbTokenizer(vocab, [], **options)


KINDS: dict[str, tuple[str, Callable[[Path], Any], tuple[str, str]]] = {
    "mbart": ("MBartForConditionalGeneration", mbart, ("fr_XX", "ro_RO")),
    "mbart50": ("MBartForConditionalGeneration", mbart50, ("ro_RO", "fr_XX")),
    "m2m100": ("M2M100ForConditionalGeneration", lambda folder: original(folder, "unigram"), ("de", "en")),
    "nllb": ("M2M100ForConditionalGeneration", nllb, ("fra_Latn", "zho_Hans")),
    "nllb, as before": (
        "M2M100ForConditionalGeneration",
        lambda folder: nllb(folder, legacy_behaviour=True),
        ("fra_Latn", "eng_Latn"),
    ),
}


def translation(
    theirs: Any, architecture: str, folder: Path, start: int = 2, **changes: Any
) -> tuple[Translation, dict[str, int]]:
    size = len(theirs)
    if isinstance(theirs, M2M100Tokenizer):
        size = theirs.vocab_size + len(theirs.lang_token_to_id) + theirs.num_madeup_words
    tokenizers.write(theirs, size, folder)
    languages = tokenizers.languages(theirs, architecture, size)
    paper = manifest(
        Task.TRANSLATION,
        200,
        100,
        architecture=architecture,
        vocab_size=size,
        languages=languages,
        generation=Generation(eos_ids=(2,), start_id=start, **changes),
    )
    tokenizer = Tokenizer(folder / tokenizers.SOURCE, size, tokenizers.unknown_id(theirs))
    return Translation(paper, tokenizer, AlphabetDetokenizer(), GreedyChoice), languages


def prepare(task: Translation, *texts: str, split: Any = False, **direction: str) -> list[Part]:
    request = frames.Generate(
        7,
        list(texts),
        math.inf,
        2,
        "",
        Decoding(),
        stream=False,
        split=split,
        directions=[Direction(**direction)] * len(texts),
    )
    return task.prepare(request, call(7, inputs=len(texts)))


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_the_tokenizers_for_every_direction(tmp_path: Path, kind: str) -> None:
    architecture, make, (source, target) = KINDS[kind]
    theirs = make(tmp_path)
    task, languages = translation(theirs, architecture, tmp_path)
    for text in TEXTS:
        (part,) = prepare(task, text, target=target)
        assert part.tokens == list(theirs(text).input_ids), "the tokenizer's own source language"
        (part,) = prepare(task, text, source=source, target=target)
        ours = (part.tokens, part.forced[0])
        expected = theirs._build_translation_inputs(
            [text], src_lang=source, tgt_lang=target, **_tensors(theirs)
        )
        assert ours == ([int(token) for token in expected["input_ids"][0]], expected["forced_bos_token_id"])
        theirs = make(tmp_path)  # as it was
    assert languages[source] != languages[target]


def _tensors(theirs: Any) -> dict[str, str]:
    return {} if isinstance(theirs, M2M100Tokenizer) else {"return_tensors": "pt"}


def test_codes_are_spelled_as_the_tokenizer_spells_them(tmp_path: Path) -> None:
    for (architecture, make, _), count, some in zip(
        KINDS.values(), (25, 52, 100, 202, 202), ("ro_RO", "xh_ZA", "zu", "ace_Arab", "zul_Latn"), strict=True
    ):
        theirs = make(tmp_path)
        codes = tokenizers.languages(theirs, architecture, 10_000)
        assert len(codes) == count
        assert some in codes
        assert theirs.unk_token_id not in codes.values()


def test_every_segment_is_in_the_source_language(tmp_path: Path) -> None:
    task, languages = translation(nllb(tmp_path), KINDS["nllb"][0], tmp_path)
    parts = prepare(task, "It is late. Yes! No.", split=True, source="fra_Latn", target="zul_Latn")
    assert [part.tokens[0] for part in parts] == [languages["fra_Latn"]] * 3
    assert [part.forced[0] for part in parts] == [languages["zul_Latn"]] * 3


def test_the_first_mbart_begins_with_the_target_language(tmp_path: Path) -> None:
    theirs = mbart(tmp_path)
    romanian = theirs.convert_tokens_to_ids("ro_RO")
    task, languages = translation(theirs, KINDS["mbart"][0], tmp_path, start=romanian)
    (default,), (french,) = prepare(task, "a"), prepare(task, "a", target="fr_XX")
    assert (default.context, default.forced) == ([romanian], {})
    assert (french.context, french.forced) == ([languages["fr_XX"]], {})


def test_languages_that_are_not_known_are_refused_by_name(tmp_path: Path) -> None:
    task, _ = translation(nllb(tmp_path), KINDS["nllb"][0], tmp_path)
    for side, direction in (
        ("source", {"target": "fra_Latn", "source": "fr"}),
        ("target", {"target": "French"}),
    ):
        with pytest.raises(InvalidInput, match=r"it knows ace_Arab, ace_Latn, .* and 194 more") as caught:
            prepare(task, "a", **direction)
        assert caught.value.field == f"inputs[0].{side}_language"
    with pytest.raises(InvalidInput, match="needs a target language: ace_Arab") as caught:
        prepare(task, "a")
    assert caught.value.field == "inputs[0].target_language"
    default, _ = translation(nllb(tmp_path), KINDS["nllb"][0], tmp_path, forced_first_id=120)
    assert prepare(default, "a")[0].forced == {0: 120}


def test_a_tokenizer_that_puts_no_language_is_told_no_source(tmp_path: Path) -> None:
    theirs = nllb(tmp_path)
    task, _ = translation(theirs, KINDS["nllb"][0], tmp_path)
    assert prepare(task, "a", source="fra_Latn", target="fra_Latn")
    theirs.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    task, _ = translation(theirs, KINDS["nllb"][0], tmp_path)
    with pytest.raises(InvalidInput, match="one source language") as caught:
        prepare(task, "a", source="fra_Latn", target="fra_Latn")
    assert caught.value.field == "inputs[0].source_language"


# --- Marian and T5: words before the text --------------------------------------------------------------------------------------


def _marian(folder: Path, *codes: str) -> MarianTokenizer:
    tiny.marian_tokenizer(folder)
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    vocab |= {f">>{code}<<": len(vocab) + place for place, code in enumerate(codes)}
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    files = {"source_spm": "source.spm", "target_spm": "target.spm", "vocab": "vocab.json"}
    return MarianTokenizer(**{name: str(folder / file) for name, file in files.items()})


def test_marian_with_many_targets_is_told_before_each_segment(tmp_path: Path) -> None:
    theirs = _marian(tmp_path, "fra", "zho_Hans")
    task, languages = translation(theirs, "MarianMTModel", tmp_path)
    assert languages == {"fra": theirs.encoder[">>fra<<"], "zho_Hans": theirs.encoder[">>zho_Hans<<"]}
    parts = prepare(task, "I saw a house. We saw a dog.", split=True, target="zho_Hans")
    assert [part.tokens for part in parts] == [
        theirs(">>zho_Hans<< " + text).input_ids for text in ("I saw a house.", "We saw a dog.")
    ]
    (whole,) = prepare(task, "I saw a house.", target="fra")
    assert whole.tokens[0] == languages["fra"]
    own = prepare(task, ">>fra<< I saw a house. We saw a dog.", split=True)
    assert [part.tokens[0] for part in own] == [languages["fra"]] * 2
    for text in (">>Hallo<<, she said.", ">>deu<< I saw a house."):  # no codes of this checkpoint
        marked = prepare(task, f"{text} We saw a dog.", split=True)
        assert [part.tokens for part in marked][1:] == [theirs("We saw a dog.").input_ids]
    with pytest.raises(InvalidInput, match="itself begins") as caught:
        prepare(task, ">>fra<< I saw a house.", target="fra")
    assert caught.value.field == "inputs[0].target_language"
    with pytest.raises(InvalidInput, match="it knows fra, zho_Hans"):
        prepare(task, "a", target="deu")
    with pytest.raises(InvalidInput, match="one source language") as caught:
        prepare(task, "a", source="eng", target="fra")
    assert caught.value.field == "inputs[0].source_language"


@pytest.mark.parametrize("architecture", ["MarianMTModel", "BartForConditionalGeneration"])
def test_a_checkpoint_of_one_direction_is_told_nothing(tmp_path: Path, architecture: str) -> None:
    task, languages = translation(_marian(tmp_path), architecture, tmp_path)
    assert languages == {}
    assert prepare(task, "I saw a house.")
    for side in ("source", "target"):
        with pytest.raises(InvalidInput, match=f"one {side} language") as caught:
            prepare(task, "I saw a house.", **{side: "fra"})
        assert caught.value.field == f"inputs[0].{side}_language"


def test_t5_is_told_both_languages_in_words(tmp_path: Path) -> None:
    theirs = nllb(tmp_path)
    task, languages = translation(theirs, "T5ForConditionalGeneration", tmp_path)
    assert languages == {}
    parts = prepare(task, "It is late. Yes!", split=True, source="English", target="Français")
    lead = "translate English to Français: "
    assert [part.tokens for part in parts] == [
        theirs(lead + text).input_ids for text in ("It is late.", "Yes!")
    ]
    assert prepare(task, "a")[0].tokens == theirs("a").input_ids
    for side, direction in (
        ("target", {"source": "English"}),
        ("source", {"target": "German"}),
        ("target", {"source": "English", "target": "a: b"}),
        ("target", {"source": "English", "target": "en_XX"}),
    ):
        with pytest.raises(InvalidInput, match="each by one word") as caught:
            prepare(task, "a", **direction)
        assert caught.value.field == f"inputs[0].{side}_language"


# --- a checkpoint ------------------------------------------------------------------------------------------------------------


def test_translations_are_the_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """M2M100 from and into several languages, through tokenizer and graphs."""
    monkeypatch.setattr(probes, "PLAIN", probes.PLAIN[3:6])
    theirs = original(tmp_path, "unigram")

    def build(folder: Path) -> Path:
        size = theirs.vocab_size + len(theirs.lang_token_to_id) + theirs.num_madeup_words
        architectures.build("m2m100", folder, vocab_size=size, forced_bos_token_id=None, **UNTIED)
        for path in folder.glob("*token*"):
            path.unlink()
        theirs.save_pretrained(folder)
        return folder

    found = export(build, tmp_path)
    assert found.artifact.manifest.languages == theirs.lang_code_to_id
    model = M2M100ForConditionalGeneration.from_pretrained(found.folder, dtype=torch.float32)
    text, directions = (
        "I saw the green house.",
        [Direction("en", "fr"), Direction("en", "de"), Direction("fr", "de")],
    )
    answers, written = generate(found.artifact, *[text] * 3, directions=directions)
    for direction, answer, tokens in zip(directions, answers, written, strict=True):
        theirs.src_lang = direction.source
        inputs = torch.tensor([theirs(text).input_ids])
        settings = {"forced_bos_token_id": theirs.get_lang_id(direction.target), "forced_eos_token_id": None}
        (expected,) = model.generate(inputs, max_new_tokens=12, num_beams=1, **settings)
        assert tokens == expected[1:].tolist()
        assert answer.text
    assert len({tuple(tokens[1:]) for tokens in written}) > 1
