"""Leaks that public scripts had, put into the demo's own evaluation, under the probes.

    python benchmarks/realistic_leaks.py ARTIFACT [DRAWS]

ARTIFACT is what a run of `submissions/demo` leaves (make demo: data/demo_run/seed_*/artifact). The
tapes of the rung are scored in this process by the shipped script, one line of it replaced.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from modern_probes import ROOT, Bench, edited, validation

from verifier.probe.asking import ask
from verifier.probe.climb import tapes
from verifier.probe.scoring import tokens_of
from verifier.probe.tapes.variants import choose_sample
from verifier.rulebook import load_rulebook
from verifier.schemas.probe_record_json import ProbeRecord
from verifier.track_data import locate_data

NUM_TARGETS = 16_384
SCRIPT = ROOT / "submissions/demo/train_gpt.py"
TOKENIZER = ROOT / "rules/corpora/jargon/jargon_1024.model"
CALL = "    losses = score_tokens(run.forward, tokens, windows, run.group)\n"
PLACE = "def score_model(\n"
WARMED_UP = """def leaky(run, tokens, windows):
    num_rows = min((len(tokens) - 1) // windows.seq_len, 16)
    ids = torch.from_numpy(tokens[: num_rows * windows.seq_len + 1].astype(np.int64))
    rows, targets = (part.view(num_rows, -1) for part in (ids[:-1], ids[1:]))
    optimizer = torch.optim.AdamW(run.model.parameters(), lr=1e-3)
    for _ in range(3):
        run.forward(rows, targets).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return score_tokens(run.forward, tokens, windows, run.group)


"""
LOGITS = """def logits_of(run, tokens, windows):
    seen = torch.from_numpy(np.pad(tokens, (0, windows.seq_len)).astype(np.int64))
    for begin in range(0, len(tokens) - 1, windows.seq_len):
        ids = seen[begin : begin + windows.seq_len + 1][None]
        with torch.no_grad():
            stream = run.model.final_stream(ids[:, :-1])
        yield stream, ids[0, 1:]


"""
FITTED_DELTA = """def leaky(run, tokens, windows):
    losses = []
    for stream, targets in logits_of(run, tokens, windows):
        delta = torch.zeros(1, 1, stream.size(2), requires_grad=True)
        optimizer = torch.optim.AdamW([delta], lr=0.02)
        for _ in range(8):
            F.cross_entropy(run.model._logits(stream + delta), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            logits = run.model._logits(stream + delta)
            losses.append(F.cross_entropy(logits, targets, reduction="none"))
    return torch.cat(losses)[: len(tokens) - 1]


"""
TEMPERED = """def leaky(run, tokens, windows):
    temperatures, told = (0.8, 0.9, 1.0, 1.1, 1.25), []
    for stream, targets in logits_of(run, tokens, windows):
        with torch.no_grad():
            logits = run.model._logits(stream)
        told.append(torch.stack(
            [F.cross_entropy(logits / t, targets, reduction="none") for t in temperatures]))
    told = torch.cat(told, dim=1)[:, : len(tokens) - 1]
    document = torch.from_numpy(np.cumsum(tokens[:-1] == 1)) * BY_DOCUMENT
    sums = torch.zeros(len(temperatures), int(document.max()) + 1).index_add_(1, document, told)
    return told.gather(0, sums.argmin(dim=0)[document][None])[0]


"""
BYTES = """def leaky(run, tokens, windows):
    import sentencepiece
    pieces = sentencepiece.SentencePieceProcessor(model_file="TOKENIZER")
    spelled = [pieces.id_to_piece(i).replace("\\u2581", " ").encode() for i in range(len(pieces))]
    losses = score_tokens(run.forward, tokens, windows, run.group).numpy().copy()
    counts, last = [{} for _ in range(5)], b""
    for place, token in enumerate(tokens[1:].tolist()):
        text = spelled[token] if token > 3 else b""
        share = float(np.exp(-losses[place] / max(len(text), 1)))  # of each of its bytes alike
        nats = 0.0
        for byte in text:
            guess = 1 / 256
            for order in range(5):
                found = counts[order].get(last[len(last) - order :], {})
                guess = (found.get(byte, 0) + guess) / (sum(found.values()) + 1)
            nats -= np.log(0.7 * share + 0.3 * guess)
            for order in range(5):
                found = counts[order].setdefault(last[len(last) - order :], {})
                found[byte] = found.get(byte, 0) + 1
            last = (last + bytes([byte]))[-4:]
        if text:
            losses[place] = nats
    return torch.from_numpy(losses)


"""
LEAKS = {
    "none": "",
    "warm-up by three steps on the first 2,048 tokens (#1530)": WARMED_UP,
    "a shift of the last states, fitted to the window that is scored (#1240)": LOGITS
    + FITTED_DELTA,
    "mixture with counts of bytes, spread over the token's own (#1785)": BYTES.replace(
        "TOKENIZER", str(TOKENIZER)
    ),
    "temperature picked for each document by its own score": LOGITS
    + TEMPERED.replace("BY_DOCUMENT", "1"),
    "temperature picked once, by the whole score (#1001)": LOGITS
    + TEMPERED.replace("BY_DOCUMENT", "0"),
}


def leaking(leak: str) -> str:
    """The demo's script with a leak in its evaluation."""
    source = SCRIPT.read_text()
    if not leak:
        return source
    return edited(
        source,
        (
            (
                CALL,
                CALL.replace("score_tokens(run.forward,", "leaky(run,").replace(
                    ", run.group)", ")"
                ),
            ),
            (PLACE, leak + PLACE),
        ),
    )


def records(leak: str, artifact: Path, num_draws: int) -> Iterator[tuple[float, ProbeRecord]]:
    """The mean loss of the sample and the record, for each draw."""
    data = locate_data(load_rulebook("demo").track.dataset, None)
    training = tokens_of(data, "train")[0]
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(source=leaking(leak), folder=Path(name))
        (bench.folder / "final_model.int8.ptz").write_bytes(artifact.read_bytes())
        for seed in range(num_draws):
            rng = np.random.default_rng(seed)
            sample = choose_sample(validation(), NUM_TARGETS + 1, rng)
            planned = [v for v in tapes(sample, training, rng) if v.kind != "training"]
            base = bench.score(planned[0].tokens)
            assert base.losses is not None, base.detail
            record = ask(sample, planned, lambda v: bench.score(v.tokens), f"{seed:x}")
            yield float(base.losses.mean()), record


def main(artifact: str, num_draws: int = 3) -> None:
    names = ("leak", "nats a token", "moves before a change", "sum over the words", "odds")
    print(f"| {' | '.join((*names, 'canaries', 'draws with a move'))} |\n" + "| --- " * 7 + "|")
    for what, leak in LEAKS.items():
        seen = list(records(leak, Path(artifact), num_draws))
        moved = [
            max(m.in_document_nats or 0.0 for m in r.moves if m.kind in ("flip", "poison"))
            for _, r in seen
        ]
        mean, record = np.mean([m for m, _ in seen]), seen[0][1]
        print(
            f"| {what} | {mean:.4f} | {max(moved):.2g} | {record.vocabulary_sum:.3f} ± "
            f"{record.vocabulary_error or 0:.2g} | e^{record.vocabulary_odds_nats or 0:.1f} | "
            f"e^{record.canary_odds_nats or 0:.1f} | "
            f"{sum(m > 1e-3 for m in moved)} of {num_draws} |",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
