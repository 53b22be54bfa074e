import torch
import torch.nn.functional as F

from trainer.evaluation.adapters import Adapters, fresh_norm
from trainer.model.transformer import GPT
from trainer.recipe_checks import build_recipe

TTT = {"evaluation.ttt_lora_rank": 2, "evaluation.ttt_batch_size": 3}


def adapters_of(settings):
    recipe = build_recipe(settings)
    return Adapters(GPT(recipe.model, num_positions=16), recipe.evaluation)


def learn_something(adapter):
    with torch.no_grad():
        adapter.up.normal_()
        adapter.down.normal_()


def test_they_start_as_nothing_and_forget_everything(tiny_settings):
    adapters = adapters_of(tiny_settings | TTT)
    head = adapters.deltas.head
    assert not head(torch.randn(3, 5, 16)).any()
    first = head.down.clone()
    assert first.abs().max() <= 16**-0.5 and torch.equal(first[0], first[2])
    learn_something(head)
    adapters.begin(3)
    assert torch.equal(head.down, first) and not head.up.any()


def test_warm_ones_keep_their_first_factor_until_they_are_renewed(tiny_settings):
    adapters = adapters_of(tiny_settings | TTT | {"evaluation.ttt_warm_start_a": True})
    head = adapters.deltas.head
    first = head.down.clone()
    learn_something(head)
    learnt = head.down.clone()
    adapters.begin(2)
    assert torch.equal(head.down, learnt[:2]) and not head.up.any()
    adapters.renew()
    assert torch.equal(head.down, first[:2])


def test_what_they_add_is_scaled_by_alpha_over_rank(tiny_settings):
    plain, scaled = (
        adapters_of(tiny_settings | TTT | {"evaluation.ttt_lora_alpha": alpha}).deltas.head
        for alpha in (0, 3)
    )
    inputs = torch.randn(3, 5, 16)
    torch.nn.init.normal_(plain.up)
    scaled.up.data.copy_(plain.up)
    assert torch.allclose(scaled(inputs), plain(inputs) * 1.5)


def test_they_stand_where_the_recipe_says(tiny_settings):
    wanted = {"evaluation.ttt_q_lora": False, "evaluation.ttt_o_lora": True}
    deltas = adapters_of(tiny_settings | TTT | wanted).deltas
    for block in deltas.blocks:
        added = block.attention(torch.randn(3, 5, 16))
        assert block.mlp is None and added.query is None and added.key is None
        assert added.value.shape == (3, 5, 8) and added.out.shape == (3, 5, 16)


def test_a_group_adds_what_each_adapter_would_alone(tiny_settings):
    adapters = adapters_of(tiny_settings | TTT | {"evaluation.ttt_k_lora": True})
    for adapter in adapters.all:
        learn_something(adapter)
    inputs = torch.randn(3, 5, 16)
    added = adapters.deltas.blocks[0].attention(inputs)
    for adapter, own in zip(adapters.all, (added.query, added.key, added.value), strict=False):
        assert torch.allclose(adapter(inputs), own, atol=1e-5)


def warm_head(tiny_settings, **options):
    wanted = {f"evaluation.ttt_warm_start_{name}": value for name, value in options.items()}
    return adapters_of(tiny_settings | TTT | {"evaluation.ttt_lora_rank": 8} | wanted)


def test_growth_is_the_largest_singular_value_against_a_fresh_one(tiny_settings):
    head = warm_head(tiny_settings, a=True).deltas.head
    assert torch.allclose(head.growth(), torch.ones(3), atol=0.2)
    head.down.data += torch.outer(torch.ones(8), torch.randn(16))
    largest = torch.linalg.matrix_norm(head.down, 2) / fresh_norm(8, 16)
    assert torch.allclose(head.growth(), largest, rtol=1e-3) and largest.min() > 2


def test_what_has_grown_beyond_the_limit_is_shrunk_to_it_and_nothing_else(tiny_settings):
    adapters = warm_head(tiny_settings, a=True, limit=2.0)
    head = adapters.deltas.head
    first = head.down.detach().clone()
    head.down.data[1] += torch.outer(torch.ones(8), torch.randn(16))
    grown = head.down.detach()[1].clone()
    adapters.begin(3)
    assert torch.equal(head.down[[0, 2]], first[[0, 2]])
    assert torch.allclose(head.growth()[1], torch.tensor(2.0), rtol=1e-3)
    assert torch.allclose(F.cosine_similarity(head.down[1], grown), torch.ones(8))
