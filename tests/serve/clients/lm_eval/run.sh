#!/usr/bin/env bash
# run.sh [URL] [MODEL]: lm_eval (pip install "lm_eval[api]") against a running server, on eight
# questions that lie beside this file: log-likelihoods through /v1/completions, answers through
# /v1/chat/completions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
url=${1:-http://127.0.0.1:8000}
model=${2:-$(curl -s "$url/v1/models" | python3 -c 'import json,sys; print(json.load(sys.stdin)["data"][0]["id"])')}
export OPENAI_API_KEY=${OPENAI_API_KEY:-none} HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
lm_eval run --model local-completions --include_path . --tasks capitals_choice \
  --model_args "base_url=$url/v1/completions,model=$model,tokenizer_backend=${TOKENIZER_BACKEND:-remote},num_concurrent=2"
lm_eval run --model local-chat-completions --include_path . --tasks capitals_chat --apply_chat_template \
  --model_args "base_url=$url/v1/chat/completions,model=$model,num_concurrent=2"
