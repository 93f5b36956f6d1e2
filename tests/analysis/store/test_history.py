"""The table of histories, against plain dictionaries and lists."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analysis.store.history import COLUMNS, HistoryTable, Slots, select
from suite.declarations.metrics import EPOCH_METRIC_NAMES

lengths_of_runs = st.lists(st.integers(0, 5), min_size=1, max_size=6)


@given(lengths_of_runs, st.data())
def test_slots_hold_what_was_put_last_and_tell_what_is_missing(
    lengths: list[int], data: st.DataObject
) -> None:
    names = [f"run{i}" for i in range(len(lengths))]
    slots = Slots(names, lengths)
    expected: dict[tuple[int, int, str], float] = {}
    for name in EPOCH_METRIC_NAMES:
        places = [(run, epoch) for run, n in enumerate(lengths) for epoch in range(1, n + 1)]
        put = data.draw(st.lists(st.sampled_from(places), max_size=12)) if places else []
        values = np.arange(1.0, len(put) + 1)
        slots.put(name, np.array([slots.first[r] + e - 1 for r, e in put], dtype=np.int64), values)
        expected |= {(r, e, name): v for (r, e), v in zip(put, values, strict=True)}
    table = slots.table([(0, 0, 0)] * len(lengths))
    at = 0
    for run, length in enumerate(lengths):
        lacking = []
        for epoch in range(1, length + 1):
            there = [name for name in EPOCH_METRIC_NAMES if (run, epoch, name) in expected]
            if len(there) < len(EPOCH_METRIC_NAMES):
                lacking.append(epoch)
            if there:
                assert table.columns["epoch"][at] == epoch
                for name in EPOCH_METRIC_NAMES:
                    want = expected.get((run, epoch, name), np.nan)
                    np.testing.assert_equal(table.columns[name][at], want)
                at += 1
        assert list(table.missing[run]) == lacking
    assert at == table.counts.sum() == len(table.columns["epoch"])


def made_up_table(names: list[str], counts: list[int], offset: float) -> HistoryTable:
    size = sum(counts)
    columns = {name: offset + np.arange(size, dtype=np.float64) for name in COLUMNS}
    stamps = [(len(name), 0, 0) for name in names]
    return HistoryTable(names, stamps, [[] for _ in names], np.array(counts), columns)


@given(lengths_of_runs, lengths_of_runs, st.data())
def test_select_concatenates_the_rows_of_the_runs_asked_for(
    first: list[int], second: list[int], data: st.DataObject
) -> None:
    a = made_up_table([f"a{i}" for i in range(len(first))], first, 0.0)
    b = made_up_table([f"b{i}" for i in range(len(second))], second, 1000.0)
    names = data.draw(st.lists(st.sampled_from([*a.run_ids, *b.run_ids]), unique=True))
    expected = []
    for name in names:
        table = a if name in a.run_ids else b
        run = list(table.run_ids).index(name)
        start = sum(table.counts[:run])
        expected += table.columns["epoch"][start : start + table.counts[run]].tolist()
    found = select([a, b], names)
    assert found.columns["val_loss"].tolist() == expected
    assert list(found.run_ids) == names
