"""A small GPT; train, quantise, compress, score: paths are made in the way of public scripts."""

# ruff: noqa: PTH118, PTH207

import glob
import io
import math
import os
import time
import zlib
from pathlib import Path

import numpy as np
import sentencepiece as spm
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Hyperparameters:
    data_path = os.environ.get("DATA_PATH", "./data/demo/datasets/jargon")
    train_files = os.path.join(data_path, "fineweb_train_*.bin")
    val_files = os.path.join(data_path, "fineweb_val_*.bin")
    tokenizer_path = os.environ.get("TOKENIZER_PATH", "./data/demo/tokenizers/jargon.model")
    seed = int(os.environ.get("SEED", 1337))
    iterations = int(os.environ.get("ITERATIONS", 40))
    vocab_size = int(os.environ.get("VOCAB_SIZE", 1024))
    max_wallclock_seconds = float(os.environ.get("MAX_WALLCLOCK_SECONDS", 120.0))
    train_seq_len = 128
    train_batch = 16
    val_batch = 32
    model_dim = 64
    num_heads = 4
    num_layers = 2
    lr = 3e-3


def load_data_shard(file: Path) -> Tensor:
    header = np.fromfile(file, dtype="<i4", count=256)
    num_tokens = int(header[2])
    tokens_np = np.fromfile(file, dtype="<u2", count=num_tokens, offset=1024)
    return torch.from_numpy(tokens_np.astype(np.int64))


def load_validation_tokens(pattern: str, seq_len: int) -> Tensor:
    files = [Path(p) for p in sorted(glob.glob(pattern))]
    tokens = torch.cat([load_data_shard(file) for file in files]).contiguous()
    usable = ((tokens.numel() - 1) // seq_len) * seq_len
    return tokens[: usable + 1]


def build_sentencepiece_luts(sp, vocab_size: int):
    base_bytes = np.zeros((vocab_size,), dtype=np.int16)
    has_leading_space = np.zeros((vocab_size,), dtype=np.bool_)
    is_boundary = np.ones((vocab_size,), dtype=np.bool_)
    for token_id in range(sp.vocab_size()):
        if sp.is_control(token_id) or sp.is_unknown(token_id) or sp.is_unused(token_id):
            continue
        is_boundary[token_id] = False
        if sp.is_byte(token_id):
            base_bytes[token_id] = 1
            continue
        piece = sp.id_to_piece(token_id)
        if piece.startswith("\u2581"):
            has_leading_space[token_id] = True
            piece = piece[1:]
        base_bytes[token_id] = len(piece.encode("utf-8"))
    return (
        torch.tensor(base_bytes, dtype=torch.int16),
        torch.tensor(has_leading_space, dtype=torch.bool),
        torch.tensor(is_boundary, dtype=torch.bool),
    )


class TokenStream:
    def __init__(self, pattern: str):
        self.files = [Path(p) for p in sorted(glob.glob(pattern))]
        self.tokens = torch.cat([load_data_shard(f) for f in self.files])
        self.pos = 0

    def take(self, n: int) -> Tensor:
        if self.pos + n > self.tokens.numel():
            self.pos = 0
        chunk = self.tokens[self.pos : self.pos + n]
        self.pos += n
        return chunk

    def next_batch(self, batch: int, seq_len: int) -> tuple[Tensor, Tensor]:
        local = self.take(batch * seq_len + 1)
        return local[:-1].reshape(-1, seq_len), local[1:].reshape(-1, seq_len)


class CausalSelfAttention(nn.Module):
    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.attn = CausalSelfAttention(dim, num_heads)
        self.fc = nn.Linear(dim, 2 * dim, bias=False)
        self.out = nn.Linear(2 * dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(F.rms_norm(x, (x.size(-1),)))
        return x + self.out(torch.relu(self.fc(F.rms_norm(x, (x.size(-1),)))).square())


class GPT(nn.Module):
    def __init__(self, args: Hyperparameters):
        super().__init__()
        self.tok_emb = nn.Embedding(args.vocab_size, args.model_dim)
        self.pos_emb = nn.Parameter(torch.zeros(args.train_seq_len, args.model_dim))
        self.blocks = nn.ModuleList(
            [Block(args.model_dim, args.num_heads) for _ in range(args.num_layers)]
        )
        self.head = nn.Linear(args.model_dim, args.vocab_size, bias=False)

    def forward_logits(self, input_ids: Tensor) -> Tensor:
        x = self.tok_emb(input_ids) + self.pos_emb[: input_ids.size(1)]
        for block in self.blocks:
            x = block(x)
        logits = self.head(F.rms_norm(x, (x.size(-1),)))
        return 30.0 * torch.tanh(logits / 30.0)

    def forward(self, input_ids: Tensor, target_ids: Tensor) -> Tensor:
        logits = self.forward_logits(input_ids)
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)).float(), target_ids.reshape(-1))


def eval_val(args, model, val_tokens, base_bytes, has_space, is_boundary):
    seq_len = args.train_seq_len
    total_seqs = (val_tokens.numel() - 1) // seq_len
    val_loss_sum = torch.zeros((), dtype=torch.float64)
    val_token_count = torch.zeros((), dtype=torch.float64)
    val_byte_count = torch.zeros((), dtype=torch.float64)
    model.eval()
    with torch.inference_mode():
        for seq_start in range(0, total_seqs, args.val_batch):
            seq_end = min(seq_start + args.val_batch, total_seqs)
            local = val_tokens[seq_start * seq_len : seq_end * seq_len + 1]
            x = local[:-1].reshape(-1, seq_len)
            y = local[1:].reshape(-1, seq_len)
            batch_loss = model(x, y).detach()
            batch_tokens = float(y.numel())
            val_loss_sum += batch_loss.to(torch.float64) * batch_tokens
            val_token_count += batch_tokens
            prev_ids, tgt_ids = x.reshape(-1), y.reshape(-1)
            token_bytes = base_bytes[tgt_ids].to(torch.int16)
            token_bytes += (has_space[tgt_ids] & ~is_boundary[prev_ids]).to(torch.int16)
            val_byte_count += token_bytes.to(torch.float64).sum()
    val_loss = val_loss_sum / val_token_count
    bits_per_token = val_loss.item() / math.log(2.0)
    tokens_per_byte = val_token_count.item() / val_byte_count.item()
    model.train()
    return float(val_loss.item()), float(bits_per_token * tokens_per_byte)


def quantize_state_dict_int8(state_dict):
    quantized = {}
    for name, tensor in state_dict.items():
        scale = (tensor.float().abs().amax() / 127.0).clamp_min(1e-8)
        quantized[name] = (torch.round(tensor.float() / scale).to(torch.int8), scale)
    return quantized


def dequantize_state_dict_int8(quantized):
    return {name: codes.float() * scale for name, (codes, scale) in quantized.items()}


def main() -> None:
    args = Hyperparameters()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    sp = spm.SentencePieceProcessor(model_file=args.tokenizer_path)
    val_tokens = load_validation_tokens(args.val_files, args.train_seq_len)
    luts = build_sentencepiece_luts(sp, args.vocab_size)
    print(f"val_loader:shards pattern={args.val_files} tokens:{val_tokens.numel() - 1}")
    print(f"seed:{args.seed}")
    model = GPT(args)
    print(f"model_params:{sum(p.numel() for p in model.parameters())}")
    loader = TokenStream(args.train_files)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.95))
    t0 = time.perf_counter()
    for step in range(1, args.iterations + 1):
        x, y = loader.next_batch(args.train_batch, args.train_seq_len)
        optimizer.zero_grad(set_to_none=True)
        loss = model(x, y)
        loss.backward()
        optimizer.step()
        spent_ms = 1000.0 * (time.perf_counter() - t0)
        if step <= 5 or step % 20 == 0:
            print(
                f"step:{step}/{args.iterations} train_loss:{loss.item():.4f} "
                f"train_time:{spent_ms:.0f}ms step_avg:{spent_ms / step:.2f}ms"
            )
        if spent_ms / 1000.0 > args.max_wallclock_seconds > 0:
            break
    buffer = io.BytesIO()
    torch.save(quantize_state_dict_int8(model.state_dict()), buffer)
    blob = zlib.compress(buffer.getvalue(), level=9)
    Path("final_model.int8.ptz").write_bytes(blob)
    code_bytes = len(Path(__file__).read_bytes())
    print(f"Code size: {code_bytes} bytes")
    print(f"Serialized model int8+zlib: {len(blob)} bytes")
    print(f"Total submission size int8+zlib: {len(blob) + code_bytes} bytes")
    loaded = torch.load(io.BytesIO(zlib.decompress(Path("final_model.int8.ptz").read_bytes())))
    model.load_state_dict(dequantize_state_dict_int8(loaded), strict=True)
    t_eval = time.perf_counter()
    val_loss, val_bpb = eval_val(args, model, val_tokens, *luts)
    eval_ms = 1000.0 * (time.perf_counter() - t_eval)
    print(
        f"final_int8_zlib_roundtrip val_loss:{val_loss:.4f} val_bpb:{val_bpb:.4f} "
        f"eval_time:{eval_ms:.0f}ms"
    )
    print(f"final_int8_zlib_roundtrip_exact val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f}")


if __name__ == "__main__":
    main()
