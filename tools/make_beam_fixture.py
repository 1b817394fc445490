#!/usr/bin/env python3
"""Beam search of Hugging Face's generate() on a tiny LLaMA of random weights: the model and what it
generates, for tests/runtime/beam_test.cc.

  python3 tools/make_beam_fixture.py tests/data/runtime/beam
"""
import json
import pathlib
import sys

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM


def main():
    out = pathlib.Path(sys.argv[1])
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=256,
        initializer_range=0.35, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
        dtype=torch.float32)
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)

    cases = []
    random = torch.Generator().manual_seed(11)
    for i in range(36):
        length = 1 + i % 9
        prompt = torch.randint(3, 96, (1, length), generator=random)
        beams = [2, 4, 3, 8][i % 4]
        early = [True, False, "never"][i % 3]
        penalty = [0.0, 1.0, 2.0, -1.0, 0.5][i % 5]
        tokens = [1, 5, 12, 20][i // 3 % 4]
        options = {}
        if i % 7 == 3:
            options["repetition_penalty"] = 1.3
        if i % 7 == 5:
            options["no_repeat_ngram_size"] = 2
        # Tokens that it likes, so that beams end at different lengths.
        likely = model(prompt).logits[0, -1].topk(12).indices.tolist()
        eos = [[], likely[3:4], likely[2:6], likely[5:12]][i // 2 % 4]
        done = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, num_beams=beams,
            num_return_sequences=beams, early_stopping=early, length_penalty=penalty,
            max_new_tokens=tokens, eos_token_id=eos or None, pad_token_id=0,
            return_dict_in_generate=True, output_scores=True, **options)
        outputs = []
        for row, score in zip(done.sequences, done.sequences_scores):
            ids = row[length:].tolist()
            ends = [k for k, t in enumerate(ids) if t in eos]
            outputs.append({"tokens": ids[:ends[0] + 1] if ends else ids, "score": score.item()})
        cases.append({
            "prompt": prompt[0].tolist(), "num_beams": beams, "length_penalty": penalty,
            "early_stopping": {True: 1, False: 0, "never": 2}[early], "max_new_tokens": tokens,
            "eos": eos, **options, "outputs": outputs})
    text = ",\n".join(json.dumps(c) for c in cases)
    (out / "cases.json").write_text(
        f'{{"transformers": "{transformers.__version__}", "cases": [\n{text}\n]}}\n')


if __name__ == "__main__":
    main()
