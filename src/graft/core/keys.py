"""Content keys: the same inputs give the same short name on every machine."""

import hashlib
import importlib.metadata
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from graft.core.codec import to_json


def key(*parts: Any) -> str:
    """32 hexadecimal digits (128 bits of BLAKE2b) that name these values: nouns, strings, numbers, bytes, nested."""
    digest = hashlib.blake2b(digest_size=16)
    for data in _framed(parts):
        digest.update(data)
    return digest.hexdigest()


def keys(firsts: Iterable[str], *rest: Any) -> list[bytes]:
    """The 16 bytes of `key(first, *rest)` for each of many: what they share is written once."""
    shared = tuple(_framed(rest))
    return [hashlib.blake2b(b"".join((*_framed((first,)), *shared)), digest_size=16).digest() for first in firsts]


def _framed(parts: Iterable[Any]) -> Iterator[bytes | memoryview]:
    """The parts' bytes, each behind its length."""
    for part in parts:
        data = part if isinstance(part, bytes | memoryview) else to_json(part).encode("utf-8", "surrogatepass")
        yield len(data).to_bytes(8, "little")
        yield data


def content_id(data: bytes) -> str:
    """The name of an example: a hash of its raw bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@cache
def installed(package: str) -> str:
    """The package with its version, where it is installed as one of that name."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


def file_sha256(path: str | os.PathLike[str]) -> str:
    """The sha256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
