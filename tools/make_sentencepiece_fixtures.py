#!/usr/bin/env python3
"""Trains tiny SentencePiece models and writes what `sentencepiece` makes of test strings.

    make_sentencepiece_fixtures.py OUT_DIR [--fuzz N]

Without --fuzz: OUT_DIR/NAME.model and OUT_DIR/NAME.jsonl, the compact fixtures of
tests/data/text/sentencepiece (one line per text: {"t": text, "i": ids, "d": decoded}, or
{"r": random ids, "d": decoded}). With --fuzz N: N lines per model, for the comparison of
tests/text (environment variable TOKAMAK_SP_FUZZ=OUT_DIR).
Needs: sentencepiece (0.2 or later).
"""
import argparse
import json
import pathlib
import random
import tempfile

import sentencepiece as spm

SEED = 20240611

WORDS = """the of and to in a is that for it as was with be by on not he his but at are this have from
or had an they which one you were all her she there would their we him been has when who will no more
if out so said what up its about than into them can only other time new some could these two may
first then do any like my now over such our man me even most made after also did many off before must
well back through years where much your way down should because long each just state those people too
mr good world number day find water language model token text piece sentence score Ünïcödé naïve café
straße größer Москва привет мир как дела Ελλάδα καλημέρα שלום עולם مرحبا بالعالم こんにちは世界 日本語
テスト 你好 世界 中文 分词 测试 한국어 안녕하세요 हिन्दी नमस्ते ไทย สวัสดี""".split()
CODE = ["def f(x):", "\treturn x**2", "for (int i = 0; i < n; ++i) {", "}", "std::vector<int>",
        "a[i] += b[j];", "// comment", "print(f\"{x:.3f}\")", "#include <x>", "\r\n", "\n\n\n"]
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🇫🇷", "👍🏽", "❤️", "🤷🏻‍♀️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
ODD = ["ﬁ", "①", "Ａ", "ｶﾞ", "ﷺ", "½", "™", "…", "\u00a0", "\u2003", "\u3000", "\u200b", "\ufeff", "\u0301",
       "e\u0301", "A\u030a", "\u1100\u1161\u11a8", "\u0e33", "\ufffd", "\x00", "\x01", "\x7f", "\u00ad", "▁",
       "▁▁", " ▁ ", "<s>", "</s>", "<unk>", "<0x0A>", "<user>", "<sep>", "ab<user>cd", "::", "x::y", "\u2028"]


def corpus(rng, lines):
    for _ in range(lines):
        yield " ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 12)))


def scalar(rng):
    while True:
        plane = rng.choice([0, 0, 0, 1, 1, 2, 3, 14, 15, 16])
        c = plane * 0x10000 + rng.randrange(0x10000)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def piece(rng):
    kind = rng.randrange(12)
    if kind <= 3:
        return rng.choice(WORDS)
    if kind == 4:
        return rng.choice(CODE)
    if kind == 5:
        return rng.choice(EMOJI)
    if kind == 6:
        return rng.choice(ODD)
    if kind == 7:
        return " " * rng.randint(1, 20) if rng.random() < 0.5 else "\n" * rng.randint(1, 5)
    if kind == 8:
        return "".join(scalar(rng) for _ in range(rng.randint(1, 4)))
    if kind == 9:
        return str(rng.randrange(10**rng.randint(1, 12)))
    if kind == 10:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyzABC .,!?'-") for _ in range(rng.randint(1, 15)))
    low, high = rng.choice([(0x300, 0x370), (0x590, 0x6ff), (0x900, 0x980), (0x3040, 0x30ff), (0x4e00, 0x9fff),
                            (0xac00, 0xd7a3), (0xff00, 0xffef), (0x1f300, 0x1f9ff), (0x80, 0x250)])
    return "".join(chr(rng.randrange(low, high)) for _ in range(rng.randint(1, 6)))


def make_text(rng):
    glue = rng.choice(["", " ", " ", "  "])
    text = glue.join(piece(rng) for _ in range(rng.randint(0, 12)))
    return (" " if rng.random() < 0.1 else "") + text + (" " if rng.random() < 0.1 else "")


# A small charsmap: the fixtures stay small where the rules do not matter.
RULES = ["FF21\t41", "FB01\t66 69", "A0\t20", "3000\t20", "9\t20", "A\t20", "AD\t", "200B\t", "65 301\tE9",
         "41 30A\tC5", "2026\t2E 2E 2E", "2460\t31", "2122\t54 4D", "48\t68", "66 66\t6636", "1F600\t3A 29"]

MODELS = {
    "bpe_bytes_identity": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
                               remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
                               split_digits=True, user_defined_symbols=["<user>", "<sep>"]),
    "bpe_rules": dict(model_type="bpe", rules=True, user_defined_symbols=["<user>", "::"]),
    "bpe_suffix": dict(model_type="bpe", rules=True, treat_whitespace_as_suffix=True),
    "bpe_unused": dict(model_type="bpe", rules=True, unused=True),
    "unigram_nfkc": dict(model_type="unigram", normalization_rule_name="nmt_nfkc", bos_id=-1, pad_id=0, eos_id=1,
                         unk_id=2, user_defined_symbols=["<user>", "::"]),
    "unigram_bytes_identity": dict(model_type="unigram", byte_fallback=True, normalization_rule_name="identity",
                                   remove_extra_whitespaces=False, add_dummy_prefix=False,
                                   user_defined_symbols=["<user>", "  ", "<sep>"]),
    "unigram_spaces": dict(model_type="unigram", rules=True, split_by_whitespace=False, unk_surface=" ?? "),
}
LARGE = {"bpe_nfkc_cf": dict(model_type="bpe", normalization_rule_name="nmt_nfkc_cf")}  # fuzzing only


def train(name, options, folder):
    rng = random.Random(SEED)
    text = folder / "corpus.txt"
    text.write_text("\n".join(corpus(rng, 4000)) + "\n")
    options = dict(options)
    options.pop("unused", None)
    if options.pop("rules", False):
        (folder / "rules.tsv").write_text("\n".join(RULES) + "\n")
        options["normalization_rule_tsv"] = str(folder / "rules.tsv")
    size = 1100 if options.get("byte_fallback") else 800
    spm.SentencePieceTrainer.train(input=str(text), model_prefix=str(folder / name), vocab_size=size,
                                   character_coverage=0.98, hard_vocab_limit=False, num_threads=1,
                                   minloglevel=2, max_sentencepiece_length=12, **options)
    return folder / f"{name}.model"


def mark_unused(path):
    """Some learned pieces become unused: they have to be split again."""
    from sentencepiece import sentencepiece_model_pb2 as pb
    model = pb.ModelProto()
    model.ParseFromString(path.read_bytes())
    normal = [p for p in model.pieces if p.type == 1 and len(p.piece) > 2]
    for p in normal[::7]:
        p.type = 5
    path.write_bytes(model.SerializeToString())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--fuzz", type=int, default=0)
    parser.add_argument("--count", type=int, default=120)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    models = dict(MODELS, **LARGE) if args.fuzz else MODELS
    with tempfile.TemporaryDirectory() as temp:
        for name, options in models.items():
            path = train(name, options, pathlib.Path(temp))
            if options.get("unused"):
                mark_unused(path)
            (args.out / f"{name}.model").write_bytes(path.read_bytes())
            sp = spm.SentencePieceProcessor(model_file=str(path))
            rng = random.Random(SEED + len(name))
            with open(args.out / f"{name}.jsonl", "w") as out:
                for _ in range(args.fuzz or args.count):
                    text = make_text(rng)
                    ids = sp.encode(text)
                    if rng.random() < 0.2:  # any ids decode; control ids are dropped before that
                        any_ids = [rng.randrange(sp.get_piece_size()) for _ in range(rng.randint(0, 12))]
                        any_ids = [i for i in any_ids if not sp.is_control(i)]
                        row = {"r": any_ids, "d": sp.decode(any_ids)}
                    else:
                        row = {"t": text, "i": ids, "d": sp.decode(ids)}
                    out.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
