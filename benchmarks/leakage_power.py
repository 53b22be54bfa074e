"""How much validation data must be known before it is seen, and what honest scripts show.

    python benchmarks/leakage_power.py fresh DATA     # fresh documents among validation documents
    python benchmarks/leakage_power.py honest DATA    # the same, 50 drawings of each honest way
    python benchmarks/leakage_power.py overlap DATA   # edited validation documents in training data
    python benchmarks/leakage_power.py sampled DATA   # leaks in evaluation, on a text of one's own
    python benchmarks/leakage_power.py calibration DATA   # honest evaluations of such a text

DATA is a folder of the track's layout with a few thousand validation documents; half of them are
the validation data here, the other half nobody was shown. Tables are printed as Markdown.
"""

import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/verifier/probe")]

import scored_script  # noqa: E402

from verifier.probe import sampled as probe_sampled  # noqa: E402
from verifier.probe.fresh.assessment import assess_fresh  # noqa: E402
from verifier.probe.fresh.documents import CUT_TOKENS, Document, Speller, split  # noqa: E402
from verifier.probe.fresh.exchange import PairTable  # noqa: E402
from verifier.probe.fresh.mixture import draw, mix  # noqa: E402
from verifier.probe.overlap import search  # noqa: E402
from verifier.probe.sampled import Drawn, assess_sampled, draw_tape, template, turns  # noqa: E402
from verifier.probe.scored import Scored  # noqa: E402
from verifier.probe.scoring import tokens_of, write_shard  # noqa: E402
from verifier.rulebook import load_rulebook  # noqa: E402
from verifier.schemas.run_record_json import DataFile, StreamPlan  # noqa: E402
from verifier.stream.predictor import Reveal  # noqa: E402
from verifier.track_data import TrackData, count_tokens, locate_data  # noqa: E402

TRAINING_TOKENS = 20_000_000
MAX_P = 1e-4
KNOWN = (
    *(("nothing", 0.0, 30), ("counted", 1.0, 10), ("counted", 10.0, 10), ("counted", 100.0, 10)),
    *(("stored", 0.01, 10), ("stored", 0.03, 10), ("stored", 0.1, 10), ("stored", 0.3, 10)),
    *(("late", 0.3, 10), ("late", 1.0, 10)),
)
"""Validation documents counted so many times beside the training data; a share looked up; a share
looked up from the 1,025th token of a document on."""
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
    *(("unpaid_cache", 0.001), ("unpaid_cache", 0.003), ("unpaid_cache", 0.01)),
    *(("target_peek@real", 0.0003), ("target_gate@real", 0.001), ("tilted@real", 0.03)),
    ("unpaid_cache@real", 0.01),
)
"""`@real`: where the first eight words of a document are those of the real text alone."""
COUNTS_SHARE = 0.2
ODDS = (2, 5, 10, 100, 1_000)
STARTED = StreamPlan(argv=(), environment={}, piece_tokens=None, context_tokens=0, num_lanes=64)
OVERLAPPING = STARTED.model_copy(update={"piece_tokens": 128, "context_tokens": 256})
SAMPLED = {
    "from nothing": (STARTED, 0.0),
    "half goes on from real text": (STARTED, probe_sampled.CONTINUED_SHARE),
    "windows of 128 behind 256": (OVERLAPPING, 0.0),
}
"""How pieces are given, and which share of those that are given nothing keeps its first half."""


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
    own = model.score(before, target)
    if kind not in ("stored", "late"):
        return -np.log(own)
    scored_script.STORED = _share(heap, size).tolist()
    known = scored_script.stored_text(model, before, target)
    starts = np.maximum.accumulate(np.where(before == 1, np.arange(len(before)), 0))
    is_late = np.arange(len(before)) - starts >= CUT_TOKENS
    return -np.log(np.where(is_late | (kind == "stored"), known, own))


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


class Writer:
    """Table and counts of pairs that a piece has had, mixed: a predictor that uses its context.

    Held like a session of the rung 'stream', within this process.
    """

    def __init__(self, table: np.ndarray) -> None:
        self.table = table

    def run_round(self, given: list[np.ndarray], lengths: np.ndarray, reveal: Reveal) -> None:
        lanes = np.arange(len(given))
        seen = [Counts() for _ in given]
        last = np.array([tokens[-1] for tokens in given])
        for counts, tokens in zip(seen, given, strict=True):
            for before, target in zip(tokens[:-1], tokens[1:], strict=True):
                counts.learn(int(before), int(target))
        for step in range(int(lengths.max())):
            lanes = lanes[lengths[lanes] > step]
            rows = self.table[last[lanes]].copy()
            for row, lane in zip(rows, lanes, strict=True):
                seen[lane].mix(int(last[lane]), row)
            drawn = reveal(step, lanes, np.log(np.maximum(rows, 1e-30))).astype(int)
            for lane, target in zip(lanes, drawn, strict=True):
                seen[lane].learn(int(last[lane]), int(target))
            last[lanes] = drawn


class Counts:
    """How often each word has followed each, in one piece."""

    def __init__(self) -> None:
        self.followers: dict[int, dict[int, int]] = {}

    def learn(self, before: int, target: int) -> None:
        if target != 1:  # starts of documents are not drawn
            own = self.followers.setdefault(before, {})
            own[target] = own.get(target, 0) + 1

    def share(self, before: int, target: int) -> float:
        """Of the followers; NaN where there are none."""
        own = self.followers.get(before)
        return own.get(target, 0) / sum(own.values()) if own else np.nan

    def mix(self, before: int, row: np.ndarray) -> None:
        """A fifth for the counts, where there are any."""
        if own := self.followers.get(before):
            row *= 1 - COUNTS_SHARE
            row[list(own)] += COUNTS_SHARE * np.array(list(own.values())) / sum(own.values())


@dataclass(frozen=True)
class Tape:
    """A written text, and what a leak may go by."""

    drawn: Drawn
    known: np.ndarray  # (N,) what the piece's counts said of each target; NaN where nothing
    is_real: np.ndarray  # (N,) whether the document's first eight words are those of the text


def sampled(folder: Path) -> None:
    """The predictor writes a text; evaluation adds a leak, and noise as of half precision."""
    text = np.concatenate(tokens_of(Text(folder).data, "val"))
    table = _without_starts(Text(folder).pairs)
    heads = ["leak", "nats a token"]
    heads += [f"{name}, {unit}" for name in SAMPLED for unit in ("bets", "seen")]
    print(f"| {' | '.join(heads)} |\n" + "| --- " * len(heads) + "|")
    tapes = {
        name: [written(text, table, way, np.random.default_rng(seed)) for seed in range(5)]
        for name, way in SAMPLED.items()
    }
    for leak, size in LEAKS:
        cells, gains = [f"{leak} {size:g}"], []
        for own in tapes.values():
            told = [odds_of(t, leak, size, np.random.default_rng(i)) for i, t in enumerate(own)]
            odds = [odds for odds, _ in told]
            gains += [gain for _, gain in told]
            seen = sum(o > np.log(1e6) for o in odds)
            cells += [f"e^{np.median(odds):,.1f}", f"{seen} of {len(odds)}"]
        print(f"| {' | '.join([cells[0], f'{-np.mean(gains):+.5f}', *cells[1:]])} |", flush=True)


def calibration(folder: Path, num_draws: int = 200) -> None:
    """Honest evaluations of texts of their own: as it was written, and by other mixtures."""
    text = np.concatenate(tokens_of(Text(folder).data, "val"))[:8_193]
    table = _without_starts(Text(folder).pairs)
    print("| way | evaluation | " + " | ".join(f"odds of {k}" for k in ODDS) + " | largest |")
    print("| --- " * (len(ODDS) + 3) + "|")
    for name, way in SAMPLED.items():
        tapes = [written(text, table, way, np.random.default_rng(s)) for s in range(num_draws)]
        for leak, size in (("none", 0.0), ("other_mixture", 0.3), ("other_mixture", 0.22)):
            rngs = [np.random.default_rng(seed) for seed in range(num_draws)]
            odds = [odds_of(t, leak, size, r)[0] for t, r in zip(tapes, rngs, strict=True)]
            shares = [f"{np.mean(np.array(odds) >= np.log(k)):.1%}" for k in ODDS]
            told = f"{leak} {size:g} | {' | '.join(shares)}"
            print(f"| {name} | {told} | e^{max(odds):.2f} |", flush=True)


def _without_starts(pairs: np.ndarray) -> np.ndarray:
    table = pairs + 0.1
    table[:, 1] = 0.0
    return table / table.sum(axis=1, keepdims=True)


def written(
    text: np.ndarray, table: np.ndarray, way: tuple[StreamPlan, float], rng: np.random.Generator
) -> Tape:
    plan, probe_sampled.CONTINUED_SHARE = way
    pieces = template(text, plan)
    drawn = draw_tape(text, turns(pieces, plan), Writer(table), rng)
    tokens = drawn.tokens.astype(int)
    known, is_real = np.full(len(tokens) - 1, np.nan), np.zeros(len(tokens) - 1, dtype=bool)
    for piece in pieces:
        counts = Counts()
        for place in range(piece.given_from + 1, min(piece.end + 1, len(tokens))):
            if place > piece.begin:
                known[place - 1] = counts.share(tokens[place - 1], tokens[place])
            counts.learn(tokens[place - 1], tokens[place])
    starts = [*np.flatnonzero(text[: len(tokens)] == 1).tolist(), len(tokens)]
    for begin, end in zip(starts, starts[1:], strict=False):
        is_real[begin : end - 1] = (tokens[begin:end] == text[begin:end])[:9].all()
    return Tape(drawn=drawn, known=known, is_real=is_real)


def odds_of(tape: Tape, leak: str, size: float, rng: np.random.Generator) -> tuple[float, float]:
    """What bets won on the leaky evaluation, and by how much it was lower, in nats a token."""
    drawn = tape.drawn
    own = leaky(tape, leak, size, rng) + rng.normal(0, 0.01, len(drawn.surprisal))
    losses = np.maximum(np.nan_to_num(own, nan=3.0), 0).astype("<f4")
    told = assess_sampled(drawn, Scored(losses=losses, detail="", wall_seconds=0.0))
    return told["betting_odds_nats"], float(np.nanmean(drawn.surprisal - own))


def leaky(tape: Tape, leak: str, size: float, rng: np.random.Generator) -> np.ndarray:
    p, target = np.exp(-tape.drawn.surprisal), tape.drawn.tokens[1:].astype(int)
    leak, _, where = leak.partition("@")
    cheated = p
    if leak == "target_peek":
        cheated = np.where(rng.random(len(p)) < size, 0.9 + 0.1 * p, p)
    if leak == "target_gate":
        cheated = np.where(target % 50 == 7, (1 - size) * p + size, p)
    if leak == "tilted":
        cheated = np.where(target % 10 == 3, np.minimum((1 + size) * p, 1), p)
    if leak == "unpaid_cache":
        cheated = np.minimum(p + size * np.nan_to_num(tape.known), 1)
    if leak == "other_mixture":
        table = (p - COUNTS_SHARE * tape.known) / (1 - COUNTS_SHARE)
        mixed = (1 - size) * table + size * tape.known
        cheated = np.where(np.isnan(tape.known), p, mixed)
    return -np.log(np.where(tape.is_real, cheated, p) if where else cheated)


if __name__ == "__main__":
    tables = {"fresh": fresh, "honest": honest, "overlap": overlap, "sampled": sampled}
    tables["calibration"] = calibration
    if len(sys.argv) != 3 or sys.argv[1] not in tables:
        sys.exit(__doc__)
    tables[sys.argv[1]](Path(sys.argv[2]))
