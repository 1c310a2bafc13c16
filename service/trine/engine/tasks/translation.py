"""Translation: an encoder-decoder checkpoint reads each source and writes it anew. Engine process, its only thread."""

from __future__ import annotations

from trine import frames
from trine.artifact import Manifest
from trine.engine.tasks.generative import Detokenizer, GenerativeTask, MakeChoice
from trine.engine.tasks.inputs import Tokenizer
from trine.engine.tasks.passage import Source
from trine.engine.tasks.segments import DIRECTIONS, segmented, whole
from trine.errors import Bug


class Translation(GenerativeTask):
    """Source and target have a context each; the start token takes the first place of the target's.

    The sentences of a text are sequences of the same call, so that they run side by side.
    """

    def __init__(
        self, manifest: Manifest, tokenizer: Tokenizer, detokenizer: Detokenizer, choice: MakeChoice
    ) -> None:
        super().__init__(manifest, tokenizer, detokenizer, choice)
        if self._generation.start_id is None:
            raise Bug("an encoder-decoder checkpoint without a start token")
        self._start_id = self._generation.start_id
        self._direction = DIRECTIONS.get(manifest.architecture)

    def _read(self, request: frames.Generate) -> list[Source]:
        limit = self._limits.max_input_tokens
        if not request.split:
            return whole(self._tokenizer, request.texts, limit)
        return segmented(self._tokenizer, request.texts, limit, self._direction)

    def _room(self, input_tokens: int) -> int:
        return self._limits.max_output_tokens - 1

    def _beginning(self, tokens: list[int]) -> list[int]:
        return [self._start_id]

    def _forced(self, limit: int) -> dict[int, int]:
        """Forced tokens by written place, as transformers' ForcedBOS and ForcedEOSTokenLogitsProcessor put them.

        The last place is forced only where the context itself ends there, not where the caller's limit does.
        """
        first, last = self._generation.forced_first_id, self._generation.forced_last_id
        forced = {} if first is None else {0: first}
        if last is not None and limit == self._limits.max_output_tokens - 1:
            forced[limit - 1] = last
        return forced
