"""Beam search by task, scheduler and runner together equals transformers', on a tiny exported checkpoint of each family."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from tests.unit.export import tiny
from tests.unit.export.conftest import Exported
from trine import frames
from trine.artifact import Generation as Settings
from trine.engine.main import _task
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.seq2seq import Seq2SeqRunner
from trine.engine.scheduling.call import Call
from trine.engine.scheduling.continuous import ContinuousBatcher, DecoderBatcher, EncoderDecoderBatcher
from trine.engine.scheduling.meter import Meter
from trine.engine.tasks.generative import GenerativeTask
from trine.engine.tasks.passage import Part
from trine.export import checkpoint
from trine.export.plan import inspect
from trine.sampling import BeamSearch, Decoding, EarlyStopping, Sampling, Stopping

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

EARLY_STOPPING: Mapping[EarlyStopping, bool | str] = {"first": True, "heuristic": False, "never": "never"}
TEXTS = [text[:22] for text in tiny.ENGLISH[::61]]
Found = list[tuple[list[int], float]]
"""Tokens, the end token with them, and score, best first."""

CASES: dict[str, tuple[BeamSearch, Decoding, dict[str, Any]]] = {
    "plain": (BeamSearch(4, n_best=4), Decoding(max_new_tokens=12), {}),
    "short": (BeamSearch(3, -0.5, "first", 2), Decoding(max_new_tokens=9), {}),
    "long": (BeamSearch(5, 2.0, "never", 5), Decoding(max_new_tokens=9), {}),
    "controlled": (
        BeamSearch(3, n_best=3),
        Decoding(
            Sampling(repetition_penalty=1.4, no_repeat_ngram_size=2, logit_bias={9: 1.5}), Stopping(4), 10
        ),
        {
            "repetition_penalty": 1.4,
            "no_repeat_ngram_size": 2,
            "sequence_bias": [[[9], 1.5]],
            "min_new_tokens": 4,
        },
    ),
}


def ours(exported: Exported, search: BeamSearch, decoding: Decoding) -> list[Found]:
    """All texts in one call, so that they run side by side."""
    artifact, meter = exported.artifact, Meter(time.monotonic)
    batcher: ContinuousBatcher[Part]
    if artifact.manifest.cross is None:
        batcher = DecoderBatcher(DecoderRunner(artifact, 1, 9, 32), 64, meter)
    else:
        batcher = EncoderDecoderBatcher(Seq2SeqRunner(artifact, 1, 9), 64, meter)
    task = _task(artifact)
    assert isinstance(task, GenerativeTask)
    wanted = Decoding(decoding.sampling, decoding.stopping, decoding.max_new_tokens, beam_search=search)
    request = frames.Generate(1, TEXTS, math.inf, 2, "", wanted, stream=False, split=False)
    parts = task.prepare(request, Call(1, "", 2, math.inf, 0.0, len(TEXTS)))
    batcher.add(parts)
    while batcher.waiting or batcher.running:
        batch = batcher.choose()
        batcher.settle(batch, batcher.run(batch))
    assert batcher.cache_used == 0
    return [[(one.tokens, one.score) for one in part.search.n_best] for part in parts if part.search]


def theirs(exported: Exported, search: BeamSearch, new_tokens: int, settings: dict[str, Any]) -> list[Found]:
    loaded = checkpoint.load(exported.folder, inspect(exported.folder, None))
    generation = exported.artifact.manifest.generation
    assert generation is not None
    config = GenerationConfig(
        num_beams=search.beams,
        length_penalty=search.length_penalty,
        early_stopping=EARLY_STOPPING[search.early_stopping],
        num_return_sequences=search.n_best,
        do_sample=False,
        max_new_tokens=new_tokens,
        eos_token_id=list(generation.eos_ids),
        pad_token_id=0,
        decoder_start_token_id=generation.start_id,
        bad_words_ids=[[token] for token in generation.suppressed_ids] or None,
        return_dict_in_generate=True,
        output_scores=True,
        **settings,
    )
    loaded.model.generation_config = config  # else transformers fills what is unset with the checkpoint's
    found = []
    for text in TEXTS:
        ids = torch.tensor([loaded.tokenizer(text).input_ids])
        read = ids.shape[1] if generation.start_id is None else 1
        with torch.inference_mode():
            answer = loaded.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
        texts = [_to_the_end(tokens, generation) for tokens in answer.sequences[:, read:].tolist()]
        found.append(list(zip(texts, answer.sequences_scores.tolist(), strict=True)))
    return found


def _to_the_end(tokens: Sequence[int], generation: Settings) -> list[int]:
    ends = [place + 1 for place, token in enumerate(tokens) if token in generation.eos_ids]
    return list(tokens[: ends[0]] if ends else tokens)


def check(exported: Exported, search: BeamSearch, decoding: Decoding, settings: dict[str, Any]) -> None:
    assert decoding.max_new_tokens is not None
    expected = theirs(exported, search, decoding.max_new_tokens, settings)
    found = ours(exported, search, decoding)
    assert [[tokens for tokens, _ in one] for one in found] == [
        [tokens for tokens, _ in one] for one in expected
    ]
    for our, their in zip(found, expected, strict=True):
        assert [score for _, score in our] == pytest.approx([score for _, score in their], rel=1e-4)


@pytest.mark.parametrize(("search", "decoding", "settings"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("kind", ["gpt2", "marian"])
def test_equals_transformers(
    request: pytest.FixtureRequest,
    kind: str,
    search: BeamSearch,
    decoding: Decoding,
    settings: dict[str, Any],
) -> None:
    check(request.getfixturevalue(kind), search, decoding, settings)


def test_the_last_place_of_a_context_is_forced(marian: Exported) -> None:
    generation = marian.artifact.manifest.generation
    assert generation is not None
    limit = marian.artifact.manifest.limits.max_output_tokens - 1
    check(
        marian,
        BeamSearch(3, 3.0, "never", 3),
        Decoding(max_new_tokens=limit),
        {"forced_eos_token_id": generation.forced_last_id},
    )
