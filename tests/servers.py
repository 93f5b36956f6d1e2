"""What the tests' real servers have in common: a block in which one runs."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from contextlib import closing
from typing import Self


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server(ABC):
    """A server which is there while a block runs, and leaves nothing behind."""

    @abstractmethod
    def start(self) -> None:
        """Come up, and return when there are answers."""

    @abstractmethod
    def remove(self) -> None:
        """End, and take the files away."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
