#!/usr/bin/env python3
"""Dumps logits of PEFT adapters over the tiny models of tests/data/models → tests/data/lora/NAME/.

Needs: pip install torch transformers peft safetensors numpy. The fixtures are committed; the tests
read them without Python.
"""
import json
import pathlib

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.numpy import save_file
from transformers import AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS, OUT = ROOT / "tests/data/models", ROOT / "tests/data/lora"
SEED = 20261121
MLP = ["gate_proj", "up_proj", "down_proj"]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj"] + MLP

# name: model, LoraConfig
ADAPTERS = {
    "llama-all": ("llama", dict(r=8, lora_alpha=16, target_modules=ALL)),
    "llama-some": ("llama", dict(r=3, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "v_proj"],
                                 layers_to_transform=[1])),
    "llama-pattern": ("llama", dict(r=4, lora_alpha=8, target_modules=["v_proj", "down_proj"],
                                    rank_pattern={"down_proj": 6}, alpha_pattern={"down_proj": 3})),
    "phi3-fused": ("phi3", dict(r=4, lora_alpha=4,
                                target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"])),
    "gemma3-all": ("gemma3", dict(r=5, lora_alpha=10, target_modules=ALL)),
}


def main():
    for index, (name, (model_name, config)) in enumerate(ADAPTERS.items()):
        base = AutoModelForCausalLM.from_pretrained(MODELS / model_name, dtype=torch.float32,
                                                    attn_implementation="eager").eval()
        model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", bias="none", **config)).eval()
        generator = torch.Generator().manual_seed(SEED + index)
        with torch.no_grad():
            for parameter, p in model.named_parameters():
                if "lora_" in parameter:
                    p.copy_((0.1 * torch.randn(p.shape, generator=generator)).to(torch.bfloat16).float())
        tokens = np.random.default_rng(SEED + index).integers(0, base.config.vocab_size, 37)
        with torch.no_grad():
            ids = torch.tensor([tokens.tolist()])
            logits = model(input_ids=ids, use_cache=False).logits[0].float().numpy()
            with model.disable_adapter():
                plain = model(input_ids=ids, use_cache=False).logits[0].float().numpy()
        folder = OUT / name
        if index % 2:  # PEFT writes the dtype that the adapter has
            model = model.to(torch.bfloat16)
        model.save_pretrained(folder)
        config_file = folder / "adapter_config.json"
        written = json.loads(config_file.read_text()) | {"base_model_name_or_path": model_name}
        config_file.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")
        (folder / "README.md").unlink(missing_ok=True)
        save_file({"tokens": tokens.astype(np.int32), "logits": logits}, folder / "reference.safetensors")
        (folder / "model.txt").write_text(model_name + "\n")
        print(f"{name:16} {sum(f.stat().st_size for f in folder.iterdir()):7} bytes, "
              f"differs from the model by up to {np.abs(logits - plain).max():.2f}")


if __name__ == "__main__":
    main()
