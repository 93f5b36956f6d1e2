"""A cache that is damaged, of another version or not writable costs time and changes no answer."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from store_helpers import CONFIGS, assert_same, cached_files

from analysis.store.cache import METADATA
from analysis.store.frames import load
from benchmarks.synthetic_store import write


def damage_head(content: bytes) -> bytes:
    return b"?" * 100 + content[100:]


def damage_tail(content: bytes) -> bytes:
    return content[:-1000]


def damage_all(content: bytes) -> bytes:
    return b""


def damage_metadata(content: bytes) -> bytes:
    table = pq.read_table(io.BytesIO(content))
    table = table.replace_schema_metadata({METADATA: "[" * 100_000})
    changed = io.BytesIO()
    pq.write_table(table, changed)
    return changed.getvalue()


def damage_a_page(content: bytes) -> bytes:
    middle = len(content) // 4
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [damage_head, damage_tail, damage_all, damage_metadata, damage_a_page]
)
def test_a_damaged_cache_is_made_anew_with_a_notice(
    uri: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: object,
) -> None:
    assert callable(damage)
    write(uri, CONFIGS)
    first = load("synthetic", uri)
    (file,) = cached_files(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert_same(load("synthetic", uri), first)
    assert "is made anew from the store" in caplog.text
    assert str(file) in caplog.text
    caplog.clear()
    assert_same(load("synthetic", uri), first)
    assert caplog.text == ""


def test_a_cache_whose_parts_do_not_fit_is_made_anew(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(uri, CONFIGS)
    first = load("synthetic", uri)
    (file,) = cached_files(tmp_path)
    pq.write_table(pq.read_table(file).slice(0, 50), file)
    assert_same(load("synthetic", uri), first)
    assert "its parts do not fit each other" in caplog.text


def test_a_cache_of_another_version_is_not_used(
    uri: str, read_runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis.store import cache as store_cache

    write(uri, CONFIGS)
    with monkeypatch.context() as other_version:
        other_version.setattr(store_cache, "FORMAT", store_cache.FORMAT + 1)
        load("synthetic", uri)
    read_runs.clear()
    load("synthetic", uri)
    assert len(read_runs) == 30


def test_a_cache_that_cannot_be_written_is_a_notice_only(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(uri, CONFIGS[:3])
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SUITE_CACHE_DIR", str(tmp_path / "file"))
    assert len(load("synthetic", uri).runs) == 3
    assert "cannot be written" in caplog.text


def test_a_write_that_breaks_off_leaves_the_older_cache_in_place(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(uri, CONFIGS[:10])
    load("synthetic", uri)
    (file,) = cached_files(tmp_path)
    before = file.read_bytes()
    write(uri, CONFIGS[10:12])

    def half(table: object, name: str, **_: object) -> None:
        Path(name).write_bytes(b"PAR1 and no more")
        raise OSError("No space left on device")

    monkeypatch.setattr(pq, "write_table", half)
    assert len(load("synthetic", uri).runs) == 12
    assert cached_files(tmp_path) == [file]
    assert file.read_bytes() == before
