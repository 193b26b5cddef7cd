"""GRPO in one process: the objective against its definition, a toy problem, and going on."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.tiny_run import write_tiny_model, write_tiny_set
from tests.training.toy_grpo import has_e, learn, made, settings
from training.budget import BatchTooSmall
from training.config import Method, config_of
from training.grpo import GRPO
from training.host import build
from training.rewards import NoReward
from training.run import run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_set(tmp_path_factory.mktemp("set"), train=4)


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_reward_of_a_toy_rises(model, data, tmp_path):
    learn(settings(model, data), tmp_path)

    rewards = [one["reward"] for one in metrics(tmp_path)]
    assert np.mean(rewards[-8:]) > np.mean(rewards[:8]) + 0.2
    assert all(0 <= one["unended"] < 1 for one in metrics(tmp_path))


def objective(task, batches, clip):
    """The clipped objective over all answers at once, written out by its definition."""
    total, weight = 0.0, 0.0
    for batch in batches:
        with torch.no_grad():
            now = task._chances(task._engine.model, batch)
        old = now if batch.old is None else batch.old
        for row in range(len(now)):
            for place in range(now.shape[1]):
                if batch.mask[row, place]:
                    ratio = float((now[row, place] - old[row, place]).exp())
                    worth = float(batch.advantages[row])
                    bounded = min(max(ratio, 1 - clip), 1 + clip)
                    total += min(ratio * worth, bounded * worth)
                    weight += 1
    return -total / weight


def test_the_loss_is_the_clipped_objective_also_after_the_first_update(model, data):
    config = settings(model, data, updates=2, clip=0.05)
    engine, task, _ = made(config)
    torch.manual_seed(1)
    batches = task.prepare(0)

    for _ in range(3):
        losses = [task.loss(batch) for batch in batches]
        assert sum(losses).item() == pytest.approx(objective(task, batches, 0.05), abs=1e-5)
        for number, loss in enumerate(losses):
            engine.backward(loss, is_last=number == len(losses) - 1)
        engine.update(1.0)
    assert any((batch.old - task._chances(engine.model, batch)).abs().max() > 0.05 for batch in batches)


def test_a_group_has_advantages_with_mean_0_and_deviation_1(model, data):
    config = settings(model, data)
    _, task, _ = made(config)
    batches = task.prepare(0)

    for first in range(0, len(batches), 2):
        group = torch.cat([batches[first].advantages, batches[first + 1].advantages])
        assert float(group.mean()) == pytest.approx(0, abs=1e-5)
        assert float(group.std(correction=0)) == pytest.approx(1, abs=0.05)


def test_micro_batches_decide_nothing(model, data):
    gradients = []
    for micro_batch in (8, 3, 1):
        config = settings(model, data)
        config = config_of({**config.to_dict(), "micro_batch": micro_batch})
        engine, task, _ = made(config)
        batches = task.prepare(0)
        for number, batch in enumerate(batches):
            engine.backward(task.loss(batch), is_last=number == len(batches) - 1)
        gradients.append(engine.model.lm_head.weight.grad.clone())

    assert gradients[0].abs().max() > 1e-3
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("average", ["token", "sequence"])
def test_weights_are_a_mean_and_answers_without_end_take_no_part(model, data, average):
    config = settings(model, data, average=average, max_new_tokens=3)
    _, task, _ = made(config)
    batches = task.prepare(0)
    mask = torch.cat([torch.nn.functional.pad(one.mask, (0, 3 - one.mask.shape[1])) for one in batches])
    weights = torch.cat([torch.nn.functional.pad(one.weights, (0, 3 - one.weights.shape[1])) for one in batches])

    assert float(weights.sum()) == pytest.approx(1)
    ended = mask.any(1)
    assert 0 < ended.sum() < len(ended)
    assert (weights[~ended] == 0).all()
    if average == "token":
        assert weights[mask.bool()].unique().numel() == 1
    else:
        assert weights[ended].sum(1).tolist() == pytest.approx([1 / int(ended.sum())] * int(ended.sum()))


def test_the_divergence_is_zero_at_the_start_and_pulls_back_later(model, data):
    config = settings(model, data, kl=0.5)
    engine, task, _ = made(config, judge=lambda index, text: {"reward": 0.0})
    batches = task.prepare(0)

    assert sum(task.loss(batch) for batch in batches).item() == pytest.approx(0, abs=1e-6)

    with torch.no_grad():
        engine.model.lm_head.weight.mul_(3)
    away = sum(task.loss(batch) for batch in batches)
    assert away.item() > 1e-3
    away.backward()
    assert (engine.model.lm_head.weight.grad * engine.model.lm_head.weight).sum().item() > 0


def test_a_run_goes_on_bit_for_bit(model, data, tmp_path):
    config = settings(model, data, updates=2)
    learn(config, tmp_path / "whole", steps=4)
    for steps in (2, 4):
        learn(config, tmp_path / "cut", steps=steps)

    whole, cut = (
        [(one["step"], one["loss"], one["reward"]) for one in metrics(tmp_path / name)] for name in ("whole", "cut")
    )
    assert len(whole) == 4
    assert whole == cut


def test_what_grpo_cannot_do_is_told(model, data, tmp_path):
    with pytest.raises(NoReward):
        run(replace(settings(model, data), method=Method.GRPO), tmp_path)
    config = settings(model, data)
    engine, _, _ = made(config)
    engine.world = 3
    with pytest.raises(BatchTooSmall, match="multiple of the 3"):
        GRPO(engine, build(config).processor, [], has_e, config)
