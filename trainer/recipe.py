"""A recipe: every option of a training run, its default and its bounds.

The defaults are those of the public baseline. An option has a path, `section.field`; settings are
options by path, `{"optimizer.matrix_lr": 0.04}`, wherever they come from. Imports no torch, so that
recipes are checked in milliseconds.
"""

from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args

CONTROL_TENSORS = (
    "attn_scale,attn_scales,mlp_scale,mlp_scales,resid_mix,resid_mixes,q_gain,"
    "skip_weight,skip_weights,skip_gates,parallel_post_lambdas,parallel_resid_lambdas,lane_merge,"
    "attn_gate_w,smear_gate"
)
BOS_ID = 1  # the token that every document of a shard begins with


Value = int | float | bool | str
T = TypeVar("T", bound=Value)


def option(default: T, *, at_least: float | None = None, above: float | None = None) -> T:
    """A recipe option with its default and, for numbers, a lower bound."""
    return field(default=default, metadata={"at_least": at_least, "above": above})


def lever(default: T, *, at_least: float | None = None) -> T:
    """An option whose default means that it is not used, so that no code is needed for it."""
    return field(default=default, metadata={"at_least": at_least, "above": None, "lever": True})


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """Where a run reads and what tells it apart from its siblings."""

    seed: int = option(1337, at_least=0)
    run_id: str = option("run")  # names the log: logs/<run_id>.txt
    data_path: str = option("./data/datasets/fineweb10B_sp1024")
    tokenizer_path: str = option("./data/tokenizers/fineweb_1024_bpe.model")
    checkpoint_folder: str = option("")  # where a run that is cut off goes on from; "": nowhere
    # Of start, warm-up and training in this process: then a checkpoint and the end; 0: no such end.
    stop_after_seconds: float = option(0.0, at_least=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceOptions:
    """How the arithmetic is carried out."""

    torch_compile: Literal["gpu", "always", "never"] = option("gpu")
    deterministic: bool = option(False)  # the same bits again from the same seed, slower on GPUs
    # 0: one a core. A fixed number makes sums come out alike everywhere; 1 is also the fastest on
    # a busy machine, where threads would mostly wait for each other.
    cpu_threads: int = option(0, at_least=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchOptions:
    """How tokens are grouped."""

    train_batch_tokens: int = option(524_288, at_least=1)  # of all processes, one step
    train_seq_len: int = option(1024, at_least=1)  # tokens
    micro_batches_per_step: int = option(8, at_least=1)  # of all processes
    val_batch_size: int = option(524_288, at_least=1)  # tokens of all processes and micro-batches
    # Attention within documents alone (#1530): a micro-batch is one row, cut where a document
    # begins and every train_seq_len tokens. Scored windows are cut at documents too.
    pack_documents: bool = option(False)

    @property
    def row_tokens(self) -> int:
        """Tokens that stand in one row in training."""
        micro_batch_tokens = self.train_batch_tokens // self.micro_batches_per_step
        return micro_batch_tokens if self.pack_documents else self.train_seq_len


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelOptions:
    """The shape of the transformer."""

    vocab_size: int = option(1024, at_least=1)
    num_layers: int = option(9, at_least=1)
    model_dim: int = option(512, at_least=1)
    num_heads: int = option(8, at_least=1)
    num_kv_heads: int = option(4, at_least=1)
    mlp_mult: float = option(2.0, above=0)
    mlp_hidden: int = option(0, at_least=0)  # of the feed-forward layers; 0: mlp_mult x model_dim
    leaky_relu_slope: float = lever(0.0)  # below zero, before the square (#493: 0.5); 0: relu²
    tie_embeddings: bool = option(True)
    tied_embed_init_std: float = option(0.005, above=0)
    qk_gain_init: float = option(1.5)
    rope_base: float = option(10_000.0, above=0)
    rope_train_seq_len: int = lever(0, at_least=0)  # longer sequences: NTK scaling (#60); 0: none
    rope_dims: int = lever(0, at_least=0)  # channels of a head that are turned (#315); 0: all
    ln_scale: bool = option(False)  # norms of block i times 1/sqrt(i + 1) (#315)
    xsa_last_n: int = lever(0, at_least=0)  # blocks whose attention leaves out a token's own (#265)
    logit_softcap: float = option(30.0, above=0)
    asym_logit_rescale: bool = option(False)  # one for each sign, which phases move (#1923)
    use_smeargate: bool = option(False)  # each embedding mixed with the one before it (#65)
    bigram_hash_buckets: int = lever(0, at_least=0)  # embeddings of token pairs (#65); 0: none
    bigram_hash_dim: int = option(128, at_least=1)
    orthogonal_init: bool = option(False)  # of matrices that do not start at zero (#65)
    overtone_init: bool = option(False)  # singular values of the tied embedding ~ 1/sqrt(k) (#60)
    phased_resid_mix: bool = option(False)  # early blocks lean on the embedding at first (#60)
    # A gate on each head's output; its input is the first channels of what the block attends from.
    gate_window: int = option(12, at_least=1)  # channels
    attn_out_gate_enabled: bool = option(False)  # 2 sigmoid(W x), at first 1 (#1667)
    sparse_attn_gate_enabled: bool = option(False)  # sigmoid(scale W x), at first 1/2 (#1787)
    sparse_attn_gate_init_std: float = option(0.0, at_least=0)
    sparse_attn_gate_scale: float = option(1.0, above=0)
    gated_attn_enabled: bool = option(False)  # sigmoid(W x) of all channels (#1736)
    gated_attn_init_std: float = option(0.01, at_least=0)
    smear_gate_enabled: bool = option(False)  # a gated share of the embedding before (#1667)
    smear_gate_bos_fix: bool = option(True)  # nothing across the beginning of a document (#1851)
    ve_enabled: bool = option(False)  # a second embedding, added to values (#374)
    ve_dim: int = option(128, at_least=1)
    ve_layers: str = option("")  # numbers of the blocks that get it
    skip_gates_enabled: bool = option(False)  # skips are blended in, not added (#1089)
    # Blocks loop_start to loop_end are gone through num_loops times more (#1204, #1394).
    num_loops: int = lever(0, at_least=0)
    loop_start: int = option(0, at_least=0)
    loop_end: int = option(-1, at_least=-1)
    # From this block on both sublayers read the same stream (#1412); -1: from none.
    parallel_residual_start: int = lever(-1, at_least=-1)
    # From this block on attention and feed-forward have a stream each; 0: from none.
    parallel_start_layer: int = lever(0, at_least=0)
    # Either each adds to both with learnt weights (#1529), or they meet at the end alone (#1477).
    parallel_lanes: Literal["routed", "merged"] = option("routed")
    parallel_final_lane: Literal["mean", "attn", "mlp"] = option("mean")  # of routed lanes
    # Who computes attention on GPUs. In rows of one document PyTorch makes its own choice (auto, or
    # what is named is not installed). In rows of several FlashAttention-3 does if it is installed,
    # else the second that comes with PyTorch 2.11 (4.4 times as fast as FlexAttention on an H100),
    # else FlexAttention.
    attention_backend: Literal["auto", "flash_4", "flash_3", "flash_2", "cudnn", "flex"] = option(
        "auto"
    )
    # Kernels of our own where they run, on GPUs with Triton: the same in fewer passes over memory.
    fused_ce_enabled: bool = option(False)  # the loss and its gradient (#1787)
    fused_mlp_enabled: bool = option(False)  # the activation where a product ends (#1105)
    fused_qk_enabled: bool = option(False)  # norm, rotation and gain of queries and keys
    # In training one product for queries, keys and values, and those kernels' work in one.
    fused_qkv_enabled: bool = option(False)
    fused_xsa_enabled: bool = option(False)  # XSA and the gate on heads
    fused_mix_enabled: bool = option(False)  # the embedding mixed in again, and the norm after it
    # attn_scale and mlp_scale within the projections before them: their gradients come from the
    # matrices' then, not from a sum over all tokens.
    folded_scales_enabled: bool = option(False)
    # On GPUs the residual stream in bf16, half of its bytes, as in public scripts: their embeddings
    # are in bf16. Else it is in fp32, as the embeddings are here.
    bf16_stream_enabled: bool = option(False)

    @property
    def hidden_dim(self) -> int:
        """Channels of the feed-forward layers."""
        return self.mlp_hidden or int(self.mlp_mult * self.model_dim)

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.model_dim // self.num_heads

    @property
    def kv_dim(self) -> int:
        """Channels of all keys, and of all values."""
        return self.num_kv_heads * self.head_dim


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerOptions:
    """Muon for the matrices, Adam for the rest."""

    embed_lr: float = option(0.6, at_least=0)  # when embeddings are not tied
    head_lr: float = option(0.008, at_least=0)  # when embeddings are not tied
    tied_embed_lr: float = option(0.05, at_least=0)
    matrix_lr: float = option(0.04, at_least=0)
    scalar_lr: float = option(0.04, at_least=0)
    muon_momentum: float = option(0.95, at_least=0)
    muon_momentum_warmup_start: float = option(0.85, at_least=0)
    muon_momentum_warmup_steps: int = option(500, at_least=0)
    muon_backend_steps: int = option(5, at_least=1)  # Newton-Schulz iterations
    newton_schulz: Literal["constant", "polar_express"] = option("constant")  # coefficients (#1344)
    muon_row_normalize: bool = option(False)  # rows of an update to length 1 first (#1217)
    muon_weight_decay: float = lever(0.0, at_least=0)  # a step shrinks by lr x this (#60, #65)
    # Muon's weight decay falls to this share of itself in a straight line (#1729), from here on.
    wd_taper_final_mult: float = lever(1.0, at_least=0)
    wd_taper_start_frac: float = option(0.7, at_least=0)  # of the run
    beta1: float = option(0.9, at_least=0)
    beta2: float = option(0.95, at_least=0)
    adam_eps: float = option(1e-8, above=0)
    adam_weight_decay: float = option(0.0, at_least=0)  # likewise, of head and scalars (#60)
    embed_weight_decay: float = option(0.0, at_least=0)  # likewise, of embeddings (#60)
    grad_clip_norm: float = lever(0.0, at_least=0)  # 0: no clipping
    # By the norm of the gradient of all processes, or each by its own before they are averaged.
    grad_clip: Literal["global", "local"] = option("global")
    # Averaged whole while they arise, or after it, Muon's each where its update is computed (#549).
    gradient_reduction: Literal["all_reduce", "reduce_scatter"] = option("all_reduce")
    ema_decay: float = lever(0.0, at_least=0)  # a step, of the averaged weights (#287); 0: none
    swa_enabled: bool = option(False)  # the mean of weights on the way instead (#162)
    swa_every: int = option(50, at_least=1)  # steps
    swa_start_frac: float = option(0.5, at_least=0)  # once learning rates are below this share
    control_tensor_name_patterns: str = option(CONTROL_TENSORS)  # kept in fp32, trained by Adam


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleOptions:
    """How long training lasts, and what is printed meanwhile."""

    iterations: int = option(20_000, at_least=1)  # steps
    max_wallclock_seconds: float = option(600.0, at_least=0)  # 0: no limit
    # What the limit covers: the training loop, as in the public baseline; also calibration on
    # training data; or all from the start of the process until the artifact is written.
    clock: Literal["loop", "loop_plus_calibration", "everything"] = option("loop")
    reserve_seconds: float = option(0.0, at_least=0)  # kept for what is covered after the loop
    warmup_steps: int = option(20, at_least=0)  # priming the compiled code; then undone
    warmdown_iters: int = option(1200, at_least=0)  # steps over which the learning rate falls to 0
    warmdown_frac: float = lever(0.0, at_least=0)  # or share of the run (#1218); 0: in steps
    min_lr: float = option(0.0, at_least=0)  # share of the learning rate that it never falls below
    enable_looping_at: float = lever(0.0, at_least=0)  # share of the run without loops (#1394)
    # Sequences that grow, up to train_seq_len: "1024@0.1,2048@0.7,3072@1" has 1,024 tokens in each
    # until a tenth of the run is done (#2014). A step has equally many tokens all the time.
    train_seq_schedule: str = lever("")
    train_seq_schedule_mode: Literal["wallclock", "step"] = option("wallclock")  # or of its steps
    seq_change_warmup_steps: int = lever(0, at_least=0)  # learning rates rise anew when they grow
    train_log_every: int = option(200, at_least=0)  # steps; 0: first ten and last only
    val_loss_every: int = option(0, at_least=0)  # steps; 0: validation data stay closed
    checkpoint_every: int = lever(0, at_least=0)  # steps; 0: never


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizationOptions:
    """What the artifact keeps of each tensor, and how it is packed.

    Patterns are comma-separated parts of tensors' names.
    """

    int8_keep_float_fp32_name_patterns: str = option(CONTROL_TENSORS)  # fp32, where small
    fp16_passthrough_patterns: str = option("")  # fp16 at any size (#42: the tied embedding)
    matrix_bits: int = option(8, at_least=2)  # of a large matrix's codes, 8 at most (#61: 6)
    int8_full_range_patterns: str = lever("")  # eight bits even so (#65: the embedding)
    int4_layers: str = lever("")  # layer numbers whose codes are rounded once more (#39)
    int4_step: int = option(16, at_least=1)  # to multiples of this
    qat_enabled: bool = option(False)  # round in training's forward pass too (#63, #65)
    embed_bits: int = lever(0, at_least=0)  # of the token embedding's codes; 0: matrix_bits
    # Columns make up for each other's errors, as calibration on training tokens says (#1019), and
    # grids end at so many standard deviations of their row (#1394).
    gptq_enabled: bool = option(False)
    gptq_calibration_batches: int = option(64, at_least=1)  # micro-batches of all processes
    matrix_clip_sigmas: float = option(12.85, above=0)
    attn_clip_sigmas: float = lever(0.0, at_least=0)  # 0: matrix_clip_sigmas
    mlp_clip_sigmas: float = lever(0.0, at_least=0)  # 0: matrix_clip_sigmas
    embed_clip_sigmas: float = option(20.0, above=0)
    step_mantissa_bits: int = lever(0, at_least=0)  # of a row's fp16 step; 0: all ten
    fit_total_bytes: int = lever(0, at_least=0)  # of artifact and script, by all clips; 0: as said
    gated_attn_quant_gate: bool = option(False)  # gates on heads in eight bits (#1736)
    lqer_enabled: bool = option(False)  # low-rank products for the largest errors (#1851)
    lqer_rank: int = option(4, at_least=1)
    lqer_top_k: int = option(3, at_least=1)  # matrices
    lqer_asym_group: int = option(64, at_least=1)  # elements of the right factor with one step
    awq_lite_enabled: bool = option(False)  # eight bits for the columns that matter most (#1945)
    awq_lite_group_size: int = option(64, at_least=1)  # columns
    awq_lite_group_top_k: int = option(1, at_least=1)  # groups
    # One code a byte, or back to back, or large matrices in no more than their codes' entropy.
    code_packing: Literal["bytes", "bits", "rans"] = option("bytes")
    byte_shuffle: bool = option(False)  # floats' first bytes, then their second ones (#1089)
    compressor: Literal["zlib", "zstd", "lzma", "brotli"] = option("zlib")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """What is scored."""

    # Public scripts leave out the last tokens that fill no sequence, up to train_seq_len - 1.
    score_tail: bool = option(False)
    # Tokens count as many bytes as the sidecar of validation says, as case operators want (#1729).
    caseops_enabled: bool = option(False)
    eval_seq_len: int = option(0, at_least=0)  # tokens; 0: train_seq_len
    # Sliding windows: each but the first scores its last eval_stride tokens. 0: no overlap.
    eval_stride: int = option(0, at_least=0)
    eval_batch_seqs: int = option(0, at_least=0)  # of one process at once; 0: val_batch_size's
    # Low-rank adapters that learn from each document's scored tokens (#77), in place of windows.
    ttt_enabled: bool = option(False)
    ttt_q_lora: bool = option(True)  # what has an adapter: queries,
    ttt_k_lora: bool = option(False)  # keys,
    ttt_v_lora: bool = option(True)  # values,
    ttt_o_lora: bool = option(False)  # attention as a whole (#1530),
    ttt_mlp_lora: bool = option(False)  # the feed-forward layer (#1530),
    ttt_head_lora: bool = option(True)  # the head
    ttt_lora_rank: int = option(8, at_least=1)
    ttt_lora_alpha: float = option(0.0, at_least=0)  # what they add times this / rank; 0: times 1
    ttt_lora_lr: float = option(0.01, at_least=0)
    ttt_beta1: float = option(0.9, at_least=0)  # of Adam, which moves them
    ttt_beta2: float = option(0.95, at_least=0)
    ttt_weight_decay: float = option(0.0, at_least=0)  # a step shrinks by learning rate x this
    # The first factor of an adapter goes on to the next document in its place (#1767): what it
    # learnt from documents scored before helps those scored after, in the order of scoring.
    ttt_warm_start_a: bool = option(False)
    # How far a warm A may stretch its input, in times a fresh one: beyond, it is shrunk before the
    # next document. Else a step of B reaches further with each document (docs/warm_start.md).
    ttt_warm_start_limit: float = lever(0.0, at_least=0)  # 0: any
    ttt_chunk_size: int = option(256, at_least=1)  # tokens scored, then learnt from, at once
    # Smaller chunks where documents begin: "256:8,2000:24" is 8 up to token 256, then 24 (#2014
    # goes by the document's length instead, which no reader knows before its end).
    ttt_first_chunk_sizes: str = lever("")
    ttt_eval_seq_len: int = option(1024, at_least=1)  # tokens that a forward pass sees
    ttt_batch_size: int = option(64, at_least=2)  # documents of one process at once, at most
    # Fewer where the longest of them, or its window, times their number is above this; 0: never.
    ttt_batch_tokens: int = lever(0, at_least=0)
    # What is compiled at once: everything, or a block for all of its uses, which starts sooner.
    ttt_compile_unit: Literal["whole", "block"] = lever("whole")
    # On a GPU, passes over windows of up to so many tokens are recorded and played (CUDA graphs),
    # which spares the host their launches and takes memory for the largest of them; 0: none.
    ttt_recorded_window: int = lever(0, at_least=0)
    # So many times, all weights learn from all documents scored so far (#1610, #1626): whenever
    # another part of the prefix_docs longest documents, which are scored first, is done.
    phased_ttt_num_phases: int = lever(0, at_least=0)
    phased_ttt_prefix_docs: int = option(2000, at_least=0)
    global_ttt_lr: float = option(0.001, at_least=0)  # of SGD at first; falls as a cosine to 0
    global_ttt_momentum: float = option(0.9, at_least=0)
    global_ttt_epochs: int = option(1, at_least=1)  # steps on each chunk
    global_ttt_chunk_tokens: int = option(32_768, at_least=1)  # of all processes, one step
    global_ttt_grad_clip: float = option(1.0, at_least=0)  # 0: no clipping


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthPhase:
    """A part of a run with sequences of one length."""

    seq_len: int  # tokens
    end: float  # share of the run that is done when the next phase begins


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that determines a training run."""

    run: RunOptions = RunOptions()
    device: DeviceOptions = DeviceOptions()
    batch: BatchOptions = BatchOptions()
    model: ModelOptions = ModelOptions()
    optimizer: OptimizerOptions = OptimizerOptions()
    schedule: ScheduleOptions = ScheduleOptions()
    quantization: QuantizationOptions = QuantizationOptions()
    evaluation: EvaluationOptions = EvaluationOptions()

    @property
    def length_phases(self) -> tuple[LengthPhase, ...]:
        """What `schedule.train_seq_schedule` says, in its order; without one a single phase."""
        if self.schedule.train_seq_schedule == "":
            return (LengthPhase(seq_len=self.batch.train_seq_len, end=1.0),)
        pairs = (phase.split("@") for phase in self.schedule.train_seq_schedule.split(","))
        return tuple(LengthPhase(seq_len=int(tokens), end=float(end)) for tokens, end in pairs)


def section_types() -> dict[str, Any]:
    """The parts of a recipe: section → the dataclass of its options."""
    return {section.name: section.type for section in fields(Recipe)}


def options_by_path() -> dict[str, Field[Any]]:
    """Every option of a recipe: path → field."""
    return {
        f"{section}.{option.name}": option
        for section, options in section_types().items()
        for option in fields(options)
    }


def chooses_code(option: Field[Any], value: Value) -> bool:
    """Whether a script that is written for this value may lack what another value needs.

    So do truth values and words, and levers that are not used.
    """
    is_unused = "lever" in option.metadata and value == option.default
    return option.type is bool or bool(get_args(option.type)) or is_unused


def matches_any(tensor_name: str, patterns: str) -> bool:
    """Whether a tensor's name contains one of the comma-separated patterns."""
    return any(pattern in tensor_name for pattern in patterns.split(",") if pattern)


def recipe_settings(recipe: Recipe) -> dict[str, Value]:
    """Every option of a recipe by path; `build_recipe` turns them back."""
    return {
        f"{section}.{name}": value
        for section, options in asdict(recipe).items()
        for name, value in options.items()
    }
