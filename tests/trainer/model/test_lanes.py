import torch

from trainer.model.attention import Surroundings
from trainer.model.attention_kernels import causal_attention
from trainer.model.block import Block
from trainer.model.lanes import MergedLanes, RoutedLanes
from trainer.model.rotary import rotary_tables
from trainer.model.transformer import GPT
from trainer.recipe import ModelOptions

OPTIONS = ModelOptions(
    vocab_size=50, num_layers=4, model_dim=16, num_heads=2, num_kv_heads=1, parallel_start_layer=2
)


def one_block():
    torch.manual_seed(0)
    block = Block(OPTIONS, layer=2)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    cosine, sine = rotary_tables(5, 8, 100.0)
    around = Surroundings(cosine=cosine, sine=sine, attention=causal_attention, value_embeddings={})
    first, second, embedded = torch.randn(3, 1, 5, 16).unbind()
    return block, (first, second), embedded, around


def test_routed_lanes_take_from_both_sublayers_by_their_weights():
    block, lanes, embedded, around = one_block()
    routed = RoutedLanes(OPTIONS)
    with torch.no_grad():
        routed.parallel_resid_lambdas[2] = torch.tensor([2.0, 3.0])
        routed.parallel_post_lambdas[2] = torch.tensor([[5.0, 7.0], [11.0, 13.0]])
    after = routed.use(block, lanes, embedded, around, *routed.of(2))
    attended = block.attend(block.mix(lanes[0], embedded)[1], around)
    fed = block.feed(lanes[1])
    assert torch.allclose(after[0], 2 * lanes[0] + 5 * attended + 11 * fed, rtol=1e-4, atol=1e-4)
    assert torch.allclose(after[1], 3 * lanes[1] + 7 * attended + 13 * fed, rtol=1e-4, atol=1e-4)


def test_merged_lanes_keep_to_themselves_until_the_end():
    block, lanes, embedded, around = one_block()
    merged = MergedLanes()
    first, _ = merged.use(block, lanes, embedded, around)
    other_first, _ = merged.use(block, (lanes[0], 2 * lanes[1]), embedded, around)
    assert torch.equal(first, other_first)
    with torch.no_grad():
        merged.lane_merge.fill_(0.25)
    assert torch.allclose(merged.join(lanes), 0.25 * lanes[0] + 0.75 * lanes[1])


def test_the_first_skip_goes_into_one_routed_lane_and_both_merged_ones():
    stream, with_skip = torch.zeros(1, 1, 2), torch.ones(1, 1, 2)
    assert [lane.sum() for lane in RoutedLanes(OPTIONS).open(stream, with_skip)] == [2, 0]
    assert [lane.sum() for lane in MergedLanes().open(stream, with_skip)] == [2, 2]


def test_a_parallel_blocks_feed_forward_does_not_read_its_attention():
    block, (stream, _), embedded, around = one_block()
    block.is_parallel = True
    mixed, normed = block.mix(stream, embedded)
    expected = mixed + block.attend(normed, around) + block.feed(mixed)
    assert torch.equal(block(stream, embedded, around), expected)


def test_all_layers_have_routing_weights_as_published():
    routed = GPT(OPTIONS, num_positions=8).lanes
    assert routed.parallel_post_lambdas.shape == (4, 2, 2)
    assert torch.equal(routed.parallel_resid_lambdas, torch.full((4, 2), 1.1))
