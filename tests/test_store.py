"""The feature store under everything that happens to a cache: two writers, kill -9, a full disk, damage, eviction.

The oracle is the key: every row's content is computed from it, so that any row can be checked bit by bit.
"""

import gc
import hashlib
import inspect
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graft.core.errors import StorageError
from graft.core.home import evict
from graft.data.store import Store, gathered, open_store

SHAPE = (3, 50)


def key(i: int) -> bytes:
    return hashlib.blake2b(b"%d" % i, digest_size=16).digest()


def content(keys: list[bytes], shape: tuple[int, ...] = (3, 50)) -> np.ndarray:
    made = b"".join(hashlib.shake_128(key).digest(4 * int(np.prod(shape))) for key in keys)
    return np.frombuffer(made, np.float32).reshape(len(keys), *shape)


PROLOGUE = f"""
import contextlib, hashlib, os, random, resource, sys
import numpy as np
from graft.core.errors import StorageError
from graft.data.store import open_store
{inspect.getsource(key)}
{inspect.getsource(content)}
"""


def same(left: np.ndarray, right: np.ndarray) -> bool:
    """Equality of bits: random bits make NaNs."""
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def process(script: str, *args: object) -> subprocess.Popen:
    command = [sys.executable, "-c", PROLOGUE + script, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(worker: subprocess.Popen) -> str:
    out, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0, out
    return out


def check_all(prefix: str, count: int) -> int:
    """Open the store and compare every row that it has of the first `count` keys; returns how many it has."""
    with open_store(prefix, "float32", SHAPE) as store:
        keys = [key(i) for i in range(count)]
        present = [k for k, has in zip(keys, store.has(keys), strict=True) if has]
        assert same(store.rows(present), content(present))
    return len(present)


def test_rows_come_in_the_order_asked_with_repeats(home: Path) -> None:
    keys = [key(i) for i in range(300)]
    with open_store("p", "float32", SHAPE) as store:
        assert store.write(keys[:200], content(keys[:200])) == 200
        assert store.write(keys[100:], content(keys[100:])) == 100  # the first hundred of these are there already
        assert store.write([keys[0], key(900), key(900)], content([keys[0], key(900), key(900)])) == 1
        asked = random.Random(0).choices(keys, k=1000)
        rows = store.rows(asked)
        assert same(rows, content(asked))
        assert rows.flags.writeable
        assert store.has([keys[5], key(901), key(900)]).tolist() == [True, False, True]
        assert store.rows([]).shape == (0, *SHAPE)
        with pytest.raises(KeyError, match=f"1 of 2 keys .* {key(901).hex()}"):
            store.rows([keys[0], key(901)])


def test_a_repeated_row_keeps_its_first_content(home: Path) -> None:
    with open_store("p", "int16", ()) as store:
        store.write([key(1), key(1)], np.array([7, 8], np.int16))
        store.write([key(1)], np.array([9], np.int16))
        assert store.rows([key(1)]).tolist() == [7]


writes = st.lists(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)), max_size=6), max_size=5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=writes,
    dtype=st.sampled_from(["float32", "uint8", "float64", "bool"]),
    shape=st.sampled_from([(), (3,), (2, 2)]),
    data=st.data(),
)
def test_ragged_rows_round_trip(home: Path, batches: list, dtype: str, shape: tuple, data: st.DataObject) -> None:
    expected: dict[bytes, np.ndarray] = {}
    rng = np.random.default_rng(0)
    prefix = f"ragged{time.monotonic_ns()}"
    with open_store(prefix, dtype, shape) as store:
        for batch in batches:
            rows = [rng.integers(0, 2, (length, *shape)).astype(dtype) for _, length in batch]
            packed = np.concatenate([np.zeros((0, *shape), dtype), *rows])
            new = {key(i) for i, _ in batch} - set(expected)
            assert store.write([key(i) for i, _ in batch], packed, [length for _, length in batch]) == len(new)
            for (i, _), row in zip(batch, rows, strict=True):
                expected.setdefault(key(i), row)
        asked = data.draw(st.lists(st.sampled_from(sorted(expected)), max_size=20)) if expected else []
    with open_store(prefix, dtype, shape) as store:
        tokens, lengths = store.ragged(asked)
        assert lengths.tolist() == [len(expected[k]) for k in asked]
        assert same(tokens, np.concatenate([np.zeros((0, *shape), dtype), *(expected[k] for k in asked)]))


def test_a_forgotten_store_lets_go_of_its_files(home: Path) -> None:
    gc.collect()  # of what other tests have forgotten
    before = set(os.listdir("/dev/fd"))
    store = open_store("p", "float32", SHAPE)
    store.write([key(0)], content([key(0)]))
    rows = store.rows([key(0)])
    assert len(os.listdir("/dev/fd")) > len(before)
    del store
    gc.collect()
    assert len(os.listdir("/dev/fd")) == len(before)
    assert same(rows, content([key(0)]))


def test_rows_of_several_tokens_are_not_taken_for_one(home: Path) -> None:
    with open_store("p", "float32", (2,)) as store:
        store.write([key(0), key(1)], np.zeros((3, 2), np.float32), [2, 1])
        with pytest.raises(StorageError, match="1 to 2 tokens"):
            store.rows([key(0), key(1)])


WRITE_UNTIL_KILLED = """
rng = random.Random(int(sys.argv[1]))
with open_store("p", "float32", (3, 50)) as store:
    while True:
        keys = [key(rng.randrange(50_000)) for _ in range(rng.randrange(1, 60))]
        store.write(keys, content(keys))
        print("wrote", flush=True)
"""


def test_two_writers_killed_at_any_moment_leave_no_wrong_row(home: Path) -> None:
    rng, counts = random.Random(time.time_ns()), [0]
    for number in range(4):
        pair = [process(WRITE_UNTIL_KILLED, 2 * number + i) for i in range(2)]
        for worker in pair:
            assert worker.stdout.readline() == "wrote\n"
        for worker in pair:
            time.sleep(rng.uniform(0, 0.15))
            worker.kill()
        for worker in pair:
            worker.communicate()
        counts.append(check_all("p", 50_000))
        assert counts[-1] > counts[-2]  # nothing is lost, and the next ones go on from there


WRITE_RANGE = """
with open_store("p", "float32", (3, 50)) as store:
    keys = [key(i) for i in range(int(sys.argv[1]), int(sys.argv[2]))]
    print(sum(store.write(keys[i : i + 40], content(keys[i : i + 40])) for i in range(0, len(keys), 40)))
"""


def test_two_processes_at_once_write_every_row_once(home: Path) -> None:
    pair = [process(WRITE_RANGE, 0, 1200), process(WRITE_RANGE, 600, 1800)]
    assert sum(int(finished(worker)) for worker in pair) == 1800
    assert check_all("p", 2000) == 1800
    (file,) = (home / "features" / "p").glob("*.tokens")
    assert file.stat().st_size - 1800 * 600 < 4096  # bytes of a row: 3 × 50 × 4


def test_what_another_process_writes_is_seen(home: Path) -> None:
    keys = [key(i) for i in range(200)]
    with open_store("p", "float32", SHAPE) as store:
        store.write(keys[:10], content(keys[:10]))
        assert same(store.rows(keys[:10]), content(keys[:10]))
        finished(process(WRITE_RANGE, 5, 150))
        assert same(store.rows(keys[:150]), content(keys[:150]))
        finished(process(WRITE_RANGE, 150, 200))
        assert store.has(keys).all()
        assert store.write(keys, content(keys)) == 0


FILL = """
shape, limit, rows = eval(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # Python ignores the signal, so writing fails with EFBIG
with open_store("p", "float32", shape) as store:
    kept = 0
    try:
        for i in range(0, 100 * rows, rows):
            keys = [key(i) for i in range(i, i + rows)]
            kept += store.write(keys, content(keys, shape))
    except StorageError as error:
        assert "no room" in str(error), error
    else:
        raise SystemExit("never full")
    keys = [key(i) for i in range(kept + rows)]
    assert store.has(keys).tolist() == [True] * kept + [False] * rows
    assert store.rows(keys[:kept]).tobytes() == content(keys[:kept], shape).tobytes()
    print(kept)
"""


@pytest.mark.parametrize(
    ("shape", "limit", "rows"), [((3, 50), 200_000, 50), ((1,), 100_000, 400)], ids=["tokens", "index"]
)
def test_a_full_disk_is_said_and_nothing_is_lost(home: Path, shape: tuple, limit: int, rows: int) -> None:
    kept = int(finished(process(FILL, shape, limit, rows)))
    assert kept > rows
    with open_store("p", "float32", shape) as store:
        keys = [key(i) for i in range(kept + rows)]
        assert store.write(keys, content(keys, shape)) == rows
        assert same(store.rows(keys), content(keys, shape))


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(max(4096, path.stat().st_size)))


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def other_tables(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("pragma user_version = 1")
    database.close()


def foreign(path: Path) -> None:
    """A sound file, but of another store."""
    with open_store("q", "float32", SHAPE) as store:
        store.write([key(i) for i in range(1000, 1500)], content([key(i) for i in range(1000, 1500)]))
        shutil.copy(next(store.place.glob("*.tokens")), path)


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("*.tokens", half),
        ("*.tokens", garbage),
        ("*.tokens", Path.unlink),
        ("*.tokens", folder_instead),
        ("*.tokens", foreign),
        ("*.sqlite", half),
        ("*.sqlite", garbage),
        ("*.sqlite", Path.unlink),
        ("*.sqlite", other_tables),
    ],
)
def test_a_damaged_store_is_thrown_away(home: Path, file: str, harm) -> None:
    keys = [key(i) for i in range(400)]
    with open_store("p", "float32", SHAPE) as store:
        store.write(keys, content(keys))
    harm(next((home / "features" / "p").glob(file)))
    with open_store("p", "float32", SHAPE) as store:
        assert not store.has(keys).any()
        assert store.write(keys, content(keys)) == 400
    assert check_all("p", 400) == 400


def test_flipped_bytes_in_the_index_never_give_a_wrong_row(home: Path) -> None:
    keys, rng, survived = [key(i) for i in range(300)], random.Random(1), 0
    with open_store("p", "float32", SHAPE) as store:
        store.write(keys, content(keys))
    place, sound = home / "features" / "p", home / "sound"
    shutil.copytree(place, sound)
    for _ in range(60):
        shutil.rmtree(place)
        shutil.copytree(sound, place)
        (index,) = place.glob("*.sqlite")
        damaged = bytearray(index.read_bytes())
        for _ in range(rng.choice([1, 3, 40])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        index.write_bytes(damaged)
        survived += check_all("p", 300) > 0
    assert 0 < survived < 60


def test_damage_while_open_is_survived(home: Path) -> None:
    keys = [key(i) for i in range(100)]
    with open_store("p", "float32", SHAPE) as store:
        store.write(keys, content(keys))
        next(store.place.glob("*.sqlite")).write_bytes(b"not a database " * 1000)
        assert store.write([key(200)], content([key(200)])) == 1
        assert same(store.rows([key(200)]), content([key(200)]))
    assert check_all("p", 300) == 1


def test_another_dtype_or_shape_is_refused(home: Path) -> None:
    with open_store("p", "float32", SHAPE) as store:
        store.write([key(0)], content([key(0)]))
        for wrong in (
            content([key(1)]).astype(np.float64),
            np.zeros((1, 50, 3), np.float32),
            np.zeros((1,), np.float32),
        ):
            with pytest.raises(StorageError, match=r"float32 of shape \(3, 50\)"):
                store.write([key(1)], wrong)
        for lengths in (None, [1], [3, -1], [1, 2]):
            with pytest.raises(StorageError, match="do not fit"):
                store.write([key(1), key(2)], content([key(1)]), lengths)
        with pytest.raises(sqlite3.IntegrityError):
            store.write([b"short"], content([b"short"]))
    for dtype, shape in (("float64", SHAPE), ("float32", (50, 3)), ("float32", ())):
        with pytest.raises(StorageError, match=r"holds float32 of shape \[3, 50\]"):
            open_store("p", dtype, shape)
    assert check_all("p", 3) == 1


def test_a_place_that_cannot_be_written_is_said(home: Path) -> None:
    script = """
if os.geteuid() == 0:
    os.setuid(65534)
try:
    open_store("p", "float32", (3, 50))
except StorageError as error:
    print(error)
"""
    home.mkdir()
    home.chmod(0o555)
    assert "Set GRAFT_HOME" in finished(process(script))


def test_evicted_while_open_rows_stay_readable_and_writing_starts_afresh(home: Path) -> None:
    keys = [key(i) for i in range(300)]
    with open_store("p", "float32", SHAPE) as store, open_store("p", "float32", SHAPE) as reader:
        store.write(keys[:100], content(keys[:100]))
        assert reader.has(keys[:100]).all()
        os.utime(store.place, (0, 0))
        assert evict(0) > 100 * 600
        assert not store.place.exists()
        assert same(reader.rows(keys[:100]), content(keys[:100]))
        assert store.write(keys[100:200], content(keys[100:200])) == 100
        assert store.has(keys).sum() == reader.has(keys).sum() == 200
        mixed = random.Random(0).sample(keys[:200], 200)
        assert same(store.rows(mixed), content(mixed))
        assert same(reader.rows(mixed), content(mixed))
        assert check_all("p", 300) == 100  # only what was written since is kept


def test_many_rows_in_the_file_s_order_take_no_memory_and_are_the_reader_s_own(home: Path) -> None:
    keys = [key(i) for i in range(200)]
    tokens = np.random.default_rng(0).random((200, 50_000), np.float32)  # 40 MB
    with open_store("wide", "float32", (50_000,)) as store:
        store.write(keys[:150], tokens[:150])
        store.write(keys[150:], tokens[150:])
        tracemalloc.start()
        rows, part = store.rows(keys), store.rows(keys[7:190])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()
        assert same(rows, tokens)
        assert same(part, tokens[7:190])
        rows[:] = 0
        assert not rows.any()
        assert same(store.rows(keys), tokens)
        assert same(store.rows(keys[::-1]), tokens[::-1])
        os.utime(store.place, (0, 0))
        assert evict(0) > tokens.nbytes
    assert same(part, tokens[7:190])
    with open_store("ragged", "float32", SHAPE) as store:
        lengths = np.random.default_rng(1).integers(0, 600, 200)
        long = np.random.default_rng(2).random((int(lengths.sum()), *SHAPE), np.float32)
        store.write(keys, long, lengths)
        found, counts = store.ragged(keys[3:])
        assert same(found, long[lengths[:3].sum() :])
        assert counts.tolist() == lengths[3:].tolist()


WRITE_AND_VERIFY = """
rng = random.Random(int(sys.argv[1]))
places = set()
with open_store("p", "float32", (3, 50)) as store:
    while len(places) < 5:
        keys = [key(rng.randrange(3000)) for _ in range(30)]
        store.write(keys, content(keys))
        assert store.rows(keys).tobytes() == content(keys).tobytes()
        with contextlib.suppress(FileNotFoundError):
            places.update(path.name for path in store.place.glob("*.tokens"))
"""


def test_evictions_while_two_processes_write_do_no_harm(home: Path) -> None:
    pair, rng = [process(WRITE_AND_VERIFY, i) for i in range(2)], random.Random(0)
    while any(worker.poll() is None for worker in pair):
        time.sleep(rng.uniform(0.1, 0.4))
        shutil.rmtree(home / "features" / "p", ignore_errors=True)
    for worker in pair:
        finished(worker)
    check_all("p", 3000)


def test_threads_read_while_one_writes(home: Path) -> None:
    keys, wrong, done = [key(i) for i in range(2000)], [], threading.Event()
    with open_store("p", "float32", SHAPE) as store:
        store.write(keys[:50], content(keys[:50]))

        def read(seed: int) -> None:
            rng = random.Random(seed)
            while not done.is_set():
                some = [k for k, has in zip(keys, store.has(keys), strict=True) if has]
                asked = rng.sample(some, 40)
                if not same(store.rows(asked), content(asked)):
                    wrong.append(seed)

        readers = [threading.Thread(target=read, args=(seed,)) for seed in range(2)]
        for reader in readers:
            reader.start()
        for i in range(50, 2000, 50):
            store.write(keys[i : i + 50], content(keys[i : i + 50]))
        done.set()
        for reader in readers:
            reader.join()
    assert not wrong


def test_bytes_are_those_on_disk(home: Path) -> None:
    with open_store("p", "float32", SHAPE) as store:
        before = store.nbytes()
        store.write([key(i) for i in range(500)], content([key(i) for i in range(500)]))
        assert store.nbytes() - before >= 500 * 600
        assert store.nbytes() == sum(path.stat().st_size for path in store.place.iterdir())


def interrupted(store: Store, keys: list[bytes], other: Store) -> None:
    with gathered(store) as write:
        for one in keys:
            write([one], content([one]))
        assert not other.has(keys).any()  # they wait for one transaction
        raise KeyboardInterrupt


def test_gathered_writes_are_kept_also_when_interrupted(home: Path) -> None:
    keys = [key(i) for i in range(30)]
    with open_store("p", "float32", SHAPE) as store, open_store("p", "float32", SHAPE) as other:
        with pytest.raises(KeyboardInterrupt):
            interrupted(store, keys, other)
        assert same(other.rows(keys), content(keys))


def test_gathered_writes_reach_the_store_by_bytes(home: Path) -> None:
    block = np.zeros((1, 5 << 20), np.uint8)
    with open_store("p", "uint8", (5 << 20,)) as store, gathered(store) as write:
        for i in range(5):
            write([key(i)], block)
        assert store.has([key(i) for i in range(5)]).sum() == 4  # 20 MB were due, 5 MB wait
