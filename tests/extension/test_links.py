"""`make links`: what the pages link to elsewhere is asked for, and a dead address is named and fails."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from small_book import SmallBook, cell


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/there" else 404)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def elsewhere():
    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_addresses_that_answer_pass_and_one_that_does_not_is_named(tmp_path, elsewhere):
    ours = "https://github.com/attention-surgeon/attention-surgeon/blob/main/x"
    page = f"# Page\n\n[A thread]({elsewhere}/there), [ours]({ours}).\n\n" + cell("print(2)")
    book = SmallBook(tmp_path, {"page": page}, {"__init__.py": ""})
    build = book.build("--builder", "linkcheck", "--keep-going")
    assert build.code == 0, build.output
    book.page("page", page.replace("/there", "/gone"))
    build = book.build("--builder", "linkcheck", "--keep-going")
    assert build.code != 0
    assert f"{elsewhere}/gone" in build.output
