"""The beginning of a run: processes joined, the log begun, the model built from the seed."""

import hashlib
import os
import platform
import random
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trainer.errors import RecipeError
from trainer.model.attention_kernels import flash_for_documents
from trainer.model.linear import CastedLinear
from trainer.model.transformer import GPT
from trainer.optimizer.stages import stages
from trainer.process_group import ProcessGroup, join_process_group
from trainer.quantization.fake_quantization import fake_quantize_rows
from trainer.quantization.rounding import code_bits, is_rounded
from trainer.recipe import DeviceOptions, QuantizationOptions, Recipe
from trainer.run_log import RunLog, open_run_log

EVALUATION_GRAPHS = 8  # of the forward pass at most, beside those of training's stages


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """What training and evaluation both start from."""

    recipe: Recipe
    group: ProcessGroup
    log: RunLog
    model: GPT
    forward: nn.Module  # the model, compiled where the recipe says so


def prepare_run(recipe: Recipe, script: Path) -> PreparedRun:
    """Join the other processes, begin the log, build the model from the seed.

    Raises:
        RecipeError: the micro-batches of a step cannot be dealt out to the processes.
        LaunchError: there are more processes than GPUs.
    """
    group = join_process_group()
    if recipe.batch.micro_batches_per_step % group.world_size:
        raise RecipeError(
            f"micro_batches_per_step {recipe.batch.micro_batches_per_step} must be a multiple of "
            f"the number of processes, {group.world_size}"
        )
    log = open_run_log(recipe.run.run_id, is_master=group.is_master)
    set_up_device(recipe.device)
    log_environment(log, group, script)
    model = build_model(recipe, group)
    forward: nn.Module = model
    if is_compiled(recipe, group):
        torch._dynamo.config.recompile_limit = len(stages(recipe)) + EVALUATION_GRAPHS
        forward = torch.compile(model, dynamic=False, fullgraph=True)  # type: ignore[assignment]
    return PreparedRun(recipe=recipe, group=group, log=log, model=model, forward=forward)


def is_compiled(recipe: Recipe, group: ProcessGroup) -> bool:
    """Whether the recipe wants compiled code on this device."""
    wanted = recipe.device.torch_compile
    return wanted == "always" or (wanted == "gpu" and group.device.type == "cuda")


def set_up_device(options: DeviceOptions) -> None:
    """On GPUs: TF32 for what is left in fp32, and flash attention or none."""
    if options.cpu_threads:
        torch.set_num_threads(options.cpu_threads)
    if options.deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read at the first matrix product
        torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.enable_flash_sdp(True)
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    if torch.cuda.is_available():
        torch.backends.cuda.enable_math_sdp(False)


def build_model(recipe: Recipe, group: ProcessGroup) -> GPT:
    """The model that the seed gives, on this process's device.

    On GPUs embedding tables are bf16, with bf16 optimizer state, as in the public baseline.
    """
    random.seed(recipe.run.seed)
    np.random.seed(recipe.run.seed)
    torch.manual_seed(recipe.run.seed)
    model = GPT(recipe.model, num_positions=recipe.batch.train_seq_len).to(group.device)
    model.use_positions(recipe.batch.row_tokens, recipe.batch.train_seq_len)
    if recipe.batch.pack_documents:
        model.document_flash = flash_for_documents(recipe.model)
    if group.device.type == "cuda":
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                module.to(torch.bfloat16)
    if recipe.quantization.qat_enabled:
        train_as_rounded(model, recipe.quantization)
    return model


def train_as_rounded(model: GPT, options: QuantizationOptions) -> None:
    """Let each weight that will be stored in codes be trained as if it were stored so already."""
    for path, module in model.named_modules():
        name = f"{path}.weight"
        if isinstance(module, CastedLinear) and is_rounded(name, module.weight, options):
            bits = code_bits(name, options)
            module.fake_quantize = partial(fake_quantize_rows, bits=bits)


def log_environment(log: RunLog, group: ProcessGroup, script: Path) -> None:
    """Begin the log with the source, the versions and the hardware."""
    source = script.read_text(encoding="utf-8")
    log.write(source, console=False)
    log.write("=" * 100, console=False)
    log.write(f"script_sha256:{hashlib.sha256(source.encode()).hexdigest()}")
    log.write(f"Running Python {sys.version}")
    log.write(f"Running PyTorch {torch.__version__}")
    is_cuda = group.device.type == "cuda"
    name = torch.cuda.get_device_name(group.device) if is_cuda else platform.machine()
    log.write(f"device:{group.device.type} {name} threads:{torch.get_num_threads()}")
