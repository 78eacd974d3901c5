"""The web page's files."""

import gzip

from tests.unit.service.http.conftest import Client


def test_the_page_is_asked_for_again_each_time_and_its_files_are_kept_for_good(client: Client) -> None:
    page = client("GET", "/", headers={"accept-encoding": "identity"})
    assert page.headers["cache-control"] == "no-cache"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    version = page.text.split("static/")[1].split("/")[0]
    for asked, cache in ((version, "immutable"), ("old", "no-cache")):
        assert cache in client("GET", f"/static/{asked}/app.js").headers["cache-control"]


def test_a_file_that_was_not_changed_is_not_sent_again(client: Client) -> None:
    first = client("GET", "/docs")
    again = client("GET", "/docs", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client("GET", "/docs", headers={"if-none-match": '"other"'}).status_code == 200


def test_who_takes_gzip_gets_the_same_file_packed(client: Client) -> None:
    plain = client("GET", "/", headers={"accept-encoding": "identity"})
    packed = client("GET", "/", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) == len(gzip.compress(plain.content, mtime=0))
    assert plain.headers["etag"] != packed.headers["etag"]


def test_a_file_that_the_page_has_not_is_not_looked_for_elsewhere(client: Client) -> None:
    for name in ("nothing.js", "%2e%2e%2fhttp%2fapp.py", "%2fetc%2fpasswd"):
        assert client("GET", f"/static/v/{name}").status_code == 404
