"""What administration tells of a version."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.front.wire.fakes import manifest, record
from trine.artifact import Family, Limits
from trine.front.serving.views import VersionView


@pytest.mark.parametrize(
    ("family", "told"), [(Family.ENCODER, 0), (Family.DECODER, 128), (Family.ENCODER_DECODER, 127)]
)
def test_the_start_token_is_no_new_token(family: Family, told: int) -> None:
    limits = Limits(max_input_tokens=128, max_output_tokens=0 if family is Family.ENCODER else 128)
    made = msgspec.structs.replace(manifest(), family=family, limits=limits)
    view = VersionView(msgspec.structs.replace(record(), family=family), made)
    assert view.max_output_tokens == told
