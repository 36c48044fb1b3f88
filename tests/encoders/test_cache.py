import random
import sqlite3
import subprocess
import sys
import zlib
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import torch

from mmgraph.encoders import FeatureCache, Frozen
from mmgraph.encoders.cache import _journal, cache_folder
from mmgraph.errors import ArtifactError, DataError
from mmgraph.schema import Identity, Modality

ONE, OTHER = Identity(name="letters", revision="1"), Identity(name="letters", revision="2")


class Letters(Frozen[str, str]):
    identity = ONE
    modality = Modality.TEXT
    shape = (2, 3)
    attribute = "letters"
    chunk = 4

    def __init__(self, fails_at=None):
        self.fails_at = fails_at
        self.asked = []

    def content(self, payload):
        return payload.encode()

    def prepare(self, payload):
        if "!" in payload:
            raise DataError(f"no letter {payload!r}")
        return payload

    def encode(self, prepared):
        if self.fails_at == len(self.asked):
            raise KeyboardInterrupt
        self.asked.append(prepared)
        batch = torch.randn(len(prepared), 6, generator=torch.Generator().manual_seed(len(prepared)))
        rows = torch.tensor([[float(ord(text[0])) * place for place in range(6)] for text in prepared])
        return (batch * 1e-6 + rows).view(-1, 2, 3)  # like a model's, the last bits depend on the batch


def file_of(cache, identity=ONE):
    return cache.folder / f"{identity.digest[:32]}.sqlite"


def change(cache, statement, *values):
    with closing(sqlite3.connect(file_of(cache))) as base, base:
        assert base.execute(statement, values).rowcount > 0


def test_what_was_put_is_got_by_key_and_identity(tmp_path):
    cache = FeatureCache(tmp_path)
    keys = [bytes([number % 256, number // 256]) for number in range(1203)]  # more than SQLite is asked at once
    cache.put(ONE, {key: key * 3 for key in keys})
    cache.put(OTHER, {b"only": b"other"})
    random.Random(0).shuffle(keys)
    assert cache.get(ONE, [*keys, b"only"]) == {key: key * 3 for key in keys}
    assert cache.get(OTHER, [keys[0], b"only"]) == {b"only": b"other"}
    assert FeatureCache(tmp_path).get(ONE, keys[:2]) == {key: key * 3 for key in keys[:2]}
    assert cache.get(ONE, []) == {}


def test_nothing_is_found_and_nothing_made_where_nothing_was_put(tmp_path):
    cache = FeatureCache(tmp_path / "features")
    assert cache.get(ONE, [b"a"]) == {}
    assert not cache.folder.exists()


def test_the_first_that_was_put_stays(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put(ONE, {b"a": b"first"})
    cache.put(ONE, {b"a": b"second", b"b": b"second"})
    assert cache.get(ONE, [b"a", b"b"]) == {b"a": b"first", b"b": b"second"}


def test_a_put_that_fails_leaves_nothing(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put(ONE, {b"a": b"1"})

    class Broken(dict):
        def items(self):
            yield b"b", b"2"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.put(ONE, Broken())
    assert cache.get(ONE, [b"a", b"b"]) == {b"a": b"1"}


def test_the_file_says_whose_features_it_holds(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put(ONE, {b"a": b"1"})
    with closing(sqlite3.connect(file_of(cache))) as base:
        (written,) = base.execute("SELECT identity FROM encoder").fetchone()
    assert Identity.model_validate_json(written) == ONE


def test_the_folder_is_the_users_unless_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MMGRAPH_CACHE", str(tmp_path / "named"))
    assert FeatureCache().folder == tmp_path / "named" / "features"
    monkeypatch.delenv("MMGRAPH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "mmgraph"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "mmgraph"


def test_a_folder_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match=r"Feature cache '.*file/features' can't be made"):
        FeatureCache(tmp_path / "file" / "features").put(ONE, {b"a": b"1"})


@pytest.mark.parametrize("data", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_what_is_no_database_is_refused(tmp_path, data):
    cache = FeatureCache(tmp_path)
    file_of(cache).write_bytes(data)
    for use in (lambda: cache.get(ONE, [b"a"]), lambda: cache.put(ONE, {b"a": b"1"})):
        with pytest.raises(ArtifactError, match=r"Feature cache '.*\.sqlite' can't be used: .*; remove the file"):
            use()


def test_a_flipped_bit_is_found(tmp_path):
    cache = FeatureCache(tmp_path)
    value = bytes(range(256))
    cache.put(ONE, {b"a key of its own": value})
    data = bytearray(file_of(cache).read_bytes())
    data[data.index(value) + 100] ^= 1
    file_of(cache).write_bytes(data)
    with pytest.raises(ArtifactError, match="is damaged; remove the file"):
        cache.get(ONE, [b"a key of its own"])


@pytest.mark.parametrize("value", [b"\0", "text", 5, None])
def test_what_was_changed_by_others_is_found(tmp_path, value):
    cache = FeatureCache(tmp_path)
    cache.put(ONE, {b"a": b"1"})
    change(cache, "UPDATE features SET value = ?", value)
    with pytest.raises(ArtifactError, match="is damaged; remove the file"):
        cache.get(ONE, [b"a"])


def test_features_of_another_key_are_found_out(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put(ONE, {b"a": b"1"})
    change(cache, "UPDATE features SET key = ?", b"b")
    with pytest.raises(ArtifactError, match="is damaged; remove the file"):
        cache.get(ONE, [b"b"])


@pytest.mark.parametrize("has_tables", [False, True])
def test_a_file_that_another_process_has_only_begun_holds_nothing(tmp_path, has_tables):
    cache = FeatureCache(tmp_path)
    with closing(sqlite3.connect(file_of(cache))) as base:
        base.execute("PRAGMA journal_mode=WAL")
        if has_tables:
            base.execute("CREATE TABLE encoder (identity TEXT PRIMARY KEY)")
    assert cache.get(ONE, [b"a"]) == {}
    cache.put(ONE, {b"a": b"1"})
    assert cache.get(ONE, [b"a"]) == {b"a": b"1"}


def test_two_runs_count_what_was_made_and_what_was_there(tmp_path):
    cache, texts = FeatureCache(tmp_path), ["a", "b", "a", "!", "c", "d", "b", "e", "!"]
    first = Letters().attempt(texts, cache=cache)
    assert (first.made, first.cached, sorted(first.rejected)) == (5, 0, [3, 8])
    second_encoder = Letters()
    second = second_encoder.attempt([*texts, "f"], cache=cache)
    assert (second.made, second.cached, sorted(second.rejected)) == (1, 5, [3, 8])
    assert second_encoder.asked == [["f"]]
    assert torch.equal(second.features[:7], first.features)
    assert first.features.dtype == second.features.dtype == torch.float32
    plain = Letters().attempt(texts)
    assert (plain.made, plain.cached) == (5, 0)
    assert torch.equal(plain.features, first.features)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8, torch.bool])
def test_every_type_comes_back_to_the_bit(tmp_path, dtype):
    class Typed(Letters):
        pass

    Typed.dtype = dtype
    cache = FeatureCache(tmp_path)
    made = Typed()(["a", "b"], cache=cache)
    found = Typed().attempt(["b", "a"], cache=cache)
    assert (found.cached, found.features.dtype, found.features.shape) == (2, dtype, (2, 2, 3))
    assert torch.equal(found.features.flip(0), made)


def test_nan_comes_back(tmp_path):
    class Unknown(Letters):
        def encode(self, prepared):
            return torch.full((len(prepared), 2, 3), float("nan"))

    cache = FeatureCache(tmp_path)
    Unknown()(["a"], cache=cache)
    assert Unknown()(["a"], cache=cache).isnan().all()


def test_a_run_that_was_cut_off_between_chunks_goes_on_and_gives_the_same_bits(tmp_path):
    texts = [chr(97 + number % 13) + "x" * (number % 2) for number in range(40)]
    whole = Letters()(texts)
    cache = FeatureCache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        Letters(fails_at=3)(texts, cache=cache)
    rest = Letters()
    done = rest.attempt(texts, cache=cache)
    assert done.cached == 12
    assert done.made == len(set(texts)) - 12
    assert torch.equal(done.features, whole)


KILLED = """
import os, signal, sys
import torch
sys.path.insert(0, {tests!r})
from test_cache import Letters
from mmgraph.encoders import FeatureCache

class Killed(Letters):
    def encode(self, prepared):
        if len(self.asked) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(prepared)

Killed()({texts!r}, cache=FeatureCache({folder!r}))
"""


def test_a_killed_process_leaves_its_chunks(tmp_path):
    texts = [chr(97 + number % 13) + "x" * (number % 2) for number in range(40)]
    script = KILLED.format(tests=str(Path(__file__).parent), texts=texts, folder=str(tmp_path))
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=120).returncode == -9
    done = Letters().attempt(texts, cache=FeatureCache(tmp_path))
    assert (done.cached, done.made) == (12, len(set(texts)) - 12)
    assert torch.equal(done.features, Letters()(texts))


WRITER = """
import sys
from mmgraph.encoders import FeatureCache
from mmgraph.schema import Identity

cache, me = FeatureCache({folder!r}), int(sys.argv[1])
one = Identity(name="letters", revision="1")
print("ready", file=sys.stderr, flush=True)
sys.stdin.readline()
for turn in range(60):
    shared, own = b"shared %d" % turn, b"own %d %d" % (me, turn)
    cache.get(one, [shared, own])
    cache.put(one, {{shared: b"value %d" % turn, own: own * 100}})
    assert cache.get(one, [shared, own]) == {{shared: b"value %d" % turn, own: own * 100}}
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    script = WRITER.format(folder=str(tmp_path))
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", script, str(me)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            )
            for me in range(2)
        ]
        for writer in writers:
            assert writer.stderr.readline() == b"ready\n"
        for writer in writers:
            writer.stdin.write(b"\n")
            writer.stdin.flush()
        for writer in writers:
            _, said = writer.communicate(timeout=240)
            assert writer.returncode == 0, said.decode()
    keys = [b"own %d %d" % (me, turn) for me in range(2) for turn in range(60)]
    found = FeatureCache(tmp_path).get(ONE, keys)
    assert found == {key: key * 100 for key in keys}


def test_features_of_another_size_are_refused(tmp_path):
    cache = FeatureCache(tmp_path)
    Letters()(["a", "b"], cache=cache)
    with closing(sqlite3.connect(file_of(cache))) as base, base:
        for key, value in base.execute("SELECT key, value FROM features").fetchall():
            short = value[:8]
            checksum = zlib.crc32(short, zlib.crc32(key))
            base.execute("UPDATE features SET value = ?, sum = ? WHERE key = ?", (short, checksum, key))
    with pytest.raises(ArtifactError, match=r"features of letters@1 must have 24 bytes .*\[2, 3\].*got 8; remove"):
        Letters()(["b"], cache=cache)


class _Busy:
    """A connection whose file another process holds for a while."""

    def __init__(self, times: int, code: int) -> None:
        self.times, self.code, self.asked = times, code, 0

    def execute(self, _: str) -> None:
        self.asked += 1
        if self.asked <= self.times:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = self.code
            raise error


def test_a_file_that_another_process_is_making_is_waited_for():
    base = _Busy(3, sqlite3.SQLITE_BUSY)
    _journal(base)
    assert base.asked == 4
    with pytest.raises(sqlite3.OperationalError):
        _journal(_Busy(1, sqlite3.SQLITE_READONLY))
