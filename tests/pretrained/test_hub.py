"""Push and pull against a small hub on this machine, that speaks what the client asks for."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
import torch

from mmgraph.errors import ArtifactError, ConfigError, MissingPackageError
from mmgraph.model import classifier
from mmgraph.pretrained import Card, from_pretrained, pull, push, save_pretrained
from mmgraph.pretrained.layout import FILES
from mmgraph.testing import fake_graph


class Hub(ThreadingHTTPServer):
    """Repositories: name → commits {sha: {path: bytes}}, and which commit a branch is at."""

    daemon_threads = True

    def __init__(self):
        self.commits, self.branches, self.asked, self.private = {}, {}, [], {}
        super().__init__(("127.0.0.1", 0), Routes)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def commit(self, name, branch, files):
        repo = self.commits[name]
        whole = {**repo.get(self.branches[name].get(branch), {}), **files}
        sha = hashlib.sha1(repr((sorted(whole.items()), len(repo))).encode()).hexdigest()
        repo[sha] = whole
        self.branches[name][branch] = sha
        return sha

    def find(self, name, revision):
        return self.branches[name].get(revision, revision)


class Routes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *given):
        pass

    def say(self, status, value=None, *, data=b"", **headers):
        data = json.dumps(value).encode() if value is not None else data
        self.send_response(status)
        for name, header in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), header)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def parts(self):
        self.server.asked.append((self.command, self.path))
        return [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_POST(self):
        hub, body = self.server, self.body()
        match self.parts():
            case ["api", "validate-yaml"]:
                wrong = [] if "library_name" in json.loads(body)["content"] else [{"message": "no library_name"}]
                return self.say(200, {"errors": wrong, "warnings": []})
            case ["api", "repos", "create"]:
                given = json.loads(body)
                name = "/".join(filter(None, (given.get("organization"), given["name"])))
                if name in hub.commits:
                    return self.say(409, {"error": "exists", "url": f"{hub.url}/{name}"})
                hub.commits[name], hub.branches[name] = {}, {}
                hub.private[name] = given.get("visibility") == "private" or given.get("private") is True
                hub.commit(name, "main", {".gitattributes": b"* text", "notes.md": b"not ours"})
                return self.say(200, {"url": f"{hub.url}/{name}", "name": name})
            case ["api", "models", *name, "branch", branch]:
                name = "/".join(name)
                if branch in hub.branches[name]:
                    return self.say(409, {"error": "exists"})
                hub.branches[name][branch] = hub.branches[name]["main"]
                return self.say(200, {})
            case ["api", "models", *name, "preupload", _]:
                if "/".join(name) not in hub.commits:
                    return self.say(404, {"error": "none"}, X_Error_Code="RepoNotFound")
                files = json.loads(body)["files"]
                kept = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
                return self.say(200, {"files": kept})
            case ["api", "models", *name, "commit", branch]:
                lines = [json.loads(line) for line in body.decode().splitlines()]
                files = {
                    one["value"]["path"]: base64.b64decode(one["value"]["content"])
                    for one in lines
                    if one["key"] == "file"
                }
                sha = hub.commit("/".join(name), branch, files)
                return self.say(200, {"commitUrl": f"{hub.url}/{'/'.join(name)}/commit/{sha}", "commitOid": sha})
        return self.say(404, {"error": f"no route {self.path}"})

    def do_GET(self):
        hub = self.server
        match self.parts():
            case ["api", "models", owner, name, "revision", revision]:
                return self.info(f"{owner}/{name}", revision)
            case ["api", "models", owner, name]:
                return self.info(f"{owner}/{name}", "main")
            case ["api", "models", owner, name, "tree", revision, *_]:
                files = hub.commits[f"{owner}/{name}"][hub.find(f"{owner}/{name}", revision)]
                tree = [
                    {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for path, data in files.items()
                ]
                return self.say(200, tree)
            case [owner, name, "resolve", revision, path]:
                sha = hub.find(f"{owner}/{name}", revision)
                data = hub.commits[f"{owner}/{name}"].get(sha, {}).get(path)
                if data is None:
                    return self.say(404, {"error": "none"}, X_Error_Code="EntryNotFound")
                etag = f'"{hashlib.sha1(data).hexdigest()}"'
                return self.say(200, data=data, ETag=etag, X_Repo_Commit=sha)
        return self.say(404, {"error": f"no route {self.path}"})

    do_HEAD = do_GET  # noqa: N815

    def info(self, name, revision):
        hub = self.server
        if name not in hub.commits:
            return self.say(404, {"error": "none"}, X_Error_Code="RepoNotFound")
        sha = hub.find(name, revision)
        if sha not in hub.commits[name]:
            return self.say(404, {"error": "none"}, X_Error_Code="RevisionNotFound")
        siblings = [{"rfilename": path} for path in hub.commits[name][sha]]
        return self.say(
            200, {"id": name, "modelId": name, "sha": sha, "siblings": siblings, "tags": [], "private": False}
        )


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        huggingface_hub.utils.close_session()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def endpoint(hub):
    return hub.url


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return classifier(fake_graph()[1]).eval()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    return save_pretrained(model, tmp_path_factory.mktemp("saved") / "model", card=Card(title="Small"))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_what_is_pushed_is_pulled_with_equal_answers(hub, endpoint, model, folder, cache):
    commit = push(folder, "hub:me/small", endpoint=endpoint)
    assert hub.commits["me/small"][commit].keys() == {*FILES, ".gitattributes", "notes.md"}
    for name in FILES:
        assert hub.commits["me/small"][commit][name] == (folder / name).read_bytes()
    graph, schema = fake_graph()
    loaded = from_pretrained("hub:me/small", endpoint=endpoint, cache=cache, schema=schema)
    assert torch.equal(loaded(graph), model(graph))


def test_only_files_that_are_ours_are_fetched(hub, endpoint, folder, cache):
    push(folder, "hub:me/small", endpoint=endpoint)
    found = pull("hub:me/small", endpoint=endpoint, cache=cache)
    assert {path.name for path in found.iterdir()} == set(FILES)
    assert not any("notes.md" in path for _, path in hub.asked)


def test_a_revision_stays_what_it_is(hub, endpoint, folder, tmp_path, cache):
    first = push(folder, "hub:me/small", endpoint=endpoint)
    other = classifier(fake_graph()[1], channels=4)
    second = push(save_pretrained(other, tmp_path / "other"), "hub:me/small", endpoint=endpoint)
    assert first != second
    for revision, width in {first: 16, second: 4, "main": 4, None: 4}.items():
        loaded = from_pretrained("hub:me/small", revision=revision, endpoint=endpoint, cache=cache)
        assert loaded.head.in_features == width
    assert pull("hub:me/small", revision=first, endpoint=endpoint, cache=cache).name == first


def test_a_branch_is_made_and_a_repository_can_be_private(hub, endpoint, folder, cache):
    done = push(folder, "hub:me/small", revision="trial", private=True, endpoint=endpoint)
    assert hub.branches["me/small"]["trial"] == done != hub.branches["me/small"]["main"]
    assert hub.private["me/small"] is True
    assert pull("hub:me/small", revision="trial", endpoint=endpoint, cache=cache).name == done
    with pytest.raises(ArtifactError, match="hub:me/small must hold a model of mmgraph, revision .{40} has none"):
        pull("hub:me/small", endpoint=endpoint, cache=cache)  # whose main has no model


def test_the_cache_is_enough_without_a_hub(hub, endpoint, model, folder, cache, monkeypatch):
    push(folder, "hub:me/small", endpoint=endpoint)
    pull("hub:me/small", endpoint=endpoint, cache=cache)
    asked = len(hub.asked)
    loaded = from_pretrained("hub:me/small", endpoint=endpoint, cache=cache, local_files_only=True)
    assert len(hub.asked) == asked
    graph, _ = fake_graph()
    assert torch.equal(loaded(graph), model(graph))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert torch.equal(from_pretrained("hub:me/small", endpoint=endpoint, cache=cache)(graph), model(graph))
    assert len(hub.asked) == asked


def test_without_hub_and_cache_it_is_said_what_to_do(endpoint, cache, folder, monkeypatch):
    told = r"hub:me/small \(revision main\) is not in the cache and the hub can't be asked .* fetch it once"
    with pytest.raises(ArtifactError, match=told):
        pull("hub:me/small", endpoint=endpoint, cache=cache, local_files_only=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ArtifactError, match=told):
        pull("hub:me/small", endpoint=endpoint, cache=cache)
    with pytest.raises(ArtifactError, match="hub:me/small: the hub did not do what it was asked to: .*offline"):
        push(folder, "hub:me/small", endpoint=endpoint)


def test_a_hub_that_nobody_answers_for_is_told(hub, cache):
    with pytest.raises(ArtifactError, match="is not in the cache and the hub can't be asked"):
        pull("hub:me/small", endpoint="http://127.0.0.1:9", cache=cache)


def test_what_is_not_there_is_told(endpoint, folder, cache):
    with pytest.raises(ArtifactError, match=r"hub:me/nothing .* must be a repository that you may read, there is none"):
        from_pretrained("hub:me/nothing", endpoint=endpoint, cache=cache)
    push(folder, "hub:me/small", endpoint=endpoint)
    with pytest.raises(ArtifactError, match=r"hub:me/small \(revision v9\) must be a revision that there is"):
        from_pretrained("hub:me/small", revision="v9", endpoint=endpoint, cache=cache)


def test_a_model_that_is_damaged_on_the_hub_is_refused(hub, endpoint, folder, cache):
    push(folder, "hub:me/small", endpoint=endpoint)
    hub.commit("me/small", "main", {"model.safetensors": b"other"})
    with pytest.raises(ArtifactError, match="model.safetensors' is damaged"):
        from_pretrained("hub:me/small", endpoint=endpoint, cache=cache)


def test_a_damaged_folder_is_not_pushed(hub, endpoint, folder, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in FILES[:-2]:
        (broken / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ArtifactError, match=r"sha256.json is missing: it is half-written"):
        push(broken, "hub:me/small", endpoint=endpoint)
    assert not hub.asked


@pytest.mark.parametrize("name", ["me/small", "hub:small", "hub:me/small/more", "hub:../x y", "hub:"])
def test_other_names_are_refused(name, folder):
    with pytest.raises(ConfigError, match=f"must be named hub:owner/name, got '{name}'"):
        push(folder, name)
    with pytest.raises(ConfigError, match=f"must be named hub:owner/name, got '{name}'"):
        pull(name)


def test_without_the_package_it_is_said_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'mmgraph\[hub\]'"):
        push(folder, "hub:me/small")
    with pytest.raises(MissingPackageError, match=r"pip install 'mmgraph\[hub\]'"):
        from_pretrained("hub:me/small")
