#!/usr/bin/env python3
"""make_tiny_model.py DIR: a LLaMA of 100,000 random weights with a tokenizer of 300 pieces, as
Hugging Face saves it. Quick enough for clients that ask thousands of questions."""
import json
import pathlib
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM

root = pathlib.Path(__file__).resolve().parents[2]
to = pathlib.Path(sys.argv[1])
torch.manual_seed(1)
config = LlamaConfig(vocab_size=320, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
                     bos_token_id=None, eos_token_id=None, pad_token_id=None)
model = LlamaForCausalLM(config).to(torch.float32)
for p in model.parameters():  # larger than transformers begins with: outputs that differ
    if p.dim() == 2:
        torch.nn.init.normal_(p, std=0.1)
model.save_pretrained(to)
fixture = json.loads((root / "data/text/tokenizers/bpe_o200k.json").read_text())
(to / "tokenizer.json").write_text(json.dumps(fixture["tokenizers"][0]["tokenizer"]))
(to / "chat_template.jinja").write_text(
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:")
