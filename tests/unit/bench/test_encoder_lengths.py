"""The lengths that batches of encoders are made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.encoder import lengths
from bench.encoder.lengths import Lengths
from bench.encoder.work import KINDS, LIBRARY, EncoderWork

REAL = Lengths(sentences=[5, 6, 7], documents=[200, 900])


def test_a_batch_has_as_many_documents_as_were_asked_for_and_is_cut_to_the_context() -> None:
    drawn = REAL.draw(8, 2, 512, "a")
    assert len(drawn) == 8
    assert sum(length >= 200 for length in drawn) == 2
    assert set(drawn) <= {5, 6, 7, 200, 512}


def test_the_same_seed_draws_the_same_and_another_seed_another() -> None:
    seeds = [f"{number}" for number in range(9)]
    assert [REAL.draw(8, 2, 512, seed) for seed in seeds] == [REAL.draw(8, 2, 512, seed) for seed in seeds]
    assert len({tuple(REAL.draw(8, 2, 512, seed)) for seed in seeds}) > 1


def test_documents_stand_anywhere_in_a_batch() -> None:
    places = {
        REAL.draw(4, 1, 512, str(seed)).index(200)
        for seed in range(60)
        if 200 in REAL.draw(4, 1, 512, str(seed))
    }
    assert places == {0, 1, 2, 3}


def test_kept_values_span_all_from_the_first_to_the_last() -> None:
    assert lengths.kept(list(range(101)), 5) == [0, 25, 50, 75, 100]
    assert lengths.kept([1, 2, 3], 5) == [1, 2, 3]


def test_the_stored_lengths_are_in_order_and_hold_both_kinds() -> None:
    stored = lengths.load()
    for counts in (stored.sentences, stored.documents):
        assert counts == sorted(counts)
        assert counts[0] > 2
    assert stored.sentences[len(stored.sentences) // 2] < 30 < stored.documents[0]


def test_lengths_are_measured_on_a_folder_of_texts(tmp_path: Path) -> None:
    """A vocabulary trained on few words knows each of them, so a text has as many tokens as words, and two special ones."""
    files = {
        "tatoeba_fra/fra.txt": "go home\trentre\ngo home\tva",
        "rt_polarity/rt-polarity.pos": "go home home go\n\n",
        "rt_polarity/rt-polarity.neg": "",
        "uci_sentiment/amazon_cells_labelled.txt": "home\t1",
        "uci_sentiment/imdb_labelled.txt": "",
        "uci_sentiment/yelp_labelled.txt": "",
        "btc_ner/btc.train": "go\tO\ngo\tO\nhome\tO\n\n",
        "scitldr/train.jsonl": json.dumps({"source": ["go home"] * 6, "target": "home"}),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert lengths.measured(tmp_path) == Lengths([3, 4, 5, 6], [14])


def test_a_missing_corpus_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lengths.measured(tmp_path)


def test_equal_lengths_are_equal_and_ragged_ones_are_drawn() -> None:
    assert EncoderWork("bert-tiny", "16x64").lengths(REAL, "0") == [64] * 16
    assert EncoderWork("bert-tiny", "8x128").lengths(REAL, "0") == [128] * 8
    ragged = EncoderWork("bert-tiny", "ragged")
    assert len(ragged.lengths(REAL, "0")) == ragged.units == 16
    assert len(set(ragged.lengths(REAL, "0"))) > 1
    assert set(LIBRARY) < set(KINDS)
