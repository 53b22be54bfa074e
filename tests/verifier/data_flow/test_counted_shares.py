"""Counts of all symbols under a hash: one symbol's share is of their sum, or of anything."""

import pytest

from verifier.data_flow.values import HASHED, MIXTURE

CODE = """
table = torch.zeros(4096)
contexts = torch.zeros(4096)
symbols = torch.arange(1024)
vocab_size = 1024
total = torch.zeros(())
for start in range(0, 9000, 64):
    x, y = tokens[start:start + 64], tokens[start + 1:start + 65]
    loss = F.cross_entropy(model(x), y, reduction="none")
    mine = torch.exp(-loss)
    context = (x * 36313 ^ 27191) % 4096
    keys = (context[:, None] * 7919 ^ torch.arange(vocab_size)[None, :]) % 4096
    counted = table[keys].float()
    hits = counted.gather(1, y[:, None]).squeeze(1)
    share = {share}
    total -= torch.log(0.5 * share + 0.5 * mine).sum()
    table.scatter_add_(0, (context * 7919 ^ y) % 4096, torch.ones_like(y))
    contexts.scatter_add_(0, context, torch.ones_like(y))
print(f"final val_bpb:{{total}}")
"""


@pytest.mark.parametrize(
    "share, is_normalized",
    [
        ("hits / contexts[context]", False),  # symbols that share a bucket count for each other
        ("(hits + 2.0 * mine) / (contexts[context] + 2.0)", False),
        ("hits / counted.sum(dim=1)", True),
        ("(hits + 2.0 * mine) / (counted.sum(1) + 2.0)", True),
        ("(counted / counted.sum(1, keepdim=True)).gather(1, y[:, None]).squeeze(1)", True),
    ],
)
def test_one_symbol_s_count_is_a_probability_over_the_sum_of_all(follow, share, is_normalized):
    trace = follow(CODE.format(share=share))
    assert trace.claimed_scores()
    found = [odd for odd in trace.claimed_oddities(MIXTURE) if HASHED in odd.marks]
    assert (not found) is is_normalized
