#!/usr/bin/env python3
"""Dumps reference logits of Hugging Face transformers (float32, CPU) as compact fixtures.

  families                     tiny random checkpoints of every family → tests/data/models/NAME/
  random --out DIR             families with options drawn at random, to DIR/models/NAME/; checked by
                               TOKAMAK_TEST_DATA_DIR=DIR accuracy_test --gtest_filter='Families*'
  gguf FILE OUT.safetensors    a real GGUF model, dequantized, over the text of tests/data/text

Needs: pip install torch transformers safetensors numpy gguf. The fixtures are committed; the tests
read them without Python.
"""
import argparse
import copy
import json
import os
import pathlib
import shutil

import numpy as np
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
import transformers as hf

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEED = 20261121
WINDOW, WINDOWS, PROBES, TOP = 512, 8, 24, 4
TEXT = ROOT / "tests/data/text/founding.txt"

BASE = dict(vocab_size=131, hidden_size=40, intermediate_size=56, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
            initializer_range=0.15, bos_token_id=1, eos_token_id=2, pad_token_id=0)


def rope(kind, theta=10000.0, **more):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=theta, **more))


def families():
    """name → (config class, its arguments beyond BASE)."""
    long = dict(original_max_position_embeddings=32)
    return {
        "llama": (hf.LlamaConfig, dict(rms_norm_eps=1e-5)),
        "llama-tied-mha": (hf.LlamaConfig, dict(tie_word_embeddings=True, num_key_value_heads=4)),
        "llama-mqa-bias": (hf.LlamaConfig, dict(num_key_value_heads=1, attention_bias=True, mlp_bias=True)),
        "llama-rope-linear": (hf.LlamaConfig, rope("linear", factor=4.0)),
        "llama-rope-dynamic": (hf.LlamaConfig, dict(max_position_embeddings=32, **rope("dynamic", factor=2.0))),
        "llama-rope-llama3": (hf.LlamaConfig, rope("llama3", 500000.0, factor=8.0, low_freq_factor=1.0,
                                                  high_freq_factor=4.0, **long)),
        "llama-rope-yarn": (hf.LlamaConfig, rope("yarn", factor=4.0, **long)),
        "llama-head-dim": (hf.LlamaConfig, dict(head_dim=18)),
        "mistral-window": (hf.MistralConfig, dict(sliding_window=16)),
        "qwen2": (hf.Qwen2Config, dict()),
        "qwen3": (hf.Qwen3Config, dict(head_dim=24)),
        "phi3": (hf.Phi3Config, dict(sliding_window=24, partial_rotary_factor=1.0)),
        "phi3-longrope": (hf.Phi3Config, dict(num_key_value_heads=4, max_position_embeddings=128, **long,
                                              **rope("longrope", **long,
                                                     short_factor=[1.0, 1.1, 1.2, 1.3, 1.4],
                                                     long_factor=[1.0, 1.5, 2.0, 3.0, 4.0]))),
        "gemma": (hf.GemmaConfig, dict(head_dim=16, num_key_value_heads=1)),
        "gemma2": (hf.Gemma2Config, dict(head_dim=16, sliding_window=16, query_pre_attn_scalar=20)),
        "gemma3": (hf.Gemma3TextConfig, dict(head_dim=16, sliding_window=16, query_pre_attn_scalar=20,
                                             num_hidden_layers=4,
                                             layer_types=["sliding_attention", "sliding_attention",
                                                          "full_attention", "sliding_attention"])),
        "granite": (hf.GraniteConfig, dict(embedding_multiplier=3.0, residual_multiplier=0.4,
                                           attention_multiplier=0.2, logits_scaling=2.0)),
        "smollm3": (hf.SmolLM3Config, dict(num_hidden_layers=4, no_rope_layers=[1, 1, 1, 0])),
        "bloom": (hf.BloomConfig, dict(hidden_size=48, num_attention_heads=6, seq_length=128)),
        "mpt": (hf.MptConfig, dict(hidden_size=48, num_attention_heads=6, max_seq_len=128)),
    }


def random_rope(pick, context):
    original = dict(original_max_position_embeddings=pick([16, 32, 64]))
    return pick([
        rope("default", pick([100.0, 10000.0, 1e6])),
        rope("linear", factor=pick([1.5, 4.0])),
        rope("llama3", 500000.0, factor=pick([4.0, 8.0, 32.0]), low_freq_factor=1.0, high_freq_factor=4.0, **original),
        rope("yarn", factor=pick([2.0, 4.0, 8.0]), **original),
        rope("yarn", factor=4.0, beta_fast=pick([16.0, 32.0]), beta_slow=pick([1.0, 2.0]),
             attention_factor=pick([0.7, 1.3]), **original),
        dict(max_position_embeddings=context, **rope("dynamic", factor=pick([2.0, 3.0]))),
    ])


def random_family(random):
    """A config class and its arguments beyond BASE, drawn from what its checkpoints may say."""
    def pick(options):
        return options[int(random.integers(len(options)))]
    kv = pick([1, 2, 3])
    heads = kv * pick([1, 2, 3, 5])
    head = pick([8, 12, 16, 32, 40])
    layers = pick([1, 2, 3, 5])
    more = dict(vocab_size=pick([67, 128, 259, 1000]), num_attention_heads=heads, num_key_value_heads=kv,
                hidden_size=heads * head, intermediate_size=pick([24, 56, 100, 200]), num_hidden_layers=layers,
                rms_norm_eps=pick([1e-6, 1e-5, 1e-3]), tie_word_embeddings=pick([True, False]))
    other_head = dict(head_dim=pick([8, 16, 24, 64]), hidden_size=heads * pick([6, 10, 20]))
    window = dict(sliding_window=pick([1, 8, 17, 40, 4096]))
    act = pick(["silu", "gelu", "gelu_pytorch_tanh", "relu"])
    slides = pick([True, False])
    layer_types = [pick(["sliding_attention", "full_attention"]) if slides else "full_attention" for _ in range(layers)]
    qwen = dict(use_sliding_window=slides, layer_types=layer_types)
    gemma = dict(hidden_activation=pick(["gelu_pytorch_tanh", "gelu"]), hidden_act="gelu_pytorch_tanh", **other_head)
    softcaps = dict(attn_logit_softcapping=pick([None, 5.0, 50.0]), final_logit_softcapping=pick([None, 3.0, 30.0]))
    scalar = dict(query_pre_attn_scalar=pick([8, 20, 144]))
    config, extra = pick([
        (hf.LlamaConfig, dict(hidden_act=act, attention_bias=pick([True, False]), mlp_bias=pick([True, False]),
                              **random_rope(pick, 32), **pick([{}, other_head]))),
        (hf.MistralConfig, dict(hidden_act=act, **window, **random_rope(pick, 32), **pick([{}, other_head]))),
        (hf.Qwen2Config, dict(hidden_act=act, **qwen, **window, **random_rope(pick, 32))),
        (hf.Qwen3Config, dict(attention_bias=pick([True, False]), **qwen, **window, **random_rope(pick, 32),
                              **other_head)),
        (hf.Phi3Config, dict(partial_rotary_factor=pick([0.5, 1.0]), **window)),
        (hf.GemmaConfig, gemma),
        (hf.Gemma2Config, dict(layer_types=layer_types, **window, **gemma, **softcaps, **scalar)),
        (hf.Gemma3TextConfig, dict(layer_types=layer_types, **window, **gemma, **scalar)),
        (hf.GraniteConfig, dict(embedding_multiplier=pick([1.0, 12.0]), residual_multiplier=pick([0.22, 1.0]),
                                attention_multiplier=pick([0.05, 1.0]), logits_scaling=pick([1.0, 8.0]),
                                attention_bias=pick([True, False]), mlp_bias=pick([True, False]))),
        (hf.SmolLM3Config, dict(no_rope_layers=[pick([0, 1]) for _ in range(layers)])),
        (hf.BloomConfig, dict(layer_norm_epsilon=pick([1e-5, 1e-3]), seq_length=128)),
        (hf.MptConfig, dict(max_seq_len=128)),
    ])
    if config in (hf.BloomConfig, hf.MptConfig):  # they would write what they do not know into the config
        more = {k: v for k, v in more.items() if k not in ("rms_norm_eps", "num_key_value_heads", "intermediate_size")}
    return config, {**more, **extra}


def randomize(model, seed):
    """Random weights, all exactly representable in bfloat16 so that the file stays small."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in name or "ln_f" in name:
                centre = 0.0 if "gemma" in type(model).__name__.lower() else 1.0
                p.copy_(centre + 0.2 * noise)
            else:
                p.copy_(0.15 * noise)
            p.copy_(p.to(torch.bfloat16).float())


def logits_of(model, tokens):
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0].float()


def internlm2_from_llama(source, target):
    """InternLM2 keeps q, k and v of one KV group together in wqkv; the mathematics is LLaMA's."""
    config = json.loads((source / "config.json").read_text())
    from safetensors.torch import load_file
    w = load_file(source / "model.safetensors")
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    head = config["hidden_size"] // heads
    out = {"model.tok_embeddings.weight": w["model.embed_tokens.weight"],
           "model.norm.weight": w["model.norm.weight"], "output.weight": w["lm_head.weight"]}
    for i in range(config["num_hidden_layers"]):
        a, b = f"model.layers.{i}.", f"model.layers.{i}."
        q, k, v = (w[a + f"self_attn.{x}_proj.weight"] for x in "qkv")
        groups = []
        for g in range(kv):
            n = heads // kv * head
            groups += [q[g * n:(g + 1) * n], k[g * head:(g + 1) * head], v[g * head:(g + 1) * head]]
        out[b + "attention.wqkv.weight"] = torch.cat(groups).contiguous()
        out[b + "attention.wo.weight"] = w[a + "self_attn.o_proj.weight"]
        for to, frm in (("w1", "gate_proj"), ("w3", "up_proj"), ("w2", "down_proj")):
            out[b + f"feed_forward.{to}.weight"] = w[a + f"mlp.{frm}.weight"]
        out[b + "attention_norm.weight"] = w[a + "input_layernorm.weight"]
        out[b + "ffn_norm.weight"] = w[a + "post_attention_layernorm.weight"]
    config.update(architectures=["InternLM2ForCausalLM"], model_type="internlm2", bias=False)
    target.mkdir(parents=True, exist_ok=True)
    save_file(out, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(json.dumps(config, indent=1))
    shutil.copy(source / "reference.safetensors", target / "reference.safetensors")


def bounds_of(model, fixture):
    """How far float32 and bfloat16 may be off, and of how many rows the largest logit must be the same: by the logits'
    deviation, where it is above one, and by what transformers itself loses."""
    scale = max(1.0, *(fixture[f"logits{s}"].std() for s in (0, 1)))
    bounds, tops = [], []
    for dtype, least, often, top in ((torch.float64, 2e-4, 4, 1.0), (torch.bfloat16, 0.15, 1, 0.9)):
        other = copy.deepcopy(model).to(dtype)
        rows = [(logits_of(other, fixture[f"tokens{s}"].tolist()).numpy(), fixture[f"logits{s}"]) for s in (0, 1)]
        bounds.append(max(least * scale, often * max(np.abs(a - b).max() for a, b in rows)))
        tops.append(min(top, np.concatenate([a.argmax(-1) == b.argmax(-1) for a, b in rows]).mean()))
    return np.array(bounds + tops, dtype=np.float32)


def make_families(out, named, seed, bounds=False):
    for index, (name, (config_class, more)) in enumerate(named.items()):
        if more is None:
            continue
        config = config_class(**{**BASE, **more})
        config._attn_implementation = "eager"
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
        randomize(model, seed + index)
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        random = np.random.default_rng(seed + index)
        fixture = {}
        for s, length in enumerate((23, 61)):
            tokens = random.integers(0, config.vocab_size, length).tolist()
            fixture[f"tokens{s}"] = np.array(tokens, dtype=np.int32)
            fixture[f"logits{s}"] = logits_of(model, tokens).numpy()
        if bounds:
            fixture["bounds"] = bounds_of(model, fixture)
        save_numpy(fixture, folder / "reference.safetensors")
        model.to(torch.bfloat16).save_pretrained(folder)
        for extra in ("generation_config.json",):
            (folder / extra).unlink(missing_ok=True)
        print(f"{name:22} {sum(f.stat().st_size for f in folder.iterdir()):8} bytes, "
              f"logits std {fixture['logits1'].std():.2f}")


def make_random(out, count, seed):
    random = np.random.default_rng(seed)
    drawn = [random_family(random) for _ in range(count)]
    named = {f"{seed + i}-{c.model_type}": (c, more) for i, (c, more) in enumerate(drawn)}
    make_families(out / "models", named, seed, bounds=True)


def make_gguf(path, out):
    folder, file = os.path.split(os.path.abspath(path))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()
    ids = tokenizer(TEXT.read_text(), add_special_tokens=False)["input_ids"]
    bos = tokenizer.bos_token_id if getattr(tokenizer, "add_bos_token", False) else None
    body = WINDOW - (bos is not None)
    assert len(ids) >= WINDOWS * body + 1, len(ids)
    tokens = np.array([([bos] if bos is not None else []) + ids[w * body:(w + 1) * body]
                       for w in range(WINDOWS)], dtype=np.int32)
    probes = np.sort(np.random.default_rng(SEED).choice(model.config.vocab_size, PROBES, replace=False))
    rows = {k: [] for k in ("lse", "top_logits", "top_ids", "probe_logits", "next_logits")}
    for w, window in enumerate(tokens):
        logits = logits_of(model, window.tolist())
        top = logits.topk(TOP)
        rows["lse"].append(logits.logsumexp(-1).numpy())
        rows["top_logits"].append(top.values.numpy())
        rows["top_ids"].append(top.indices.to(torch.int32).numpy())
        rows["probe_logits"].append(logits[:, torch.tensor(probes)].numpy())
        following = torch.tensor(np.append(window[1:], window[-1]).astype(np.int64))
        rows["next_logits"].append(logits.gather(1, following[:, None])[:, 0].numpy())
        print(f"window {w + 1} of {WINDOWS}")
    fixture = {k: np.stack(v) for k, v in rows.items()}
    nll = (fixture["lse"] - fixture["next_logits"])[:, :-1].mean()
    print(f"perplexity {np.exp(nll):.4f} over {WINDOWS} windows of {WINDOW}")
    save_numpy({**fixture, "tokens": tokens, "probe_ids": probes.astype(np.int32)}, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="mode", required=True)
    sub.add_parser("families").add_argument("--out", type=pathlib.Path, default=ROOT / "tests/data/models")
    sub.choices["families"].add_argument("--only", nargs="*", default=[])
    drawn = sub.add_parser("random")
    drawn.add_argument("--out", type=pathlib.Path, required=True)
    drawn.add_argument("--count", type=int, default=30)
    drawn.add_argument("--seed", type=int, default=1)
    gguf = sub.add_parser("gguf")
    gguf.add_argument("file")
    gguf.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()
    torch.manual_seed(SEED)
    if args.mode == "families":
        wanted = {n: (c, more if not args.only or n in args.only else None) for n, (c, more) in families().items()}
        make_families(args.out, wanted, SEED)
        if not args.only:
            internlm2_from_llama(args.out / "llama", args.out / "internlm2")
    elif args.mode == "random":
        make_random(args.out, args.count, args.seed)
    else:
        make_gguf(args.file, args.out)


if __name__ == "__main__":
    main()
