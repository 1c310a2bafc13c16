"""The architectures that Trine exports: pure data, one row each. Any process.

The table is read by export, and listed for users; an engine never looks here, since its artifact's manifest says all it needs.
A new architecture is a new row, as long as it routes attention through transformers' registry
(docs/decisions/0001); DeBERTa, which does not, has export/deberta.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from trine.artifact import Family, Task


@dataclass(frozen=True, slots=True)
class Architecture:
    name: str
    """As in a config's `architectures`: "BertForSequenceClassification"."""
    family: Family
    tasks: tuple[Task, ...]
    """What it can answer; the first is the default."""

    @property
    def default_task(self) -> Task:
        return self.tasks[0]


_ENCODERS = ("Bert", "Roberta", "XLMRoberta", "DistilBert", "Electra", "Albert", "Camembert", "DebertaV2")
_HEADS = {
    "ForSequenceClassification": Task.CLASSIFICATION,
    "ForTokenClassification": Task.TOKEN_CLASSIFICATION,
    "Model": Task.EMBEDDING,
}
"""The end of an encoder's name: what its output layer is for. A model without one makes embeddings."""
_DECODERS = (
    "GPT2LMHeadModel",
    "GPTNeoXForCausalLM",
    "OPTForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "PhiForCausalLM",
    "Gemma2ForCausalLM",
)
_TRANSLATION = (Task.TRANSLATION,)
_EITHER = (Task.TRANSLATION, Task.SUMMARIZATION)
_EITHER_SUMMARIES_FIRST = (Task.SUMMARIZATION, Task.TRANSLATION)
_ENCODER_DECODERS = {
    "MarianMTModel": _TRANSLATION,
    "MBartForConditionalGeneration": _EITHER,
    "M2M100ForConditionalGeneration": _TRANSLATION,
    "T5ForConditionalGeneration": _EITHER,
    "BartForConditionalGeneration": _EITHER_SUMMARIES_FIRST,
    "PegasusForConditionalGeneration": _EITHER_SUMMARIES_FIRST,
}
_ROWS = (
    *(
        Architecture(name + head, Family.ENCODER, (task,))
        for name in _ENCODERS
        for head, task in _HEADS.items()
    ),
    *(Architecture(name, Family.DECODER, (Task.GENERATION,)) for name in _DECODERS),
    *(Architecture(name, Family.ENCODER_DECODER, tasks) for name, tasks in _ENCODER_DECODERS.items()),
)

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType({row.name: row for row in _ROWS})
"""By name, in the order of the families."""

_FIRST_DEBERTA = "of DeBERTa, versions 2 and 3 are supported (DebertaV2)"
KNOWN_GAPS: Mapping[str, str] = MappingProxyType(
    {
        "DebertaFor": _FIRST_DEBERTA,
        "DebertaModel": _FIRST_DEBERTA,
        "MPNet": "transformers does not route its attention through the registry",
    }
)
"""Encoders that people ask for, by the beginning of their architectures' names, and why they are not in the table."""
