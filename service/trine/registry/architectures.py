"""The architectures that Trine exports: pure data, one row each. Any process.

The table is read by export, and listed for users; an engine never looks here, since its artifact's manifest says all it needs.
A new architecture is a new row, as long as it routes attention through transformers' registry
(docs/decisions/0001).
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


_ROWS = (
    Architecture("BertForSequenceClassification", Family.ENCODER, (Task.CLASSIFICATION,)),
    Architecture("GPT2LMHeadModel", Family.DECODER, (Task.GENERATION,)),
    Architecture("MarianMTModel", Family.ENCODER_DECODER, (Task.TRANSLATION,)),
)

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType({row.name: row for row in _ROWS})
"""By name, in the order of the families."""
