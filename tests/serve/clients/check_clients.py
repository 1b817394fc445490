#!/usr/bin/env python3
"""check_clients.py [--url http://127.0.0.1:8000] [--reference DIR]: a running server as unmodified
clients see it: openai, anthropic, tritonclient (HTTP, and gRPC with --grpc), Prometheus's parser.
--reference: the model's Hugging Face directory; embeddings are compared with transformers'.
Packages: requirements.txt beside this file."""
import argparse
import urllib.request

import numpy as np

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--url", default="http://127.0.0.1:8000")
parser.add_argument("--grpc", help="HOST:PORT of the gRPC service")
parser.add_argument("--reference")
parser.add_argument("--cafile", help="certificate to trust, for https")
parser.add_argument("--api_key", default="none")
args = parser.parse_args()


def key():
    return {"authorization": "Bearer " + args.api_key}  # a new one: tritonclient adds to it


def check(what, ok):
    print("ok  " if ok else "FAIL", what, flush=True)
    if not ok:
        raise SystemExit(1)


def check_openai():
    import openai

    client = openai.OpenAI(base_url=args.url + "/v1", api_key=args.api_key, max_retries=0,
                           http_client=openai.DefaultHttpxClient(verify=args.cafile or True))
    model = client.models.list().data[0].id
    ask = [{"role": "user", "content": "What is the capital of France?"}]
    chat = client.chat.completions.create(model=model, messages=ask, max_tokens=12, temperature=0,
                                          logprobs=True, top_logprobs=3)
    answer = chat.choices[0].message.content
    check(f"openai chat: {answer!r}", chat.usage.completion_tokens > 0 and len(answer) > 0)
    content = chat.choices[0].logprobs.content
    check("openai chat logprobs", all(len(t.top_logprobs) == 3 and t.logprob <= 0 for t in content))
    pieces, usage = [], None
    for chunk in client.chat.completions.create(model=model, messages=ask, max_tokens=12, temperature=0,
                                                stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        pieces += [c.delta.content or "" for c in chunk.choices]
    check("openai chat stream", "".join(pieces) == answer and
          usage.completion_tokens == chat.usage.completion_tokens)
    several = client.chat.completions.create(model=model, messages=ask, max_tokens=8, n=3, seed=1, temperature=1)
    check("openai chat n=3", len({c.message.content for c in several.choices}) > 1 and len(several.choices) == 3)
    done = client.completions.create(model=model, prompt=["One, two,", "Red, green,"], max_tokens=6,
                                     temperature=0, logprobs=2, echo=True)
    check(f"openai completions: {done.choices[0].text!r}", done.choices[0].text.startswith("One, two,"))
    check("openai completions logprobs", len(done.choices[1].logprobs.token_logprobs) ==
          len(done.choices[1].logprobs.tokens))
    text = "".join(c.choices[0].text for c in client.completions.create(
        model=model, prompt="One, two,", max_tokens=6, temperature=0, stream=True))
    check("openai completions stream", "One, two," + text == done.choices[0].text)
    try:
        client.completions.create(model="another", prompt="x")
        check("openai unknown model", False)
    except openai.NotFoundError as error:
        check("openai unknown model: " + error.message[:60], True)
    many = client.embeddings.create(model=model, input=["a cat", "a dog", "an essay on tax law"])
    plain = client.embeddings.create(model=model, input="a cat", encoding_format="float")
    a = np.array([d.embedding for d in many.data])
    check(f"openai embeddings {a.shape}", np.allclose(np.linalg.norm(a, axis=1), 1, atol=1e-4) and
          np.allclose(a[0], plain.data[0].embedding, atol=2e-3))


def check_reference():
    import openai
    import torch
    import transformers

    client = openai.OpenAI(base_url=args.url + "/v1", api_key=args.api_key)
    model = client.models.list().data[0].id
    reference = transformers.AutoModelForCausalLM.from_pretrained(args.reference, dtype=torch.float32)
    rng = np.random.default_rng(1)
    for length in (1, 7, 300):
        ids = rng.integers(0, reference.config.vocab_size, length).tolist()
        with torch.no_grad():
            states = reference.model(torch.tensor([ids])).last_hidden_state[0].numpy()
        for pooling, expected in (("mean", states.mean(axis=0)), ("last", states[-1])):
            got = client.embeddings.create(model=model, input=[ids], encoding_format="float",
                                           extra_body={"pooling": pooling, "normalize": False}).data[0].embedding
            error = np.abs(np.array(got) - expected).max() / np.abs(expected).max()
            check(f"transformers' states, {pooling} of {length}: error {error:.1e}", error < 2e-3)


def check_anthropic():
    import anthropic

    client = anthropic.Anthropic(base_url=args.url, api_key=args.api_key)
    ask = dict(model=model_name(), max_tokens=12, extra_body={"temperature": 0}, system="Be brief.",
               messages=[{"role": "user", "content": "Name a colour."}])
    whole = client.messages.create(**ask)
    with client.messages.stream(**ask) as stream:
        text = "".join(stream.text_stream)
        last = stream.get_final_message()
    check(f"anthropic: {text!r}", text == whole.content[0].text and last.usage.output_tokens ==
          whole.usage.output_tokens)


def triton_inputs(module):
    prompts = np.array([["One, two,"], ["Red, green,"]], dtype=object)
    inputs = [module.InferInput("text_input", [2, 1], "BYTES"), module.InferInput("max_tokens", [2, 1], "INT32"),
              module.InferInput("temperature", [2, 1], "FP32")]
    inputs[0].set_data_from_numpy(prompts)
    inputs[1].set_data_from_numpy(np.full((2, 1), 6, dtype=np.int32))
    inputs[2].set_data_from_numpy(np.zeros((2, 1), dtype=np.float32))
    return inputs


def check_triton_http(expected):
    import tritonclient.http as triton

    client = triton.InferenceServerClient(args.url.removeprefix("http://"))
    name = model_name()
    check("tritonclient.http health", client.is_server_live(headers=key()) and client.is_server_ready(headers=key()) and
          client.is_model_ready(name, headers=key()))
    check("tritonclient.http metadata", client.get_server_metadata(headers=key())["name"] == "tokamak" and
          client.get_model_metadata(name, headers=key())["inputs"][0]["name"] == "text_input")
    for outputs in (None, [triton.InferRequestedOutput("text_output")],
                    [triton.InferRequestedOutput("text_output", binary_data=False)]):
        result = client.infer(name, triton_inputs(triton), outputs=outputs, request_id="42", headers=key())
        texts = [t.decode() if isinstance(t, bytes) else t for t in result.as_numpy("text_output").flatten()]
        check(f"tritonclient.http infer {texts}", texts == expected)


def as_the_backends_clients(module):
    """What the example clients of Triton's TensorRT-LLM backend send beside prompt and length."""
    def tensor(name, kind, values):
        values = np.array(values, dtype=object if kind == "BYTES" else kind)
        of = {"BYTES": "BYTES", "int32": "INT32", "float32": "FP32", "uint64": "UINT64", "bool": "BOOL"}[kind]
        t = module.InferInput(name, list(values.shape), of)
        t.set_data_from_numpy(values)
        return t
    return [tensor("bad_words", "BYTES", [[""], [""]]), tensor("stop_words", "BYTES", [[""], [""]]),
            tensor("stream", "bool", [[False], [False]]), tensor("beam_width", "int32", [[2], [2]]),
            tensor("top_k", "int32", [[1], [1]]), tensor("top_p", "float32", [[0], [0]]),
            tensor("random_seed", "uint64", [[2**64 - 1]] * 2), tensor("return_log_probs", "bool", [[True], [True]])]


def stream_grpc(triton, client, name, empty_end):
    import queue

    results = queue.Queue()
    client.start_stream(headers=key(), callback=lambda result, error: results.put((result, error)))
    stream = triton.InferInput("stream", [1, 1], "BOOL")
    stream.set_data_from_numpy(np.array([[True]]))
    client.async_stream_infer(name, triton_inputs(triton) + [stream], request_id="43",
                              enable_empty_final_response=empty_end)
    texts, answers, final = ["", ""], 0, False
    while not final:
        r, e = results.get(timeout=60)
        if e is not None:
            check(f"tritonclient.grpc stream: {e}", False)
        answers += 1
        final = r.get_response().parameters["triton_final_response"].bool_param
        if not (final and empty_end):
            for i, piece in enumerate(r.as_numpy("text_output")):
                texts[i] += piece.decode()
    client.stop_stream()
    return texts, answers


def check_triton_grpc(expected):
    import tritonclient.grpc as triton

    client = triton.InferenceServerClient(args.grpc)
    name = model_name()
    check("tritonclient.grpc health", client.is_server_live(headers=key()) and client.is_server_ready(headers=key()) and
          client.is_model_ready(name, headers=key()))
    check("tritonclient.grpc metadata", client.get_server_metadata(headers=key()).name == "tokamak" and
          client.get_model_metadata(name, headers=key()).inputs[0].name == "text_input")
    result = client.infer(name, triton_inputs(triton), request_id="42", headers=key())
    texts = [t.decode() for t in result.as_numpy("text_output").flatten()]
    check(f"tritonclient.grpc infer {texts}", texts == expected)
    for empty_end in (False, True):
        streamed, answers = stream_grpc(triton, client, name, empty_end)
        check(f"tritonclient.grpc stream_infer {streamed} in {answers} answers", streamed == expected and answers > 4)
    beams = client.infer(name, triton_inputs(triton) + as_the_backends_clients(triton), headers=key())
    check(f"tritonclient.grpc beams {beams.as_numpy('text_output').tolist()}",
          beams.as_numpy("text_output").shape == (4,) and beams.as_numpy("cum_log_probs").shape == (4,) and
          beams.as_numpy("output_log_probs").shape == (4, 6))
    try:
        client.infer("another", triton_inputs(triton), headers=key())
        check("tritonclient.grpc unknown model", False)
    except triton.InferenceServerException as error:
        check(f"tritonclient.grpc unknown model: {error.status()}", True)


def model_name():
    import openai
    return openai.OpenAI(base_url=args.url + "/v1", api_key=args.api_key).models.list().data[0].id


def check_prometheus():
    from prometheus_client.parser import text_string_to_metric_families

    with urllib.request.urlopen(args.url + "/metrics") as answer:
        families = {f.name: f for f in text_string_to_metric_families(answer.read().decode())}
    check(f"prometheus: {len(families)} families", "tokamak:time_to_first_token_seconds" in families and
          families["tokamak:generation_tokens"].samples[0].value > 0)


check_openai()
if args.url.startswith("http://"):
    check_anthropic()
    import openai
    done = openai.OpenAI(base_url=args.url + "/v1", api_key=args.api_key).completions.create(
        model=model_name(), prompt=["One, two,", "Red, green,"], max_tokens=6, temperature=0)
    expected = [c.text for c in done.choices]
    check_triton_http(expected)
    if args.grpc:
        check_triton_grpc(expected)
    check_prometheus()
    if args.reference:
        check_reference()
