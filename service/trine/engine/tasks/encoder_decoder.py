"""What translation and summarization share: an encoder reads the source, a decoder writes anew. Engine process, its only thread."""

from __future__ import annotations

from trine.artifact import Manifest
from trine.engine.tasks.generative import Detokenizer, GenerativeTask, MakeChoice
from trine.engine.tasks.inputs import Tokenizer
from trine.engine.tasks.passage import Source
from trine.errors import Bug


class EncoderDecoderTask(GenerativeTask):
    """Source and target have a context each; the start token takes the first place of the target's."""

    def __init__(
        self, manifest: Manifest, tokenizer: Tokenizer, detokenizer: Detokenizer, choice: MakeChoice
    ) -> None:
        super().__init__(manifest, tokenizer, detokenizer, choice)
        if self._generation.start_id is None:
            raise Bug("an encoder-decoder checkpoint without a start token")
        self._start_id = self._generation.start_id

    def _room(self, input_tokens: int) -> int:
        return self._limits.max_output_tokens - 1

    def _beginning(self, source: Source, tokens: list[int]) -> list[int]:
        return [self._start_id if source.start_id is None else source.start_id]

    def _forced(self, source: Source, limit: int) -> dict[int, int]:
        """Forced tokens by written place, as transformers' ForcedBOS and ForcedEOSTokenLogitsProcessor put them.

        The last place is forced only where the context itself ends there, not where the caller's limit does.
        """
        first = self._generation.forced_first_id if source.first_id is None else source.first_id
        last = self._generation.forced_last_id
        forced = {} if first is None else {0: first}
        if last is not None and limit == self._limits.max_output_tokens - 1:
            forced[limit - 1] = last
        return forced
