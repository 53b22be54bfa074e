import pytest

from trainer.errors import RecipeError
from trainer.recipe_checks import build_recipe


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("model.num_layers", "nine", "expected a whole number, not 'nine'"),
        ("model.num_layers", 2.5, "expected a whole number, not 2.5"),
        ("model.num_layers", True, "expected a whole number, not True"),
        ("model.num_layers", 0, "must be at least 1, not 0"),
        ("optimizer.adam_eps", 0, "must be above 0, not 0.0"),
        ("optimizer.matrix_lr", "nan", "expected a number, not 'nan'"),
        ("model.tie_embeddings", "yes", "expected 0 or 1, not 'yes'"),
        ("run.run_id", 5, "expected text, not 5"),
        ("device.torch_compile", "maybe", "expected one of gpu, always, never, not 'maybe'"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(path, value, complaint):
    with pytest.raises(RecipeError) as caught:
        build_recipe({path: value}, {path: "here.yaml"})
    assert str(caught.value) == f"here.yaml: {path}: {complaint}"


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(RecipeError) as caught:
        build_recipe({"model.num_layers": "x", "model.model_dim": "y", "optimizer.beta1": "z"})
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"batch.train_batch_tokens": 1000}, "must be a multiple of micro_batches_per_step"),
        ({"batch.val_batch_size": 8000}, "must be at least micro_batches_per_step"),
        ({"model.model_dim": 500}, "must be a multiple of num_heads"),
        ({"model.model_dim": 8, "model.num_kv_heads": 1}, "must be even for rotary positions"),
        ({"model.num_kv_heads": 3}, "must be a multiple of num_kv_heads"),
        ({"model.overtone_init": 1, "model.tie_embeddings": 0}, "shapes a tied embedding"),
        ({"device.deterministic": 1}, "needs max_wallclock_seconds 0"),
        ({"schedule.reserve_seconds": 5}, "clock loop covers nothing"),
        ({"schedule.clock": "everything", "schedule.val_loss_every": 5}, "set val_loss_every 0"),
        ({"optimizer.muon_momentum": 1}, "must be below 1"),
        ({"schedule.train_seq_schedule": "1024"}, "must be lengths and ends"),
        ({"schedule.train_seq_schedule": "0@0.5,1024@1"}, "must be lengths and ends"),
        ({"schedule.train_seq_schedule": "512@0.5,1024@0.5"}, "ends must grow"),
        ({"schedule.train_seq_schedule": "512@0.5,1024@1.1"}, "to at most 1"),
        ({"schedule.train_seq_schedule": "512@1"}, "the longest must be train_seq_len 1024"),
        ({"schedule.train_seq_schedule": "96@0.5,1024@1"}, "divide a micro-batch, 65536 tokens"),
        ({"model.rope_dims": 5}, "rope_dims 5 must be even"),
        ({"model.rope_dims": 66}, "at most model_dim / num_heads = 64"),
        ({"model.gated_attn_enabled": 1, "model.attn_out_gate_enabled": 1}, "set one at most"),
        ({"model.num_loops": 1}, "repeats the blocks .* set both, from 0 to 8"),
        ({"model.parallel_start_layer": 9}, "parallel_start_layer 9 must be at most 8"),
        (
            {"model.parallel_start_layer": 8, "model.parallel_residual_start": 7},
            "parallel_residual_start and parallel_start_layer: set one",
        ),
        ({"model.ve_enabled": 1, "model.ve_layers": "3,9"}, "must be numbers from 0 to 8"),
        (
            {"model.fused_mlp_enabled": 1, "model.model_dim": 72, "model.mlp_hidden": 100}
            | {"model.num_heads": 4},
            "100 channels must be multiples of 8 where fused_mlp",
        ),
        ({"model.fused_ce_enabled": 1, "model.logit_softcap": 41}, "must be at most 40 and"),
        ({"evaluation.ttt_enabled": 1, "evaluation.ttt_chunk_size": 2000}, "must be at most ttt_e"),
        ({"evaluation.ttt_enabled": 1, "evaluation.ttt_first_chunk_sizes": "8"}, "must be pairs"),
        (
            {"evaluation.ttt_enabled": 1, "evaluation.ttt_warm_start_limit": 2},
            "set ttt_warm_start_a",
        ),
        (
            {"evaluation.ttt_enabled": 1, "evaluation.phased_ttt_num_phases": 3}
            | {"evaluation.global_ttt_chunk_tokens": 3000},
            "multiple of ttt_eval_seq_len 1024",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(settings, complaint):
    with pytest.raises(RecipeError, match=complaint):
        build_recipe(settings)


def test_a_contradiction_names_the_places_of_the_options_in_it():
    settings = {"model.model_dim": 500, "model.num_heads": 8, "model.num_layers": 3}
    origins = dict(zip(settings, ("a.yaml:3", "--set model.num_heads", "a.yaml:5"), strict=True))
    with pytest.raises(RecipeError, match="^a.yaml:3, --set model.num_heads: model.model_dim 500"):
        build_recipe(settings, origins)
