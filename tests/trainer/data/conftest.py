"""A small tokenizer, trained once, and a small Hugging Face Hub."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trainer.data.build import build_dataset
from trainer.data.build_request import BuildRequest
from trainer.data.documents import shipped_corpus
from trainer.data.tokenizers import train_tokenizer

SENTENCES = ["the quick brown fox jumps over the lazy dog 0123456789", "pack my box with jugs"]


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory):
    """Path of a 320-token BPE model with byte fallback."""
    path = tmp_path_factory.mktemp("tokenizer") / "tiny.model"
    path.write_bytes(train_tokenizer(SENTENCES * 20, 320))
    return path


@pytest.fixture(scope="session")
def jargon_build(tmp_path_factory):
    """The shipped corpus, built once; not to be changed."""
    corpus = shipped_corpus("jargon")
    out = tmp_path_factory.mktemp("jargon")
    request = BuildRequest(
        sources=(corpus.train,), val_source=corpus.val, tokenizer=corpus.tokenizer,
        name=corpus.name, out=out, pinned_manifest=corpus.manifest,
    )  # fmt: skip
    build_dataset(request, lambda stage, done, total: None)
    return out


@pytest.fixture
def start_hub():
    """Call it with files (path -> bytes) to serve them as the data set repository public/set.

    The server's `torn` names files that break off once, `requests` what was asked for.
    """
    servers = []

    def start(files):
        server = ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
        prefix = "/datasets/public/set/resolve/main/"
        server.files = {prefix + path: body for path, body in files.items()}
        server.torn, server.requests = set(), []
        server.endpoint = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class HubHandler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        body = self.server.files.get(self.path)
        self.server.requests.append(
            (self.command, self.path.rpartition("/")[2], self.range_start())
        )
        if body is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_file_headers(body)
        if self.command == "GET":
            self.send_body(body[self.range_start() :])

    def range_start(self):
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])

    def send_file_headers(self, body):
        start = self.range_start()
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()

    def send_body(self, body):
        name = self.path.rpartition("/")[2]
        if name in self.server.torn:
            self.server.torn.discard(name)
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *args):
        pass
