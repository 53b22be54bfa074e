"""The numbers of the public baseline, reproduced.

The constants come from openai/parameter-golf, train_gpt.py at commit 4908dc4, its parts run on a
CPU in fp32 (the two bf16 casts in Muon taken out) with the shape, the weights and the tokens that
are built here by formula. Each parameter's gradient and first update (Adam, or Muon at momentum
0.85) is pinned by its inner product with a fixed probe. Those of smear gate, token pairs and
weight decay come from #65's script in the same way, the loss at another length from #61's, those
of the modern stack from #1855's.
"""

from dataclasses import replace

import pytest
import torch

from trainer.artifact import pack_artifact, unpack_artifact
from trainer.model.transformer import GPT
from trainer.optimizer.muon import newton_schulz, orthogonalizer
from trainer.optimizer.parameter_groups import build_optimizers
from trainer.optimizer.schedules import Pace
from trainer.process_group import ProcessGroup
from trainer.quantization.rounding import dequantize_state, payload_bytes, quantize_state
from trainer.recipe import ModelOptions, OptimizerOptions, QuantizationOptions
from trainer.recipe_file import load_recipe

SHAPE = ModelOptions(
    vocab_size=61, num_layers=3, model_dim=32, num_heads=4, num_kv_heads=2, mlp_mult=2
)
LOSS_NATS = 4.657754421234131
GRADIENTS_AND_UPDATES = {
    "skip_weights": (-0.047907702, 0.253301419),
    "tok_emb.weight": (2.801667393, -5.128048347),
    "blocks.0.attn_scale": (-0.016921816, 0.052267307),
    "blocks.0.mlp_scale": (-0.064166302, 0.341329025),
    "blocks.0.resid_mix": (-0.010071894, -0.032365451),
    "blocks.0.attn.q_gain": (0.008604223, -0.031559359),
    "blocks.0.attn.c_q.weight": (0.001199538, 0.045731411),
    "blocks.0.attn.c_k.weight": (-0.010546572, -0.077303534),
    "blocks.0.attn.c_v.weight": (-0.073028091, 0.184369235),
    "blocks.0.attn.proj.weight": (-0.109544643, 0.214008169),
    "blocks.0.mlp.fc.weight": (-1.512087684, 1.57497692),
    "blocks.0.mlp.proj.weight": (-0.875495081, 0.433061327),
    "blocks.1.attn_scale": (-0.00091103, -0.100961087),
    "blocks.1.mlp_scale": (-0.006305104, 0.288101066),
    "blocks.1.resid_mix": (-0.097710962, 0.406994837),
    "blocks.1.attn.q_gain": (-0.000184797, 0.007969795),
    "blocks.1.attn.c_q.weight": (0.03190593, -0.227482136),
    "blocks.1.attn.c_k.weight": (-0.000930873, -0.024044569),
    "blocks.1.attn.c_v.weight": (0.021515084, -0.091186918),
    "blocks.1.attn.proj.weight": (0.016197126, 0.077939042),
    "blocks.1.mlp.fc.weight": (0.073198555, 0.02696048),
    "blocks.1.mlp.proj.weight": (0.066968856, -0.071746988),
    "blocks.2.attn_scale": (-0.00368365, 0.012241232),
    "blocks.2.mlp_scale": (-0.002608368, 0.006374711),
    "blocks.2.resid_mix": (-0.097418981, 0.241582545),
    "blocks.2.attn.q_gain": (0.002353301, -0.044177572),
    "blocks.2.attn.c_q.weight": (0.002220309, 0.155263013),
    "blocks.2.attn.c_k.weight": (0.015624311, -0.024568601),
    "blocks.2.attn.c_v.weight": (-0.02596321, 0.004375136),
    "blocks.2.attn.proj.weight": (-0.009387318, 0.040716083),
    "blocks.2.mlp.fc.weight": (0.111345839, -0.135555963),
    "blocks.2.mlp.proj.weight": (-0.00520903, 0.146134722),
}

WITH_PAIRS = replace(SHAPE, use_smeargate=True, bigram_hash_buckets=47, bigram_hash_dim=8)
LOSS_NATS_WITH_PAIRS = 4.780746936798096
GRADIENTS_AND_UPDATES_WITH_PAIRS = {
    "tok_emb.weight": (-3.31018274, 4.58625495),
    "bigram_hash.table.weight": (-0.320437888, 0.92917199),
    "bigram_hash.proj.weight": (-0.248624152, -0.381424215),
    "smeargate.gate": (0.0153061614, 0.157497365),
    "blocks.1.mlp.fc.weight": (-0.0119084361, -1.13394708),
}
MUON_WEIGHT_DECAY = 0.5
MODERN = replace(  # a small model of its kind
    load_recipe("pr1855", {}).recipe.model,
    vocab_size=61,
    num_layers=6,
    model_dim=32,
    num_heads=4,
    num_kv_heads=2,
    rope_dims=4,
    xsa_last_n=6,
    loop_start=1,
    loop_end=2,
    parallel_start_layer=4,
)
MODERN_LOSS_NATS = 4.731670379638672
MODERN_LOSS_NATS_PACKED = 4.743380546569824  # of the rows end to end, cut at the boundaries
BOUNDARIES = (0, 5, 16, 29, 45, 48, 64, 64)
MODERN_GRADIENTS_AND_UPDATES = {
    "blocks.1.attn.attn_gate_w": (0.000516281891, -0.0499773113),
    "blocks.1.attn.c_k.weight": (0.00132966039, -0.0905892888),
    "blocks.1.attn.c_q.weight": (-0.000300522859, -0.287632374),
    "blocks.1.attn.c_v.weight": (-0.0315773619, 0.0157640938),
    "blocks.1.attn.proj.weight": (0.0174542461, 0.074440702),
    "blocks.1.attn.q_gain": (-0.000136214891, -0.00298741286),
    "blocks.1.mlp.fc.weight": (-0.0826144936, 0.0497690122),
    "blocks.1.mlp.proj.weight": (0.185159921, -1.34934713),
    "blocks.5.attn.attn_gate_w": (-0.0064159959, 0.111710442),
    "blocks.5.attn.c_k.weight": (-0.021272891, 0.0308212756),
    "blocks.5.attn.c_q.weight": (-0.00421238625, -0.324394826),
    "blocks.5.attn.c_v.weight": (-0.135172291, 0.038151351),
    "blocks.5.attn.proj.weight": (-0.0109743743, 0.103650919),
    "blocks.5.attn.q_gain": (0.00327562452, 0.00166871394),
    "blocks.5.mlp.fc.weight": (-0.155739994, -0.496191747),
    "blocks.5.mlp.proj.weight": (0.219372088, -1.29044124),
    "lanes.parallel_post_lambdas": (0.0689911292, -0.00935709385),
    "lanes.parallel_resid_lambdas": (0.170495655, -0.00448490651),
    "skip_gates": (-0.0573693826, 0.315459169),
    "skip_weights": (-0.179896879, 0.377125433),
    "smear_gate.gate.weight": (0.00620335736, -0.040416402),
    "smear_gate.strength": (0.0638951197, -0.00979853537),
    "tok_emb.weight": (-2.96986459, 3.31213985),
}
LOSS_NATS_AT_16_OF_12 = 4.658079147338867  # with positions scaled from 12 to 16 tokens


def wave(shape, phase):
    """A tensor of quasi-random numbers in [-1, 1]: the sine of a quadratic phase."""
    index = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(index**2 * 0.7 + phase).float().view(shape)


def probe(tensor):
    return float((tensor.double() * wave(tensor.shape, 0.5).double()).sum())


def packed_and_read(stored):
    options = QuantizationOptions()
    return unpack_artifact(pack_artifact(stored, options).compressed, options)


def after_backward(shape):
    """A model filled by formula, after one backward pass; its loss in nats."""
    model = GPT(shape, num_positions=16)
    with torch.no_grad():
        for index, (_, parameter) in enumerate(sorted(model.named_parameters())):
            is_matrix = parameter.ndim == 2 and parameter.shape[0] > 2
            filling = wave(parameter.shape, index)
            parameter.copy_(filling * 0.25 if is_matrix else 1 + 0.1 * filling)
    ids = torch.arange(4 * 17).mul(7919).remainder(61).view(4, 17)
    loss = model(ids[:, :-1], ids[:, 1:]).mean()
    loss.backward()
    return model, loss.item()


@pytest.fixture
def trained():
    return after_backward(SHAPE)


def test_the_baseline_has_the_published_number_of_parameters():
    model = GPT(ModelOptions(), num_positions=1024)
    assert sum(parameter.numel() for parameter in model.parameters()) == 17_059_912


def test_loss_and_gradients_are_those_of_the_public_script(trained):
    model, loss_nats = trained
    assert loss_nats == pytest.approx(LOSS_NATS, rel=1e-6)
    gradients = {name: probe(parameter.grad) for name, parameter in model.named_parameters()}
    expected = {name: gradient for name, (gradient, _) in GRADIENTS_AND_UPDATES.items()}
    assert gradients == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_first_updates_are_those_of_the_public_script(trained):
    model, _ = trained
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    alone = ProcessGroup(rank=0, world_size=1, device=torch.device("cpu"))
    build_optimizers(model, OptimizerOptions(), alone, newton_schulz).step(Pace(momentum=0.85))
    moved = {
        name: probe(parameter.detach() - before[name])
        for name, parameter in model.named_parameters()
    }
    expected = {name: update for name, (_, update) in GRADIENTS_AND_UPDATES.items()}
    assert moved == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_token_pairs_and_weight_decay_are_those_of_the_public_script():
    model, loss_nats = after_backward(WITH_PAIRS)
    assert loss_nats == pytest.approx(LOSS_NATS_WITH_PAIRS, rel=1e-6)
    watched = {name: model.get_parameter(name) for name in GRADIENTS_AND_UPDATES_WITH_PAIRS}
    before = {name: parameter.detach().clone() for name, parameter in watched.items()}
    gradients = {name: probe(parameter.grad) for name, parameter in watched.items()}
    alone = ProcessGroup(rank=0, world_size=1, device=torch.device("cpu"))
    options = OptimizerOptions(muon_weight_decay=MUON_WEIGHT_DECAY)
    build_optimizers(model, options, alone, newton_schulz).step(Pace(momentum=0.85))
    for name, (gradient, update) in GRADIENTS_AND_UPDATES_WITH_PAIRS.items():
        assert gradients[name] == pytest.approx(gradient, rel=1e-4, abs=1e-6), name
        moved = probe(watched[name].detach() - before[name])
        assert moved == pytest.approx(update, rel=1e-3, abs=1e-4), name


def test_loss_gradients_and_updates_of_the_modern_stack_are_those_of_the_public_script():
    model, loss_nats = after_backward(MODERN)
    assert loss_nats == pytest.approx(MODERN_LOSS_NATS, rel=1e-6)
    watched = {name: model.get_parameter(name) for name in MODERN_GRADIENTS_AND_UPDATES}
    before = {name: parameter.detach().clone() for name, parameter in watched.items()}
    gradients = {name: probe(parameter.grad) for name, parameter in watched.items()}
    alone = ProcessGroup(rank=0, world_size=1, device=torch.device("cpu"))
    options = replace(load_recipe("pr1855", {}).recipe.optimizer, grad_clip_norm=0.0)
    build_optimizers(model, options, alone, orthogonalizer(options)).step(Pace(momentum=0.85))
    for name, (gradient, update) in MODERN_GRADIENTS_AND_UPDATES.items():
        assert gradients[name] == pytest.approx(gradient, rel=1e-3, abs=1e-6), name
        moved = probe(watched[name].detach() - before[name])
        assert moved == pytest.approx(update, rel=1e-3, abs=1e-4), name


def test_the_loss_of_packed_documents_is_that_of_the_public_script():
    model, _ = after_backward(MODERN)
    model.use_positions(64)
    ids = torch.arange(4 * 17).mul(7919).remainder(61).view(4, 17)
    inputs, targets = ids[:, :-1].reshape(1, 64), ids[:, 1:].reshape(1, 64)
    losses = model(inputs, targets, boundaries=torch.tensor(BOUNDARIES, dtype=torch.int32))
    assert losses.mean().item() == pytest.approx(MODERN_LOSS_NATS_PACKED, rel=1e-6)


def test_the_loss_beyond_the_training_length_is_that_of_the_public_script():
    _, loss_nats = after_backward(replace(SHAPE, rope_train_seq_len=12))
    assert loss_nats == pytest.approx(LOSS_NATS_AT_16_OF_12, rel=1e-6)


@pytest.mark.parametrize(
    ("recipe", "num_parameters"),
    [
        ("pr42", 16_765_000),
        ("pr60", 18_897_488),
        ("pr61_v2", 21_778_504),
        ("pr63", 22_174_288),
        ("pr65", 22_368_840),
        ("pr1218", 34_401_371),
        ("pr1394", 35_943_512),
        ("pr1493", 35_944_536),
        ("pr1530", 35_944_602),
        ("pr1787", 35_945_658),
        ("pr1886", 35_989_658),
        ("pr1855", 35_945_671),
    ],
)
def test_recipes_have_the_number_of_parameters_that_their_logs_print(recipe, num_parameters):
    with torch.device("meta"):
        model = GPT(load_recipe(recipe, {}).recipe.model, num_positions=8)
    assert sum(parameter.numel() for parameter in model.parameters()) == num_parameters


def test_rounding_and_dequantised_tensors_are_those_of_the_public_script():
    state = {
        "big": 3 * wave((300, 256), 0.0) ** 3,
        "small.q_gain": wave((8,), 1.0),
        "vector": wave((40,), 2.0),
    }
    stored = quantize_state(state, QuantizationOptions())
    assert payload_bytes(stored) == 77_512
    assert int(stored["big"].values.long().abs().sum()) == 4_122_139
    assert float(stored["big"].scale.double().sum()) == 7.08575439453125
    restored = dequantize_state(packed_and_read(stored))
    assert {name: probe(tensor) for name, tensor in restored.items()} == pytest.approx(
        {"big": 75600.37246772094, "small.q_gain": 3.00756055155104, "vector": 3.9065206124505494},
        rel=1e-9,
    )


def test_the_baselines_artifact_has_the_published_payload():
    state = GPT(ModelOptions(), num_positions=1024).state_dict()
    assert payload_bytes(quantize_state(state, QuantizationOptions())) == 17_178_912
