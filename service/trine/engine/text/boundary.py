"""The border to the tokenizers library: whatever it raises, Rust panics included, becomes an error of ours. Any thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trine.errors import TrineError


@contextmanager
def answered_by(kind: type[TrineError], message: str) -> Iterator[None]:
    """Raise `kind(message)` for any exception, and for a panic, which derives from BaseException and would end the engine.

    KeyboardInterrupt, SystemExit, CancelledError and the like pass.
    """
    try:
        yield
    except TrineError:
        raise
    except Exception as error:
        raise kind(message) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise kind(message) from error
