import pytest
import torch

from trainer.model.transformer import GPT
from trainer.quantization.calibration import collect_hessians, linear_inputs
from trainer.recipe_checks import build_recipe


@pytest.fixture
def model(tiny_settings):
    looped = {"model.num_loops": 1, "model.loop_start": 1, "model.loop_end": 1}
    torch.manual_seed(0)
    return GPT(build_recipe(tiny_settings | looped).model, num_positions=16)


def passes(model, count):
    for seed in range(count):
        torch.manual_seed(seed)
        with torch.no_grad():
            yield model.final_stream(torch.randint(320, (2, 16)))


def test_a_hessian_is_the_mean_square_of_what_a_layer_was_given(model, alone):
    given = []
    with linear_inputs(model, lambda name, inputs: given.append((name, inputs))):
        list(passes(model, 2))
    seen = torch.cat([i.flatten(0, -2) for name, i in given if name == "blocks.0.mlp.fc.weight"])
    hessians = collect_hessians(model, passes(model, 2), head="tok_emb.weight", group=alone)
    wanted = seen.T @ seen / len(seen)
    torch.testing.assert_close(hessians["blocks.0.mlp.fc.weight"], wanted)


def test_every_matrix_of_the_blocks_and_the_head_has_one(model, alone):
    hessians = collect_hessians(model, passes(model, 1), head="tok_emb.weight", group=alone)
    parts = ("attn.c_q", "attn.c_k", "attn.c_v", "attn.proj", "mlp.fc", "mlp.proj")
    blocks = {f"blocks.{layer}.{part}.weight" for layer in (0, 1) for part in parts}
    assert set(hessians) == blocks | {"tok_emb.weight"}
    final = torch.cat([stream.flatten(0, -2) for stream in passes(model, 1)])
    torch.testing.assert_close(hessians["tok_emb.weight"], final.T @ final / len(final))


def test_a_looped_layer_counts_each_of_its_uses(model):
    uses = []
    with linear_inputs(model, lambda name, _: uses.append(name)):
        list(passes(model, 1))
    assert uses.count("blocks.1.mlp.fc.weight") == 2 * uses.count("blocks.0.mlp.fc.weight") == 2


def test_a_layer_is_watched_no_longer_than_asked(model):
    uses = []
    with pytest.raises(ZeroDivisionError), linear_inputs(model, lambda *_: uses.append(1 / 0)):
        list(passes(model, 1))
    list(passes(model, 1))
    assert uses == []
