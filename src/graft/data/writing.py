"""Written text: bytes of unknown encoding to characters, how much it says, and what it is like."""

import codecs
import re
import zlib

import numpy as np

from graft.core.errors import DataError

FEWEST = 12  # words below which two texts may agree by chance: they get no hash
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
BROAD = 0x2E80  # from here on characters are words of their own: Chinese, Japanese


def decoded(raw: bytes) -> tuple[str, tuple[str, ...]]:
    """The text of a file, UTF-8 or as its first bytes say, else Latin-1; and what is odd about it.

    Raises:
        DataError: these are no characters.
    """
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if raw.startswith(mark):
            try:
                return raw.decode(name), ()
            except UnicodeDecodeError as error:
                raise DataError(f"The text says that it is {name} and is not (byte {error.start}).") from None
    if b"\0" in raw:
        raise DataError("This is not text: it holds zero bytes.")
    try:
        return raw.decode("utf-8"), ()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace"), ("not UTF-8 and read as Latin-1",)


def words(text: str) -> int:
    """Words of a text; in writing without spaces, half its characters."""
    broad = sum(ord(character) >= BROAD for character in text[:2000])
    return max(len(text.split()), broad // 2)


def terms(text: str) -> list[str]:
    """What a text is about: lower-case words of three letters or more; of scripts without spaces, characters."""
    found = WORD.findall(text.lower())
    return [word for word in found if len(word) > 2 or ord(word[0]) >= BROAD]


def simhash(text: str) -> int:
    """64 bits of which near-duplicates share nearly all (Charikar 2002), over lower-case words; 0 for a short text."""
    found = text.lower().split()
    if len(found) < FEWEST:
        return 0
    known, counts = np.unique(np.array([_hash(word) for word in found], np.uint64), return_counts=True)
    bits = np.unpackbits(known.view(np.uint8).reshape(-1, 8), axis=1).astype(np.int32) * 2 - 1
    return int.from_bytes(np.packbits((counts[:, None] * bits).sum(0) > 0).tobytes(), "big")


def _hash(word: str) -> int:
    """64 bits of a word: the same everywhere."""
    data = word.encode("utf-8", "surrogatepass")
    return zlib.crc32(data) << 32 | zlib.crc32(data[::-1], 0x9E3779B9)
