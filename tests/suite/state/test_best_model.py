"""A model on disk is the one that was written there, of that very run, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from damage import nothing, rewrite, with_flipped_bit
from hypothesis import given
from hypothesis.strategies import DataObject, data, integers, sampled_from

from suite.declarations.config import parse
from suite.engine.checkpoint import CheckpointError, RefusedError
from suite.state.best_model import MODEL_FILES, BestModel, read_model, read_predictions, write_model

CONFIG = parse({"width": 4})
TENSORS = {"parameters/head.kernel": torch.arange(6.0).view(2, 3), "buffers/n": torch.tensor(7)}


def text(**changes: object) -> str:
    about = {"config": CONFIG.model_dump(), "classes": ["a", "b"], "image_shape": [1, 8, 8]}
    return json.dumps(about | changes, indent=2)


def written(folder: Path, config: str) -> Path:
    folder.mkdir(exist_ok=True)
    write_model(TENSORS, config, folder / "model.safetensors")
    (folder / "config.json").write_text(config, encoding="utf-8")
    return folder


def read(folder: Path) -> BestModel:
    return read_model(folder, "that of run 7", "train it again")


def assert_read(model: BestModel) -> None:
    assert model.config == CONFIG
    assert (model.classes, model.image_shape) == (("a", "b"), (1, 8, 8))
    torch.testing.assert_close(dict(model.tensors), TENSORS, rtol=0, atol=0)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("sound"), text())


def test_a_model_comes_back(sound: Path) -> None:
    assert_read(read(sound))


def test_equal_models_are_equal_files(sound: Path, tmp_path: Path) -> None:
    for _ in range(20):  # safetensors' own order of several texts is another each time
        again = written(tmp_path / "again", text())
        for name in MODEL_FILES:
            assert (again / name).read_bytes() == (sound / name).read_bytes()


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_file_that_the_system_does_not_let_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path / "model", text())
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(CheckpointError, match=r"^best checkpoint: that of run 7 cannot be read"):
        read(folder)


def test_predictions_that_the_system_does_not_let_be_read_do_not_condemn_a_run(
    tmp_path: Path,
) -> None:
    (tmp_path / "predictions.parquet").mkdir()
    with pytest.raises(CheckpointError, match="see to its disk") as raised:
        read_predictions(tmp_path, CONFIG.fingerprint, "that of run 7", "train it again")
    assert not isinstance(raised.value, RefusedError)


@given(sampled_from(MODEL_FILES), data())
def test_any_flipped_bit_in_either_file_is_refused_or_changes_nothing(
    sound: Path, name: str, data: DataObject
) -> None:
    content = (sound / name).read_bytes()
    folder = written(sound.parent / "flipped", text())
    bit = data.draw(integers(0, 8 * len(content) - 1))
    (folder / name).write_bytes(with_flipped_bit(content, bit))
    try:
        found = read(folder)
    except RefusedError as error:
        line = str(error)
        assert line.startswith("best checkpoint: that of run 7 cannot be read (")
        assert line.endswith("; train it again")
        assert len(line.splitlines()) == 1
    else:
        assert_read(found)


def test_a_model_of_a_version_without_digest_is_read(tmp_path: Path) -> None:
    folder = written(tmp_path / "earlier", text())
    rewrite(folder / "model.safetensors", nothing, sealed=False)
    assert_read(read(folder))


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_file_that_is_missing_or_empty_is_refused(name: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "best", text())
    (folder / name).write_bytes(b"")
    with pytest.raises(RefusedError):
        read(folder)
    (folder / name).unlink()
    with pytest.raises(RefusedError, match=name):
        read(folder)


def test_another_runs_settings_beside_the_tensors_are_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "best", text())
    other = text(config=CONFIG.with_(width=8).model_dump())
    (folder / "config.json").write_text(other, encoding="utf-8")
    with pytest.raises(RefusedError, match="digest: must be the SHA-256 of the content"):
        read(folder)


@pytest.mark.parametrize(
    "broken",
    [text(config=3), text(image_shape=[8, 8]), text(classes=None), "[]", "[" * 100_000],
    ids=["config", "shape", "classes", "list", "deep"],
)
def test_settings_that_are_none_are_refused(broken: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        read(written(tmp_path / "best", broken))
