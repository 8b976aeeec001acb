"""From conversations to token rows: tokenizer, chat layout, batches."""

import json
import time

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from chat import ASSISTANT, BOS, END, FIRST, SPECIAL, SYS, UNUSED, USER

RAW = ["{u}\n", "{u}\n\n", "Q: {u}\nA:", "Question: {u}\nAnswer:", "{u}"]  # /v1/completions has no template


def log(start, text):
    print(f"[{time.time() - start:6.1f} s] {text}", flush=True)


def read_jsonl(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


def train_tokenizer(rows, size):
    """Byte-level BPE with GPT-2's splitting, which llama.cpp knows as pre = gpt-2."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL + UNUSED, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    texts = (t[k] for row in rows for t in row["turns"] for k in ("user", "assistant"))
    tok.train_from_iterator(texts, trainer)
    return tok


def segments(row):
    """(text, trained on?) pieces of a row, with ints for special tokens."""
    first = FIRST[row["style"]]
    if row["kind"] == "raw":
        for i, t in enumerate(row["turns"]):
            layout = RAW[(len(t["user"]) + i) % len(RAW)]
            lead = " " if layout.endswith("A:") or layout.endswith("Answer:") else ""
            lead = "\n" if layout == "{u}" else lead
            yield from ((first, False), (layout.format(u=t["user"]), False),
                        (lead + t["assistant"], t["train"]), (END, t["train"]))
        return
    yield first, False
    if row.get("system"):
        yield from ((SYS, False), (row["system"], False), (END, False))
    for t in row["turns"]:
        yield from ((USER, False), (t["user"], False), (END, False), (ASSISTANT, False),
                    (t["assistant"], t["train"]), (END, t["train"]))


def encode_rows(tok, rows, length):
    """Two int tensors [rows, length]: inputs, and labels with -100 where no loss is taken."""
    ids = torch.full((len(rows), length), END, dtype=torch.int32)
    labels = torch.full((len(rows), length), -100, dtype=torch.int32)
    for start in range(0, len(rows), 2000):  # in blocks, so that the encoder can use all cores
        block = [list(segments(row)) for row in rows[start:start + 2000]]
        texts = [s for row in block for s, _ in row if isinstance(s, str)]
        encoded = iter(tok.encode_batch(texts, add_special_tokens=False))
        for r, row in enumerate(block, start):
            x, y = [], []
            for piece, trained in row:
                part = [piece] if isinstance(piece, int) else next(encoded).ids
                x += part
                y += part if trained else [-100] * len(part)
            n = min(len(x), length)
            ids[r, :n], labels[r, :n] = torch.tensor(x[:n]), torch.tensor(y[:n])
    return ids, labels


def batches(ids, labels, size, seed):
    """Endless shuffled batches."""
    gen = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(ids), generator=gen)
        for i in range(0, max(len(ids) - size, 0) + 1, size):
            pick = order[i:i + size]
            yield ids[pick].long(), labels[pick].long()


def loss_of(model, ids, labels):
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def fit(model, step_loss, data, opt, steps, max_seconds, start, device):
    """Warm-up, then a straight line to zero; time may cut the steps short."""
    peak = [g["lr"] for g in opt.param_groups]
    began, seen, step = time.time(), 0, 0
    while True:
        done = max(step / steps, (time.time() - began) / max_seconds)
        if done >= 1:
            break
        for group, lr in zip(opt.param_groups, peak):
            group["lr"] = lr * min(1.0, (step + 1) / 100) * (1 - done)
        ids, labels = (t.to(device, non_blocking=True) for t in next(data))
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            loss = step_loss(model, ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + ids.numel()
        if step % 200 == 0 or step <= 2:
            log(start, f"step {step}/{steps} loss {loss.item():.4f} tokens {seen / 1e6:.1f} M")
    log(start, f"stopped after {step} steps, {seen / 1e6:.1f} M tokens, loss {loss.item():.4f}")


@torch.no_grad()
def preview(model, tok, device, start):
    """Greedy answers to a few questions, for the eye."""
    model.eval()
    for text in ("Write a Python function to sort a list.", "Explain machine learning in simple terms.",
                 "Who are you?", "I keep hearing about a budget, what is the idea?"):
        prompt = [BOS, USER] + tok.encode(text, add_special_tokens=False).ids + [END, ASSISTANT]
        ids = torch.tensor([prompt], device=device)
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=200,
                             do_sample=False, eos_token_id=END, pad_token_id=END)[0, len(prompt):].tolist()
        log(start, f"{text}\n    -> {tok.decode(out, skip_special_tokens=False)!r}")
