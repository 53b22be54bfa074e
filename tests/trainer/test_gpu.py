"""The same lines on a GPU: bf16 arithmetic stays near the fp32 reference on the CPU.

bf16 keeps 8 bits: a relative error of 2^-9 an operation, which a two-layer model adds up to about a
hundredth. Run by hand: `make test-gpu`.
"""

import copy
import io
import os
import re
import socket
from dataclasses import replace

import pytest
import torch
import torch._dynamo.utils
import torch.multiprocessing

from trainer.data.token_shards import shard_paths
from trainer.model.attention_kernels import flash_for_documents
from trainer.model.transformer import GPT
from trainer.optimizer.muon import newton_schulz, polar_express
from trainer.optimizer.parameter_groups import build_optimizers
from trainer.phases.prepare import build_model, set_up_device
from trainer.process_group import ProcessGroup, join_process_group, leave_process_group
from trainer.recipe import DeviceOptions, ModelOptions
from trainer.recipe_checks import build_recipe
from trainer.run_log import RunLog
from trainer.training_loop import TrainingRun, train, warm_up

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
OPTIONS = ModelOptions(vocab_size=320, num_layers=2, model_dim=128, num_heads=2, num_kv_heads=1)
RELATIVE_ERROR = 0.02


@pytest.fixture(autouse=True)
def compiled_anew():
    """Every test with the compiler's whole allowance of graphs for one piece of code."""
    torch.compiler.reset()


def relative_error(seen: torch.Tensor, reference: torch.Tensor) -> float:
    difference = seen.float().cpu() - reference.float()
    return (difference.norm() / reference.float().norm()).item()


@pytest.fixture
def reference() -> GPT:
    torch.manual_seed(0)
    model = GPT(OPTIONS, num_positions=96)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("is_compiled", [False, True])
def test_losses_and_gradients_are_the_references(reference, is_compiled):
    tokens = torch.randint(320, (4, 97), generator=torch.Generator().manual_seed(1))
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    losses = reference(inputs, targets)
    losses.mean().backward()
    model = copy.deepcopy(reference).cuda()
    model.document_flash = flash_for_documents(MODERN)
    model.zero_grad()
    set_up_device(DeviceOptions())
    forward = torch.compile(model, dynamic=False, fullgraph=True) if is_compiled else model
    with torch.autocast("cuda", torch.bfloat16):
        seen = forward(inputs.cuda(), targets.cuda())
    seen.mean().backward()
    assert relative_error(seen.detach(), losses.detach()) < RELATIVE_ERROR
    for name, parameter in reference.named_parameters():
        gradient = model.get_parameter(name).grad
        assert relative_error(gradient, parameter.grad) < 3 * RELATIVE_ERROR, name


MODERN = replace(
    OPTIONS,
    num_layers=5,
    leaky_relu_slope=0.5,
    rope_dims=16,
    ln_scale=True,
    xsa_last_n=5,
    skip_gates_enabled=True,
    num_loops=1,
    loop_start=1,
    loop_end=2,
    parallel_start_layer=4,
    sparse_attn_gate_enabled=True,
    smear_gate_enabled=True,
)


@pytest.mark.parametrize("has_loops", [False, True])
@pytest.mark.parametrize("is_compiled", [False, True])
def test_packed_documents_are_scored_as_by_the_reference(is_compiled, has_loops):
    torch.manual_seed(0)
    reference = GPT(MODERN, num_positions=256)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    reference.use_loops(wanted=has_loops)
    tokens = torch.randint(320, (1, 257), generator=torch.Generator().manual_seed(1))
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    boundaries = torch.tensor([0, 1, 70, 198, 256, 256], dtype=torch.int32)
    losses = reference(inputs, targets, boundaries=boundaries)
    losses.mean().backward()
    model = copy.deepcopy(reference).cuda()
    model.zero_grad()
    set_up_device(DeviceOptions())
    forward = torch.compile(model, dynamic=False, fullgraph=True) if is_compiled else model
    with torch.autocast("cuda", torch.bfloat16):
        seen = forward(inputs.cuda(), targets.cuda(), boundaries=boundaries.cuda())
    seen.mean().backward()
    assert relative_error(seen.detach(), losses.detach()) < RELATIVE_ERROR
    gradients = [(name, own.grad) for name, own in reference.named_parameters()]
    for name, gradient in gradients:
        if gradient.ndim == 2 and gradient.norm() > 0:  # a scalar's sum of many cancels too much
            seen_gradient = model.get_parameter(name).grad
            assert relative_error(seen_gradient, gradient) < 5 * RELATIVE_ERROR, name


@pytest.mark.parametrize("orthogonalize", [newton_schulz, polar_express])
@pytest.mark.parametrize("shape", [(3, 128, 256), (2, 256, 128), (1, 64, 64)])
def test_orthogonal_updates_are_the_references(orthogonalize, shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    reference = orthogonalize(matrices.double(), 5)
    assert relative_error(orthogonalize(matrices.cuda(), 5), reference) < 3 * RELATIVE_ERROR


TRAINED = {
    "device.deterministic": True,
    "batch.train_batch_tokens": 1024,
    "batch.train_seq_len": 64,
    "batch.val_batch_size": 1024,
    "model.vocab_size": 320,
    "model.num_layers": 3,
    "model.model_dim": 128,
    "model.num_heads": 2,
    "model.num_kv_heads": 1,
    "model.use_smeargate": True,
    "model.bigram_hash_buckets": 64,
    "optimizer.muon_weight_decay": 0.02,
    "optimizer.grad_clip_norm": 0.3,
    "schedule.iterations": 20,
    "schedule.max_wallclock_seconds": 0,
    "schedule.train_log_every": 1,
}


GROWING = {
    "device.deterministic": False,
    "batch.pack_documents": True,
    "schedule.train_seq_schedule": "16@0.2,32@0.6,64@1",
    "schedule.warmup_steps": 2,
}


def trained(data, group: ProcessGroup, reduction: str = "all_reduce") -> TrainingRun:
    run = built(data, group, {"optimizer.gradient_reduction": reduction})
    train(run, lambda progress: None)
    return run


def built(data, group: ProcessGroup, settings: dict[str, object]) -> TrainingRun:
    recipe = build_recipe(TRAINED | settings)
    set_up_device(recipe.device)
    model = build_model(recipe, group)
    forward = torch.compile(model, dynamic=False, fullgraph=True)
    scatters = recipe.optimizer.gradient_reduction == "reduce_scatter"
    return TrainingRun(
        recipe=recipe,
        group=group,
        log=RunLog(file=io.StringIO()),
        model=model,
        forward=forward if scatters else group.replicate(forward),
        optimizers=build_optimizers(model, recipe.optimizer, group, newton_schulz),
        train_paths=shard_paths(data / "datasets" / "tiny", "train"),
    )


def losses(run: TrainingRun) -> list[float]:
    return [float(loss) for loss in re.findall(r"train_loss:(\S+)", run.log.file.getvalue())]


@pytest.fixture
def deterministic():
    yield
    torch.use_deterministic_algorithms(False)


def test_twenty_steps_repeat_bit_by_bit(tiny_data, deterministic):
    group = ProcessGroup(rank=0, world_size=1, device=torch.device("cuda", 0))
    first, second = (trained(tiny_data, group).model.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_while_sequences_grow_nothing_is_compiled_anew(tiny_data):
    group = ProcessGroup(rank=0, world_size=1, device=torch.device("cuda", 0))
    run = built(tiny_data, group, GROWING)
    warm_up(run)
    stats = torch._dynamo.utils.counters["stats"]
    num_graphs = stats["unique_graphs"]
    train(run, lambda progress: None)
    assert stats["unique_graphs"] == num_graphs >= 3
    assert "growth_stage:seq_len:64 step:13" in run.log.file.getvalue()


def train_in_a_process(rank, data, reduction, port, path):
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in names.items()}
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    run = trained(data, join_process_group(), reduction)
    if rank == 0:
        torch.save(losses(run), path)
    leave_process_group()


# bf16 rounds each sum to 2^-9 of itself; twenty steps at full learning rate let that grow.
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("reduction", ["all_reduce", "reduce_scatter"])
def test_two_gpus_train_like_one(tiny_data, tmp_path, deterministic, reduction):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    arguments = (tiny_data, reduction, port, tmp_path / "losses")
    torch.multiprocessing.spawn(train_in_a_process, arguments, nprocs=2)
    alone = trained(tiny_data, ProcessGroup(rank=0, world_size=1, device=torch.device("cuda", 0)))
    both = torch.load(tmp_path / "losses")
    assert len(both) == 20
    assert losses(alone)[:5] == pytest.approx(both[:5], abs=0.01)
    assert losses(alone) == pytest.approx(both, abs=0.1)
