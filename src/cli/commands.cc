#include "cli/command.h"

namespace tokamak::cli {

Run declare_convert(CLI::App& app);
Run declare_quantize(CLI::App& app);
Run declare_build(CLI::App& app);
Run declare_run(CLI::App& app);
Run declare_chat(CLI::App& app);
Run declare_serve(CLI::App& app);
Run declare_bench(CLI::App& app);
Run declare_bench_serve(CLI::App& app);
Run declare_eval(CLI::App& app);
Run declare_tokenize(CLI::App& app);
Run declare_inspect(CLI::App& app);
Run declare_explain(CLI::App& app);
Run declare_devices(CLI::App& app);
Run declare_completion(CLI::App& app);

namespace {

constexpr Command kCommands[] = {
    {"convert", "Published model (HF directory or GGUF) → checkpoint",
     "  tokamak convert --model_dir Llama-3.2-1B --output_dir ckpt --dtype bfloat16\n"
     "  tokamak convert --model_dir SmolLM2.Q4_1.gguf --output_dir ckpt\n"
     "  tokamak convert --model_dir Llama-3.1-8B --output_dir ckpt --tp_size 2\n"
     "  tokamak convert --model_dir Llama-3.1-8B --output_dir ckpt --use_weight_only "
     "--weight_only_precision int4 --group_size 64",
     declare_convert},
    {"quantize", "Checkpoint or published model → checkpoint with int8 or int4 weights",
     "  tokamak quantize --checkpoint_dir ckpt --output_dir ckpt8 --qformat int8_wo\n"
     "  tokamak quantize --model_dir Qwen3-4B --output_dir ckpt4 --qformat int4_wo --group_size 32 "
     "--has_zero_point --exclude_modules mlp.proj\n"
     "  tokamak quantize --checkpoint_dir ckpt --output_dir ckpt4 --qformat int4_wo --eval_text "
     "wiki.txt --eval_windows 16",
     declare_quantize},
    {"build", "Checkpoint → engine, fused and tuned for this machine",
     "  tokamak build --checkpoint_dir ckpt --output_dir engine\n"
     "  tokamak build --checkpoint_dir ckpt --output_dir engine --max_batch_size 16 "
     "--max_num_tokens 2048\n"
     "  tokamak build --checkpoint_dir ckpt --output_dir engine --no_tuning",
     declare_build},
    {"run", "Generate from prompts",
     "  tokamak run --engine_dir engine --input_text \"Once upon a time\" --max_output_len 64\n"
     "  tokamak run --model model.gguf --chat_template --streaming --input_text \"What is a "
     "tokamak?\"\n"
     "  tokamak run --engine_dir engine --input_file prompts.jsonl --output_npy ids.npy "
     "--temperature 0",
     declare_run},
    {"chat", "Talk to a model in the terminal",
     "  tokamak chat --model SmolLM2.Q4_1.gguf\n"
     "  tokamak chat --engine_dir engine --system_prompt \"Answer in one sentence.\"",
     declare_chat},
    {"serve", "Serve a model over HTTP to OpenAI clients",
     "  tokamak serve --model SmolLM2.Q4_1.gguf --port 8000\n"
     "  tokamak serve --engine_dir engine --host 0.0.0.0 --api_key SECRET --max_queue_size 256",
     declare_serve},
    {"bench", "Latency and throughput of static batches",
     "  tokamak bench --engine_dir engine --batch_size \"1;4;8\" --input_output_len "
     "\"128,128;512,64\"\n"
     "  tokamak bench --random_weights --model_config config.json --dtype bfloat16",
     declare_bench},
    {"bench_serve", "Load an OpenAI endpoint: throughput and latencies",
     "  tokamak bench_serve --url http://127.0.0.1:8000 --concurrency 16 --input_words 120 "
     "--output_len 128\n"
     "  tokamak bench_serve --url http://127.0.0.1:8000 --request_rate 4 --num_requests 200",
     declare_bench_serve},
    {"eval", "Measure a model's quality",
     "  tokamak eval ppl --model model.gguf --text wiki.txt --ctx 512\n"
     "  tokamak eval ppl --engine_dir engine --text wiki.txt --ctx 1024 --method strided --stride "
     "512\n"
     "  tokamak eval kl --model ckpt-int4 --reference ckpt --text wiki.txt\n"
     "  tokamak eval kl --model ckpt-int8 --also ckpt-int4,model.gguf --reference ckpt --text "
     "wiki.txt --windows 16\n"
     "  tokamak eval kl --model ckpt --activation_bits 8 --reference ckpt --text wiki.txt",
     declare_eval},
    {"tokenize", "Text to token ids, and back",
     "  tokamak tokenize --model model.gguf --input_text \"Hello world\"\n"
     "  echo '[19556, 905]' | tokamak tokenize --model tokenizer.json --decode --input_file "
     "/dev/stdin",
     declare_tokenize},
    {"inspect", "Show a model, checkpoint or engine: config, tensors, graph",
     "  tokamak inspect model.gguf --tensors\n"
     "  tokamak inspect ckpt --graph fused\n"
     "  tokamak inspect ckpt --graph model --dot | dot -Tsvg > graph.svg\n"
     "  tokamak inspect engine --graph plan\n"
     "  tokamak inspect engine --verify",
     declare_inspect},
    {"explain", "Where a step's time goes, against the machine's measured limits",
     "  tokamak explain engine\n"
     "  tokamak explain --model model.gguf --tokens 512 --context 0",
     declare_explain},
    {"devices", "Devices, ISA levels and measured limits",
     "  tokamak devices\n"
     "  tokamak devices --measure --json",
     declare_devices},
    {"completion", "Print a shell completion script",
     "  tokamak completion bash > /etc/bash_completion.d/tokamak\n"
     "  tokamak completion zsh > ~/.zfunc/_tokamak\n"
     "  tokamak completion fish > ~/.config/fish/completions/tokamak.fish",
     declare_completion},
};

}  // namespace

std::span<const Command> commands() { return kCommands; }

}  // namespace tokamak::cli
