#!/usr/bin/env python3
"""Tests `translate serve`: `serve.py PROGRAM SCRATCH [SECONDS]`.

Checks the answers, the errors, streams, hosts, limits, the order of answers, and 64 clients at once for that many
seconds (default 4), 8 of which stall.
"""
import json
import math
import pathlib
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from served import LINKS, Server, check, parse, sentence, skip_without_server, train, translation

program, scratch = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]).resolve()
seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 4
skip_without_server(program)
models = train(program, scratch)


def says(answer, status, *parts):
    """Checks that an answer is an error with this status, whose message has these parts."""
    got, body = answer
    message = body.get("error", {}).get("message", "") if isinstance(body, dict) else ""
    check(got == status and body["error"]["status"] == status and all(part in message for part in parts),
          f"expected {status} {parts}, got {got} {body}")


def translate(server, *sentences, **options):
    status, body = server.post("/translate", {"sentences": list(sentences), **options})
    check(status == 200, body)
    return body


def texts(body):
    return [[hypothesis["text"] for hypothesis in result["hypotheses"]] for result in body["results"]]


# Options of translations that take long.
LONG = {"min_decoding_length": 400, "max_decoding_length": 400, "max_length_a": 0, "max_length_b": 0}


def check_answers(server):
    body = translate(server, sentence(1, 2), "", sentence(3, 4), beam_size=3, num_hypotheses=3, return_attention=True)
    check([t[0] for t in texts(body)] == [translation(1, 2), "", translation(3, 4)], body)
    check(body["model"]["name"] == "first" and body["model"]["layers"] == 2 and body["model"]["heads"] == 4, body)
    result = body["results"][0]
    check(result["source_tokens"] == ["word1", "other2", "￭.", "</s>"], result)
    best = result["hypotheses"]
    check(len(best) == 3 and best[0]["score"] >= best[1]["score"] >= best[2]["score"], best)
    for hypothesis in best:
        check(abs(sum(hypothesis["token_log_probabilities"]) - hypothesis["log_probability"]) < 1e-3, hypothesis)
        check(len(hypothesis["token_log_probabilities"]) == len(hypothesis["tokens"]) + hypothesis["ended"], hypothesis)
    rows = best[0]["attention"]
    check(len(rows) == len(best[0]["tokens"]) and all(abs(sum(row) - 1) < 1e-3 for row in rows), rows)

    # The results are those of `translate run`, which reads the same options.
    lines = "".join(sentence(i % 7, i % 5) + "\n" for i in range(8))
    run = subprocess.run([program, "run", "--model", models / "first", "--beam-size", "4", "--n-best", "2",
                          "--length-penalty", "0.5"], input=lines, capture_output=True, text=True)
    expected = [line.split(" ||| ")[1] for line in run.stdout.splitlines()]
    body = translate(server, *lines.splitlines(), beam_size=4, num_hypotheses=2, length_penalty=0.5)
    check([text for best in texts(body) for text in best] == expected, (body, expected))

    check(translate(server, max_length_b=0)["results"] == [], "no sentences")

    # Samples depend on the seed, prefixes are kept, limits hold.
    samples = [texts(translate(server, sentence(1, 2), sampling_topk=0, sampling_temperature=5, num_hypotheses=4,
                               seed=seed)) for seed in (1, 1, 2)]
    check(samples[0] == samples[1] != samples[2], samples)
    body = translate(server, sentence(1, 2), target_prefix=["词三"])
    check(texts(body)[0][0].startswith("词三"), body)
    body = translate(server, sentence(1, 2), max_decoding_length=2)
    check(texts(body) == [["词一"]] and not body["results"][0]["hypotheses"][0]["ended"], body)
    check(texts(translate(server, sentence(1, 2), end_token="它")) == [["词一"]], "end_token")
    status, body = server.post("/translate", json.dumps({"sentences": [sentence(1, 2)]})[:-1] + ', "seed": -0}')
    check(status == 200 and texts(body) == [[translation(1, 2)]], body)
    check(texts(translate(server, sentence(1, 2), end_token=["一", "它"])) == [["词"]], "end_token")
    check(translate(server, sentence(1, 2), end_token="</s>")["results"] == translate(server, sentence(1, 2))["results"],
          "end_token </s>")
    # <s> and </s> within a translation are tokens like any other.
    body = translate(server, sentence(1, 2), end_token="它", sampling_topk=0, sampling_temperature=5, num_hypotheses=16,
                     return_attention=True)
    samples = body["results"][0]["hypotheses"]
    check({"<s>", "</s>"} <= {token for sample in samples for token in sample["tokens"]}, samples)
    for sample in samples:
        check(len(sample["token_log_probabilities"]) == len(sample["tokens"]) + sample["ended"], sample)
        check(len(sample["attention"]) == len(sample["tokens"]) and "s>" not in sample["text"], sample)
    check("一" not in texts(translate(server, sentence(1, 2), suppress_sequences=["一"]))[0][0], "suppress_sequences")

    # Attention and influence.
    tokens = list(translation(1, 2))
    status, body = server.post("/align", {"source": sentence(1, 2), "target_tokens": tokens})
    check(status == 200 and body["target_tokens"] == tokens + ["</s>"], body)
    links = " ".join(sorted(f"{row.index(max(row))}-{i}" for i, row in enumerate(body["values"][:-1])))
    check(links == " ".join(sorted(LINKS.split())), (links, body))
    pair = {"source": sentence(1, 2), "target": translation(1, 2)}
    readings = [server.post("/align", {**pair, "layer": layer, "head": head})[1]["values"]
                for layer in (1, 2) for head in (1, 2, 3, 4)]
    check(len(set(map(str, readings))) == 8, "layers and heads")
    mean = server.post("/align", {**pair, "layer": 2})[1]["values"]
    check(all(abs(mean[i][j] - sum(readings[4 + h][i][j] for h in range(4)) / 4) < 2e-4
              for i in range(len(mean)) for j in range(4)), mean)
    influence = server.post("/align", {**pair, "reading": "influence"})[1]
    check(influence["shades"][1][0] > 0.5 and influence["shades"][3][1] > 0.5, influence)  # 一 needs word1, 二 other2

    # Target tokens are those of answers, <s> and </s> among them.
    first_rows = []
    for token in ("</s>", "<s>", "<unk>"):
        answer = {"source": sentence(1, 2), "target_tokens": [token, "词"], "reading": "influence"}
        status, body = server.post("/align", answer)
        check(status == 200 and body["target_tokens"] == [token, "词", "</s>"], body)
        first_rows.append(str(body["values"]))
    check(len(set(first_rows)) == 3, first_rows)

    # Other models of the directory.
    listed = json.loads(server.ask("GET", "/models")[2])
    check(listed == {"default": "first", "models": ["first", "damaged", "second", "third"]}, listed)
    body = translate(server, sentence(1, 2), model="third")
    check(texts(body) == [[translation(1, 2)]] and body["model"]["name"] == "third", body)
    body = translate(server, sentence(1, 2), model="second")
    check(body["model"]["layers"] == 0 and body["model"]["type"] == "recurrent", body)
    says(server.post("/translate", {"sentences": ["word1"], "model": "second", "return_attention": True}), 400,
         "return_attention: the model second has no attention")
    says(server.post("/align", {**pair, "model": "second"}), 400, "the model second has no attention")
    check(server.post("/align", {**pair, "model": "second", "reading": "influence"})[0] == 200, "influence")
    says(server.post("/translate", {"sentences": ["word1"], "model": "damaged"}), 500, "model.safetensors")
    for name in ("no_model", "../models/first", "/etc", "first/", ".", ".."):
        says(server.post("/translate", {"sentences": ["word1"], "model": name}), 400, "model: is",
             "expected one of first")


def check_stream(server):
    status, headers, text = server.ask("POST", "/translate", {"sentences": [sentence(2, 3)], "stream": True})
    parts = [json.loads(line) for line in text.splitlines()]
    check(status == 200 and headers["content-type"].startswith("application/x-ndjson"), headers)
    grown = [part["text"] for part in parts[:-1]]
    check(grown == [translation(2, 3)[:n] for n in range(1, 6)], grown)
    check(texts(parts[-1]["result"]) == [[translation(2, 3)]], parts[-1])
    status, _, text = server.ask("POST", "/translate", {"sentences": [""], "stream": True})
    check(status == 200 and texts(json.loads(text)["result"]) == [[""]], text)
    says(server.post("/translate", {"sentences": ["a"], "stream": True, "beam_size": 2}), 400,
         "stream: needs beam_size 1")
    says(server.post("/translate", {"sentences": ["a", "b"], "stream": True}), 400, "one sentence", "and 2")
    says(server.post("/translate", {"sentences": ["a " * 600], "stream": True}), 413, "sentences[0]: has 600 tokens")


def check_errors(server):
    def translate_says(body, status, *parts):
        says(server.post("/translate", body), status, *parts)

    translate_says('{"sentences": ["a"', 400, "request: line 1, column", "not valid JSON")
    translate_says('{"sentences": [], "sentences": []}', 400, "stands twice")
    translate_says(b'{"sentences": ["\xff"]}', 400, "not valid JSON")
    translate_says("[" * 100000, 400, "request: ")
    translate_says("[]", 400, "request: is [], expected a JSON object")
    translate_says("", 400, "not valid JSON")
    translate_says({}, 400, "sentences: is missing, expected a list of strings")
    translate_says({"sentences": "a"}, 400, 'sentences: is "a", expected a list of strings')
    translate_says({"sentences": ["a", 3]}, 400, "sentences[1]: is 3, expected a string")
    translate_says({"sentences": ["a"], "beam": 3}, 400, '"beam": is not an option, expected one of beam_size, ')
    for value in (0, 17, -1, 1.5, "2", None, True, [2], 2**63, 10**30):
        translate_says({"sentences": ["a"], "beam_size": value}, 400, "beam_size: is ",
                       "expected a whole number from 1 to 16")
    for value in (0, -1, 1.1, "1"):
        translate_says({"sentences": ["a"], "sampling_topp": value}, 400, "sampling_topp: is ", "above 0, at most 1")
    translate_says('{"sentences": ["a"], "sampling_topp": 1e400}', 400)
    translate_says({"sentences": ["a"], "early_stopping": "soon"}, 400, 'early_stopping: is "soon"',
                   '"always", "heuristic"')
    translate_says({"sentences": ["a"], "disable_unk": 1}, 400, "disable_unk: is 1, expected true or false")
    translate_says({"sentences": ["a"], "num_hypotheses": 2}, 400,
                   "num_hypotheses: is 2, expected at most 1 with beam_size 1")
    translate_says({"sentences": ["a"], "beam_size": 2, "sampling_topk": 5}, 400,
                   "sampling_topk: is 5, so beam_size must be 1")
    translate_says({"sentences": ["a"], "sampling_topp": 0.5}, 400, "sampling_topp: is 0.5, but sampling_topk is 1")
    translate_says({"sentences": ["a"], "min_decoding_length": 600}, 400,
                   "min_decoding_length: is 600, expected at most")
    translate_says({"sentences": ["a"], "end_token": "x"}, 400, 'end_token: "x" is not one of')
    translate_says({"sentences": ["a"], "suppress_sequences": ["xyz"]}, 400,
                   'suppress_sequences: the model does not know "x"')
    translate_says({"sentences": ["a"], "target_prefix": ["a", "b"]}, 400, "target_prefix: there are 2", "1 sentences")
    translate_says({"sentences": ["a", "a"], "target_prefix": ["词", "词x"]}, 400,
                   'target_prefix[1]: the model does not know "x"')
    translate_says({"sentences": ["a"] * 65}, 413, "sentences: there are 65, expected at most 64")
    translate_says({"sentences": ["b", "a " * 5000]}, 413, "sentences[1]: has 5000 tokens, expected at most",
                   "model's limit")
    attention = {"sentences": ["a " * 500] * 3, "beam_size": 16, "num_hypotheses": 16, "return_attention": True}
    translate_says(attention, 413, "return_attention: the answer may have 12312576 weights", "at most 5000000")
    # The minimum length counts where it is above a * source tokens + b.
    translate_says({**attention, "max_length_a": 0, "max_length_b": 1, "min_decoding_length": 500}, 413,
                   "may have 12024000 weights")
    translate_says({"sentences": ["a" * 300000]}, 413, "request: has more than 262144 bytes")
    says(server.post("/align", {"source": "a"}), 400, "target: is missing")
    says(server.post("/align", {"target": "a"}), 400, "source: is missing")
    says(server.post("/align", {"source": "a", "target": "a", "target_tokens": ["a"]}), 400, "given both")
    for token in ("xyz", ""):
        says(server.post("/align", {"source": "a", "target_tokens": ["词", token]}), 400,
             f'target_tokens[1]: the model does not know "{token}", expected tokens of its answers')
    says(server.post("/align", {"source": "a", "target": "a", "layer": 3}), 400,
         "layer: is 3, expected a whole number from 0 to 2")
    says(server.post("/align", {"source": "a", "target": "a", "head": 5}), 400, "head: is 5")
    says(server.post("/align", {"source": "a", "target": "a", "reading": "x"}), 400, 'reading: is "x"')
    says(server.post("/align", {"source": "a", "target": "a", "reading": "influence", "layer": 1}), 400, "layer: is 1")
    says(server.post("/align", {"source": "a " * 200, "target": "a", "reading": "influence"}), 413, "has 200 tokens")

    def http_says(status, *parts, method="POST", path="/translate", body="{}", **headers):
        got, answered, text = server.ask(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        says((got, json.loads(text)), status, *parts)
        return answered

    http_says(404, "there is no /x, expected /, /models", path="/x")
    http_says(404, "there is no /../etc/passwd", path="/../etc/passwd", method="GET", body=None)
    check(http_says(405, "/translate: takes POST, given GET", method="GET", body=None)["allow"] == "POST", "Allow")
    http_says(405, "/models: takes GET, given POST", path="/models")
    http_says(405, "takes POST, given DELETE", method="DELETE", body=None)
    http_says(415, 'Content-Type: is "text/plain", expected application/json', Content_Type="text/plain")
    http_says(415, 'Content-Type: is "application/jsonx"', Content_Type="application/jsonx")
    http_says(415, 'Content-Type: is "application/json2; charset=utf-8"', Content_Type="application/json2; charset=utf-8")
    for content_type in ("Application/JSON", "application/json;charset=utf-8", "application/JSON ; charset=utf-8"):
        http_says(400, "sentences: is missing", Content_Type=content_type)
    http_says(411, "Content-Length: is missing", Content_Length=None)
    # Every answer is whole, whatever part of it Range asks for.
    for part in ("bytes=0-3", "bytes=-5", "bytes=1000000-2000000", "bytes=" + ",".join(["0-"] * 1000)):
        for path in ("/", "/models", "/health"):
            status, headers, text = server.ask("GET", path, headers={"Range": part})
            check(status == 200 and headers["accept-ranges"] == "none" and "content-range" not in headers, headers)
            check(text.startswith("<!") and text.endswith("</html>\n") if path == "/" else json.loads(text), text)
        http_says(400, "sentences: is missing", Range=part)
        http_says(404, "there is no /x", Range=part, path="/x")
        status, _, text = server.ask("POST", "/translate", {"sentences": [sentence(1, 2)]}, {"Range": part})
        check(status == 200 and texts(json.loads(text)) == [[translation(1, 2)]], text)
    for part in ("x", "bytes=0-3,5-1"):
        http_says(400, f'Range: is "{part}", expected a list such as bytes=0-9, or none', Range=part)
    # Headers that do not say where the body ends.
    for length in ("2abc", "-2", "+2", "2 2", "2, 2", "0x2", "2.0", "-9223372036854775808"):
        http_says(400, f'Content-Length: is "{length}", expected a whole number', Content_Length=length)
        http_says(400, "Content-Length: is", Content_Length=length, method="GET", path="/health")
    for lengths in ("2\r\nContent-Length: 3", "2\r\nContent-Length: 2", "2\r\nTransfer-Encoding: chunked"):
        headers = http_says(400, "Content-Length or Transfer-Encoding: expected one of them, given 2",
                            Content_Length=lengths)
        check(headers["connection"] == "close", headers)
    for encoding in ("gzip", "gzip, chunked", "identity"):
        http_says(400, f'Transfer-Encoding: is "{encoding}", expected chunked', Content_Length=None,
                  Transfer_Encoding=encoding)
    http_says(400, "sentences: is missing", Content_Length="0002")
    http_says(400, "sentences: is missing", Content_Length=None, Transfer_Encoding="Chunked", body="2\r\n{}\r\n0\r\n\r\n")
    http_says(413, "request: has more than", Content_Length="9" * 30)
    http_says(413, "request: has more than", Content_Length=str(10**12))
    http_says(413, "request: has more than", Content_Length=None, Transfer_Encoding="chunked",
              body="".join(f"1000\r\n{'a' * 4096}\r\n" for _ in range(70)) + "0\r\n\r\n")
    http_says(400, "", path="/" + "x" * 10, method="NONSENSE", body=None)
    http_says(414, "", path="/" + "x" * 9000, body=None)
    for data in (b"\r\n\r\n", b"\x00\x01\x02\xff\r\n\r\n", b"GET / HTTP/9\r\n\r\n"):
        server.raw(data)  # any answer will do, and none
    check(server.ask("HEAD", "/")[0] == 200 and "Translate" in server.ask("GET", "/")[2], "the page")
    check("default-src 'none'" in server.ask("GET", "/")[1]["content-security-policy"], "Content-Security-Policy")
    check(json.loads(server.ask("GET", "/health")[2])["status"] == "ok", "/health")


def check_hosts(program, models):
    """Pages of other sites get no answer, even if their host names point at this machine."""
    def ask(server, status, *parts, host="localhost", **headers):
        for method, path, body in (("GET", "/", None), ("GET", "/models", None), ("POST", "/translate", {}),
                                   ("OPTIONS", "/translate", None), ("GET", "/nothing", None)):
            got, _, text = server.ask(method, path, body, {"Host": host, **headers})
            if status == 403:
                says((got, json.loads(text)), 403, *parts)
            else:
                check(got == {"/translate": 400, "/nothing": 404}.get(path, 200) or method == "OPTIONS" and got == 405,
                      (method, path, host, headers, got, text))

    def check_local(server):
        own = f"127.0.0.1:{server.port}"
        for host in ("localhost", f"localhost:{server.port}", "127.0.0.1", own, "[::1]", "[::1]:80"):
            ask(server, 200, host=host)
        for origin in (f"http://{own}", "http://localhost:3000", "https://[::1]"):
            ask(server, 200, host=own, Origin=origin)
        for origin in ("http://evil.example", f"http://evil.example:{server.port}", "null"):
            ask(server, 403, f'Origin: is "{origin}", expected a page of 127.0.0.1', host=own, Origin=origin)
        for host in ("evil.example", f"evil.example:{server.port}", "localhost.evil.example", "192.168.1.5", ""):
            ask(server, 403, f'Host: is "{host}", expected one of 127.0.0.1, ', "--allow-host adds names", host=host)
        ask(server, 403, 'Host: is ""', host=None)
        ask(server, 403, "Host or Origin: is given more than once", host="localhost\r\nHost: evil.example")

    with Server(program, models) as server:
        check_local(server)
        ask(server, 403, 'Host: is "my.host"', host="my.host")
    with Server(program, models, "--allow-host", "My.Host", "--allow-host", "other.host") as server:
        check_local(server)
        for host in ("my.host", "MY.host:80", "other.host"):
            ask(server, 200, host=host, Origin=f"https://{host}")
    with Server(program, models, "--host", "0.0.0.0") as server:
        for host in ("localhost", "192.168.1.5:80", "[fe80::1]", "any.name"):
            ask(server, 200, host=host, Origin=f"http://{host}")
            ask(server, 403, 'Origin: is "http://evil.example"', host=host, Origin="http://evil.example")
    with Server(program, models, "--host", "0.0.0.0", "--allow-host", "my.host") as server:
        for host in ("localhost", "192.168.1.5:80", "[fe80::1]", "my.host"):
            ask(server, 200, host=host)
        ask(server, 403, 'Host: is "evil.example"', "my.host or any IP address; ", host="evil.example")
    failed = subprocess.run([program, "serve", "--model", models / "first", "--allow-host", "http://my.host"],
                            capture_output=True, text=True)
    check(failed.returncode == 1 and "--allow-host" in failed.stderr and "without scheme and port" in failed.stderr,
          failed)


def check_order(server):
    """Requests that come one after another are answered in this order, also if the first takes longest."""
    answers, threads = {}, []
    slow = {"beam_size": 16, **LONG}

    def client(index, options):
        body = translate(server, *[sentence(index % 7, index % 5)] * options.pop("count", 1), **options)
        answers[index] = (body["request"], time.time())

    begin = time.time()
    for index in range(10):
        options = {**slow, "count": 3} if index % 4 == 0 else {"beam_size": 1 + index % 3}
        threads.append(threading.Thread(target=client, args=(index, options)))
        threads[-1].start()
        time.sleep(0.2)
    for thread in threads:
        thread.join()
    check(len(answers) == 10, answers)
    order = [answers[index] for index in range(10)]
    check([number for number, _ in order] == sorted(number for number, _ in order), order)
    print("slow requests take", [round(order[i][1] - begin, 2) for i in (0, 4, 8)], "s", flush=True)
    # Threads of this test may be late by a moment when they note the time.
    check(all(order[i][1] < order[j][1] + 2 for i in range(10) for j in range(i, 10)), order)


def post_head(length):
    return (f"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {length}\r\n\r\n").encode()


class Staller(threading.Thread):
    """A client that sends or reads too slowly, again and again."""

    def __init__(self, server, kind, end):
        super().__init__()
        self.server, self.kind, self.end, self.failed = server, kind, end, None

    def run(self):
        while time.time() < self.end:
            try:
                with self.server.connect() as connection:
                    self.stall(connection)
            except ConnectionError:
                pass  # the server has closed the connection, as it should
            except Exception as error:
                self.failed = error

    def stall(self, connection):
        body = json.dumps({"sentences": [sentence(1, 1)] * 64, "beam_size": 4, "num_hypotheses": 4}).encode()
        head = post_head(len(body))
        if self.kind == 0:  # sends nothing
            pass
        elif self.kind == 1:  # half a header
            connection.sendall(head[:30])
        elif self.kind == 2:  # half a body
            connection.sendall(head + body[:50])
        else:  # a byte now and then; reads nothing
            connection.settimeout(0.3)
            for byte in (head + body)[:1000]:
                connection.sendall(bytes([byte]))
                time.sleep(0.2)
                if time.time() > self.end:
                    return
            return
        while time.time() < self.end and connection.recv(65536):
            pass


def expected_texts(program, models):
    """What `translate run` prints: {(beam size, length limit): {pair: text}}."""
    pairs = [(a, b) for a in range(7) for b in range(5)]
    expected = {}
    for beam_size in (1, 2, 5):
        for limit in (5, 20):
            run = subprocess.run([program, "run", "--model", models / "first", "--beam-size", str(beam_size),
                                  "--max-decoding-length", str(limit)], capture_output=True, text=True,
                                 input="".join(sentence(*pair) + "\n" for pair in pairs))
            expected[beam_size, limit] = dict(zip(pairs, run.stdout.splitlines()))
    return expected


def check_clients(program, models):
    """64 clients at once, 8 of which stall."""
    expected = expected_texts(program, models)
    with Server(program, models, "--client-seconds", "2", "--max-connections", "100") as server:
        translate(server, sentence(0, 0))
        before = server.memory()
        end = time.time() + seconds
        answered, waits, failures = [0], [0.0], []
        lock = threading.Lock()

        def client(seed):
            draw = random.Random(seed)
            while time.time() < end:
                pairs = [(draw.randrange(7), draw.randrange(5)) for _ in range(draw.choice((1, 1, 3, 20)))]
                begin = time.time()
                beam_size, limit = draw.choice((1, 2, 5)), draw.choice((5, 20))
                try:
                    body = translate(server, *(sentence(*p) for p in pairs), beam_size=beam_size,
                                     max_decoding_length=limit)
                    good = [t[0] for t in texts(body)] == [expected[beam_size, limit][p] for p in pairs]
                except (Exception, SystemExit) as error:
                    good, body = False, error
                with lock:
                    answered[0] += 1
                    waits[0] = max(waits[0], time.time() - begin)
                    if not good:
                        failures.append((pairs, body))

        stallers = [Staller(server, i % 4, end) for i in range(8)]
        clients = [threading.Thread(target=client, args=(i,)) for i in range(56)]
        for thread in stallers + clients:
            thread.start()
        for thread in stallers + clients:
            thread.join(timeout=seconds + 60)
            check(not thread.is_alive(), "a client hangs")
        check(not failures, f"{len(failures)} of {answered[0]} answers are wrong: {failures[:2]}")
        check(answered[0] >= 56, f"{answered[0]} answers")
        check(all(staller.failed is None for staller in stallers), [staller.failed for staller in stallers])
        grown = server.memory() - before
        print(f"{answered[0]} answers in {seconds:.0f} s, the longest after {waits[0]:.2f} s, "
              f"memory {before / 1e6:.0f} + {grown / 1e6:.0f} MB", flush=True)
        check(grown < 200e6, f"memory has grown by {grown} bytes")


def check_limits(program, models):
    with Server(program, models, "--client-seconds", "1", "--max-connections", "3", "--max-waiting", "1",
                "--max-models", "1", "--decode-seconds", "0.5", "--max-beam-size", "1000") as server:
        # A slow client gets an error and loses its connection.
        begin = time.time()
        for data in (b"GET / HT", post_head(9) + b"{}"):
            got, _, text = parse(server.raw(data))
            says((got, json.loads(text)), 408, "too long to arrive")
        check(1.5 < time.time() - begin < 10, time.time() - begin)
        # Too many connections.
        for _ in range(5):  # on a busy machine, the second may be over before the last one asks
            held = [server.connect() for _ in range(3)]
            time.sleep(0.2)
            got, headers, text = server.ask("GET", "/health")
            for connection in held:
                connection.close()
            time.sleep(0.3)
            if got == 503:
                break
        says((got, json.loads(text)), 503, "too many connections")
        check(headers["retry-after"] == "1", headers)
        # Long work ends; work whose client has gone does not block the others.
        slow = {"sentences": [sentence(1, 1)] * 64, "beam_size": 1000, **LONG}
        says(server.post("/translate", slow), 503, "takes more than 0.5 seconds")
        # Too many waiting requests.
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(server.post("/translate", slow))) for _ in range(3)]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        for thread in threads:
            thread.join()
        messages = [body["error"]["message"] for _, body in answers]
        check(sum("too many requests: 1 are waiting" in message for message in messages) == 1, messages)
        # One model in memory at a time.
        for name in ("first", "second", "third", "first"):
            check(translate(server, sentence(1, 2), model=name)["model"]["name"] == name, name)
    with Server(program, models) as server:
        body = json.dumps({**slow, "beam_size": 16})
        for excess in (b"", b"\r\n"):  # bytes after the request do not hide that the client leaves
            with server.connect() as connection:
                connection.sendall(post_head(len(body)) + body.encode())
                time.sleep(0.3)
                connection.sendall(excess)
            begin = time.time()
            translate(server, sentence(1, 2))
            waited = time.time() - begin
            print(f"after a client that left: {waited:.2f} s", flush=True)
            check(waited < 5, "work for a client that left delays others")
        # A client closes only its own side. It gets no translation, but the reason.
        with server.connect() as connection:
            connection.sendall(post_head(len(body)) + body.encode())
            connection.shutdown(socket.SHUT_WR)
            got, _, text = parse(connection.makefile("rb").read())
            says((got, json.loads(text)), 400, "the client closed its side of the connection")
        # A second server cannot take the port. Requests in progress are answered when the server stops.
        second = subprocess.run([program, "serve", "--model", models / "first", "--port", str(server.port)],
                                capture_output=True, text=True)
        check(second.returncode == 1 and f"--port {server.port}: cannot listen there" in second.stderr, second)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(server.post("/translate", {**slow, "beam_size": 16})))
        thread.start()
        time.sleep(0.3)
        code, errors = server.stop(signal.SIGINT)
        thread.join()
        check(code == 0 and errors == "", (code, errors))
        says(answers[0], 503, "the server is stopping")
    for how in (signal.SIGTERM, signal.SIGINT):
        with Server(program, models) as server, server.connect():
            begin = time.time()
            check(server.stop(how) == (0, ""), how)
            check(time.time() - begin < 5, "a stalled client delays the end")
    failed = subprocess.run([program, "serve", "--model", models / "no_model"], capture_output=True, text=True)
    check(failed.returncode == 1 and "config.json" in failed.stderr, failed)


def check_slow_reader(program, models):
    """A client may read a large answer slowly, but it must not pause for long."""
    options = {**LONG, "beam_size": 16, "num_hypotheses": 16, "return_attention": True}
    body = json.dumps({"sentences": [sentence(1, 1)] * 24, **options}).encode()
    with Server(program, models, "--client-seconds", "1") as server:
        for pause in (0, 3):
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                connection.settimeout(60)
                connection.connect(("127.0.0.1", server.port))
                connection.sendall(post_head(len(body)) + body)
                received = connection.recv(65536)
                begin = time.time()
                time.sleep(pause)
                try:
                    while block := connection.recv(65536):
                        received += block
                        if pause == 0:
                            time.sleep(0.03)
                except ConnectionError:
                    pass
            head, _, text = received.partition(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            print(f"a reader that pauses for {pause} s: {len(text)} of {length} bytes in {time.time() - begin:.1f} s",
                  flush=True)
            check((len(text) == length) == (pause == 0), "a slow reader")


def check_batch_time(program, models):
    """Requests that share a batch have the time of all of them: they are answered together."""
    work = {"sentences": [sentence(1, 1)] * 4, "beam_size": 16, **LONG}
    with Server(program, models) as server:
        server.post("/translate", work)
        begin = time.time()
        server.post("/translate", work)
        alone = time.time() - begin
    with Server(program, models, "--decode-seconds", str(2 * alone)) as server:
        ends = []

        def client():
            check(server.post("/translate", work)[0] == 200, "one of a batch")
            ends.append(time.time())

        first = threading.Thread(target=server.post, args=("/translate", {**work, "beam_size": 15}))
        threads = [threading.Thread(target=client) for _ in range(8)]
        first.start()
        time.sleep(alone / 4)
        for thread in threads:
            thread.start()
        for thread in [first] + threads:
            thread.join()
        spread = max(ends) - min(ends)
        print(f"a batch of 8: answers within {spread:.2f} s; one alone takes {alone:.2f} s", flush=True)
        check(len(ends) == 8 and spread < 2 * alone, "the batch was discarded")


def check_accept(program, models):
    """The server continues after errors of the system that pass."""
    compiler = shutil.which("c++")
    if not sys.platform.startswith("linux") or compiler is None:
        return
    library = models.parent / "failing_accept.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, pathlib.Path(__file__).with_name("failing_accept.cpp"),
                    "-ldl"], check=True)
    with Server(program, models, environment={"LD_PRELOAD": str(library)}) as server:
        with server.connect() as waiting:  # a connection in progress goes on
            for _ in range(3):
                try:
                    server.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                except ConnectionError:
                    pass
            check(json.loads(server.ask("GET", "/health")[2])["status"] == "ok", "/health")
            waiting.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            check(parse(waiting.recv(65536))[0] == 200, "an open connection")
        check(server.stop() == (0, ""), "SIGTERM")


def check_strange_name(program, models):
    """A folder's name need not be UTF-8."""
    strange = models.parent / "strange" / b"caf\xe9".decode(errors="surrogateescape")
    shutil.copytree(models / "first", strange)
    with Server(program, strange.parent, model=strange.name) as server:
        listed = json.loads(server.ask("GET", "/models")[2])
        check(listed == {"default": "caf\ufffd", "models": ["caf\ufffd"]}, listed)
        check(texts(translate(server, sentence(1, 2))) == [[translation(1, 2)]], "a folder whose name is not UTF-8")


def check_not_finite(program, models):
    """A NaN in a model is an error where it matters, and never part of an answer."""
    folder = models.parent / "not_finite" / "model"
    shutil.copytree(models / "first", folder)
    row = (folder / "source_vocabulary.txt").read_text().splitlines().index("word2")
    data = bytearray((folder / "model.safetensors").read_bytes())
    header = int.from_bytes(data[:8], "little")
    tensor = json.loads(data[8:8 + header])["source_embedding.weight"]
    place = 8 + header + tensor["data_offsets"][0] + 4 * row * tensor["shape"][1]
    data[place:place + 4] = b"\xff" * 4
    (folder / "model.safetensors").write_bytes(data)
    with Server(program, folder.parent, model="model") as server:
        pair = {"source": sentence(2, 1), "target": translation(2, 1)}
        says(server.post("/align", pair), 500, "attention: the model gives no finite numbers")
        says(server.post("/align", {**pair, "reading": "influence"}), 500, "influence: the model gives no finite numbers")
        says(server.post("/translate", {"sentences": [sentence(2, 1)], "return_attention": True}), 500, "not finite")
        check(server.post("/align", {**pair, "source": sentence(1, 2)})[0] == 200, "another sentence")


resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
failed = subprocess.run([program, "serve", "--model", models / "first", "--port", "0", "--host", "256.0.0.1"],
                        capture_output=True, text=True)
check(failed.returncode == 1 and "--host 256.0.0.1, --port 0: cannot listen there" in failed.stderr, failed)
with Server(program, models) as server:
    check_answers(server)
    check_stream(server)
    check_errors(server)
    check_order(server)
    check_answers(server)
    check(server.stop() == (0, ""), "SIGTERM")
check_hosts(program, models)
check_strange_name(program, models)
check_not_finite(program, models)
check_limits(program, models)
check_slow_reader(program, models)
check_batch_time(program, models)
check_accept(program, models)
check_clients(program, models)
print("all checks passed")
