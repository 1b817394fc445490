#!/usr/bin/env python3
"""soak.py [--port 8000] [--streams 512] [--seconds 600] [--pid PID]

Loads a server as bad clients do and checks that it loses and duplicates nothing: of all requests
20 % vanish in the middle, 5 % are cancelled by closing both ways after the first piece, 2 % are
malformed, 8 % read slowly, 5 % ask for JSON of a schema. Greedy answers to one question must always
be the same (serve with --deterministic); an answer must have every token once; overload must be a
429 with Retry-After. At the end no KV block may be in use, and the memory of the server's process
may not have grown since the first tenth of the time. With --drain the server then gets SIGTERM while
answers run: they must be whole, and it must end. Needs Python alone. Exit code 1 when something is
wrong.
"""
import argparse
import asyncio
import collections
import json
import os
import random
import re
import signal
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=8000)
parser.add_argument("--streams", type=int, default=512)
parser.add_argument("--seconds", type=float, default=600)
parser.add_argument("--pid", type=int, help="of the server: its memory is watched")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--questions", type=int, default=40)
parser.add_argument("--drain", action="store_true", help="at the end: needs --pid")
parser.add_argument("--growth", type=float, default=5, help="percent that memory may grow")
args = parser.parse_args()

random.seed(args.seed)
counts = collections.Counter()
wrong = []
known = {}  # question → answer
waits = []  # seconds to the first piece of accepted requests
draining = False
SCHEMA = {"type": "object", "properties": {"colour": {"enum": ["red", "green"]}, "number": {"type": "integer", "maximum": 99, "minimum": 0}},
          "required": ["colour", "number"], "additionalProperties": False}
MALFORMED = [b'{"prompt": ', b"[]", b'{"prompt": 5, "max_tokens": 3}', b"\xff\xfe{", b'{"prompt": "x", "n": 0}']


def complain(what):
    counts["wrong"] += 1
    if len(wrong) < 20:
        wrong.append(what)


async def request(method, path, body=b"", keep=False):
    reader, writer = await asyncio.open_connection(args.host, args.port, limit=1 << 16)
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return reader, writer


async def read_head(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
    return int(head.split()[1]), head.lower()


async def get(path):
    reader, writer = await request("GET", path)
    status, _ = await read_head(reader)
    body = await reader.read(-1)
    writer.close()
    return status, body.decode()


def check_answer(number, tokens, stream):
    text, ids, done, used = "", [], False, None
    for line in stream.split(b"\n"):
        if not line.startswith(b"data: "):
            continue
        if done:
            return complain(f"question {number}: something follows [DONE]")
        if line.startswith(b"data: [DONE]"):
            done = True
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            return complain(f"question {number}: {chunk['error']}")
        for choice in chunk["choices"]:
            text += choice["text"]
            ids += choice["token_ids"]
        used = chunk.get("usage") or used
    if not done:
        return complain(f"question {number}: the stream broke off after {len(ids)} tokens")
    if tokens is None:
        value = json.loads(text)
        if list(value) != ["colour", "number"] or value["colour"] not in ("red", "green"):
            complain(f"not of the schema: {text!r}")
        counts["guided"] += 1
        return
    if len(ids) != tokens or used["completion_tokens"] != tokens:
        return complain(f"question {number}: {len(ids)} tokens, {used}, asked for {tokens}")
    if known.setdefault(number, (text, ids)) != (text, ids):
        return complain(f"question {number}: two answers: {known[number][0]!r} and {text!r}")
    counts["whole"] += 1


async def slowly(reader):
    stream = b""
    while piece := await reader.read(256):
        stream += piece
        await asyncio.sleep(0.02)
    return stream


def unchunked(raw):
    out = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        n = int(size, 16)
        if n == 0:
            break
        out, raw = out + raw[:n], raw[n + 2:]
    return out


async def malformed():
    if random.random() < 0.3:  # not even HTTP
        _, writer = await asyncio.open_connection(args.host, args.port)
        writer.write(random.randbytes(200))
        await writer.drain()
        writer.close()
        counts["noise"] += 1
        return
    reader, writer = await request("POST", "/v1/completions", random.choice(MALFORMED))
    status, _ = await read_head(reader)
    if status != 400:
        complain(f"a malformed body was answered with {status}")
    counts["malformed"] += 1
    writer.close()


async def one(kind):
    if kind < 0.02:
        return await malformed()
    number = random.randrange(args.questions)
    tokens = 4 + number
    body = {"prompt": f"Question {number}: what is {number} times {number + 7}? " + "Think. " * (number % 9),
            "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": True,
            "return_token_ids": True, "stream_options": {"include_usage": True}}
    if kind >= 0.95:
        tokens = None
        body |= {"ignore_eos": False, "max_tokens": 500, "response_format":
                 {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}
    start = time.monotonic()
    reader, writer = await request("POST", "/v1/completions", json.dumps(body).encode())
    try:
        if kind < 0.22:  # vanishes, often before anything has come
            await asyncio.sleep(random.random() * random.choice([0.01, 0.3, 2]))
            writer.transport.abort()
            counts["vanished"] += 1
            return
        status, head = await read_head(reader)
        if status == 429:
            if "retry-after: " not in head:
                complain("a 429 has no Retry-After")
            counts["refused"] += 1
            await asyncio.sleep(0.5 + random.random())
            return
        if status == 503 and draining:
            counts["turned away"] += 1
            return
        if status != 200:
            return complain(f"question {number}: status {status}: {await reader.read(500)}")
        if kind < 0.27:
            await reader.read(100)
            counts["cancelled"] += 1
            return
        first = await reader.read(1)
        waits.append(time.monotonic() - start)
        rest = await (slowly(reader) if kind < 0.35 else reader.read(-1))
        check_answer(number, tokens, unchunked(first + rest))
    finally:
        writer.close()


async def stream(end):
    while time.monotonic() < end:
        try:
            await one(random.random())
        except (OSError, asyncio.IncompleteReadError) as error:
            complain(f"connection: {error!r}")
            await asyncio.sleep(0.2)


def memory():
    with open(f"/proc/{args.pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024


def metric(text, name):
    return float(re.search(rf"^tokamak:{name}{{.*}} (.*)$", text, re.M)[1])


async def watch(end, history):
    begin = time.monotonic()
    while time.monotonic() < end:
        await asyncio.sleep(min(10, args.seconds / 20))
        status, text = await get("/metrics")
        rss = memory() if args.pid else 0
        history.append((time.monotonic() - begin, rss))
        print(f"{time.monotonic() - begin:5.0f} s  running {metric(text, 'num_requests_running'):3.0f}  "
              f"waiting {metric(text, 'num_requests_waiting'):4.0f}  KV {metric(text, 'kv_cache_usage_perc'):.2f}  "
              f"RSS {rss:.0f} MB  {dict(counts)}", flush=True)


async def at_rest():
    for _ in range(300):
        _, text = await get("/metrics")
        left = [metric(text, n) for n in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")]
        if left == [0, 0, 0]:
            return
        await asyncio.sleep(0.1)
    complain(f"at rest there are still {left[0]} running, {left[1]} waiting, {left[2]} of the KV cache")


async def last():
    try:
        await one(0.5)
    except (OSError, asyncio.IncompleteReadError) as error:
        if not draining:
            complain(f"connection: {error!r}")
        counts["turned away"] += 1


async def drain():
    """SIGTERM when a third of the streams has begun; what has begun must end as it should."""
    global draining
    whole, begun = counts["whole"], len(waits)
    tasks = [asyncio.create_task(last()) for _ in range(args.streams)]
    while len(waits) < begun + args.streams // 3 and not all(t.done() for t in tasks):
        await asyncio.sleep(0.001)
    draining = True
    os.kill(args.pid, signal.SIGTERM)
    await asyncio.gather(*tasks)
    print(f"after SIGTERM: {counts['whole'] - whole} of {args.streams} answers whole, {counts['turned away']} turned away")
    if counts["whole"] - whole < len(waits) - begun:
        complain(f"{len(waits) - begun} answers had begun at the end")


async def main():
    end = time.monotonic() + args.seconds
    history = []
    await asyncio.gather(watch(end, history), *[stream(end) for _ in range(args.streams)])
    await at_rest()
    warm = [rss for t, rss in history if t < args.seconds * 0.3]
    if args.pid and warm and history[-1][1] > max(warm) * (1 + args.growth / 100):
        complain(f"memory grew from {max(warm):.0f} MB to {history[-1][1]:.0f} MB")
    if args.drain:
        await drain()
    waits.sort()
    if waits:
        print(f"first piece: median {waits[len(waits) // 2]:.2f} s, longest {waits[-1]:.2f} s")
    print(dict(counts))
    for w in wrong:
        print("WRONG:", w)
    return 1 if counts["wrong"] else 0


raise SystemExit(asyncio.run(main()))
