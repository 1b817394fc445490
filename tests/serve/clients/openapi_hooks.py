"""Hooks for schemathesis: what JSON Schema cannot say of a request.

Bodies that the schema allows are changed so that their fields fit together (docs/serving.md), and
so that answers are short. Bodies that it forbids are left as they are.
"""
import schemathesis
from schemathesis import GenerationMode

MOST = 4  # tokens of an answer
LIMITS = ("max_tokens", "max_completion_tokens")


def fit(body, path):
    if path.endswith("/infer"):  # its other fields may be anything
        return fit_tensors(body)
    limits = [name for name in LIMITS if body.get(name) is not None]
    for name in limits:  # larger ones may not fit the context beside the prompt
        body[name] = min(body[name], MOST)
    if not limits and path.endswith(("completions", "generate", "generate_stream")):
        body["max_tokens"] = MOST
    for name in ("min_tokens", "min_length"):  # no more than max_tokens
        if body.get(name) is not None:
            body[name] = 0
    for name in ("n", "num_return_sequences", "beam_width", "best_of"):  # as many as the queue has room for
        if body.get(name) is not None:
            body[name] = min(body[name], 2)
    for name in ("prompt", "input", "tools"):
        if isinstance(body.get(name), list):
            body[name] = body[name][:4]
    if body.get("top_logprobs") is not None:  # the one asks for the other
        body["logprobs"] = True
    if body.get("stream_options") is not None:
        body["stream"] = True
    if body.get("best_of") is not None:  # no less than n, and more than n in no stream
        body["best_of"] = max(body["best_of"], body.get("n") or 1)
        if body.get("stream"):
            body["best_of"] = body.get("n") or 1
    if body.get("use_beam_search"):  # more than one
        body["n"] = body["best_of"] = 2
    if body.get("beam_width") is not None and body.get("num_return_sequences") is not None:
        body["beam_width"] = 2


def fit_tensors(body):
    for tensor in body.get("inputs") or []:
        tensor["data"] = tensor["data"][:2]
        tensor["shape"] = [len(tensor["data"])]
        if tensor["name"] == "max_tokens":
            tensor["data"] = [min(tensor["data"][0], MOST)]


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, dict) and case.meta.generation.mode == GenerationMode.POSITIVE:
        case.body = dict(case.body)
        fit(case.body, case.path)
