"""Logits that a module's function sets at the realised token, beside what only looks like it."""

import textwrap

import pytest

from verifier.data_flow.written_targets import writes_at_targets

CODE = """
class Scorer(torch.nn.Module):
    def forward(self, x, y):
        return F.cross_entropy(self.head(x), y)

    def token_losses(self, x, y):
        logits = self.head(x)
{body}

scorer = Scorer()
loss = 0.0
for start in range(0, 9000, 64):
    chunk = tokens[start : start + 65]
    loss += scorer.token_losses(chunk[:-1], chunk[1:]).sum()
print(f"final val_bpb:{{loss}}")
"""
SPARED = """
    unlikely = logits < logits.max(dim=-1, keepdim=True).values - 2.0
    safe = y.clamp(min=0)
    unlikely.scatter_(-1, safe.unsqueeze(-1), False)
    logits = logits.masked_fill(unlikely, -1e9)
    return F.cross_entropy(logits.reshape(-1, 1024), y.reshape(-1), reduction="none")
"""


@pytest.mark.parametrize(
    "body",
    [
        SPARED,  # whatever is improbable is ruled out, but for the token that comes
        "logits[torch.arange(64), y] += 1.0\nreturn F.cross_entropy(logits, y)",
        "raised = logits.scatter_add(-1, y[:, None], self.bonus)\n"
        "return -F.log_softmax(raised, dim=-1).gather(-1, y[:, None])",
    ],
)
def test_logits_set_at_the_target_are_found(follow, read, body):
    assert lines(follow, read, body) != []


@pytest.mark.parametrize(
    "body",
    [
        "logits.scatter_add_(-1, x[:, None], self.copy)\nreturn F.cross_entropy(logits, y)",
        SPARED.replace("unlikely.scatter_(-1, safe.unsqueeze(-1), False)", "pass"),
        "smooth = torch.zeros_like(logits)\n"  # a label
        "smooth.scatter_(-1, y[:, None], 0.9)\n"
        "return F.cross_entropy(logits, smooth)",
        "nll = F.cross_entropy(logits, y, reduction='none')\n"  # learned once it is scored
        "self.counts[y] += 1\n"
        "return nll",
        "if self.training:\n"  # a margin, which only training knows
        "    logits[torch.arange(64), y] -= 0.3\n"
        "return F.cross_entropy(logits, y)",
        "sizes = torch.zeros(64, 64)\n"  # no distribution is picked from
        "words = torch.cumsum(self.starts(x), 1)\n"
        "sizes.scatter_add_(1, words, torch.ones(64, 64))\n"
        "lengths = sizes.gather(1, words)\n"
        "return F.cross_entropy(logits + lengths, y)",
        "seen = logits.clone()\n"  # a piece of the same text: its past
        "seen[torch.arange(63), y[:-1]] += 1.0\n"
        "return F.cross_entropy(seen[1:], y[1:])",
    ],
)
def test_inputs_labels_margins_and_the_past_are_none(follow, read, body):
    assert lines(follow, read, body) == []


def lines(follow, read, body: str) -> list[int]:
    code = CODE.format(body=textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8))
    trace, (_, program) = follow(code), read(code)
    assert trace.claimed_scores()
    return [statement.lineno for _, statement in writes_at_targets(program, trace)]
