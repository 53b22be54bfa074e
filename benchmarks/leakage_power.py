"""How much validation data must be known before it is seen, and what honest scripts show.

    python benchmarks/leakage_power.py fresh DATA     # fresh documents among validation documents

DATA is a folder of the track's layout with a few thousand validation documents; half of them are
the validation data here, the other half nobody was shown. Tables are printed as Markdown.
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/verifier/probe")]

import scored_script  # noqa: E402

from verifier.probe.assessment import Scored  # noqa: E402
from verifier.probe.exchange import PairTable  # noqa: E402
from verifier.probe.fresh import assess_fresh, mix  # noqa: E402
from verifier.probe.fresh_documents import Document, Speller, split  # noqa: E402
from verifier.probe.scoring import tokens_of  # noqa: E402
from verifier.rulebook import load_rulebook  # noqa: E402
from verifier.track_data import TrackData, locate_data  # noqa: E402

TRAINING_TOKENS = 20_000_000
MAX_P = 1e-4
KNOWN = (
    *(("nothing", 0.0, 50), ("counted", 1.0, 10), ("counted", 10.0, 10), ("counted", 100.0, 10)),
    *(("stored", 0.01, 10), ("stored", 0.03, 10), ("stored", 0.1, 10), ("stored", 0.3, 10)),
)
"""Validation documents counted so many times beside the training data; a share looked up."""


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
            mixture = mix(heaps, speller, rng)
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


if __name__ == "__main__":
    tables = {"fresh": fresh}
    if len(sys.argv) != 3 or sys.argv[1] not in tables:
        sys.exit(__doc__)
    tables[sys.argv[1]](Path(sys.argv[2]))
