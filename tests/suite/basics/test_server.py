"""A server that is away: it is said at once that it is waited for, and the wait ends."""

from __future__ import annotations

import pytest

from suite.basics import server
from suite.basics.server import await_server, is_server, no_answer
from suite.basics.settings import ConfigError

NOBODY = "http://127.0.0.1:1"


def test_nobody_answers_at_a_port_that_is_closed() -> None:
    assert "refused" in no_answer(NOBODY)


@pytest.mark.parametrize("address", ["http://h:port", "http://h:99999", "http://", "http://[h"])
def test_an_address_at_which_nobody_can_ever_be_is_not_waited_for(address: str) -> None:
    with pytest.raises(ConfigError, match="tracking_uri: must have a host and"):
        await_server(address)


def test_a_server_that_comes_back_is_waited_for_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = ["refused", "refused", ""]
    monkeypatch.setattr(server, "no_answer", lambda _uri: answers.pop(0))
    monkeypatch.setattr(server, "BETWEEN_TRIES", 0.0)
    await_server(NOBODY)
    assert answers == []
    line = f"waits up to 60 s for the MLflow server at {NOBODY} (refused)\n"
    assert capsys.readouterr().err == line


def test_a_server_that_stays_away_is_given_up_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.0)
    with pytest.raises(ConnectionError) as failure:
        await_server(NOBODY)
    assert str(failure.value).startswith(f"tracking_uri: no server answers, got {NOBODY} (")
    assert "\n" not in str(failure.value)


def test_only_web_addresses_are_servers() -> None:
    assert is_server("http://h:5000")
    assert is_server("HTTPS://h")
    for address in ("sqlite:///http.db", "databricks", "postgresql://h/d", "httpdir"):
        assert not is_server(address)
