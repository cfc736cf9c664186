"""`fltac judge` against a server of this test's own, which is busy, talks nonsense or goes away."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fltac.errors import InputError
from fltac.llm_judge import Judge, score_of
from fltac.records.judgements import Judgements
from fltac.records.store import RunDirectory


@pytest.fixture
def run(dialogues):
    """The run, not judged yet."""
    for file in dialogues.glob("judgements.json*"):
        file.unlink()
    return dialogues


@pytest.fixture
def serve():
    """Serves a script of (status, content); after its end, the last one for ever. Yields (start, what was asked)."""
    servers, asked = [], []

    def start(*script):
        left = list(script)

        class Endpoint(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append((self.path, self.headers.get("Authorization"), body))
                status, content = left.pop(0) if len(left) > 1 else left[0]
                reply = {"choices": [{"message": {"content": content}}], "usage": {"prompt_tokens": 7}}
                sent = json.dumps(reply if status == 200 else {"error": content}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *arguments):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/v1"

    yield start, asked
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_busy_server_is_asked_again_and_the_means_are_right(run, serve, fltac, monkeypatch):
    start, asked = serve
    url = start((429, "later"), (200, "Score: 4"), (200, "7/10"), (200, "I liked it.\n\nScore: 10"), (200, "8"))
    monkeypatch.setenv("JUDGE_KEY", "secret")
    options = ["--model", "m", "--key-env", "JUDGE_KEY", "--usd-in", 1, "--usd-out", 2]
    code, out, err = fltac("judge", run, "--endpoint", url, *options)
    assert (code, err) == (0, "")
    assert [path for path, _, _ in asked] == ["/v1/chat/completions"] * 7  # six answers, one asked twice
    assert {key for _, key, _ in asked} == {"Bearer secret"}
    assert asked[0][2] == asked[1][2]
    kept = Judgements(run).each()
    rows = RunDirectory(run).table("generations").to_pylist()
    assert [one["score"] for one in kept] == [4, 7, 10, 8, 8, 8]
    assert [(one["task"], one["example"]) for one in kept] == [(row["task"], row["example"]) for row in rows]
    assert all(row["answer"] in one["asked"] for one, row in zip(kept, rows, strict=True))
    assert kept[2]["raw"] == "I liked it.\n\nScore: 10"
    assert kept[0]["usage"] == {"prompt_tokens": 7}
    assert Judgements(run).means() == {
        "m": {
            "opposites": {"score": 7.0, "answers": 3, "unread": 0},
            "twice": {"score": 8.0, "answers": 3, "unread": 0},
        }
    }
    assert "secret" not in "".join(file.read_text() for file in run.glob("judgements.json*"))
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert lines["opposites"] == ["7.00", "3", "0"]
    tokens = sum(
        -(-len((m[0]["content"] + m[1]["content"]).encode()) // 3) for m in [a[2]["messages"] for a in asked[1:]]
    )
    assert f"6 answers, about {tokens:,} tokens in, at most 384 out, cost {(tokens + 2 * 384) / 1e6:.2f} USD" in out


def test_nonsense_is_kept_and_never_counted(run, serve):
    start, _ = serve
    judge = Judge(run, start((200, "what a lovely day, 8 of us came"), (200, "Score: 6")), "m", None, 8)
    assert [one["score"] for one in judge.score(5)] == [None, 6, 6, 6, 6, 6]
    assert judge.conclude()["opposites"] == {"score": 6.0, "answers": 3, "unread": 1}
    assert Judgements(run).each()[0]["raw"] == "what a lovely day, 8 of us came"


def test_a_killed_judge_goes_on_where_it_stopped(run, serve):
    start, asked = serve
    url = start((200, "Score: 5"))
    scoring = Judge(run, url, "m", None, 8).score(5)
    next(scoring), next(scoring)
    scoring.close()
    with (run / "judgements.jsonl").open("a") as torn:
        torn.write('{"task": "oppo')  # killed while it wrote
    again = Judge(run, url, "m", None, 8)
    assert len(again.left) == 4
    assert len(list(again.score(5))) == 4
    assert len(asked) == 6
    assert [one["score"] for one in Judgements(run).each()] == [5] * 6
    assert Judge(run, url, "m", None, 8).cost(1, 1) == (0, 0, 0, 0)
    assert len(Judge(run, url, "another", None, 8).left) == 6


@pytest.mark.parametrize("refusal", [(401, "no such key"), (404, "no such model")])
def test_a_refusal_ends_with_one_line(run, serve, fltac, refusal):
    start, asked = serve
    url = start(refusal)
    code, _, err = fltac("judge", run, "--endpoint", url, "--model", "m", "--yes")
    assert (code, len(err.splitlines()), len(asked)) == (2, 1, 1)
    assert f"answers {refusal[0]}" in err
    assert url in err


def test_a_wrong_url_ends_with_one_line(run, serve, fltac):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/v1", "no-url"):
        code, _, err = fltac("judge", run, "--endpoint", url, "--model", "m", "--yes")
        assert (code, len(err.splitlines())) == (2, 1)
        assert "--endpoint: cannot be had" in err
    start, _ = serve
    with pytest.raises(InputError, match="does not speak chat completions"):
        list(Judge(run, start((200, {"odd": 1})), "m", None, 8).score(5))


def test_money_is_asked_for_first(run, serve, fltac):
    start, asked = serve
    url = start((200, "Score: 5"))
    dear = ["--usd-in", 1000, "--usd-out", 1000]
    for price, said in (([], "cost unknown"), (dear, "USD")):
        code, out, err = fltac("judge", run, "--endpoint", url, "--model", "m", *price)
        assert (code, len(asked)) == (2, 0)
        assert said in out
        assert "--yes: is needed beyond --limit" in err
    free = ["--usd-in", 0, "--usd-out", 0]
    assert fltac("judge", run, "--endpoint", url, "--model", "m", *free)[0] == 0
    assert len(asked) == 6


def test_no_answers_and_no_key_are_told(run, tmp_path):
    with pytest.raises(InputError, match=r"--key-env: is not set in the environment.*\(got 'NO_SUCH_KEY'\)"):
        Judge(run, "http://127.0.0.1", "m", "NO_SUCH_KEY", 8)
    (tmp_path / "experiment.json").write_text("{}")
    with pytest.raises(InputError, match="has no written answers"):
        Judge(tmp_path, "http://127.0.0.1", "m", None, 8)


def test_a_score_is_read_from_the_last_line_or_not_at_all():
    read = {"Score: 7": 7, "**Score: 10**": 10, "3/10": 3, "well\n\nscore - 4.\n": 4, "9 out of 10": 9}
    assert {raw: score_of(raw) for raw in read} == read
    for raw in ("", "11", "0", "Score: 7.5", "Score: 5 because", "I give 7 or 8", "-"):
        assert score_of(raw) is None, raw
