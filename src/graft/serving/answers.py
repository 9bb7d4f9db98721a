"""What a request asks, and what it is answered: JSON or a form in, JSON out. No path or address is ever followed."""

import base64
import binascii
import json
from collections.abc import Sequence
from email.message import Message
from typing import Any

from graft.serving.batching import Answer
from graft.serving.limits import Refused

KINDS = "application/json, or multipart/form-data with a file for each example"
Asked = tuple[str, Any]  # the file name that an example came with, or "", and the example: bytes, a text, a row, a dict


def asked(kind: str, body: bytes, most: int) -> list[Asked]:
    """The examples of a request of this content type.

    Raises:
        Refused: it is neither, damaged, or holds nothing.
    """
    header = Message()
    header["content-type"] = kind
    if header.get_content_type() == "application/json":
        found = [("", _value(value)) for value in _inputs(body)]
    elif header.get_content_type() == "multipart/form-data":
        found = _parts(str(header.get_param("boundary", "")), body, most)
    else:
        raise Refused(415, f"A request is {KINDS}.")
    if not found:
        raise Refused(422, "The request holds no example.")
    return found


def told(model: str, version: str, names: Sequence[str], answers: Sequence[Answer]) -> bytes:
    """The body of a reply, strict JSON."""
    said = [_said({"input": name, **answer} if name else answer) for name, answer in zip(names, answers, strict=True)]
    head = json.dumps({"model": model, "version": version})
    return f'{head[:-1]}, "answers": [{", ".join(said)}]}}'.encode()


def _said(answer: Answer) -> str:
    try:
        return json.dumps(answer, allow_nan=False)
    except ValueError:
        return json.dumps({"error": "What the model computes of this example is no number."})


def _inputs(body: bytes) -> list[Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The request is no JSON: {error}.") from None
    if not isinstance(found, dict) or set(found) != {"inputs"} or not isinstance(found["inputs"], list):
        raise Refused(422, 'A request is {"inputs": [one or more examples]}.')
    return found["inputs"]


def _value(value: Any) -> Any:
    """An example as a Predictor takes it."""
    if not isinstance(value, str | list | dict):
        raise Refused(422, 'An example is a text, a row of values, or {"base64": "…"}: the bytes of a file.')
    if not isinstance(value, dict) or set(value) != {"base64"} or not isinstance(value["base64"], str):
        return value
    try:
        return base64.b64decode(value["base64"], validate=True)
    except (binascii.Error, ValueError):
        raise Refused(422, "An example says that it is base64 and is not.") from None


def _parts(boundary: str, body: bytes, most: int) -> list[Asked]:
    """The files and texts of a form, whatever they are called; they are never written anywhere."""
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    found: list[Asked] = []
    header, pieces = [b"", b""], list[bytes]()
    options: dict[bytes, bytes] = {}

    def named(data: bytes, start: int, end: int) -> None:
        header[0] += data[start:end]

    def valued(data: bytes, start: int, end: int) -> None:
        header[1] += data[start:end]

    def settled() -> None:
        if header[0].lower() == b"content-disposition":
            options.update(parse_options_header(header[1])[1])
        header[:] = [b"", b""]

    def ended() -> None:
        if len(found) == most:
            raise Refused(422, f"One request holds at most {most} examples.")
        data, file = b"".join(pieces), options.get(b"filename")
        found.append(("", data.decode("utf-8", "replace")) if file is None else (file.decode("utf-8", "replace"), data))
        pieces.clear()
        options.clear()

    try:
        parser = MultipartParser(
            boundary.encode("latin-1", "replace"),
            {
                "on_header_field": named, "on_header_value": valued, "on_header_end": settled,
                "on_part_data": lambda data, start, end: pieces.append(data[start:end]), "on_part_end": ended,
            },
        )  # fmt: skip
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise Refused(400, f"The form is damaged: {str(error).rstrip('.')}.") from None
    return found
