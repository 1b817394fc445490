#!/usr/bin/env python3
"""Writes what Hugging Face `tokenizers` makes of test strings, for each kind of tokenizer.ggml.pre.

    make_gguf_tokenizer_fixtures.py OUT.json [--count N]

One byte-level vocabulary is trained on whole lines, so that its merges cross words and ids show
where each kind cuts. The patterns here are those of the published tokenizer.json files.
OUT.json: {"tokens": [...], "merges": [...], "texts": [...], "kinds": {pre: [ids of each text]}}.
tests/text compares fresh ones too: TOKAMAK_GGUF_FUZZ=OUT.json. Needs: tokenizers.
"""
import argparse
import json
import random

from make_sentencepiece_fixtures import SEED, corpus, make_text
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

CASE = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UP, LOW = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = (r"[^\r\n\p{L}\p{N}]?" + UP + "*" + LOW + "+" + CASE + r"?|[^\r\n\p{L}\p{N}]?" + UP + "+" + LOW + "*" + CASE +
         r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = CASE + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = CASE + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?"
          r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
DEEPSEEK3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"""
             r"""[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""")
SEED_CODER = CASE + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
BAILING = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")
EXAONE_MOE = (CASE + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?"
              r"|\s*[\r\n]|\s+(?!\S)|\s+")
QWEN35 = (CASE + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = " ?[^(\\s|.,!?…。，、।۔،)]+"


def split(*patterns):
    steps = [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
    return steps + [pre_tokenizers.ByteLevel(False, use_regex=False)]


GPT2 = [pre_tokenizers.ByteLevel(False)]
KINDS = {
    "gpt-2": GPT2,
    "smollm": [pre_tokenizers.Digits(True)] + GPT2,
    "llama-bpe": split(LLAMA3),
    "glm4": split(LLAMA3),
    "qwen2": split(QWEN2),
    "qwen35": split(QWEN35),
    "tekken": split(TEKKEN),
    "gpt-4o": split(O200K),
    "deepseek-v3": split(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3),
    "deepseek-coder": [pre_tokenizers.Split(Regex(p), "isolated") for p in
                       (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+")] +
                      [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False, use_regex=False)],
    "seed-coder": split(SEED_CODER),
    "bailingmoe": split(BAILING),
    "exaone-moe": split(EXAONE_MOE),
    "bloom": split(BLOOM),
    "viking": split(BLOOM, r"\p{N}"),
}
IGNORE_MERGES = {"llama-bpe", "glm4", "tekken"}


def train():
    rng = random.Random(SEED)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(False, use_regex=False)
    lines = [line + rng.choice(["", "\n\n", "  ", "!!", " 1234", "'s", "...\n"]) for line in corpus(rng, 3000)]
    lines += [make_text(rng) for _ in range(2000)]
    trainer = trainers.BpeTrainer(vocab_size=1200, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(m) for m in model["merges"]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=40)
    args = parser.parse_args()
    vocab, merges = train()
    rng = random.Random(SEED + 1)
    texts = [make_text(rng) for _ in range(args.count)]
    kinds = {}
    for name, steps in KINDS.items():
        tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=name in IGNORE_MERGES))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
        kinds[name] = [e.ids for e in tokenizer.encode_batch(texts)]
    tokens = sorted(vocab, key=vocab.get)
    with open(args.out, "w") as out:
        json.dump({"tokens": tokens, "merges": [" ".join(m) for m in merges], "texts": texts, "kinds": kinds}, out,
                  ensure_ascii=False, separators=(",", ":"))
        out.write("\n")


if __name__ == "__main__":
    main()
