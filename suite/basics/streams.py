"""Standard streams that outlive their reader, and that any terminal can show.

A sweep trains for days; that `| head` has seen enough, that a terminal has gone or that the disk
under a log is full must not end it.
"""

from __future__ import annotations

import errno
import io
import os
import sys

READER_GONE = (errno.EPIPE, errno.EIO)  # of a pipe, of a terminal
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class LastingStream(io.TextIOWrapper):
    """A stream onto a file descriptor whose words go nowhere once nobody can take them."""

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        try:
            return super().write(text)
        except OSError as error:
            self.go_on(error)
            return len(text)

    def flush(self) -> None:
        """Hand on what was written, or drop it."""
        try:
            super().flush()
        except OSError as error:
            self.go_on(error)

    def go_on(self, error: OSError) -> None:
        """Drop what could not be written, and all that follows if the reader is gone.

        Raises
        ------
        OSError
            The error, if it is of another kind.
        """
        if error.errno in READER_GONE:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # for all that hold this descriptor, and for good
            os.close(nowhere)
        elif error.errno not in NO_ROOM:  # there may be room again
            raise error


def outlast_readers() -> None:
    """From now on let no standard stream end the process, and show any text on any terminal.

    What the encoding of a stream lacks, such as σ, is a question mark. Streams that something else
    has put in place, a notebook for one, are left as they are but for that.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, LastingStream) or not isinstance(stream, io.TextIOWrapper):
            continue
        if stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _lasting(stream, "replace" if name == "stdout" else stream.errors))
        elif name == "stdout":  # the error stream replaces what it lacks anyway
            stream.reconfigure(errors="replace")


def _lasting(stream: io.TextIOWrapper, errors: str | None) -> LastingStream:
    """A stream in place of another; the two share one buffer from here on."""
    made = LastingStream(
        stream.buffer,
        encoding=stream.encoding,
        errors=errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    try:
        stream.flush()  # what was written before comes first
    except OSError as error:
        made.go_on(error)
    return made
