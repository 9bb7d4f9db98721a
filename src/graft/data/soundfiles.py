"""Which bytes are a sound file that can be read, and why others are not.

A file whose own header says that a part of it is missing is refused.
"""

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import soundfile

from graft.core.errors import DataError

SUFFIXES = (
    *(".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
    *(".w64", ".rf64"),
)
MAX_BYTES = 1 << 30  # of a file: an hour of 48 kHz stereo in 24 bits
STRANGERS = (
    (rb"\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)|\s*<\?xml", "a web page"),
    (rb"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (
        rb"....ftyp|#!AMR|\xff[\xf0\xf1\xf8\xf9]|0&\xb2u\x8ef\xcf\x11|\x1aE\xdf\xa3",
        "an AAC, AMR, WMA, MP4 or WebM file; save its sound as WAV or FLAC",
    ),
    (rb"RIFF....AVI", "a video; save its sound as WAV or FLAC"),
    (rb"\xff\xd8\xff|\x89PNG|GIF8", "a picture"),
    (rb"MThd", "a MIDI score; render it as WAV or FLAC"),
    (rb"PK\x03\x04", "a ZIP archive; unpack it"),
    (rb"\x1f\x8b", "gzip data; unpack it"),
    (rb"%PDF", "a PDF document"),
)
# Others that libsndfile knows are rare, and some of their readers print what they stumble over.
KNOWN = re.compile(
    rb"RIFF....WAVE|RIFX|RF64|riff|fLaC|OggS|ID3|\xff[\xe2-\xef\xf2-\xf7\xfa-\xff]|FORM....AIF|\.snd|caff|NIST_1A",
    re.DOTALL,
)


@contextmanager
def opened(raw: bytes) -> Iterator[soundfile.SoundFile]:
    """A sound file of which the header is read.

    Raises:
        DataError: whatever the decoder stumbles over, here or within the block.
    """
    if not raw:
        raise DataError("The file is empty (0 bytes).")
    if len(raw) > MAX_BYTES:
        raise DataError(
            f"This file has {len(raw) / 1e9:.1f} GB; at most {MAX_BYTES / 1e9:.1f} are read. Cut it into clips."
        )
    if not KNOWN.match(raw):
        raise DataError(_stranger(raw))
    if (missing := _missing(raw)) > 0:
        raise DataError(
            f"This {raw[8:12].decode('ascii', 'replace')} file is cut short: {missing} bytes are not there."
        )
    try:
        with _Straight(_Bytes(raw)) as file:
            yield file
    except soundfile.LibsndfileError as error:
        what = error.error_string.removeprefix("Error : ").rstrip(".")
        what = "no sound is found in it" if "does not exist" in what else what  # which is said of a file that is there
        raise DataError(f"This sound file is cut short or damaged: {what}.") from None


class _Straight(soundfile.SoundFile):
    """A sound file read from its beginning to its end.

    The library goes back to where it is after every block, which streams of unknown length do not survive.
    """

    def seekable(self) -> bool:
        """Not for us."""
        return False


class _Bytes(io.BytesIO):
    """Bytes that a damaged header cannot ask to be read from before their beginning."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As files do, but never before the beginning."""
        return super().seek(max(0, offset) if whence == io.SEEK_SET else offset, whence)


def _missing(raw: bytes) -> int:
    """Bytes of sound that a WAV or AIFF declares and does not hold; those written as a stream declare none."""
    kind = {b"RIFF": ("little", b"data"), b"FORM": ("big", b"SSND")}.get(raw[:4])
    at = 12
    while kind and at + 8 <= len(raw):
        size = int.from_bytes(raw[at + 4 : at + 8], kind[0])  # type: ignore[arg-type]
        if raw[at : at + 4] == kind[1]:
            return 0 if size >= 0x7FFF0000 else at + 8 + size - len(raw)
        at += 8 + size + size % 2
    return 0


def _stranger(raw: bytes) -> str:
    """What a file is that is no sound file, told by its first bytes."""
    for pattern, name in STRANGERS:
        if re.match(pattern, raw[:256], re.DOTALL | re.IGNORECASE):
            return f"This is not a sound file that can be read but {name}."
    try:
        text = " ".join(codecs.getincrementaldecoder("utf-8")().decode(raw[:256]).split())
    except UnicodeDecodeError:
        text = ""
    if text and text.isprintable():
        return f"This is not sound but text that starts with {text[:40]!r}."
    return (
        f"This is not a sound file: it starts with the bytes {raw[:8].hex(' ')}. "
        "What can be read: WAV, FLAC, MP3, OGG (Vorbis, Opus), AIFF, AU, CAF."
    )
