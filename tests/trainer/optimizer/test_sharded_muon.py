"""Muon over several processes: the same weights everywhere, and those of one process."""

import os
from dataclasses import replace

import pytest
import torch
from forked import run_together

from trainer.model.transformer import GPT
from trainer.optimizer.muon import newton_schulz
from trainer.optimizer.parameter_groups import build_optimizers
from trainer.optimizer.schedules import Pace
from trainer.process_group import join_process_group, leave_process_group
from trainer.recipe import ModelOptions, OptimizerOptions

# Banks of 6, 6, 3 and 3 matrices: two processes fill up the last ones, eight all of them.
SHAPE = ModelOptions(vocab_size=32, num_layers=3, model_dim=16, num_heads=2, num_kv_heads=1)
SCATTERED = OptimizerOptions(
    gradient_reduction="reduce_scatter", muon_row_normalize=True, muon_weight_decay=0.1
)
FORMS = {
    "unclipped": SCATTERED,
    "global": replace(SCATTERED, grad_clip_norm=0.3),
    "local": replace(SCATTERED, grad_clip_norm=0.3, grad_clip="local"),
}
AVERAGED = replace(SCATTERED, gradient_reduction="all_reduce")
NUM_STEPS, NUM_SUMMED = 3, 24  # every number of processes below divides the latter


def gradient(parameter, number, step):
    """One of those whose mean all apply: multiples of 3/8, so that every mean of them is exact."""
    random = torch.Generator().manual_seed(1000 * step + number)
    return torch.randint(-8, 9, parameter.shape, generator=random) * 3 / 8


def own_means(rank, world_size):
    """Each parameter's mean over one process's share of the gradients: parameters, step → list."""
    own = range(rank, NUM_SUMMED, world_size)
    return lambda parameters, step: [
        sum(gradient(parameter, n, step) for n in own) / len(own) for parameter in parameters
    ]


def trained(options, group, gradients_of):
    """Weights after some steps, with the gradients that a process has in each."""
    torch.manual_seed(0)
    model = GPT(SHAPE, num_positions=4)
    optimizers = build_optimizers(model, options, group, newton_schulz)
    for step in range(NUM_STEPS):
        parameters = list(model.parameters())
        for parameter, own in zip(parameters, gradients_of(parameters, step), strict=True):
            parameter.grad = own
        optimizers.step(Pace(momentum=0.9))
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def train_as_one_of_many(rank, world_size, port, folder):
    names = {"RANK": rank, "WORLD_SIZE": world_size, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in names.items()}
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    group = join_process_group()
    own = own_means(rank, world_size)
    weights = {name: trained(options, group, own) for name, options in FORMS.items()}
    weights["averaged before"] = trained(AVERAGED, group, own_means(0, 1))
    torch.save(weights, folder / str(rank))
    leave_process_group()


@pytest.fixture(scope="module", params=[2, 3, 8])
def ends(request, tmp_path_factory, unused_port):
    """Each process's weights in every form."""
    folder = tmp_path_factory.mktemp("weights")
    run_together(train_as_one_of_many, (request.param, unused_port, folder), request.param)
    return [torch.load(folder / str(rank)) for rank in range(request.param)]


def test_all_processes_end_with_the_same_bits(ends):
    for form, weights in ends[0].items():
        assert all(torch.equal(other[form], weights) for other in ends), form


def test_many_processes_train_like_one_to_the_last_bit(ends, alone):
    single = trained(SCATTERED, alone, own_means(0, 1))
    assert torch.equal(ends[0]["unclipped"], single)
    assert torch.equal(ends[0]["averaged before"], single)


def test_a_norm_that_is_summed_over_processes_clips_like_one(ends, alone):
    single = trained(FORMS["global"], alone, own_means(0, 1))
    assert torch.allclose(ends[0]["global"], single, rtol=0, atol=1e-5)
    unclipped = trained(SCATTERED, alone, own_means(0, 1))
    assert not torch.allclose(unclipped, single, rtol=0, atol=1e-4)


def test_gradients_that_each_process_clips_are_averaged_after_it(ends, alone):
    def mean_of_clipped(parameters, step):
        everyone = [own_means(rank, len(ends))(parameters, step) for rank in range(len(ends))]
        norms = [torch.nn.utils.get_total_norm(own) for own in everyone]
        clipped = [
            [one * 0.3 / norm for one in own] for own, norm in zip(everyone, norms, strict=True)
        ]
        return [sum(ones) / len(ends) for ones in zip(*clipped, strict=True)]

    single = trained(SCATTERED, alone, mean_of_clipped)
    assert torch.allclose(ends[0]["local"], single, rtol=0, atol=1e-5)
