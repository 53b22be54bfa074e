from trainer.planning.on_cpu import cpu_warnings
from trainer.recipe_file import load_recipe


def warnings_about(name, **changes):
    by_hand = {path: ("here", value) for path, value in changes.items()}
    return list(cpu_warnings(load_recipe(name, by_hand).recipe))


def test_hours_of_warming_up_on_a_cpu_are_said_before_they_begin():
    small = {"batch.train_batch_tokens": 8192, "schedule.warmup_steps": 1}
    assert warnings_about("demo") == warnings_about("baseline", **small) == []
    assert "warming up is 40 steps before the clock" in warnings_about("best")[-1]


def test_what_only_a_gpu_would_use_is_named():
    asked = {"model.fused_ce_enabled": True, "model.attention_backend": "flash_4"}
    (warning,) = warnings_about("demo", **asked)
    assert warning.endswith("no effect of model.attention_backend, model.fused_ce_enabled")
