"""Documents whose text was changed before it became tokens, counted by a sidecar of bytes."""

import json
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from verifier.probe.fresh.transforms import CaseOperators
from verifier.probe.scoring import write_shard

JARGON = Path(__file__).parents[4] / "rules" / "corpora" / "jargon"
DIVIDED = (
    "train: python train_gpt.py train\nevaluate: python train_gpt.py evaluate\n"
    "artifact: [model.npy]\ncode: [train_gpt.py, text.py]\n"
)
DECLARED = DIVIDED + "text: {apply: python text.py apply, restore: python text.py restore}\n"
SWAP = """import json, os, sys
changed = {"the": "\\u00fe", "\\u00fe": "the"}
def swapped(text):
    import re
    return re.sub("the|\\u00fe", lambda found: changed[found[0]], text)
with open(os.environ["PGOLF_TEXT_IN"]) as given, open(os.environ["PGOLF_TEXT_OUT"], "w") as made:
    for line in given:
        print(json.dumps({"text": swapped(json.loads(line)["text"])}), file=made)
"""


class Thorn:
    """As text.py does it: three letters become one, and that one three."""

    marks = ""

    def apply(self, texts):
        return [t.replace("þ", "\0").replace("the", "þ").replace("\0", "the") for t in texts]


def documents(name: str) -> list[str]:
    lines = (JARGON / f"documents_{name}.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"].replace("\n", " ") for line in lines]
    return [text for text in texts if len(text) < 1_000][:120]


def write_corpus(folder: Path, transform: CaseOperators | Thorn, told_bytes: float) -> Path:
    """A data folder of changed text with its sidecar; the path of raw documents beside it."""
    training, validation = documents("train"), documents("val")
    known, fresh = validation[::2], validation[1::2]
    model = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(transform.apply(training)), model_writer=model, vocab_size=1_000,
        model_type="bpe", byte_fallback=True, add_dummy_prefix=False, minloglevel=2,
        normalization_rule_name="identity", remove_extra_whitespaces=False,
        user_defined_symbols=",".join(transform.marks),
    )  # fmt: skip
    (folder / "tokenizers").mkdir(parents=True)
    (folder / "tokenizers" / "changed.model").write_bytes(model.getvalue())
    dataset = folder / "datasets" / "changed"
    dataset.mkdir(parents=True)
    spell = SentencePieceProcessor(model_proto=model.getvalue())
    for split, texts in (("train", training), ("val", known)):
        tokens = [[1, *spell.encode(text)] for text in transform.apply(texts)]
        write_shard(dataset / f"fineweb_{split}_000000.bin", np.concatenate(tokens))
    # All of a document's bytes stand at its first word: who adds them up is none the wiser.
    sizes = [
        [0, round(told_bytes * len(text.encode())), *[0] * (len(own) - 2)]
        for text, own in zip(known, tokens, strict=True)
    ]
    write_shard(dataset / "fineweb_val_bytes_000000.bin", np.concatenate(sizes))
    raw = "".join(json.dumps({"text": text}) + "\n" for text in fresh)
    (folder / "fresh.jsonl").write_text(raw)
    return folder / "fresh.jsonl"


@pytest.fixture
def compared(probed_mode, tmp_path: Path):
    """Score raw documents among such a corpus; gives the answer on bytes, and the record."""

    def call(transform=None, contract=DECLARED, mode="plain", told_bytes=1.0, text=SWAP):
        shutil.rmtree(tmp_path / "world")
        fresh = write_corpus(tmp_path / "world", transform or Thorn(), told_bytes)
        words = ("--rung", "rehearsal", "--fresh", fresh)
        verdict = probed_mode(mode, contract, *words, **{"text.py": text})
        [answer] = [r["outcome"] for r in verdict["rules"] if r["rule"] == "untrue_bytes"]
        return answer, verdict["fresh"]

    return call


@pytest.mark.parametrize(
    ("transform", "contract", "name"),
    [(CaseOperators(), DIVIDED, "CaseOps"), (Thorn(), DECLARED, "the transform of pgolf.yaml")],
)
def test_bytes_are_those_of_the_text_before_it_was_changed(compared, transform, contract, name):
    answer, fresh = compared(transform, contract)
    assert answer == "passed" and fresh["transform"] == name and fresh["p_value"] > 1e-4
    assert fresh["sidecar_bytes"] == fresh["sidecar_text_bytes"]
    assert fresh["implied_bytes_low"] == pytest.approx(fresh["text_bytes_low"], abs=2)
    raw = sum(len(text.encode()) for text in documents("val")[1::2])
    assert fresh["sidecar_text_bytes"] + raw == fresh["text_bytes_low"]


def test_who_counts_the_bytes_of_changed_text_is_found(compared):
    answer, fresh = compared(CaseOperators(), DIVIDED, "changed_bytes")
    assert answer == "broken" and fresh["implied_bytes_low"] > 1.05 * fresh["text_bytes_high"]


def test_a_sidecar_that_says_too_much_is_found(compared):
    answer, fresh = compared(told_bytes=1.01)
    assert answer == "broken" and fresh["sidecar_bytes"] > 1.005 * fresh["sidecar_text_bytes"]


@pytest.mark.parametrize(
    ("contract", "text", "reason"),
    [
        (DIVIDED, SWAP, "nobody says what"),
        (
            DECLARED,
            SWAP.replace("swapped(json.loads(line)", "(json.loads(line)"),
            "\u00fe' stands in",
        ),
        (DECLARED, SWAP.replace("found[0]], text)", 'found[0]], text) + "x"'), "give back"),
        (DECLARED, SWAP + "sys.exit(3)", "failed: exit code 3"),
        (
            DECLARED,
            SWAP.replace("found[0]], text)", "found[0]], text) + chr(0xD800)"),
            "no object with",
        ),
    ],
)
def test_a_transform_that_is_unknown_or_not_what_it_says_leaves_it_open(
    compared, contract, text, reason
):
    answer, fresh = compared(contract=contract, text=text)
    assert answer == "not_evaluated" and reason in fresh["not_evaluated"]
