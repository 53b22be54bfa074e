import pytest

from trainer.errors import RecipeError
from trainer.public_names import (
    environment_settings,
    parse_command,
    public_names,
    refuse_what_is_built_in,
)
from trainer.recipe import options_by_path
from trainer.recipe_checks import build_recipe

# openai/parameter-golf, train_gpt.py at commit 4908dc4: what it reads from the environment.
PUBLIC_NAMES = """DATA_PATH TOKENIZER_PATH RUN_ID SEED VAL_BATCH_SIZE VAL_LOSS_EVERY
TRAIN_LOG_EVERY ITERATIONS WARMDOWN_ITERS WARMUP_STEPS TRAIN_BATCH_TOKENS TRAIN_SEQ_LEN
MAX_WALLCLOCK_SECONDS QK_GAIN_INIT VOCAB_SIZE NUM_LAYERS NUM_KV_HEADS MODEL_DIM NUM_HEADS MLP_MULT
TIE_EMBEDDINGS ROPE_BASE LOGIT_SOFTCAP EMBED_LR HEAD_LR TIED_EMBED_LR TIED_EMBED_INIT_STD MATRIX_LR
SCALAR_LR MUON_MOMENTUM MUON_BACKEND_STEPS MUON_MOMENTUM_WARMUP_START MUON_MOMENTUM_WARMUP_STEPS
BETA1 BETA2 ADAM_EPS GRAD_CLIP_NORM CONTROL_TENSOR_NAME_PATTERNS
INT8_KEEP_FLOAT_FP32_NAME_PATTERNS"""
# What the scripts of #42 to #77 read on top of that.
LADDER_NAMES = """MLP_HIDDEN EVAL_SEQ_LEN EVAL_STRIDE EVAL_BATCH_SEQS MUON_WEIGHT_DECAY QAT
SW_EVAL_BATCH BIGRAM_HASH_BUCKETS BIGRAM_HASH_DIM USE_SMEARGATE FP16_PASSTHROUGH_PATTERNS USE_INT6
USE_ZSTD"""

# What the scripts of #1218 to #2014 read on top of that, of model, optimizer and schedule.
MODERN_NAMES = """XSA_LAST_N ROPE_DIMS LN_SCALE SKIP_GATES_ENABLED VE_ENABLED VE_DIM VE_LAYERS
ROPE_TRAIN_SEQ_LEN NUM_LOOPS LOOP_START LOOP_END ENABLE_LOOPING_AT PARALLEL_RESIDUAL_START
PARALLEL_START_LAYER PARALLEL_FINAL_LANE GATE_WINDOW ATTN_OUT_GATE_ENABLED GATED_ATTN_ENABLED
GATED_ATTN_INIT_STD SPARSE_ATTN_GATE_ENABLED SPARSE_ATTN_GATE_INIT_STD SPARSE_ATTN_GATE_SCALE
SMEAR_GATE_ENABLED WARMDOWN_FRAC MIN_LR MUON_ROW_NORMALIZE MUON_WD ADAM_WD EMBED_WD EMA_DECAY
WD_TAPER_START_FRAC WD_TAPER_FINAL_MULT SWA_ENABLED SWA_EVERY SWA_START_FRAC VAL_BATCH_TOKENS
GPTQ_RESERVE_SECONDS TRAIN_SEQ_SCHEDULE TRAIN_SEQ_SCHEDULE_MODE SEQ_CHANGE_WARMUP_STEPS"""

LEARNING_NAMES = """TTT_ENABLED TTT_LORA_RANK TTT_LORA_LR TTT_LORA_ALPHA TTT_WARM_START_A
TTT_CHUNK_SIZE TTT_EVAL_SEQ_LEN TTT_BATCH_SIZE TTT_WEIGHT_DECAY TTT_BETA1 TTT_BETA2 TTT_K_LORA
TTT_MLP_LORA TTT_O_LORA PHASED_TTT_PREFIX_DOCS PHASED_TTT_NUM_PHASES GLOBAL_TTT_LR
GLOBAL_TTT_MOMENTUM GLOBAL_TTT_EPOCHS GLOBAL_TTT_CHUNK_TOKENS GLOBAL_TTT_GRAD_CLIP"""


def test_every_name_of_the_public_scripts_is_an_option():
    names = f"{PUBLIC_NAMES} {LADDER_NAMES} {MODERN_NAMES} {LEARNING_NAMES}".split()
    assert len(names) > 100 and set(names) <= set(public_names())


BUILT_IN = {"model.num_loops": 0, "quantization.matrix_bits": 8, "optimizer.grad_clip_norm": 0.0}


@pytest.mark.parametrize("name", ["NUM_LOOPS=2", "USE_INT6=1", "GRAD_CLIP_NORM=x"])
def test_a_name_of_an_option_that_a_script_has_no_code_for_is_refused(name):
    public, _, text = name.partition("=")
    with pytest.raises(RecipeError, match=f"^{name}: this script has no code for it"):
        refuse_what_is_built_in({public: text, "SEED": "3"}, BUILT_IN)


def test_what_a_script_was_written_for_may_be_said_again():
    said = {"NUM_LOOPS": "0", "USE_INT6": "0", "GRAD_CLIP_NORM": "0", "ITERATIONS": "5"}
    refuse_what_is_built_in(said | {"MATRIX_BITS": "8"}, BUILT_IN)
    refuse_what_is_built_in({"NUM_LOOPS": "1", "LORA_RANK": "0"}, BUILT_IN)


def test_loops_are_counted_as_each_script_counts_them():
    once = environment_settings({"NUM_LOOPS": "1", "LORA_RANK": "0"})
    assert once == {} and environment_settings({"NUM_LOOPS": "1"}) == {"model.num_loops": "1"}


def test_every_option_has_a_public_name_and_no_two_share_one():
    fields = [path.split(".")[1] for path in options_by_path()]
    assert len(set(fields)) == len(fields) >= 70
    assert set(public_names().values()) == set(options_by_path())


def test_the_environment_sets_options_by_public_name():
    settings = environment_settings({"NUM_LAYERS": "7", "USE_INT6": "1", "HOME": "/root"})
    assert settings == {"model.num_layers": "7", "quantization.matrix_bits": 6}
    assert build_recipe(settings).model.num_layers == 7


def test_a_public_command_line_is_read():
    parsed = parse_command(
        "# as in #50\nNCCL_IB_DISABLE=1 \\\nNUM_LOOPS=1 LORA_RANK=0 RUN_ID='a b' \\\n"
        "EVAL_STRIDE=64 \\\n"
        "  torchrun --standalone --nproc_per_node=8 \\\n  train_gpt.py"
    )
    assert parsed.assignments == {"RUN_ID": "a b", "EVAL_STRIDE": "64"}
    assert parsed.num_processes == 8


@pytest.mark.parametrize(
    ("command", "num_processes"),
    [("A=1 python train_gpt.py", None), ("torchrun --nproc-per-node 4 x.py", 4)],
)
def test_the_number_of_processes_is_that_of_the_launcher(command, num_processes):
    assert parse_command(command).num_processes == num_processes


def test_env_before_the_assignments_changes_nothing():
    assert parse_command("env MLP_MULT=3 python train_gpt.py").assignments == {"MLP_MULT": "3"}


@pytest.mark.parametrize(
    "command",
    [
        "export MLP_MULT=3; torchrun train_gpt.py",
        "MLP_MULT=3; torchrun train_gpt.py",
        "MLP_MULT=3 && torchrun train_gpt.py",
        "for s in 1 2; do SEED=$s torchrun train_gpt.py; done",
        "nohup env MLP_MULT=3 torchrun train_gpt.py",
    ],
)
def test_what_only_a_shell_would_read_is_never_dropped_in_silence(command):
    with pytest.raises(RecipeError, match="a shell would have to read"):
        parse_command(command)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("WARMDOWN_ITERS=1200", "should read: NAME=value"),
        ("A='1 torchrun train_gpt.py", "cannot be read: No closing quotation"),
        ("LORA_RANK=3 torchrun train_gpt.py", "LORA_RANK=3: the trainer has no such technique"),
        ("torchrun --nproc_per_node=all train_gpt.py", "expected a number of processes"),
    ],
)
def test_a_command_line_that_cannot_be_replayed_is_refused(command, complaint):
    with pytest.raises(RecipeError, match=complaint):
        parse_command(command)
