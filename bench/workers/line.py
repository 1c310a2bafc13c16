"""How a measured process talks: first a line of facts, then for each line of inputs a line of answers. No dependencies."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

Answer = Callable[..., list[Any]]
"""Of generation: `prompts` (token ids of each) and `new_tokens`, and where the worker knows them `beams` or `lengths`; the new tokens of
each. Of encoders: `sequences` (token ids of each); the logits of each."""


def serve(facts: dict[str, str], answer: Answer) -> None:
    """Answer until standard input ends. What libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps(facts), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), file=out, flush=True)
