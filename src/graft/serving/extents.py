"""How large an example is, by its header: what would take too much memory or time is refused before it is decoded."""

import io
import zipfile
from collections.abc import Callable

from graft.core.errors import DataError
from graft.serving.limits import Settings

LETTERS = 6  # characters that count as one token: more than tokens have on average in any language


def check(modality: str, settings: Settings) -> Callable[[bytes], object]:
    """What raises DataError for the raw bytes of an example that is too large; by modality, others by bytes alone."""
    known: dict[str, Callable[[bytes, Settings], object]] = {
        "image": _photo, "audio": _clip, "text": _text, "signal": _trial,
    }  # fmt: skip
    measure = known.get(modality, _nothing)
    return lambda raw: measure(raw, settings)


def _photo(raw: bytes, settings: Settings) -> None:
    from graft.data.pictures import MAX_PIXELS, pixels

    if settings.pixels >= MAX_PIXELS:  # decoding refuses them by itself
        return
    if (count := pixels(raw)) > settings.pixels:
        raise DataError(f"A photo has at most {settings.pixels:,} pixels here, not {count:,}. Make it smaller.")


def _clip(raw: bytes, settings: Settings) -> None:
    from graft.data.sound import seconds

    if (length := seconds(raw, settings.seconds)) > settings.seconds:
        raise DataError(f"A clip lasts at most {settings.seconds:g} s here, not {length:.0f}. Cut it into pieces.")


def _text(raw: bytes, settings: Settings) -> None:
    if len(raw) > (most := settings.tokens * LETTERS) and (count := len(raw.decode("utf-8", "replace"))) > most:
        raise DataError(
            f"A text has at most {most:,} characters here, about {settings.tokens:,} tokens, not {count:,}."
        )


def _trial(raw: bytes, settings: Settings) -> None:
    if raw.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(raw)) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise DataError(f"The file is damaged or no NumPy file: {error}.") from None
        if size > 8 * settings.samples:
            raise DataError(
                f"A trial has at most {settings.samples:,} samples here; this file declares {size:,} bytes."
            )


def _nothing(raw: bytes, settings: Settings) -> None:
    pass
