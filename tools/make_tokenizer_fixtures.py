#!/usr/bin/env python3
"""Builds a small tokenizer for every kind of component and compares ours with Hugging Face's.

  make_tokenizer_fixtures.py --out tests/data/text/tokenizers   writes compact fixtures
  make_tokenizer_fixtures.py --fuzz 20000 --probe build/tests/tokenizer_probe [--only NAME …]
                             [--file tokenizer.json …]          compares on generated texts
Needs the Python packages tokenizers and sentencepiece.
"""
import argparse
import base64
import io
import json
import os
import random
import subprocess
import sys
import tempfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

SPACE = "\u2581"
WORDS = ("the of and to in a is that for it was on are as with his they be at one have this from or "
         "had by hot but some what there we can out other were all your when up use word how said an "
         "each she which do their time if will way about many then them would write like so these "
         "her long make thing see him two has look more day could go come did my sound no most "
         "number who over know water than call first people may down side been now find head stand "
         "own page should country found answer school grow study still learn plant cover food sun "
         "don't I'll we've you're it's they'd I'm naïve café Zürich señor résumé 123 2024 3.14 1,000 "
         "def return import class self None print(x) for(i=0;i<10;++i) { } => != == a_b camelCase "
         "http://example.com/a?b=c user@example.org").split()
OTHER = ("Привет мир это тест 你好 世界 中文 日本語 テスト ひらがな 한국어 안녕 مرحبا بالعالم שלום עולם "
         "नमस्ते दुनिया สวัสดี ไทย Ελληνικά γλώσσα Tiếng Việt Ünïcödé ﬁ ﬂ ½ ² № ™ ａｂｃ １２３ "
         "e\u0301 a\u0308 Å ﷺ 👍 👩‍👩‍👧 🇩🇪 ❤️ — … “quoted” «fr» ¿qué? ﬀ ǅ İ ı ß ſ K").split()

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
          r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
         r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
         r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
KIMI = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = ["\\p{N}{1,3}", "[一-龥\u0800-一가-\ud7ff]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
ODD_REGEXES = [r"[[:punct:]]", r"[[:alpha:]]+", r"[[:^space:]]+", r"\h+", r"\w+\b", r"\B\w", r"(?m).\n",
               r"^.|.$", r"a(?i)b|c", r"[a-z&&[^aeiou]]+", r"[\w&&\d]+", r"[a[0-9]\s]+", r"\d{,2}x",
               r"[0-9]{2}+", r"\p{^L}", r"\P{Lu}+", r"\p{Hiragana}|\p{Latin}", r"[^\W\d]+", r"(?<=a)b|é",
               r"\p{Letter}\p{Mn}*", r"[]a]", r"(\w)\1", r"\v|\t", r"[\u4e00-\u9fff]", r"(?<n>l)\k<n>",
               r"[[:upper:]][[:lower:]]*", r"\p{Alnum}+", r"[[:graph:]]+", r"[[:print:]]+", r"x*",
               r"\p{Punct}", r"[^[:^alpha:]]+", r"[^\P{L}]", r"[^\s\p{L}\p{N}]+", r"(?!\S)|\w\W",
               r"\p{Cn}", r"\p{C}+", r"a{2}?", r"[\^a-c\-]+|\d+(?=\p{L})", r"(?:ab|a)(?>l+)",
               r"[\p{L}&&\p{Latin}&&[^a-f]]+", r"\p{Word}\p{Space}", r"(?i:[k-s])+", r"\A\w|\w\z"]


def corpus(rng, lines=400):
    for _ in range(lines):
        pick = rng.choices(WORDS, k=rng.randint(3, 14)) + rng.choices(OTHER, k=rng.randint(0, 4))
        rng.shuffle(pick)
        yield " ".join(pick)


# ---- generated texts ---------------------------------------------------------------------------
PLANES = [(0x20, 0x7E), (0x00, 0x1F), (0x7F, 0x24F), (0x250, 0x36F), (0x370, 0x52F), (0x530, 0x6FF),
          (0x900, 0xDFF), (0xE00, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x1DFF), (0x1E00, 0x206F),
          (0x2070, 0x2BFF), (0x2C00, 0x303F), (0x3040, 0x33FF), (0x4E00, 0x9FFF), (0xA000, 0xABFF),
          (0xAC00, 0xD7FF), (0xE000, 0xF8FF), (0xF900, 0xFAFF), (0xFB00, 0xFFFF), (0x10000, 0x107FF),
          (0x10800, 0x11FFF), (0x12000, 0x1B2FF), (0x1B300, 0x1F2FF), (0x1F300, 0x1FAFF),
          (0x20000, 0x2FA1F), (0x30000, 0xDFFFF), (0xE0000, 0xE01EF), (0xF0000, 0x10FFFF)]
CODE = ["def f(x):\n    return x + 1\n", "for (int i = 0; i < n; ++i) {\n\t\ta[i] *= 2;\n}\r\n",
        "SELECT * FROM t WHERE a = 'b';", "<div class=\"x\">&amp;</div>", "#include <a.h>\n\n\n"]


def some_char(rng):
    low, high = rng.choice(PLANES)
    while True:
        c = rng.randint(low, high)
        if not 0xD800 <= c <= 0xDFFF:
            return chr(c)


def some_text(rng, specials):
    parts = []
    for _ in range(rng.randint(1, 9)):
        kind = rng.randrange(15)
        if kind < 4:
            parts.append(rng.choice(WORDS))
        elif kind < 6:
            parts.append(rng.choice(OTHER))
        elif kind == 6:
            parts.append("".join(some_char(rng) for _ in range(rng.randint(1, 8))))
        elif kind == 7:
            low, high = rng.choice(PLANES)
            parts.append("".join(chr(c) for c in (rng.randint(low, high) for _ in range(6))
                                 if not 0xD800 <= c <= 0xDFFF))
        elif kind == 8:
            parts.append(rng.choice([" ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2028", "a", "é"])
                         * rng.choice([1, 2, 3, 5, 9, 40]))
        elif kind == 9:
            parts.append(rng.choice("aeou字") + "".join(chr(rng.randint(0x300, 0x36F)) for _ in
                                                       range(rng.randint(1, 4))))
        elif kind == 10 and specials:
            parts.append(rng.choice(["", " ", "  ", "\n", "x"]) + rng.choice(specials)
                         + rng.choice(["", " ", "  ", "\t", "x", "."]))
        elif kind == 11:
            parts.append(rng.choice(CODE))
        elif kind == 12:
            parts.append("".join(rng.choice("0123456789٠١٢٣½²Ⅷ") for _ in range(rng.randint(1, 9))))
        elif kind == 13:
            parts.append("".join(rng.choice("👍🏽👩\u200d❤\ufe0f🇩🇪🇫\u20e31#") for _ in range(5)))
        else:
            parts.append(rng.choice(WORDS).upper())
        parts.append(rng.choice(["", " ", " ", "  ", "\n", SPACE, "'", "'s"]))
    return "".join(parts)


# ---- tokenizers --------------------------------------------------------------------------------
def train(tok, trainer, rng):
    tok.train_from_iterator(list(corpus(rng)), trainer)
    return tok


def bpe(rng, normalizer=None, pre=None, decoder=None, post=None, specials=(), size=420, alphabet=None,
        add=(), model=None, **changes):
    tok = Tokenizer(models.BPE(**(model or {})))
    if normalizer:
        tok.normalizer = normalizer
    if pre:
        tok.pre_tokenizer = pre
    options = {k: v for k, v in (model or {}).items()
               if k in ("continuing_subword_prefix", "end_of_word_suffix")}
    train(tok, trainers.BpeTrainer(vocab_size=size, special_tokens=list(specials), show_progress=False,
                                   initial_alphabet=alphabet or [], **options), rng)
    data = json.loads(tok.to_str())
    data["model"].update(changes)
    tok = Tokenizer.from_str(json.dumps(data))
    if decoder:
        tok.decoder = decoder
    if post:
        tok.post_processor = post(tok) if callable(post) else post
    tok.add_tokens(list(add))
    return tok


def byte_level(rng, pre=None, **options):
    return bpe(rng, pre=pre or pre_tokenizers.ByteLevel(add_prefix_space=False),
               decoder=decoders.ByteLevel(), alphabet=pre_tokenizers.ByteLevel.alphabet(), **options)


def split_bytes(*patterns):
    steps = [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
    return pre_tokenizers.Sequence(
        steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def visible(normalizer=None, pre=None, decoder=decoders.ByteFallback(), add=()):
    """Byte pieces only, and a mark behind every piece: ids show text and cuts completely."""
    vocab = {f"<0x{b:02X}>": b for b in range(256)}
    tok = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True, end_of_word_suffix="\x01"))
    if normalizer:
        tok.normalizer = normalizer
    if pre:
        tok.pre_tokenizer = pre
    if decoder:
        tok.decoder = decoder
    tok.add_tokens(list(add))
    return tok


def template(tok, bos="<s>", eos="</s>"):
    ids = [(t, tok.token_to_id(t)) for t in (bos, eos)]
    return processors.TemplateProcessing(single=f"{bos} $A {eos}", pair=f"{bos} $A {eos} $B {eos}",
                                         special_tokens=ids)


def charsmap(full):
    import sentencepiece
    rules = "\n".join(["0041\t0061", "FB01\t0066 0069", "00E9\t0065", "0065 0301\t0065", "3000\t0020",
                       "200D\t", "0020 0020\t0020", "AC00\t1100 1161", "1F44D\t002B"]) + "\n"
    with tempfile.TemporaryDirectory() as folder:
        tsv = os.path.join(folder, "rules.tsv")
        with open(tsv, "w") as out:
            out.write(rules)
        writer = io.BytesIO()
        which = ({"normalization_rule_name": "nmt_nfkc"} if full else {"normalization_rule_tsv": tsv})
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(list(corpus(random.Random(5)))), model_writer=writer, vocab_size=300,
            hard_vocab_limit=False, minloglevel=2, **which)
    import sentencepiece.sentencepiece_model_pb2 as pb
    model = pb.ModelProto()
    model.ParseFromString(writer.getvalue())
    return model.normalizer_spec.precompiled_charsmap


def unigram(rng, normalizer=None, pre=None, decoder=None, post=None, byte_fallback=False, add=()):
    tok = Tokenizer(models.Unigram())
    if normalizer:
        tok.normalizer = normalizer
    tok.pre_tokenizer = pre
    specials = ["<s>", "</s>", "<unk>"] + ([f"<0x{b:02X}>" for b in range(256)] if byte_fallback else [])
    train(tok, trainers.UnigramTrainer(vocab_size=500, special_tokens=specials, unk_token="<unk>",
                                       show_progress=False), rng)
    data = json.loads(tok.to_str())
    data["model"]["byte_fallback"] = byte_fallback
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    tok = Tokenizer.from_str(json.dumps(data))
    if decoder:
        tok.decoder = decoder
    if post:
        tok.post_processor = post(tok)
    tok.add_tokens(list(add))
    return tok


def wordpiece(rng, normalizer, pre, cleanup, post=None, prefix="##"):
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20,
                                     continuing_subword_prefix=prefix))
    tok.normalizer, tok.pre_tokenizer = normalizer, pre
    train(tok, trainers.WordPieceTrainer(vocab_size=500, special_tokens=["[PAD]", "[UNK]", "[CLS]",
                                                                         "[SEP]", "[MASK]"],
                                         continuing_subword_prefix=prefix, show_progress=False), rng)
    tok.decoder = decoders.WordPiece(prefix=prefix, cleanup=cleanup)
    cls, sep = [(t, tok.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
    tok.post_processor = (post or processors.BertProcessing)(sep, cls)
    return tok


def word_level(rng, pre, decoder=None):
    tok = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tok.pre_tokenizer = pre
    train(tok, trainers.WordLevelTrainer(vocab_size=200, special_tokens=["<unk>", "<pad>"],
                                         show_progress=False), rng)
    if decoder:
        tok.decoder = decoder
    return tok


def llama_decoder():
    return decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(),
                              decoders.Strip(" ", 1, 0)])


def flagged():
    def token(text, **flags):
        return AddedToken(text, **flags)
    return [token("<a>", normalized=False), token("<ab>", lstrip=True, normalized=False, special=True),
            token("<R>", rstrip=True, normalized=False), token("<both>", lstrip=True, rstrip=True),
            token("Word", single_word=True), token("WORD2", single_word=True, normalized=False),
            token("[S]", special=True), token("[S][S]"), token("  ", normalized=False),
            token("<Ünï>", lstrip=True, single_word=True), token("é"), token("x</", normalized=False)]


def kinds(full=False):
    n, p, d = normalizers, pre_tokenizers, decoders
    rng = random.Random(1)
    small = charsmap(full)
    bos_eos = ["<s>", "</s>"]
    fallback = [f"<0x{b:02X}>" for b in range(256)]

    def no_bytes(tok):  # byte pieces are no added tokens
        data = json.loads(tok.to_str())
        data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
        return Tokenizer.from_str(json.dumps(data))

    yield "bpe_gpt2", byte_level(rng, specials=["<|endoftext|>"], post=processors.ByteLevel())
    yield "bpe_roberta", byte_level(
        rng, pre=p.ByteLevel(add_prefix_space=True), specials=bos_eos + ["<mask>"],
        post=lambda t: processors.RobertaProcessing(("</s>", 1), ("<s>", 0), add_prefix_space=True))
    yield "bpe_llama3", byte_level(
        rng, pre=split_bytes(LLAMA3), specials=bos_eos, ignore_merges=True,
        post=lambda t: processors.Sequence([processors.ByteLevel(), template(t)]))
    yield "bpe_qwen2", byte_level(rng, normalizer=n.NFC(), pre=split_bytes(QWEN2),
                                  add=[AddedToken("<|im_start|>", special=True, normalized=False)])
    for name, patterns in (("cl100k", [CL100K]), ("o200k", [O200K]), ("kimi", [KIMI]),
                           ("deepseek", DEEPSEEK)):
        yield "bpe_" + name, byte_level(rng, pre=split_bytes(*patterns), size=300)
    yield "bpe_starcoder", byte_level(rng, size=300, pre=p.Sequence(
        [p.Digits(individual_digits=True), p.ByteLevel(add_prefix_space=False, use_regex=True)]))
    yield "bpe_byte_normalizer", bpe(rng, normalizer=n.ByteLevel(), pre=p.Split(Regex(r"Ġ?[^Ġ]+"),
                                     "isolated"), alphabet=p.ByteLevel.alphabet(),
                                     decoder=d.ByteLevel(), add=flagged(), size=300)
    yield "bpe_llama2", no_bytes(bpe(
        rng, normalizer=n.Sequence([n.Prepend(SPACE), n.Replace(" ", SPACE)]),
        specials=["<unk>"] + bos_eos + fallback, size=600, decoder=llama_decoder(),
        post=lambda t: template(t), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    yield "bpe_gemma", no_bytes(bpe(
        rng, normalizer=n.Replace(" ", SPACE), pre=p.Split(" ", "merged_with_previous"),
        specials=["<unk>"] + bos_eos + fallback, size=600, unk_token="<unk>", fuse_unk=True,
        byte_fallback=True, decoder=d.Sequence([d.Replace(SPACE, " "), d.ByteFallback(), d.Fuse()])))
    yield "bpe_metaspace_first", no_bytes(bpe(
        rng, pre=p.Metaspace(prepend_scheme="first", split=False), specials=["<unk>"] + bos_eos
        + fallback, size=600, unk_token="<unk>", fuse_unk=True, byte_fallback=True, add=flagged(),
        decoder=d.Sequence([d.Metaspace(prepend_scheme="first"), d.ByteFallback()])))
    yield "bpe_some_bytes", no_bytes(bpe(  # byte pieces for a few bytes only; unknown for the rest
        rng, pre=p.WhitespaceSplit(), specials=["<unk>"] + fallback[:0xD8], size=480,
        unk_token="<unk>", byte_fallback=True, decoder=d.ByteFallback()))
    yield "bpe_clip", bpe(
        rng, normalizer=n.Sequence([n.NFC(), n.Replace(Regex(r"\s+"), " "), n.Lowercase()]),
        pre=p.Sequence([p.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"),
                                "removed", invert=True), p.ByteLevel(add_prefix_space=False)]),
        model={"end_of_word_suffix": "</w>"}, alphabet=p.ByteLevel.alphabet(), size=600,
        decoder=d.BPEDecoder("</w>"), unk_token="<|endoftext|>", specials=["<|endoftext|>"])
    yield "bpe_prefix_suffix", bpe(
        rng, pre=p.Whitespace(), model={"continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"},
        specials=["<unk>"], unk_token="<unk>", decoder=d.BPEDecoder("</w>"))
    yield "bpe_unknown", bpe(rng, pre=p.WhitespaceSplit(), specials=["<unk>"], unk_token="<unk>", size=140)
    yield "bpe_unknown_fused", bpe(rng, pre=p.WhitespaceSplit(), specials=["<unk>"], unk_token="<unk>",
                                   fuse_unk=True, size=140)
    yield "bpe_dropped", bpe(rng, size=140)
    old = byte_level(rng, size=300)
    data = json.loads(old.to_str())
    data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]
    yield "bpe_old_merges", Tokenizer.from_str(json.dumps(data))

    yield "wordpiece_bert", wordpiece(rng, n.BertNormalizer(), p.BertPreTokenizer(), True)
    yield "wordpiece_cased", wordpiece(rng, n.BertNormalizer(lowercase=False, strip_accents=False),
                                       p.BertPreTokenizer(), False, processors.RobertaProcessing)
    yield "wordpiece_prefix", wordpiece(rng, n.Sequence([n.NFD(), n.StripAccents()]),
                                        p.Whitespace(), True, prefix="é")
    yield "unigram_xlmr", unigram(
        rng, normalizer=n.Sequence([n.Precompiled(small), n.Replace(Regex(" {2,}"), " ")]),
        pre=p.Metaspace(), decoder=d.Metaspace(), post=template)
    yield "unigram_t5", unigram(rng, normalizer=n.Precompiled(small), add=flagged(),
                                pre=p.Sequence([p.WhitespaceSplit(), p.Metaspace()]),
                                decoder=d.Metaspace(prepend_scheme="always"))
    yield "unigram_albert", unigram(
        rng, normalizer=n.Sequence([n.Replace("``", '"'), n.NFKD(), n.StripAccents(), n.Lowercase()]),
        pre=p.Metaspace(prepend_scheme="never", split=False), decoder=d.Metaspace(prepend_scheme="never"))
    yield "unigram_bytes", unigram(rng, normalizer=n.Sequence([n.Nmt(), n.NFKC()]), byte_fallback=True,
                                   pre=p.Metaspace(), decoder=d.Sequence([d.ByteFallback(),
                                                                          d.Metaspace()]))
    yield "wordlevel", word_level(rng, p.Whitespace())
    yield "wordlevel_ctc", word_level(rng, p.Split("", "isolated"), d.CTC())

    for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel"):
        yield "norm_" + name, visible(getattr(n, name)(), decoder=d.ByteFallback())
    for left in (True, False):
        for right in (True, False):
            yield f"norm_Strip_{left:d}{right:d}", visible(n.Strip(left, right))
    yield "norm_Prepend", visible(n.Prepend("ab"), add=flagged())
    yield "norm_Replace", visible(n.Replace("a", "<é>"))
    yield "norm_Replace_none", visible(n.Replace(Regex(r"[aeiou]|(?=x)"), ""))
    yield "norm_Precompiled", visible(n.Precompiled(small))
    for bits in range(16):
        clean, chinese, strip, lower = (bool(bits >> i & 1) for i in range(4))
        yield f"norm_Bert_{bits}", visible(n.BertNormalizer(clean, chinese, strip, lower))
    for i, regex in enumerate(ODD_REGEXES):
        yield f"regex_{i}", visible(pre=p.Split(Regex(regex), "isolated"))
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            yield f"pre_Split_{behavior}_{invert:d}", visible(pre=p.Split(Regex(r"\d|e"), behavior, invert))
        yield f"pre_Split_text_{behavior}", visible(pre=p.Split("a", behavior))
        yield f"pre_Punctuation_{behavior}", visible(pre=p.Punctuation(behavior))
    for name in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer", "UnicodeScripts"):
        yield "pre_" + name, visible(pre=getattr(p, name)())
    yield "pre_Digits", visible(pre=p.Digits(False))
    yield "pre_Digits_single", visible(pre=p.Digits(True))
    yield "pre_CharDelimiterSplit", visible(pre=p.CharDelimiterSplit("e"))
    yield "pre_FixedLength", visible(pre=p.FixedLength(length=3))
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            yield f"pre_Metaspace_{scheme}_{split:d}", visible(
                pre=p.Metaspace("_", scheme, split), add=flagged(), decoder=d.Metaspace("_", scheme))
    yield "pre_Metaspace_strip", visible(n.Sequence([n.Strip(), n.Lowercase()]), add=flagged(),
                                         pre=p.Metaspace(prepend_scheme="first"))
    yield "pre_Metaspace_words", visible(n.Prepend("«"), pre=p.Sequence(
        [p.Punctuation(), p.Metaspace(prepend_scheme="first")]))
    for prefix in (True, False):
        for regex in (True, False):
            yield f"pre_ByteLevel_{prefix:d}{regex:d}", visible(pre=p.ByteLevel(prefix, use_regex=regex))
    yield "pre_ByteLevel_then", visible(pre=p.Sequence([p.ByteLevel(False), p.Digits(True)]))
    yield "added", visible(add=flagged(), pre=p.WhitespaceSplit())
    yield "added_lower", visible(n.Sequence([n.NFD(), n.Lowercase()]), add=flagged())
    yield "dec_Strip", visible(decoder=d.Sequence([d.ByteFallback(), d.Strip("e", 2, 1)]))
    yield "dec_Replace", visible(decoder=d.Sequence([d.ByteFallback(), d.Fuse(), d.Replace(Regex("[ae]+"),
                                                                                          "_")]))
    yield "dec_WordPiece", visible(decoder=d.Sequence([d.ByteFallback(), d.WordPiece("e", True)]))
    yield "dec_none", visible(decoder=None)


# ---- comparing ---------------------------------------------------------------------------------
def expected(tok, request):
    try:
        if "d" in request:
            ids = request["d"]
        else:
            ids = tok.encode(request["t"], add_special_tokens=request["a"]).ids
    except BaseException as e:  # the library panics, which is no subclass of Exception
        return {"error": str(e)}
    out = {"ids": ids}
    for key, skip in (("text", False), ("clean", True)):
        try:
            out[key] = tok.decode(ids, skip_special_tokens=skip)
        except BaseException:
            out[key] = None  # it panics; ours may answer anything
    return out


def requests_for(tok, rng, count):
    specials = [t.content for t in tok.get_added_tokens_decoder().values()]
    size = tok.get_vocab_size()
    for i in range(count):
        if i % 10 == 9:
            yield {"d": [rng.randrange(size + 3) for _ in range(rng.randint(1, 12))]}
        else:
            yield {"t": some_text(rng, specials), "a": i % 3 != 0}


def same(want, got):
    if "error" in want or "error" in got:
        return "error" in want and "error" in got
    return all(want[k] is None or want[k] == got[k] for k in ("ids", "text", "clean"))


def compare(name, tok, path, probe, count, seed):
    rng = random.Random(f"{name}{seed}")
    requests = list(requests_for(tok, rng, count))
    lines = "\n".join(json.dumps(r) for r in requests) + "\n"
    run = subprocess.run([probe, path], input=lines.encode(), capture_output=True)
    answers = run.stdout.decode().split("\n")[:-1]
    if run.returncode != 0 or len(answers) != len(requests):
        print(f"{name}: the probe stopped with {run.returncode}: {run.stderr.decode()[:500]}")
        return 1
    bad = 0
    for request, line in zip(requests, answers):
        want, got = expected(tok, request), json.loads(line)
        if same(want, got):
            continue
        bad += 1
        if bad <= 3:
            print(f"  {name}: {json.dumps(request)}\n    want {want}\n    got  {got}")
    print(f"{name}: {len(requests)} texts, {bad} mismatches", flush=True)
    return bad


def fuzz(options):
    total = 0
    tokenizers = [(f, Tokenizer.from_file(f), f) for f in options.file]
    for _, tok, _ in tokenizers:
        tok.no_truncation()
        tok.no_padding()
    with tempfile.TemporaryDirectory() as folder:
        if not options.file:
            for name, tok in kinds(full=True):
                if options.only and not any(o in name for o in options.only):
                    continue
                path = os.path.join(folder, name + ".json")
                tok.save(path)
                tokenizers.append((name, tok, path))
        for name, tok, path in tokenizers:
            total += compare(name, tok, path, options.probe, options.fuzz, options.seed)
    print(f"{len(tokenizers)} tokenizers, {total} mismatches")
    return 1 if total else 0


def write(folder):
    """One file for each trained tokenizer; all that differ in the steps only share one file."""
    os.makedirs(folder, exist_ok=True)

    def save(name, data):
        with open(os.path.join(folder, name + ".json"), "w") as out:
            json.dump(data, out, ensure_ascii=False, separators=(",", ":"))

    shared = []
    for name, tok in kinds():
        data = json.loads(tok.to_str())
        steps_only = len(data["model"]["vocab"]) == 256 and not data["model"].get("merges", [1])
        rng = random.Random(name)
        cases = []
        for request in requests_for(tok, rng, 6 if steps_only else 12):
            want = expected(tok, request)
            if want.get("clean") == want.get("text"):
                want.pop("clean", None)
            cases.append({"request": request, **want})
        if not steps_only:
            save(name, {"tokenizers": [{"name": name, "tokenizer": data, "cases": cases}]})
            continue
        model = data.pop("model")
        shared.append({"name": name, "tokenizer": data, "cases": cases})
    save("steps", {"model": model, "tokenizers": shared})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out")
    parser.add_argument("--fuzz", type=int, default=0)
    parser.add_argument("--probe")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--file", nargs="*", default=[])
    options = parser.parse_args()
    if options.out:
        write(options.out)
    return fuzz(options) if options.fuzz else 0


sys.exit(main())
