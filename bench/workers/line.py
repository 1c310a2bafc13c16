"""How a measured process talks: first a line of facts, then for each line of prompts a line of answers. No dependencies."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

Generate = Callable[[list[list[int]], int], list[list[int]]]


def serve(facts: dict[str, str], generate: Generate) -> None:
    """Answer until standard input ends. What libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps(facts), file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(generate(request["prompts"], request["new_tokens"])), file=out, flush=True)
