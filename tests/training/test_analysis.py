"""Analyses of the embedded model on generated pairs, and the command line over them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from models.attach import attach, detach, own_parameters
from models.config import PVMConfig
from models.errors import AttachmentError
from models.gates import gate_values
from models.retrieval import wrong_image
from reports.vocabulary import Domain
from training.analysis import attention_profile, closed_gates, lens_profile, memory_controls, sentence_maps
from training.batch import PairSample
from training.control import audit_samples, labelled_samples
from training.generated import generated_pair
from training.metrics import MetricsUnusable, append_metrics, metrics_callback, read_gates
from training.phantoms.geotiff_archive import write_geotiff_archive
from training.predict import Predictor

#: Wide enough for what the memory reads to change words of the reports.
GATE = 1.0


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """The embedded model with its gates open: as trained they are nearly closed."""
    made = Predictor.load()
    with torch.no_grad():
        for name, parameter in own_parameters(made.model).items():
            if name.endswith("gate_alpha"):
                parameter.fill_(GATE)
    return made


@pytest.fixture(scope="module")
def sample() -> PairSample:
    return generated_pair(Domain.SATELLITE, np.random.default_rng([5, 1]), image_size=128, tokens=8).sample


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    write_geotiff_archive(root, places=2, seed=92)
    return root


def test_the_attention_profile_has_a_value_for_each_layer_and_step(predictor: Predictor, sample: PairSample) -> None:
    mass = attention_profile(predictor, sample, steps=12)

    assert mass.shape == (4, 12)
    assert ((mass > 0) & (mass < 1)).all()


def test_the_lens_ends_at_the_last_layer(predictor: Predictor, sample: PairSample) -> None:
    profile = lens_profile(predictor, sample)

    assert profile.shape == (5,)
    assert profile[-1] == 0
    assert profile[0] > profile[-2] > 0


def test_each_sentence_of_the_report_has_its_maps(predictor: Predictor, sample: PairSample) -> None:
    maps = sentence_maps(predictor, sample)
    (generated,) = predictor.generate([sample])

    assert [one.sentence for one in maps] == [text for text, _ in generated.sentences]
    for one in maps:
        assert one.prior.shape == one.current.shape == (8, 8)
        assert one.prior.sum() + one.current.sum() == pytest.approx(1, abs=1e-4)


def test_closed_gates_are_the_model_without_its_memory(predictor: Predictor, sample: PairSample) -> None:
    inputs = predictor.inputs([sample])
    with torch.no_grad():
        before = predictor.model(**inputs).logits
        with closed_gates(predictor):
            closed = predictor.model(**inputs).logits
            assert set(gate_values(predictor.model).values()) == {0.0}
        assert torch.equal(predictor.model(**inputs).logits, before)
    assert not torch.equal(closed, before)


def test_controls_score_the_archive_under_every_condition(predictor: Predictor, archive: Path) -> None:
    audits = memory_controls(archive, predictor)

    assert list(audits) == ["as it is", "gates closed", "shuffled memory", "wrong image"]
    assert len({one.n_pairs for one in audits.values()}) == 1
    rows = list(labelled_samples(archive, predictor))
    with closed_gates(predictor), wrong_image():
        again = audit_samples(rows, [sample for _, _, sample, _ in rows], predictor)
    assert again.to_dict() == audits["gates closed"].to_dict()
    assert len({json.dumps(one.to_dict()) for one in audits.values()}) > 1


def test_a_model_without_memory_is_refused(sample: PairSample) -> None:
    bare = Predictor.load()
    detach(bare.model)

    with pytest.raises(AttachmentError, match="no gates"), closed_gates(bare):
        pass
    with pytest.raises(AttachmentError, match="no visual memory"):
        sentence_maps(bare, sample)


def test_metrics_of_a_run_are_read_back(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in (0, 25):
        append_metrics(path, step, predictor.model, loss=1.5)

    assert json.loads(path.read_text().splitlines()[1])["loss"] == 1.5
    steps, gates = read_gates(path)
    assert steps == [0, 25]
    assert gates == {f"pvm.{layer}": pytest.approx([GATE, GATE]) for layer in (1, 2, 3)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no gates"),
        ('{"step": 1, "gates": {}}\n', "no gates"),
        ("step 1\n", "Line 1"),
        ('{"step": 1, "gates": {"pvm.1": 0}}\n{"step": 2, "gates": {"pvm.2": 0}}\n', "Line 2"),
        ('{"step": 1, "gates": [1]}\n', "Line 1"),
    ],
)
def test_other_files_are_no_metrics(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)

    with pytest.raises(MetricsUnusable, match=words):
        read_gates(path)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_trainer_logs_gates_that_move(tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    from training.batch import training_batch

    made = Predictor.load()
    model = attach(detach(made.model), pvm=PVMConfig(layers=(1, 3), latent_dim=32))
    pair = generated_pair(Domain.SATELLITE, np.random.default_rng([5, 2]), image_size=128, tokens=8).sample
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=3,
        logging_steps=1,
        learning_rate=1e-2,
        remove_unused_columns=False,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    path = tmp_path / "metrics.jsonl"
    Trainer(
        model=model,
        args=arguments,
        train_dataset=[pair] * 3,  # type: ignore[arg-type]
        data_collator=lambda samples: training_batch(made.processor, samples),
        callbacks=[metrics_callback(path)],
    ).train()

    steps, gates = read_gates(path)
    assert steps[:3] == [1, 2, 3]
    assert set(gates) == {"pvm.1", "pvm.3"}
    assert all(values[-1] != 0 for values in gates.values())


@pytest.fixture
def run() -> Callable[..., Result]:
    from services.cli import app

    return lambda *arguments: CliRunner().invoke(app, ["analyse", *map(str, arguments)])


def test_the_commands_print_and_draw(run: Callable[..., Result], archive: Path, tmp_path: Path) -> None:
    from ingest.index import index_archive
    from ingest.pair import pair_acquisitions

    pair: Any = pair_acquisitions(index_archive(archive, workers=0).acquisitions).pairs[0]
    images = archive / pair.prior.name, archive / pair.current.name
    for name, extra in (("attention", ["--steps", 12]), ("lens", []), ("retrieval", [])):
        figure = tmp_path / f"{name}.svg"
        done = run(name, *images, *extra, "--figure", figure, *(["--json"] if name == "retrieval" else []))
        assert done.exit_code == 0, done.output
        assert figure.read_text().startswith("<?xml")
    assert {"sentence", "prior", "current"} == set(json.loads(done.stdout)[0])
    done = run("attention", *images[::-1], "--steps", 2)
    assert done.exit_code == 1
    assert "WRONG_ORDER" in done.output


def test_gates_and_controls_print_and_draw(
    run: Callable[..., Result], predictor: Predictor, archive: Path, tmp_path: Path
) -> None:
    metrics = tmp_path / "metrics.jsonl"
    append_metrics(metrics, 0, predictor.model)

    done = run("gates", metrics, "--figure", tmp_path / "gates.svg")
    assert f"pvm.3  {GATE:.4f}" in done.output
    done = run("controls", archive, "--figure", tmp_path / "controls.svg")
    assert done.exit_code == 0, done.output
    assert "wrong image" in done.output
    assert (tmp_path / "gates.svg").exists()
    assert (tmp_path / "controls.svg").exists()


def test_an_archive_without_labels_and_a_file_without_gates_are_usage_errors(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    from services.errors import UsageError

    (tmp_path / "empty.jsonl").write_text("")
    for arguments, words in (
        (("controls", tmp_path), "no labels.csv"),
        (("gates", tmp_path / "empty.jsonl"), "no gates"),
    ):
        done = run(*arguments)
        assert isinstance(done.exception, UsageError)
        assert words in str(done.exception)
