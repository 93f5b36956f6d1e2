"""How an error is told in one line, and what is to be done about it."""

from __future__ import annotations

import errno
import os
import re

LONGEST_VALUE = 80  # characters
# safetensors gives the system's number in its text alone.
OS_ERROR = re.compile(r"\(os error (\d+)\)")
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)


def first_line(error: BaseException) -> str:
    """The first line of an error's text; the name of its type if it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def shortened(value: str) -> str:
    """A value as an error shows it: its beginning, if it is so long that it would hide the rest."""
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"


def remedy_for(error: BaseException, otherwise: str) -> str:
    """What helps against a file that cannot be opened or written.

    Parameters
    ----------
    error
        What the system answered.
    otherwise
        What helps if neither the file nor its disk is innocent.
    """
    if _number(error) in OUT_OF_FILES:
        return (
            f"{os.strerror(errno.EMFILE)} at once: raise the limit (ulimit -n 4096), "
            "or train fewer runs at once"
        )
    return otherwise


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    found = OS_ERROR.search(str(error))
    return int(found[1]) if found else None
