"""Behind a real reverse proxy: nginx, with TLS, and the server below a path of its host."""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import assert_one_sentence
from pages import NEEDS_CHROMIUM, labels, make_run, opened, press, until
from serving import ServerProcess

from prefloop.errors import UserError
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.server.guard import HEADERS, base_path_of

pytest_plugins = ["page_fixtures", "store_fixtures"]

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
OPENSSL = shutil.which("openssl")
NEEDS_NGINX = pytest.mark.skipif(not (NGINX and OPENSSL), reason="nginx or openssl is missing")

# {user}: as root, nginx would give its work to a user who may not write here
CONFIG = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{tls} ssl;
        listen 127.0.0.1:{plain};
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        location {path}/ {{
            proxy_pass http://127.0.0.1:{inner}{strip};
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            client_max_body_size 64m;
        }}
    }}
}}
"""


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [one.getsockname()[1] for one in sockets]


class Proxied:
    """A server behind nginx: `url` is what browsers call it, `plain` the same without TLS."""

    def __init__(self, folder, path, strips):
        tls, plain, inner = free_ports(3)
        self.url, self.plain = f"https://127.0.0.1:{tls}{path}", f"http://127.0.0.1:{plain}{path}"
        self._folder = folder
        certify = [
            OPENSSL,
            *[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=127.0.0.1",
            ],
        ]
        certify += ["-addext", "subjectAltName=IP:127.0.0.1"]
        certify += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
        subprocess.run(certify, check=True, capture_output=True)
        self.trust = ssl.create_default_context(cafile=folder / "cert.pem")
        (folder / "nginx.conf").write_text(
            CONFIG.format(
                user="user root;" if os.getuid() == 0 else "",
                folder=folder,
                path=path,
                tls=tls,
                plain=plain,
                inner=inner,
                strip="/" if strips else "",
            )
        )
        flags = ("--home", str(folder / "home"), "--public-url", self.url)
        self._server = ServerProcess(*flags, port=inner, env={"HOME": str(folder)})

    def __enter__(self):
        self._server.start()
        line = "".join(self._server.output)
        assert f"Labelling at {self.url}/#token=" in line
        self.annotator = line.partition("#token=")[2].split()[0]
        rest = [self._server.process.stdout.readline() for _ in range(2)]
        self.trainer = rest[1].strip().removeprefix("PREFLOOP_TOKEN=")
        command = [NGINX, "-p", str(self._folder), "-c", str(self._folder / "nginx.conf")]
        self._nginx = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        bearer = {"authorization": f"Bearer {self.trainer}"}
        self.api = httpx.Client(
            base_url=self.url, headers=bearer, verify=self.trust, timeout=60, trust_env=False
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                self.api.get("/api/health")
            except httpx.TransportError:
                log = self._folder / "nginx.log"
                assert time.monotonic() < deadline, log.read_text() if log.exists() else ""
                time.sleep(0.05)
            else:
                return self

    def __exit__(self, *_):
        self.api.close()
        self._nginx.terminate()
        self._nginx.wait()
        self._server.stop()


WAYS = {"taken-away": ("/labels", True), "passed-on": ("/labels", False), "at-the-root": ("", True)}


@pytest.fixture(scope="module", params=WAYS.values(), ids=WAYS)
def proxied(request, tmp_path_factory):
    """A server behind a proxy: one that takes its path away, one that doesn't, and one without a path."""
    with Proxied(tmp_path_factory.mktemp("proxied"), *request.param) as proxied:
        yield proxied


@NEEDS_NGINX
def test_page_and_scripts_are_found(proxied):
    page = proxied.api.get("/")
    assert page.status_code == 200
    assert "<title>prefloop</title>" in page.text
    assert 'src="js/main.js"' in page.text
    script = proxied.api.get("/js/main.js")
    assert (script.status_code, script.headers["content-type"].split(";")[0]) == (
        200,
        "text/javascript",
    )
    for reply in (page, script, proxied.api.get("/api/runs"), proxied.api.get("/no/such/thing")):
        for name, value in HEADERS.items():
            assert reply.headers[name] == value
        assert "set-cookie" not in reply.headers
    bare = proxied.api.get(proxied.url, follow_redirects=True)
    # or else the page would look for its files beside its folder
    assert bare.url.path.endswith("/")
    assert bare.text == page.text


@NEEDS_NGINX
def test_a_program_gives_the_same_address(proxied):
    with LabellingClient(proxied.plain, proxied.trainer) as client:
        assert client.runs() == []
    run = {"env": "CartPole-v1", "spaces": {"obs_shape": [4], "obs_dtype": "float32", "discrete": True, "num_actions": 2}}  # fmt: skip
    name = f"run-{uuid.uuid4()}"
    own = {"origin": proxied.url.removesuffix("/labels")}
    assert proxied.api.put(f"/api/runs/{name}", json=run, headers=own).status_code == 200
    evil = {"origin": "https://evil.example"}
    assert proxied.api.put(f"/api/runs/{name}", json=run, headers=evil).status_code == 403
    assert proxied.api.delete(f"/api/runs/{name}").status_code == 204


@NEEDS_NGINX
def test_limits_on_bodies_hold_below_a_path(proxied):
    head = {"authorization": f"Bearer {proxied.trainer}"}
    reply = proxied.api.post("/api/answers", content=b" " * 70_000, headers=head)
    assert reply.status_code == 413


@NEEDS_NGINX
@NEEDS_CHROMIUM
def test_labelling_through_tls(proxied, browser):
    make_run(proxied.api, num_queries=2)
    outside = (f"elsewhere: {proxied.url}/",)
    with opened(browser, outside, annotator=None, ignore_https_errors=True) as page:
        page.goto(f"{proxied.url}/#token={proxied.annotator}")
        page.wait_for_selector(".run")
        assert page.evaluate("window.isSecureContext")
        page.locator(".run .primary").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#name-dialog[open]")
        page.keyboard.type("Ada")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-state=pair]")
        until(page, "[...document.querySelectorAll('video')].every(video => video.readyState >= 2)")
        press(page, "1")
        press(page, "2")
        page.wait_for_selector("[data-state=finished]")
        until(page, "Object.keys(localStorage).every(key => !key.includes('answer.'))")
        # another server of this host keeps its own
        kept = page.evaluate("Object.keys(localStorage)")
        place = urlsplit(proxied.url).path
        assert (f"prefloop{place}/.annotator" if place else "prefloop.annotator") in kept
        page.goto(f"{proxied.url}/#/comparisons")
        page.wait_for_selector("main pre")
        assert proxied.url in page.inner_text("main pre")
        assert page.context.cookies() == []
    events = labels(proxied.api)
    assert [event["annotator"] for event in events] == ["Ada", "Ada"]
    proxied.api.delete("/api/runs/cartpole-01")


@NEEDS_NGINX
@pytest.mark.skipif(sys.platform != "linux", reason="there is no address 127.0.0.2")
def test_a_proxy_says_who_tries_tokens(proxied):
    """What a visitor says of their own address is not what the proxy says."""
    right = {"authorization": f"Bearer {proxied.trainer}"}
    seconds = []
    # from an address that is not the proxy's own
    other = httpx.HTTPTransport(verify=proxied.trust, local_address="127.0.0.2")
    with httpx.Client(base_url=proxied.url, transport=other, timeout=60) as visitor:
        for i in range(12):
            begun = time.monotonic()
            lie = {"authorization": "Bearer x", "x-forwarded-for": f"192.0.2.{i}"}
            assert visitor.get("/api/runs", headers=lie).status_code == 401
            seconds.append(time.monotonic() - begun)
    assert seconds[-1] >= 2
    assert proxied.api.get("/api/runs", headers=right).status_code == 200


# what it can be called


def test_the_page_is_a_folder(api_below):
    assert api_below.get("/labels").headers["location"] == "/labels/"
    page = api_below.get("/labels/")
    assert page.text == api_below.get("/").text
    assert page.headers["content-security-policy"] == HEADERS["content-security-policy"]
    assert api_below.get("/labels/api/health").json()["role"] == "trainer"
    assert api_below.get("/labelsapi/health").status_code == 404
    assert api_below.get("/labels/labels/api/health").status_code == 404


@pytest.fixture
def api_below(serve):
    """A client of a server that is told to be below a path."""
    return serve(base_path="/labels")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://example.org", ""),
        ("https://example.org/", ""),
        ("https://example.org/labels", "/labels"),
        ("https://example.org:8443/a/b.c/", "/a/b.c"),
        ("https://example.org/apis", "/apis"),
    ],
)
def test_paths_of_addresses(url, path):
    assert base_path_of(url) == path


@pytest.mark.parametrize("path", ["/api", "/clips/x", "/js", "/a//b", "/../x", "/a%2fb", "/a?b", "/a#b", "/ä"])  # fmt: skip
def test_paths_that_can_not_be(path):
    with pytest.raises(UserError, match=r"can't be told from|no address such as"):
        base_path_of(f"https://example.org{path}")


def test_a_path_that_can_not_be_ends_in_a_sentence(run, tmp_path):
    flags = f"--home {tmp_path / 'home'} --public-url https://example.org/api --port 0"
    outcome = run(f"prefloop.cli label {flags}")
    assert_one_sentence(outcome, "can't be told from the server's own /api; choose another path")
    assert not Path(tmp_path / "home").exists()
