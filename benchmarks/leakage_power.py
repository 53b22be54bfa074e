"""How much validation data must be known before it is seen, and what honest scripts show.

    python benchmarks/leakage_power.py fresh DATA     # fresh documents among validation documents
    python benchmarks/leakage_power.py honest DATA    # the same, 50 drawings of each honest way
    python benchmarks/leakage_power.py overlap DATA   # edited validation documents in training data
    python benchmarks/leakage_power.py sampled DATA   # leaks in evaluation, on a text of one's own

DATA is a folder of the track's layout with a few thousand validation documents; half of them are
the validation data here, the other half nobody was shown. Tables are printed as Markdown.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/verifier/probe")]

import scored_script  # noqa: E402

from verifier.probe.assessment import Scored  # noqa: E402
from verifier.probe.exchange import PairTable  # noqa: E402
from verifier.probe.fresh import assess_fresh, draw, mix  # noqa: E402
from verifier.probe.fresh_documents import Document, Speller, split  # noqa: E402
from verifier.probe.overlap import search  # noqa: E402
from verifier.probe.sampled import MAX_TARGETS, Drawn, assess_sampled  # noqa: E402
from verifier.probe.scoring import tokens_of, write_shard  # noqa: E402
from verifier.rulebook import load_rulebook  # noqa: E402
from verifier.schemas.run_record_json import DataFile  # noqa: E402
from verifier.track_data import TrackData, count_tokens, locate_data  # noqa: E402

TRAINING_TOKENS = 20_000_000
MAX_P = 1e-4
KNOWN = (
    *(("nothing", 0.0, 50), ("counted", 1.0, 10), ("counted", 10.0, 10), ("counted", 100.0, 10)),
    *(("stored", 0.01, 10), ("stored", 0.03, 10), ("stored", 0.1, 10), ("stored", 0.3, 10)),
)
"""Validation documents counted so many times beside the training data; a share looked up."""
HONEST = (
    *("plain", "sliding_window", "per_document", "pair_mix", "score_first", "gradient_steps"),
    "byte_level",
)
NUM_PLANTED = 200
EDITED = (0.0, 0.01, 0.02, 0.03, 0.05)
LEAKS = (
    *(("none", 0.0), ("target_peek", 0.00003), ("target_peek", 0.0001), ("target_peek", 0.0003)),
    *(("target_gate", 0.0001), ("target_gate", 0.0003), ("target_gate", 0.001)),
    *(("tilted", 0.001), ("tilted", 0.003), ("tilted", 0.01)),
)


class Text:
    """The data of a track's layout, its validation documents in two heaps."""

    def __init__(self, folder: Path) -> None:
        dataset = load_rulebook("demo").track.dataset.model_copy(update={"pins": ()})
        self.data: TrackData = locate_data(dataset, folder)
        [self.training, *_] = tokens_of(self.data, "train", TRAINING_TOKENS)
        text = np.concatenate(tokens_of(self.data, "val"))
        self.documents = split(text, int(text[0]))
        self.pairs = count_pairs(self.training)

    def heaps(self, rng: np.random.Generator) -> tuple[list[Document], list[Document]]:
        """Documents that are the validation data, and those that nobody was shown."""
        lots = rng.permutation(len(self.documents))
        return [self.documents[i] for i in lots[::2]], [self.documents[i] for i in lots[1::2]]


def count_pairs(tokens: np.ndarray) -> np.ndarray:
    size = scored_script.VOCABULARY
    places = tokens[:-1].astype(np.int64) * size + tokens[1:]
    return np.bincount(places, minlength=size**2).reshape(size, size).astype(float)


def losses_of(
    tape: np.ndarray, pairs: np.ndarray, heap: list[Document], kind: str, size: float
) -> np.ndarray:
    """Losses of a table of pairs that knows so much of the validation heap."""
    before, target = tape[:-1].astype(np.int64), tape[1:].astype(np.int64)
    if kind == "counted":
        pairs = pairs + size * count_pairs(np.concatenate([d.tokens for d in heap]))
    model = scored_script.Model(pairs)
    if kind != "stored":
        return -np.log(model.score(before, target))
    scored_script.STORED = _share(heap, size).tolist()
    return -np.log(scored_script.stored_text(model, before, target))


def _share(documents: list[Document], share: float) -> np.ndarray:
    return np.concatenate([d.tokens for d in documents[: max(round(share * len(documents)), 1)]])


def fresh(folder: Path) -> None:
    text = Text(folder)
    speller, table = Speller(text.data.tokenizer), PairTable(text.training)
    print(
        "| known | gap, bits a byte | deviation of lots | smallest p | seen |\n"
        + "| --- " * 5
        + "|"
    )
    for kind, size, num_draws in KNOWN:
        told = []
        for seed in range(num_draws):
            rng = np.random.default_rng(seed)
            heaps = text.heaps(rng)
            mixture = mix(draw(heaps, rng), speller, rng)
            losses = losses_of(mixture.variant.tokens, text.pairs, heaps[0], kind, size)
            scored = Scored(
                losses=losses.astype(np.float32), detail="exit code 0", wall_seconds=0.0
            )
            told.append(assess_fresh(mixture, scored, table, rng))
        seen = sum(t["p_value"] <= MAX_P for t in told)
        gap, error = (np.mean([t[name] for t in told]) for name in ("gap_bpb", "error_bpb"))
        least = min(t["p_value"] for t in told)
        cells = [f"{kind} {size:g}", f"{gap:+.4f}", f"{error:.4f}", f"{least:.2g}"]
        print(f"| {' | '.join(cells)} | {seen} of {num_draws} |", flush=True)


def honest(folder: Path, num_draws: int = 50) -> None:
    """Ways of scoring that know no document, other heaps each time."""
    text = Text(folder)
    speller, table = Speller(text.data.tokenizer), PairTable(text.training)
    numbers = load_rulebook("demo").rules["easier_than_fresh"].parameters
    print("| script | mean gap | least p | p of 0.1 or less | flagged |\n" + "| --- " * 5 + "|")
    for mode in HONEST:
        told = []
        for seed in range(num_draws):
            rng = np.random.default_rng(seed)
            mixture = mix(draw(text.heaps(rng), rng), speller, rng)
            tape = mixture.variant.tokens.astype(np.int64)
            model = scored_script.Model(text.pairs.copy())
            losses = -np.log(scored_script.WAYS[mode](model, tape[:-1], tape[1:]))
            scored = Scored(losses=losses.astype("<f4"), detail="", wall_seconds=0.0)
            told.append(assess_fresh(mixture, scored, table, rng))
        p_values = np.array([t["p_value"] for t in told])
        gap = np.mean([t["gap_bpb"] for t in told])
        few = int((p_values <= 0.1).sum())
        flagged = sum(
            t["p_value"] <= numbers["max_p"] and t["gap_bpb"] >= numbers["min_gap_bpb"]
            for t in told
        )
        cells = [mode, f"{gap:+.4f}", f"{p_values.min():.2g}", f"{few} of {num_draws}"]
        print(f"| {' | '.join(cells)} | {flagged} of {num_draws} |", flush=True)


def overlap(folder: Path) -> None:
    """Documents planted behind a shard of training data, a share of their words replaced."""
    text, rng = Text(folder), np.random.default_rng(1)
    chosen = [d.tokens for d in text.documents if len(d) > 100][:NUM_PLANTED]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_shard(place / "fineweb_val_000000.bin", np.concatenate(chosen))
        print("| words replaced | found | word for word | seconds |\n" + "| --- " * 4 + "|")
        for share in (None, *EDITED):
            planted = [] if share is None else [edited(tokens, share, rng) for tokens in chosen]
            write_shard(place / "fineweb_train_000001.bin", np.concatenate([[1], *planted]))
            files = [place / "fineweb_val_000000.bin", place / "fineweb_train_000001.bin"]
            files += [text.data.folder / f.path for f in text.data.files if "_train_" in f.path]
            described = [
                DataFile(path=str(f), num_bytes=0, sha256=None, num_tokens=count_tokens(f))
                for f in files
            ]
            data = TrackData(
                folder=place, dataset=place, tokenizer=text.data.tokenizer, files=tuple(described)
            )
            started = time.perf_counter()
            record = search(data)
            seconds = time.perf_counter() - started
            what = "none planted" if share is None else f"{share:.0%}"
            found = f"{record.num_found} of {record.num_documents}"
            print(f"| {what} | {found} | {record.num_same} | {seconds:.0f} |", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{record.searched_tokens:,} tokens searched; {peak:,.0f} MiB at most")


def edited(tokens: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    is_other = rng.random(len(tokens)) < share
    is_other[0] = False
    return np.where(is_other, rng.integers(10, 1_000, len(tokens)), tokens)


def sampled(folder: Path) -> None:
    """A table of pairs writes a text; evaluation adds a leak, and noise as of half precision."""
    text = Text(folder)
    table = text.pairs + 0.1
    table[:, 1] = 0.0
    table /= table.sum(axis=1, keepdims=True)
    rule = load_rulebook("demo").rules["streamed_score_differs"].parameters
    print("| leak | nats a token | comparison with noise of 0.01 | bets | seen |")
    print("| --- " * 5 + "|")
    for leak, size in LEAKS:
        odds, gains, differs = [], [], 0
        for seed in range(5):
            rng = np.random.default_rng(seed)
            drawn = write(table, rng)
            own = leaky(drawn, leak, size, rng) + rng.normal(0, 0.01, len(drawn.surprisal))
            scored = Scored(losses=np.maximum(own, 0).astype("<f4"), detail="", wall_seconds=0.0)
            odds.append(assess_sampled(drawn, scored)["betting_odds_nats"])
            gain = drawn.surprisal - own
            noise = rule["noise_factor"] * np.median(np.abs(gain))
            error = gain.reshape(-1, 1_024).mean(axis=1).std(ddof=1) / np.sqrt(gain.size / 1_024)
            limit = rule["tolerance_nats"] + rule["standard_errors"] * error
            differs += gain.max() > max(noise, rule["tolerance_nats"]) or gain.mean() > limit
            gains.append(gain.mean())
        seen = sum(o > np.log(1e6) for o in odds)
        cells = [f"{leak} {size:g}", f"{-np.mean(gains):+.5f}", f"{differs} of 5"]
        print(f"| {' | '.join(cells)} | e^{np.median(odds):,.1f} | {seen} of 5 |", flush=True)


def write(table: np.ndarray, rng: np.random.Generator) -> Drawn:
    """A text of the table's own, in 32 pieces."""
    cumulated, lanes = table.cumsum(axis=1), 32
    tokens = np.full((MAX_TARGETS // lanes + 1, lanes), 10)
    for step in range(1, len(tokens)):
        rows = cumulated[tokens[step - 1]]
        tokens[step] = (rows <= rng.random(lanes)[:, None] * rows[:, -1:]).sum(axis=1)
    surprisal = -np.log(table[tokens[:-1], tokens[1:]]).T.ravel()
    whole = np.append(10, tokens[1:].T.ravel()).astype(np.uint16)
    return Drawn(tokens=whole, surprisal=surprisal, entropy=surprisal)


def leaky(drawn: Drawn, leak: str, size: float, rng: np.random.Generator) -> np.ndarray:
    p, target = np.exp(-drawn.surprisal), drawn.tokens[1:]
    if leak == "target_peek":
        p = np.where(rng.random(len(p)) < size, 0.9 + 0.1 * p, p)
    if leak == "target_gate":
        p = np.where(target % 50 == 7, (1 - size) * p + size, p)
    if leak == "tilted":
        p = np.where(target % 10 == 3, np.minimum((1 + size) * p, 1), p)
    return -np.log(p)


if __name__ == "__main__":
    tables = {"fresh": fresh, "honest": honest, "overlap": overlap, "sampled": sampled}
    if len(sys.argv) != 3 or sys.argv[1] not in tables:
        sys.exit(__doc__)
    tables[sys.argv[1]](Path(sys.argv[2]))
