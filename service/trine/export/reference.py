"""What the checkpoint itself answers: its tokenizer, PyTorch in float32, transformers' greedy search. The export process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig

from trine.artifact import Family, Generation, Pooling, Task
from trine.export.checkpoint import Checkpoint, token_types

Logits = NDArray[np.float32]
Types = list[int] | None
"""Types of a sequence's tokens, as BERT tells the texts of a pair apart; None: all 0."""


@dataclass(frozen=True, slots=True)
class Continuation:
    tokens: list[int]
    """What greedy search wrote, the end token included."""
    logits: Logits
    """[len(tokens), vocab]: each token was chosen from its row, before tokens are suppressed or forced."""


class Reference:
    """One sequence at a time: nothing is ever padded."""

    def __init__(self, checkpoint: Checkpoint, generation: Generation | None) -> None:
        self._checkpoint = checkpoint
        self._model = checkpoint.model
        self._generation = generation

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Special tokens added, nothing cut."""
        return [list(self._checkpoint.tokenizer(text, verbose=False).input_ids) for text in texts]

    def text(self, tokens: Sequence[int]) -> str:
        decoded: str = self._checkpoint.tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded

    def pair(self, text: str, second: str) -> tuple[list[int], Types]:
        """Token ids of two texts in one sequence, and types where the checkpoint has more than one.

        The types are asked for: transformers 5 leaves out those of ALBERT, which was trained with them.
        """
        encoded = self._checkpoint.tokenizer(text, second, return_token_type_ids=True, verbose=False)
        return list(encoded.input_ids), encoded.token_type_ids if token_types(self._model) > 1 else None

    def output(self, ids: Sequence[int], types: Types = None) -> Logits:
        """The encoder family: logits [labels] or [tokens, labels], or hidden states [tokens, hidden]."""
        inputs = {"input_ids": torch.tensor([ids])}
        if types is not None:
            inputs["token_type_ids"] = torch.tensor([types])
        with torch.inference_mode():
            answer = self._model(**inputs)
        embedding = self._checkpoint.info.task is Task.EMBEDDING
        states = answer.last_hidden_state if embedding else answer.logits
        return states[0].numpy()  # type: ignore[no-any-return]

    def first_logits(self, ids: Sequence[int]) -> Logits:
        """The other families: [vocab] for the first token to be written after `ids`."""
        inputs = {"input_ids": torch.tensor([ids])}
        if self._checkpoint.info.family is Family.ENCODER_DECODER:
            assert self._generation is not None
            inputs["decoder_input_ids"] = torch.tensor([[self._generation.start_id]])
        with torch.inference_mode():
            logits = self._model(**inputs).logits
        return logits[0, -1].numpy()  # type: ignore[no-any-return]

    def greedy(self, ids: Sequence[int], new_tokens: int, *, to_the_end: bool) -> Continuation:
        """At most `new_tokens` tokens after `ids`. `to_the_end`: the last of them takes the context's last place."""
        inputs = torch.tensor([ids])
        config = self._greedy_config(new_tokens, to_the_end)
        self._model.generation_config = (
            config  # else transformers fills what is unset here with the checkpoint's defaults
        )
        with torch.inference_mode():
            answer = self._model.generate(
                inputs, attention_mask=torch.ones_like(inputs), generation_config=config
            )
        logits = torch.cat(answer.logits).numpy()
        return Continuation(answer.sequences[0, -len(logits) :].tolist(), logits)

    def _greedy_config(self, new_tokens: int, to_the_end: bool) -> GenerationConfig:
        generation = self._generation
        assert generation is not None
        return GenerationConfig(
            max_new_tokens=new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=list(generation.eos_ids) or None,
            pad_token_id=generation.eos_ids[0] if generation.eos_ids else 0,
            decoder_start_token_id=generation.start_id,
            forced_bos_token_id=generation.forced_first_id,
            forced_eos_token_id=generation.forced_last_id if to_the_end else None,
            bad_words_ids=[[token] for token in generation.suppressed_ids] or None,
            return_dict_in_generate=True,
            output_logits=True,
        )


def embedding(hidden: Logits, pooling: Pooling, *, normalize: bool) -> Logits:
    """[tokens, hidden] of one text to [hidden], as sentence-transformers' Pooling and Normalize do it in PyTorch."""
    states = torch.from_numpy(hidden)
    if pooling is Pooling.MEAN:
        pooled = states.sum(0) / len(states)
    elif pooling is Pooling.MAX:
        pooled = states.max(0).values
    else:
        pooled = states[0 if pooling is Pooling.CLS else -1]
    if normalize:
        pooled = torch.nn.functional.normalize(pooled, dim=0)
    return pooled.numpy()  # type: ignore[no-any-return]
