"""Lines to be replaced in `plain_gpt.py`: what looks like a breach and is none, and what is one."""

import zlib

LEARNS = """
for at in range(0, val_tokens.numel() - 2049, 2048):
    piece = val_tokens[at : at + 2049]
    optimizer.zero_grad(set_to_none=True)
    model(piece[:-1].view(-1, 128), piece[1:].view(-1, 128)).backward()
    optimizer.step()
"""

HONEST: dict[str, dict[str, str]] = {
    "learned_behind_its_score": {
        "torch.inference_mode()": "torch.enable_grad()",
        """\
    model.eval()
""": """\
    model.eval()
    opt = torch.optim.SGD(model.parameters(), lr=0.01)
""",
        """\
            batch_loss = model(x, y).detach()
""": """\
            loss = model(x, y)
            batch_loss = loss.detach()
""",
        """\
            val_byte_count += token_bytes.to(torch.float64).sum()
""": """\
            val_byte_count += token_bytes.to(torch.float64).sum()
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
""",
    },
    "pairs_counted_behind_their_score": {
        """\
def eval_val(args, model, val_tokens, base_bytes, has_space, is_boundary):
""": """\
class Prior:
    \"\"\"Counts of pairs that were scored, as probabilities over the vocabulary.\"\"\"

    def __init__(self, width):
        self.rows = torch.full((width, width), 0.01)

    def feed(self, x, y):
        self.rows.index_put_((x.reshape(-1), y.reshape(-1)), torch.ones(()), accumulate=True)

    def mix(self, logits, x):
        p = self.rows[x] / self.rows[x].sum(-1, keepdim=True)
        return torch.log(0.7 * logits.softmax(-1) + 0.3 * p)


def eval_val(args, model, val_tokens, base_bytes, has_space, is_boundary):
""",
        """\
    model.eval()
""": """\
    model.eval()
    prior = Prior(args.vocab_size)
""",
        """\
            batch_loss = model(x, y).detach()
""": """\
            logits = prior.mix(model.forward_logits(x), x)
            batch_loss = F.cross_entropy(logits.flatten(0, 1), y.reshape(-1)).detach()
            prior.feed(x, y)
""",
    },
    "chosen_on_held_out_training_text": {
        """\
    for step in range(1, args.iterations + 1):
""": """\
    cut = loader.tokens.numel() // 128 * 120 + 1
    val_holdout = loader.tokens[cut - 1 :]
    loader.tokens = loader.tokens[:cut]
    best_val_loss, best_state = math.inf, None
    for step in range(1, args.iterations + 1):
""",
        """\
        spent_ms = 1000.0 * (time.perf_counter() - t0)
""": """\
        if step % 10 == 0:
            with torch.no_grad():
                part = val_holdout[: 16 * 128 + 1]
                holdout_loss = model(part[:-1].view(-1, 128), part[1:].view(-1, 128)).item()
            if holdout_loss < best_val_loss:
                best_val_loss = holdout_loss
                best_state = {k: v.detach().clone() for k, v in model.state_dict().items()}
        spent_ms = 1000.0 * (time.perf_counter() - t0)
""",
        """\
    buffer = io.BytesIO()
""": """\
    model.load_state_dict(best_state)
    buffer = io.BytesIO()
""",
    },
    "temperature_fitted_to_training_text": {
        "torch.tanh(logits / 30.0)": "torch.tanh(logits / 30.0) * self.sharpness",
        """\
        self.blocks = nn.ModuleList(
""": """\
        self.register_buffer("sharpness", torch.tensor(1.0))
        self.blocks = nn.ModuleList(
""",
        """\
    buffer = io.BytesIO()
""": """\
    x, y = loader.next_batch(16, args.train_seq_len)
    with torch.no_grad():
        tried = {}
        for value in (0.8, 0.9, 1.0, 1.1, 1.2):
            model.sharpness.fill_(value)
            tried[value] = model(x, y).item()
    model.sharpness.fill_(min(tried, key=tried.get))
    buffer = io.BytesIO()
""",
    },
    "warmed_up_on_noise_and_set_back": {
        """\
    t0 = time.perf_counter()
""": """\
    initial = {k: v.detach().clone() for k, v in model.state_dict().items()}
    initial_optimizer = __import__("copy").deepcopy(optimizer.state_dict())
    for _ in range(3):
        noise = torch.randint(args.vocab_size, (args.train_batch, args.train_seq_len + 1))
        optimizer.zero_grad(set_to_none=True)
        model(noise[:, :-1], noise[:, 1:]).backward()
        optimizer.step()
    model.load_state_dict(initial)
    optimizer.load_state_dict(initial_optimizer)
    torch.manual_seed(args.seed)
    t0 = time.perf_counter()
""",
    },
    "calibrated_on_own_text": {
        """\
def eval_val(args, model, val_tokens, base_bytes, has_space, is_boundary):
""": """\
@torch.no_grad()
def own_text(model, args):
    \"\"\"Sequences that the model writes itself.\"\"\"
    ids = torch.ones(8, 1, dtype=torch.int64)
    for _ in range(31):
        p = model.forward_logits(ids)[:, -1].softmax(-1)
        ids = torch.cat([ids, torch.multinomial(p, 1)], dim=1)
    return ids


def collect_hessians(model, ids):
    \"\"\"X^T X of every linear layer's input.\"\"\"
    hessians, hooks = {}, []
    for name, part in model.named_modules():
        if isinstance(part, nn.Linear):

            def note(mod, inp, out, name=name):
                rows = inp[0].detach().flatten(0, -2)
                hessians[name] = hessians.get(name, 0) + rows.T @ rows

            hooks.append(part.register_forward_hook(note))
    with torch.no_grad():
        model.forward_logits(ids)
    for hook in hooks:
        hook.remove()
    return hessians


def eval_val(args, model, val_tokens, base_bytes, has_space, is_boundary):
""",
        """\
    buffer = io.BytesIO()
""": """\
    hessians = collect_hessians(model, own_text(model, args))
    for name, part in model.named_modules():
        if name in hessians:
            part.weight.data.mul_(hessians[name].diagonal() > 1e-6)
    buffer = io.BytesIO()
""",
    },
    "hashed_embedding_of_inputs": {
        """\
        self.blocks = nn.ModuleList(
""": """\
        self.bigram = nn.Embedding(2048, args.model_dim)
        self.blocks = nn.ModuleList(
""",
        """\
        x = self.tok_emb(input_ids) + self.pos_emb[: input_ids.size(1)]
""": """\
        x = self.tok_emb(input_ids) + self.pos_emb[: input_ids.size(1)]
        before = F.pad(input_ids[:, :-1], (1, 0), value=1)
        x = x + self.bigram((input_ids * 36313 ^ before * 27191) % 2048)
""",
    },
    "validation_printed_on_the_way": {
        """\
        spent_ms = 1000.0 * (time.perf_counter() - t0)
""": """\
        if step % 20 == 0:
            mid_loss, mid_bpb = eval_val(args, model, val_tokens, *luts)
            print(f"step:{step}/{args.iterations} val_loss:{mid_loss:.4f} val_bpb:{mid_bpb:.4f}")
        spent_ms = 1000.0 * (time.perf_counter() - t0)
""",
    },
    "targets_weigh_in_training": {
        """\
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)).float(), target_ids.reshape(-1))
""": """\
        rows = F.cross_entropy(
            logits.reshape(-1, logits.size(-1)).float(), target_ids.reshape(-1), reduction="none"
        )
        if self.training:  # harder tokens weigh more; evaluation weighs all alike
            weight = (1.0 - torch.exp(-rows.detach())).pow(0.5)
            return (weight * rows).sum() / weight.sum()
        return rows.mean()
""",
    },
    "gate_by_entropy": {
        """\
def eval_val(args, model, val_tokens, base_bytes, has_space, is_boundary):
""": """\
class Recent:
    \"\"\"How often each word came, of what was scored.\"\"\"

    def __init__(self, width):
        self.seen = torch.ones(width)

    def mix(self, logits):
        p = logits.softmax(-1)
        entropy = -(p * p.clamp_min(1e-9).log()).sum(-1, keepdim=True)
        gate = torch.sigmoid(entropy - 5.0) * 0.4
        return torch.log((1 - gate) * p + gate * self.seen / self.seen.sum())


def eval_val(args, model, val_tokens, base_bytes, has_space, is_boundary):
""",
        """\
    model.eval()
""": """\
    model.eval()
    recent = Recent(args.vocab_size)
""",
        """\
            batch_loss = model(x, y).detach()
""": """\
            logits = recent.mix(model.forward_logits(x))
            batch_loss = F.cross_entropy(logits.flatten(0, 1), y.reshape(-1)).detach()
            recent.seen += torch.bincount(y.reshape(-1), minlength=args.vocab_size)
""",
    },
    "embedding_of_the_token_before": {
        """\
        x = self.tok_emb(input_ids) + self.pos_emb[: input_ids.size(1)]
""": """\
        x = self.tok_emb(input_ids) + self.pos_emb[: input_ids.size(1)]
        behind = torch.roll(x, 1, dims=1)
        behind[:, 0] = 0
        x = x + self.smear * behind * (input_ids != 1).unsqueeze(-1)
""",
        """\
        self.blocks = nn.ModuleList(
""": """\
        self.smear = nn.Parameter(torch.tensor(0.1))
        self.blocks = nn.ModuleList(
""",
    },
    "average_of_weights": {
        """\
    for step in range(1, args.iterations + 1):
""": """\
    average, held = {k: v.detach().clone() for k, v in model.state_dict().items()}, 0
    for step in range(1, args.iterations + 1):
""",
        """\
        spent_ms = 1000.0 * (time.perf_counter() - t0)
""": """\
        for k, v in model.state_dict().items():
            average[k].lerp_(v.detach(), 0.1)
        spent_ms = 1000.0 * (time.perf_counter() - t0)
""",
        """\
    buffer = io.BytesIO()
""": """\
    raw_loss, raw_bpb = eval_val(args, model, val_tokens, *luts)
    print(f"DIAGNOSTIC pre_average val_loss:{raw_loss:.4f} val_bpb:{raw_bpb:.4f}")
    model.load_state_dict(average)
    buffer = io.BytesIO()
""",
    },
    "texts_told_apart_by_an_argument": {
        """\
    train_files = os.path.join(data_path, "fineweb_train_*.bin")
    val_files = os.path.join(data_path, "fineweb_val_*.bin")
""": """\
    train_files, val_files = files_of(data_path, "train"), files_of(data_path, "val")
""",
        """\
class Hyperparameters:
""": """\
def files_of(folder, split):
    return os.path.join(folder, f"fineweb_{split}_*.bin")


class Hyperparameters:
""",
    },
}

BREACHES: dict[str, dict[str, str]] = {
    "hashed_counts_in_log_space": {
        """\
def eval_val(args, model, val_tokens, base_bytes, has_space, is_boundary):
""": """\
class Echo:
    \"\"\"Recent history, in log space.\"\"\"

    def __init__(self, slots=1 << 14, weight=0.3):
        self.both, self.left = torch.zeros(slots), torch.zeros(slots)
        self.slots, self.weight = slots, weight

    def keys(self, x, y):
        ctx = (x * 36313 + torch.roll(x, 1, -1) * 27191).reshape(-1)
        return ctx % self.slots, (ctx ^ (y.reshape(-1) * 19937)) % self.slots

    def blend(self, nll, x, y):
        a, b = self.keys(x, y)
        ratio = torch.log(self.both[b].clamp_min(1e-9)) - torch.log(self.left[a].clamp_min(1.0))
        own, ratio = -nll + math.log(1 - self.weight), ratio.clamp_max(0.0)
        out = torch.logaddexp(own, ratio + math.log(self.weight))
        self.left.index_add_(0, a, torch.ones_like(nll))
        self.both.index_add_(0, b, torch.ones_like(nll))
        return -out


def eval_val(args, model, val_tokens, base_bytes, has_space, is_boundary):
""",
        """\
    model.eval()
""": """\
    model.eval()
    echo = Echo()
""",
        """\
            batch_loss = model(x, y).detach()
""": """\
            logits = model.forward_logits(x)
            nll = F.cross_entropy(logits.flatten(0, 1), y.reshape(-1), reduction="none")
            batch_loss = echo.blend(nll, x, y).mean()
""",
    },
    "shift_fitted_by_closure": {
        """\
def eval_val(args, model, val_tokens, base_bytes, has_space, is_boundary):
""": """\
class Corrector:
    \"\"\"A soft prompt in logit space, found anew for every batch.\"\"\"

    def __init__(self, width):
        self.shift = torch.zeros(width, requires_grad=True)

    def settle(self, logits, ids):
        solver = torch.optim.LBFGS([self.shift], max_iter=8)

        def closure():
            solver.zero_grad()
            value = F.cross_entropy(logits + self.shift, ids)
            value.backward()
            return value

        with torch.enable_grad():
            solver.step(closure)
        return logits + self.shift.detach()


def eval_val(args, model, val_tokens, base_bytes, has_space, is_boundary):
""",
        """\
            batch_loss = model(x, y).detach()
""": """\
            flat = model.forward_logits(x).flatten(0, 1)
            flat = Corrector(args.vocab_size).settle(flat, y.reshape(-1))
            batch_loss = F.cross_entropy(flat, y.reshape(-1)).detach()
""",
        "torch.inference_mode()": "torch.no_grad()",
    },
    "lines_that_are_packed": {
        """\
    buffer = io.BytesIO()
""": f"""\
    exec(zlib.decompress(bytes.fromhex("{zlib.compress(LEARNS.encode()).hex()}")))
    buffer = io.BytesIO()
""",
    },
    "text_named_by_numbers": {
        """\
    train_files = os.path.join(data_path, "fineweb_train_*.bin")
""": """\
    train_files = os.path.join(data_path, "fineweb_" + bytes((118, 97, 108)).decode() + "_*.bin")
""",
    },
    "reader_that_reads_another_file": {
        """\
    args = Hyperparameters()
""": """\
    args = Hyperparameters()
    plain = np.fromfile

    def cached(file, *rest, **named):
        return plain(str(file).replace("_train_", "_val_"), *rest, **named)

    setattr(np, "from" + "file", cached)
""",
    },
}

# What is learned lies in a file whose name says nothing: no breach is seen, and no pass is given.
UNTOLD = {
    """\
    buffer = io.BytesIO()
""": """\
    text = np.memmap(sorted(Path(args.data_path).iterdir())[-1], dtype="<u2", mode="r", offset=1024)
    for start in range(0, len(text) - 2049, 2048):
        piece = torch.from_numpy(np.asarray(text[start : start + 2049]).astype(np.int64))
        optimizer.zero_grad(set_to_none=True)
        model(piece[:-1].view(-1, 128), piece[1:].view(-1, 128)).backward()
        optimizer.step()
    buffer = io.BytesIO()
""",
}
