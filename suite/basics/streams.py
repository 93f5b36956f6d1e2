"""Standard streams that outlive their reader, and that any terminal can show.

A sweep trains for days; that `| head` has seen enough, or that the disk under its progress is full,
must not end it.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections.abc import Collection
from typing import NamedTuple

READER_GONE = (errno.EPIPE, errno.EIO)  # of a pipe, of a terminal
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class _Standard(NamedTuple):
    """How one of the standard streams is to behave."""

    errors: str  # what becomes of letters that its encoding lacks, such as σ
    droppable: Collection[int]  # error numbers with which words are dropped


# What a command was asked for goes to stdout, and is not to be lost without a word on a full disk.
STANDARD = {
    "stdout": _Standard("replace", READER_GONE),
    "stderr": _Standard("backslashreplace", (*READER_GONE, *NO_ROOM)),
}


class LastingStream(io.TextIOWrapper):
    """A stream onto a file descriptor whose words go nowhere once nobody can take them."""

    mode = "w"  # as the stream has it in whose place it is
    droppable: Collection[int] = READER_GONE

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
        if error.errno not in self.droppable:
            raise error
        if error.errno in READER_GONE:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # for all that hold this descriptor, and for good
            os.close(nowhere)


# They share their buffers with the streams in whose place they are, and would close these with
# themselves once nobody holds them.
_made: list[LastingStream] = []


def outlast_readers() -> None:
    """From now on let no reader of a standard stream end the process, and show any text.

    Handlers of logging that write there do so, too. Streams that something else has put in place, a
    notebook for one, are left as they are but for letters that they lack.
    """
    for name, standard in STANDARD.items():
        stream = getattr(sys, name)
        if isinstance(stream, LastingStream) or not isinstance(stream, io.TextIOWrapper):
            continue
        if stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _lasting(stream, standard))
        elif name == "stdout":  # the error stream replaces what it lacks anyway
            stream.reconfigure(errors=standard.errors)


def _lasting(stream: io.TextIOWrapper, standard: _Standard) -> LastingStream:
    """A stream in place of another."""
    made = LastingStream(
        stream.buffer,
        encoding=stream.encoding,
        errors=standard.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    made.droppable = standard.droppable
    _made.append(made)
    try:
        stream.flush()  # what was written before comes first
    except OSError as error:
        made.go_on(error)
    _hand_over(stream, made)
    return made


def _hand_over(stream: io.TextIOWrapper, made: LastingStream) -> None:
    """Let all handlers of logging that write to a stream write to another."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):  # a placeholder has none
            if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                handler.setStream(made)
