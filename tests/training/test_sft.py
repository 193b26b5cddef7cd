"""Supervised fine-tuning in one process: the same result however it is cut, and clear ends."""

import errno
import json
import struct

import pytest
import torch
from safetensors.torch import load_file

from tests.training.published_sets import UNCHANGED, write_levir
from tests.training.tiny_run import losses, tiny_config, write_tiny_model, write_tiny_set
from training.checkpoint import CheckpointFailed, CheckpointUnusable, latest
from training.config import ConfigUnusable
from training.groups import group_of_each
from training.host import build
from training.loop import NotFinite
from training.predict import Predictor
from training.readers.splits import LeakingSplits
from training.run import run
from training.sft import NothingFits


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def undisturbed(model, data, tmp_path_factory):
    """A run of ten steps that nothing interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(tiny_config(model, data), folder)
    return folder


def trained(folder):
    return latest(folder / "checkpoints").tensors()


def same(first, second):
    one, other = trained(first), trained(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Killed(BaseException):
    pass


def killed_at(step):
    def progress(done, steps, metrics):
        if done == step:
            raise Killed

    return progress


def test_the_loss_falls_and_the_model_answers(undisturbed):
    found = losses(undisturbed)
    assert len(found) == 10
    assert found[-1] < found[0] - 0.2
    predictor = Predictor.load(undisturbed / "model")
    assert predictor.name == "tiny"
    assert predictor.encoder is not None  # the stateful encoder is in it


@pytest.mark.parametrize(
    "settings", [{"micro_batch": 1}, {"micro_batch": 3}, {"micro_tokens": 500, "max_tokens": 400}], ids=str
)
def test_micro_batches_decide_nothing(model, data, undisturbed, tmp_path, settings):
    run(tiny_config(model, data, **settings), tmp_path)

    assert losses(tmp_path) == pytest.approx(losses(undisturbed), abs=1e-5)


def test_recomputed_activations_decide_nothing(model, data, undisturbed, tmp_path):
    run(tiny_config(model, data, gradient_checkpointing=True), tmp_path)

    assert losses(tmp_path) == pytest.approx(losses(undisturbed), abs=1e-5)


def test_bf16_computes_alike_and_keeps_weights_in_float32(model, data, undisturbed, tmp_path):
    run(tiny_config(model, data, precision="bf16"), tmp_path)

    assert losses(tmp_path) == pytest.approx(losses(undisturbed), abs=0.05)
    assert {one.dtype for one in trained(tmp_path).values()} == {torch.float32}
    assert {one.dtype for one in load_file(tmp_path / "model" / "model.safetensors").values()} == {torch.bfloat16}


@pytest.mark.parametrize("augment", [False, True])
def test_a_run_that_was_cut_off_goes_on_bit_for_bit(model, data, undisturbed, tmp_path, augment):
    config = tiny_config(model, data, save_every=3, augment=augment)
    with pytest.raises(Killed):
        run(config, tmp_path / "cut", progress=killed_at(8))
    assert latest(tmp_path / "cut" / "checkpoints").step == 6

    run(config, tmp_path / "cut")

    whole = undisturbed
    if augment:
        whole = tmp_path / "whole"
        run(config, whole)
        assert losses(whole) != losses(undisturbed)
    assert losses(tmp_path / "cut") == losses(whole)
    assert same(tmp_path / "cut", whole)
    assert [one.name for one in sorted((tmp_path / "cut" / "checkpoints").iterdir())] == [
        "step-00000009",
        "step-00000010",
    ]


def test_a_finished_run_is_left_as_it_is(model, data, undisturbed):
    before = losses(undisturbed)

    run(tiny_config(model, data), undisturbed)

    assert losses(undisturbed) == before


def test_a_run_does_not_go_on_with_other_settings(model, data, undisturbed):
    with pytest.raises(CheckpointUnusable, match="other settings: rate"):
        run(tiny_config(model, data, rate=1e-2), undisturbed)
    with pytest.raises(CheckpointUnusable, match="other settings: method"):
        run(tiny_config(model, data, method="grpo"), undisturbed)


def test_metrics_are_read_by_tensorboard(undisturbed):
    from tensorboardX.proto.event_pb2 import Event

    (path,) = (undisturbed / "tensorboard").iterdir()
    content, points = path.read_bytes(), {}
    while content:
        (size,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + size])
        points |= {(one.tag, event.step): one.simple_value for one in event.summary.value}
        content = content[16 + size :]

    assert [points["loss", step] for step in range(10)] == pytest.approx(losses(undisturbed))
    assert ("pvm/1", 9) in points


def test_a_loss_that_is_not_finite_ends_the_run_and_the_last_checkpoint_stays(model, data, tmp_path):
    config = tiny_config(model, data, rate=1e30, clip=0.0, warm_up=0.0, save_every=1)

    with pytest.raises(NotFinite, match=r"step 1 .*lower the learning rate"):
        run(config, tmp_path)

    assert latest(tmp_path / "checkpoints").step == 1


def test_a_full_disk_ends_the_run_and_the_last_checkpoint_stays(model, data, tmp_path, monkeypatch):
    import safetensors.torch

    write = safetensors.torch.save_file

    def full(tensors, path, *rest, **options):
        if "step-00000004" in str(path):
            path.write_bytes(b"some of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(tensors, path, *rest, **options)

    config = tiny_config(model, data, save_every=2)
    with monkeypatch.context() as disk, pytest.raises(CheckpointFailed, match="No space left on device"):
        disk.setattr(safetensors.torch, "save_file", full)
        run(config, tmp_path)

    assert [one.name for one in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]
    run(config, tmp_path)
    assert len(losses(tmp_path)) == 10


def test_a_damaged_checkpoint_is_told(model, data, tmp_path):
    config = tiny_config(model, data, steps=2)
    run(config, tmp_path)
    (path,) = (tmp_path / "checkpoints").glob("*/*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(CheckpointUnusable, match="missing or damaged; take that folder away"):
        run(config, tmp_path)


def test_stage_one_trains_the_visual_memory_alone(model, data, tmp_path):
    from models.attach import own_parameters

    config = tiny_config(model, data, frozen=["tower", "projector", "decoder", "sve"], steps=3)
    start = build(config).model
    run(config, tmp_path)

    values = {name.removeprefix("value/") for name in trained(tmp_path) if name.startswith("value/")}
    ours = {id(one) for name, one in own_parameters(start).items() if name.startswith("pvm.")}
    assert values == {name for name, one in start.named_parameters() if id(one) in ours}
    before, after = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "model"))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_each_part_has_its_rate(model, data, tmp_path):
    config = tiny_config(model, data, rate=0.0, rates={"projector": 1e-3}, steps=2)
    start = build(config).model
    run(config, tmp_path)

    groups, after = group_of_each(start), trained(tmp_path)
    assert set(groups.values()) == {"tower", "projector", "decoder", "sve", "pvm"}
    for name, parameter in start.named_parameters():
        if groups[name] != "projector":
            assert torch.equal(parameter, after[f"value/{name}"])
    assert any(
        not torch.equal(one, after[f"value/{name}"]) for name, one in start.named_parameters() if "merger" in name
    )


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT reads the old name
def test_lora_updates_the_host_beside_all_of_our_modules(model, data, tmp_path):
    config = tiny_config(model, data, lora={"rank": 2, "groups": ["decoder", "tower"]}, steps=4)
    start = build(config).model
    run(config, tmp_path)

    groups = group_of_each(start)
    names = {name.removeprefix("value/") for name in trained(tmp_path) if name.startswith("value/")}
    assert names == {name for name, group in groups.items() if group in ("lora", "sve", "pvm")}
    wrapped = {name.rpartition(".lora_")[0] for name in names if "lora_" in name}
    assert wrapped and not any("memory" in name or "cross_image" in name for name in wrapped)
    before, after = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "model"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("proj" in name or "linear" in name or "qkv" in name for name in changed)
    assert Predictor.load(tmp_path / "model").name == "tiny"


def test_a_plain_host_gets_our_modules_and_a_card(data, tmp_path):
    host = write_tiny_model(tmp_path / "host", sve=False, pvm=False)
    (host / "interval.json").unlink()
    with pytest.raises(ConfigUnusable, match="give image_size"):
        build(tiny_config(host, data))
    config = tiny_config(host, data, image_size=32, sve={}, pvm={"layers": [1], "latent_dim": 16}, steps=2)
    run(config, tmp_path / "run")

    assert json.loads((tmp_path / "run" / "model" / "interval.json").read_text())["image_size"] == 32
    assert (tmp_path / "run" / "model" / "adapter.json").is_file()


def test_what_does_not_fit_the_model_is_told(model, data):
    with pytest.raises(ConfigUnusable, match="its adapter already"):
        build(tiny_config(model, data, sve={}))
    with pytest.raises(ConfigUnusable, match="Every part of the model is frozen"):
        build(tiny_config(model, data, frozen=["tower", "projector", "decoder", "sve", "pvm"]))
    with pytest.raises(ConfigUnusable, match="no lora to freeze"):
        build(tiny_config(model, data, frozen=["lora"]))


def test_samples_that_are_too_long_are_left_out_and_counted(model, data, tmp_path):
    whole = build(tiny_config(model, data))
    run(tiny_config(model, data, steps=1, batch=20), tmp_path / "all")
    config = tiny_config(model, data, steps=1, batch=20, max_tokens=202)
    run(config, tmp_path / "some")

    left_out = json.loads((tmp_path / "some" / "metrics.jsonl").read_text())["left_out"]
    assert 0 < left_out < 20
    with pytest.raises(NothingFits):
        run(tiny_config(model, data, steps=1, max_tokens=20), tmp_path / "none")
    assert whole.card.image_size == 32


def test_a_set_with_an_area_in_two_splits_is_not_trained_on(model, tmp_path):
    write_levir(tmp_path, [("train_000001", UNCHANGED), ("test_000001", UNCHANGED)])
    same_file = tmp_path / "images" / "train" / "A" / "train_000001.png"
    (tmp_path / "images" / "test" / "A" / "test_000001.png").write_bytes(same_file.read_bytes())

    with pytest.raises(LeakingSplits):
        run(tiny_config(model, tmp_path, compare_files=True), tmp_path / "run")
