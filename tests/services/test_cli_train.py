"""`interval train` from the command line: a run, its messages, and the audit's rewards on the embedded model."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli import app
from services.errors import UsageError
from tests.training.tiny_run import tiny_config, write_settings, write_tiny_model, write_tiny_set
from training.phantoms.geotiff_archive import write_geotiff_archive


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("run")
    model, data = write_tiny_model(made / "model"), write_tiny_set(made / "set")
    write_settings(made / "run.toml", tiny_config(model, data, steps=2))
    return made


def test_a_run_prints_its_last_metrics_and_leaves_a_model(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["train", "sft", str(folder / "run.toml"), str(tmp_path / "run"), "--set", "batch=2", "--json"]
    )

    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["model"] == "run/model"
    assert told["metrics"]["loss"] > 0
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["batch"] == 2
    assert (tmp_path / "run" / "model" / "adapter.safetensors").is_file()


def test_what_is_wrong_is_told_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    settings = str(folder / "run.toml")
    for override, told in (
        ("stepz=3", "stepz: Unexpected keyword"),
        ("model=/nowhere/at/all", "cannot be used"),
        ("data=/nowhere", "holds no data set"),
    ):
        done = CliRunner().invoke(app, ["train", "sft", settings, str(tmp_path / "run"), "--set", override])
        assert isinstance(done.exception, UsageError)
        assert told in str(done.exception)
    done = CliRunner().invoke(app, ["train", "grpo", settings, str(tmp_path / "run")])
    assert isinstance(done.exception, UsageError)
    assert "use SFT" in str(done.exception)


def test_the_embedded_model_is_rewarded_by_the_audit(tmp_path: Path) -> None:
    write_geotiff_archive(tmp_path / "archive", places=8, seed=11)
    (tmp_path / "run.toml").write_text(
        f'data = "{tmp_path / "archive"}"\nsteps = 1\nbatch = 1\nmicro_batch = 4\nrate = 1e-6\n[grpo]\ngroup = 4\n'
    )
    done = CliRunner().invoke(app, ["train", "grpo", str(tmp_path / "run.toml"), str(tmp_path / "run"), "--json"])

    assert done.exit_code == 0, done.output
    metrics = json.loads(done.stdout)["metrics"]
    parts = 0.6 * metrics["finding"] + 0.3 * metrics["direction"] + 0.1 * metrics["form"]
    assert metrics["reward"] == pytest.approx(parts)
    assert metrics["form"] > 0.5  # it writes reports that can be read
    assert metrics["unended"] < 0.5
