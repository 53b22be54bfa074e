import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.schemas.submission_json import SeedClaim, read_metadata

SEED_42 = SeedClaim(
    seed=42, val_bpb=1.08, artifact_bytes=15_990_000, train_seconds=588.0, eval_seconds=290.0
)


@pytest.mark.parametrize(
    "document",
    [
        {"seed_results": {"42": {"val_bpb": 1.08, "artifact_bytes": 15_990_000}}}
        | {"seeds": [42], "train_time_ms": 588_000, "eval_time_seconds": [290]},
        {"seeds": {"42": {"val_bpb": 1.08, "bytes_total": 15_990_000}}},
        {"seed_results": [{"seed": 42, "bpb": 1.08, "bytes_total": "15990000"}]},
        {"seed_42": {"val_bpb": 1.08, "total_bytes": 15_990_000.0}},
        {"seeds": ["42"], "seed_scores": [1.08], "artifact_bytes": {"42": 15_990_000}},
        {"val_bpb": {"seed_42": 1.08, "mean": 1.08}, "bytes_total": {"42": 15_990_000}},
    ],
)
def test_every_shape_of_seed_results_reads_alike(document: dict[str, object]) -> None:
    (claim,) = read_metadata(document).per_seed
    assert (claim.seed, claim.val_bpb, claim.artifact_bytes) == (42, 1.08, 15_990_000)


def test_times_are_seconds_whatever_their_unit() -> None:
    by_seed = {"42": {"val_bpb": 1.08, "train_time_ms": 588_000, "ttt_eval_time_s": 290}}
    by_seed["42"]["artifact_bytes"] = 15_990_000
    assert read_metadata({"seed_results": by_seed}).per_seed == (SEED_42,)
    assert read_metadata({"wallclock_minutes": 120}).train_seconds == 7_200


@pytest.mark.parametrize(
    ("document", "val_bpb"),
    [
        ({"val_bpb": 1.2}, 1.2),
        ({"val_bpb": "1.2519"}, 1.2519),
        ({"mean_val_bpb": 1.2}, 1.2),
        ({"val_bpb": None, "val_bpb_mean": 1.2}, 1.2),
        ({"val_bpb": {"seed_42": 1.1, "mean": 1.2}}, 1.2),
        ({"val_loss": 1.14276}, None),
        ({"val_bpb": 0.0}, None),
        ({"score": 1.1801}, 1.1801),
    ],
)
def test_the_headline_is_found_and_never_guessed(
    document: dict[str, object], val_bpb: float | None
) -> None:
    assert read_metadata(document).val_bpb == val_bpb


@pytest.mark.parametrize("value", ["TBD", "1.29 (1xH100) / 5.04 (best)", True, [1.1, 1.2], {}])
def test_what_cannot_be_read_is_named(value: object) -> None:
    metadata = read_metadata({"val_bpb": value})
    assert metadata.val_bpb is None
    assert metadata.unreadable == ("val_bpb",)


def test_unknown_keys_are_kept_as_they_stand() -> None:
    assert read_metadata({"val_bpb": 1.2, "gpu": ["H100"]}).extra == {"gpu": ["H100"]}


@given(
    st.dictionaries(
        st.sampled_from(["val_bpb", "seeds", "seed_results", "bytes_total", "seed_1", "author"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("7"),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["1", "x"]), inner),
        ),
    )
)
def test_no_shape_makes_it_fail(document: dict[str, object]) -> None:
    metadata = read_metadata(document)
    assert all(isinstance(seed, int) for seed in metadata.seeds)


def test_a_block_of_results_is_read_as_if_it_stood_outside() -> None:
    block = {"mean_val_bpb": 1.0567, "seeds": {"42": {"val_bpb": 1.0565}}}
    metadata = read_metadata({"name": "x", "results": block})
    assert metadata.val_bpb == 1.0567
    assert [(claim.seed, claim.val_bpb) for claim in metadata.per_seed] == [(42, 1.0565)]
