"""A checkpoint's chat template, taken into the artifact once the sandbox renders it as transformers does. The export process.

A template that the sandbox refuses does not keep a checkpoint from generating text: it is left out, and the report says why.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from trine.engine.text.chat import CHAT_TEMPLATE, SPECIAL_TOKENS, ChatTemplate
from trine.errors import ArtifactCorrupt, InvalidInput

logger = logging.getLogger(__name__)

_TURNS = [
    {"role": "user", "content": " Where do <b>you</b> live?\n"},
    {"role": "assistant", "content": "In Brest, by the sea."},
    {"role": "user", "content": "Since when?"},
]
_SYSTEM = {"role": "system", "content": "Answer in one sentence."}
_TRIALS = (_TURNS[:1], [_SYSTEM, *_TURNS[:1]], _TURNS, [_SYSTEM, *_TURNS])
"""A template may refuse some of them."""


def write(tokenizer: PreTrainedTokenizerBase, folder: Path) -> str:
    """Write chat_template.jinja and special_tokens_map.json into `folder`, or nothing. Returns what was done, for people."""
    if not tokenizer.chat_template:
        return "the checkpoint has none"
    try:
        source = tokenizer.get_chat_template()
        _require(ChatTemplate(source, tokenizer.special_tokens_map), tokenizer)
    except ArtifactCorrupt as error:
        logger.warning("the chat template is left out", exc_info=True)
        return f"left out: {error.message}"
    except ValueError:  # of transformers, for several templates of which none is the default
        return "left out: the checkpoint has several, and no default"
    (folder / CHAT_TEMPLATE).write_bytes(source.encode())
    (folder / SPECIAL_TOKENS).write_text(json.dumps(tokenizer.special_tokens_map), encoding="utf-8")
    return "taken over"


def _require(template: ChatTemplate, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises ArtifactCorrupt for a template that is no use."""
    good = [_alike(template, tokenizer, trial) for trial in _TRIALS]
    if False in good:
        raise ArtifactCorrupt("the chat template is not rendered as transformers does")
    if not any(good):
        raise ArtifactCorrupt("the chat template refuses every conversation")


def _alike(
    template: ChatTemplate, tokenizer: PreTrainedTokenizerBase, conversation: list[dict[str, str]]
) -> bool | None:
    """None where the template refuses the conversation. Ours goes first: it ends."""
    try:
        ours = template.render(conversation)
    except InvalidInput as error:
        logger.info("the chat template refuses a trial: %r", error.__cause__)
        return None
    try:
        theirs = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    except Exception:  # whatever a template raises
        logger.info("transformers refuses a trial", exc_info=True)
        return False
    return bool(ours == theirs)
