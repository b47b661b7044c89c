"""What serve.py and serve_page.py share: small models, and a running `translate serve`."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background, servers would inherit an ignored SIGINT
NUMBERS = "零一二三四五六"
# Links that no translation would suggest, for attention that a test can predict.
LINKS = "2-0 2-1 0-2 0-3 1-4"


def check(condition, what):
    if not condition:
        sys.exit(f"failed: {what}")


def skip_without_server(program):
    """Ends the test if the program was built without cpp-httplib. It must say how to get it."""
    printed = subprocess.run([program, "serve", "--model", "nowhere"], capture_output=True, text=True)
    check(printed.returncode == 1, printed)
    if "without cpp-httplib" in printed.stderr:
        check("libcpp-httplib-dev" in printed.stderr, printed)
        print("skipped: the program was built without cpp-httplib")
        sys.exit(77)


def sentence(a, b):
    return f"word{a} other{b}."


def translation(a, b):
    return f"词{NUMBERS[a]}它{NUMBERS[b]}。"


def train(program, scratch):
    """Makes models in scratch/models: "first" with attention, "second" without, "third" like the first, "damaged".

    All files of the third are in .newer-files, as if the program that wrote them had been killed.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    folder = scratch / "models"
    folder.mkdir(parents=True)
    pairs = [(i % 7, i % 5) for i in range(1, 61)]
    (scratch / "pairs.tsv").write_text("".join(f"{sentence(*p)}\t{translation(*p)}\n" for p in pairs))
    (scratch / "links.txt").write_text(f"{LINKS}\n" * len(pairs))
    common = ["--pairs", "pairs.tsv", "--valid-pairs", "pairs.tsv", "--width", "32", "--dropout", "0", "--min-count",
              "1", "--threads", "2"]
    guided = ["--alignments", "links.txt", "--guided-alignment-weight", "1", "--layers", "2", "--rate", "0.02",
              "--updates", "250"]
    for name, options in {"first": guided, "second": ["--model", "recurrent", "--context", "initial", "--updates", "2",
                                                      "--layers", "1"]}.items():
        done = subprocess.run([program, "train", "--out", f"models/{name}", *common, *options], cwd=scratch,
                              capture_output=True, text=True, timeout=300)
        check(done.returncode == 0, done.stdout + done.stderr)
    for name in ("third", "damaged"):
        shutil.copytree(folder / "first", folder / name, ignore=shutil.ignore_patterns("checkpoints"))
    third = list((folder / "third").iterdir())
    (folder / "third" / ".newer-files").mkdir()
    for file in third:
        file.rename(folder / "third" / ".newer-files" / file.name)
    (folder / "no_model").mkdir()
    (folder / "loop").symlink_to("loop")  # a link to itself: no model, and no error
    (folder / "damaged" / "model.safetensors").write_bytes(b"truncated")
    return folder


class Server:
    """A server of a model, on a free port."""

    def __init__(self, program, models, *options, model="first", environment=None):
        self.process = subprocess.Popen([program, "serve", "--model", str(models / model), "--port", "0", "--threads",
                                         "1", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        errors="replace", env={**os.environ, **(environment or {})})
        line = self.process.stdout.readline()
        if not line.startswith(("http://127.0.0.1:", "http://0.0.0.0:")):
            sys.exit(f"serve printed {line}{self.process.stderr.read()}")
        self.port = int(line.split(":")[2].split("/")[0])
        self.url = f"http://127.0.0.1:{self.port}/"

    def stop(self, how=signal.SIGTERM):
        """Stops the server, and returns its exit code and what it wrote to stderr."""
        self.process.send_signal(how)
        errors = self.process.communicate(timeout=30)[1]
        return self.process.returncode, errors

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate()

    def connect(self, seconds=60):
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def raw(self, data, seconds=60):
        """Sends bytes, and returns all bytes of the answer."""
        with self.connect(seconds) as connection:
            connection.sendall(data)
            received = b""
            while block := connection.recv(65536):
                received += block
            return received

    def ask(self, method, path, body=None, headers=None, seconds=60):
        """Returns the status, the headers (in lower case) and the body of an answer."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        data = body if isinstance(body, bytes) else (body or "").encode()
        lines = {"Host": "localhost"}
        if body is not None:
            lines.update({"Content-Type": "application/json", "Content-Length": str(len(data))})
        lines.update(headers or {})
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items() if v is not None)
        return parse(self.raw(head.encode() + b"\r\n" + data, seconds))

    def post(self, path, body, **more):
        """Returns the status and the parsed JSON of an answer."""
        status, headers, text = self.ask("POST", path, body, **more)
        check(headers["content-type"].startswith("application/"), headers)
        return status, json.loads(text)

    def memory(self):
        """The most memory that the server had so far, in bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def parse(received):
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        whole = b""
        while body:
            size, _, body = body.partition(b"\r\n")
            whole += body[:int(size, 16)]
            body = body[int(size, 16) + 2:]
        body = whole
    return int(first.split()[1]), headers, body.decode()
