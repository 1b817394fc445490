#!/usr/bin/env python3
"""Writes tests/data/runtime/sampler.json: what Hugging Face's logits processors and warpers do.
Needs torch and transformers. Run: python3 tools/make_sampler_fixtures.py

Scores come from a generator that the C++ test repeats, so that only seeds and results are stored."""
import json
import pathlib

import torch
from transformers.generation import logits_process as lp


def scores(seed, vocab, spread):
    """The generator: 32-bit LCG, top 24 bits, scaled exactly in float32."""
    out, x = [], seed
    for _ in range(vocab):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(((x >> 8) / 16777216.0 - 0.5) * spread)
    return torch.tensor([out], dtype=torch.float32)


def kept(s):
    return torch.nonzero(torch.isfinite(s[0])).flatten().tolist()


def warp(case):
    s = scores(case["seed"], case["vocab"], case["spread"])
    ids = torch.zeros((1, 1), dtype=torch.long)
    if case["temperature"] != 1:
        s = lp.TemperatureLogitsWarper(case["temperature"])(ids, s)
    if case["top_k"]:
        s = lp.TopKLogitsWarper(case["top_k"])(ids, s)
    if case["top_p"] < 1:
        s = lp.TopPLogitsWarper(case["top_p"])(ids, s)
    if case["min_p"]:
        s = lp.MinPLogitsWarper(case["min_p"])(ids, s)
    ids = kept(s)
    # Large sets by their size and sums.
    case["kept"] = ids if len(ids) <= 40 else None
    case["summary"] = [len(ids), sum(ids), sum(i * i for i in ids) % 1000003]
    return case


def warper_cases():
    n = 0
    for vocab in (17, 300, 5000, 50000):
        for spread in (4.0, 16.0, 60.0):
            for temperature, top_k, top_p, min_p in (
                    (1.0, 1, 1.0, 0.0), (1.0, 5, 1.0, 0.0), (0.7, 50, 1.0, 0.0), (1.0, 0, 0.9, 0.0),
                    (0.6, 0, 0.95, 0.0), (1.5, 0, 0.5, 0.0), (1.0, 0, 0.05, 0.0), (1.0, 0, 1.0, 0.05),
                    (1.0, 0, 1.0, 0.5), (0.8, 40, 0.9, 0.0), (1.0, 2000, 0.9, 0.0), (1.2, 40, 0.9, 0.1),
                    (1.0, 0, 0.99, 0.01), (1.0, 0, 0.0, 0.0), (1.0, 100000, 1.0, 0.0)):
                n += 1
                yield dict(seed=n * 7919, vocab=vocab, spread=spread, temperature=temperature, top_k=top_k,
                           top_p=top_p, min_p=min_p)


def process(case):
    s = scores(case["seed"], case["vocab"], 10.0)
    ids = torch.tensor([case["tokens"]], dtype=torch.long)
    if case["bias"]:
        s = lp.SequenceBiasLogitsProcessor([[[i], b] for i, b in case["bias"]])(ids, s)
    if case["repetition"] != 1:
        s = lp.RepetitionPenaltyLogitsProcessor(case["repetition"])(ids, s)
    if case["ngram"]:
        s = lp.NoRepeatNGramLogitsProcessor(case["ngram"])(ids, s)
    if case["bad_words"]:
        s = lp.NoBadWordsLogitsProcessor(case["bad_words"])(ids, s)
    case["scores"] = [None if v == float("-inf") else v for v in s[0].tolist()]
    return case


def processor_cases():
    history = [3, 5, 7, 3, 5, 9, 3, 5]
    yield from (dict(seed=11 + i, vocab=16, tokens=history, **rest) for i, rest in enumerate((
        dict(bias=[], repetition=1.3, ngram=0, bad_words=[]),
        dict(bias=[], repetition=0.7, ngram=0, bad_words=[]),
        dict(bias=[], repetition=1.0, ngram=3, bad_words=[]),
        dict(bias=[], repetition=1.0, ngram=2, bad_words=[]),
        dict(bias=[], repetition=1.0, ngram=1, bad_words=[]),
        dict(bias=[], repetition=1.0, ngram=4, bad_words=[]),
        dict(bias=[], repetition=1.0, ngram=0, bad_words=[[4], [5, 6], [3, 5, 8], [9, 2], [3, 5, 9, 3, 5, 1]]),
        dict(bias=[[2, 5.0], [3, -4.5]], repetition=1.2, ngram=0, bad_words=[]),
        dict(bias=[[1, 0.25]], repetition=1.1, ngram=2, bad_words=[[0], [5, 15]]),
    )))


def main():
    data = {"warpers": [warp(c) for c in warper_cases()], "processors": [process(c) for c in processor_cases()]}
    path = pathlib.Path(__file__).parent.parent / "tests/data/runtime/sampler.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ",\n".join(json.dumps(c, separators=(",", ":")) for c in data["warpers"])
    more = ",\n".join(json.dumps(c, separators=(",", ":")) for c in data["processors"])
    path.write_text('{"warpers":[\n%s\n],"processors":[\n%s\n]}\n' % (rows, more))


if __name__ == "__main__":
    main()
