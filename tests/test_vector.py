"""Tables of numbers: how they are read, what of them is learned from, and what a backbone is fed."""

import copy
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.core.codec import from_dict, to_json
from graft.core.errors import BackboneError, DataError, PlanError
from graft.core.keys import content_id
from graft.data import numbers as cells
from graft.data import survey, tables
from graft.data.numbers import misplaced
from graft.modalities import vector

LAB = """patient_id,age,sex,crp,label
p1,63,f,5.1,ill
p2,41,m,0.4,well
p3,,f,2.2,well
p4,58,m,NA,ill
p5,70,?,9.9,ill
p6,22,x,0.3,well
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return write(tmp_path / "lab.csv", LAB)


def read(place: Path, asked: dict[str, Any] | None = None, **more: Any) -> tuple[Any, vector.Reading, list[Any]]:
    """What is found, how it is read, and the decoded rows."""
    found = vector.find(place, asked or more)
    reading = from_dict(vector.Reading, json.loads(to_json(found.reading)))
    return found, reading, [vector.decode(vector.fetch(row.item, reading), reading) for row in found.rows]


def test_what_training_has_not_seen_is_told_of_a_row(lab: Path) -> None:
    _, reading, examples = read(lab)
    known = vector.ranges(examples, reading)
    assert known == {"age": (22, 70), "crp": (0.3, 9.9)}

    def told(ranges: Any = known, reading: vector.Reading = reading, **row: Any) -> list[str]:
        return vector.odd(reading, ranges)(vector.decode(vector.given(row, reading), reading)).told

    assert told(age=74.7, sex="f", crp=None) == told(age=22, sex="NA", crp="<0.3") == []
    assert told(age="abc", sex="Paris", crp=9e9) == [
        "age: 'abc' is no number, taken as missing",
        "crp: 9e+09 lies beyond the 0.3 to 9.9 of the training rows",
        "sex: 'Paris' was in no training row",
    ]
    assert told(age=[1], sex="x", crp=1e300) == [
        "age: a list is no number, taken as missing",
        "crp: 1e+300 is too large a number, taken as missing",
    ]
    assert told({}, age="abc", sex="Paris", crp=9e9) == told(age="abc", sex="Paris", crp=1)  # a card without ranges
    logs = dataclasses.replace(reading, log=True)
    rows = [vector.decode(vector.fetch(f"{lab}#{number}", logs), logs) for number in range(1, 7)]
    assert vector.ranges(rows, logs)["age"] == pytest.approx((22, 70))
    assert told(reading=logs, age=-74, sex="f", crp=1) == ["age: -74 lies beyond the 22 to 70 of the training rows"]
    wide = vector.Reading(tuple("abcdefgh"))
    assert told(dict.fromkeys("abcdefgh", (0, 1)), wide, **dict.fromkeys("abcdefgh", 7))[5:] == ["and 3 values more"]
    for lie in ("x", {"age": ["a", 2]}, {"age": [1]}, {"age": None}):
        with pytest.raises((AttributeError, TypeError, ValueError)):  # which a Predictor turns into its refusal
            vector.odd(reading, lie)


def test_a_number_beyond_those_of_training_is_told_apart_from_what_is_missing(lab: Path) -> None:
    _, reading, examples = read(lab)
    known = vector.ranges(examples, reading)

    def beyond(slack: float, **row: Any) -> bool:
        return vector.odd(reading, known, slack)(vector.decode(vector.given(row, reading), reading)).beyond

    assert not beyond(0.1, age="abc", sex="Paris", crp=5)
    assert not beyond(0.1, age=None, sex="f", crp=10)
    assert beyond(0.1, age=75, sex="f", crp=5)
    assert beyond(0.1, age=30, sex="f", crp=-9e9)
    assert beyond(0.1, age=1e300, sex="f", crp=5)
    assert beyond(0.1, age="1e300", sex="f", crp=5)
    assert not beyond(1.0, age=75, sex="f", crp=5)
    assert beyond(1.0, age=119, sex="f", crp=5)


def test_rows_of_many_columns_are_not_all_unlike() -> None:
    rng = np.random.default_rng(0)
    reading = vector.Reading(tuple(f"g{at}" for at in range(500)))
    first, more, new = ([vector.Values(reading.columns, row, {}) for row in rng.lognormal(size=(count, 500))]
                        for count in (60, 40, 200))  # fmt: skip
    known = vector.ranges(first, reading)
    assert vector.slack([], reading, known) == vector.slack(first, reading, known) == 0.1
    slack = vector.slack(more, reading, known)
    assert vector.slack(more, reading, {}) == 0.1  # no training row had a number
    plain, fit = (np.mean([vector.odd(reading, known, each)(row).beyond for row in new]) for each in (0.1, slack))
    assert plain > 0.9
    assert fit < 0.15
    new[0].values[7] = 1e6
    assert vector.odd(reading, known, slack)(new[0]).beyond


def matrix(place: Path, **asked: Any) -> np.ndarray:
    return np.stack([example.values for example in read(place, **asked)[2]])


# ── finding and reading ───────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_are_examples_and_columns_are_told_apart(lab: Path) -> None:
    found, reading, examples = read(lab)
    assert [(row.label, row.group) for row in found.rows[:2]] == [("ill", "p1"), ("well", "p2")]
    assert found.rows[3].item == f"{lab}#4"
    assert reading.columns == ("age", "crp")
    assert reading.categories == {"sex": ("f", "m", "x")}
    np.testing.assert_array_equal(examples[0].values, [63, 5.1, 1, 0, 0])
    np.testing.assert_array_equal(examples[4].values, [70, 9.9, np.nan, np.nan, np.nan])
    assert examples[4].words == {"sex": ""}
    assert any("2 of 12 values are missing" in note for note in found.notes)


def test_raw_bytes_are_the_values_alone(lab: Path, tmp_path: Path) -> None:
    found, reading, _ = read(lab)
    raw = vector.fetch(found.rows[0].item, reading)
    assert raw == b'{"age":"63","crp":"5.1","sex":"f"}'
    rows = [line.split(",") for line in LAB.splitlines()]
    turned = "\n".join(",".join([*row[::-1], "remark" if i == 0 else str(i)]) for i, row in enumerate(rows))
    other = write(tmp_path / "turned.csv", turned)
    moved = [content_id(vector.fetch(f"{other}#{i}", reading)) for i in range(1, 7)]
    assert moved == [content_id(vector.fetch(row.item, reading)) for row in found.rows]


def test_every_format_reads_alike(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    x, y = np.random.default_rng(0).normal(size=(6, 3)).round(3), ["a", "b"] * 3
    names = ["c0", "c1", "c2"]
    table = pa.table({name: x[:, i] for i, name in enumerate(names)} | {"label": y})
    pq.write_table(table, tmp_path / "t.parquet")
    rows = [dict(zip(names, row, strict=True)) | {"label": label} for row, label in zip(x.tolist(), y, strict=True)]
    write(tmp_path / "t.jsonl", "\n\n".join(json.dumps(row) for row in rows))
    body = [[*map(str, row), label] for row, label in zip(x.tolist(), y, strict=True)]
    for ending, mark in ((".csv", ","), (".tsv", "\t")):
        write(tmp_path / f"t{ending}", "\n".join(mark.join(row) for row in [[*names, "label"], *body]))
    write(tmp_path / "u.csv", "\n".join(";".join(row).replace(".", ",") for row in [[*names, "label"], *body]))
    np.savez(tmp_path / "t.npz", X=x, label=np.array(y), columns=np.array(names))
    for name in ("t.parquet", "t.jsonl", "t.csv", "t.tsv", "u.csv", "t.npz"):
        found, reading, examples = read(tmp_path / name)
        assert reading.columns == tuple(names), name
        assert [row.label for row in found.rows] == y
        np.testing.assert_array_equal(np.stack([e.values for e in examples]), x)


def test_arrays(tmp_path: Path) -> None:
    x, y = np.arange(12.0).reshape(4, 3), np.arange(4) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y, patient=np.array(["p", "p", "q", "q"]))
    found, reading, examples = read(tmp_path / "a.npz")
    assert reading.columns == ("x0", "x1", "x2")
    assert [(row.label, row.group) for row in found.rows] == [(0, "p"), (1, "p"), (0, "q"), (1, "q")]
    np.testing.assert_array_equal(examples[3].values, x[3])
    (folder := tmp_path / "pair").mkdir()
    np.save(folder / "X.npy", x)
    np.save(folder / "y.npy", y)
    assert [row.label for row in vector.find(folder, {}).rows] == [0, 1, 0, 1]
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        vector.find(tmp_path / "objects.npy", {})
    np.savez(tmp_path / "flat.npz", x=np.zeros((0, 3)), y=np.zeros(0))
    with pytest.raises(DataError, match="no rows"):
        vector.find(tmp_path / "flat.npz", {})


def test_parts_by_column_and_by_file(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "v,w,split,label\n1,2,train,a\n2,3,Test,b\n3,1,val,a\n")
    assert [row.part for row in vector.find(table, {}).rows] == ["train", "test", "val"]
    (folder := tmp_path / "parts").mkdir()
    write(folder / "test.csv", "w,label,v\n9,a,8\n")
    write(folder / "train.csv", "v,w,label\n1,2,a\n2,3,b\n")
    found, _, examples = read(folder)
    assert [row.part for row in found.rows] == ["train", "train", "test"]
    np.testing.assert_array_equal(examples[2].values, [8, 9])
    write(folder / "more.csv", "v,label\n1,a\n")
    with pytest.raises(DataError, match="holds 3 tables"):
        vector.find(folder, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a;b;label\n1,5;2;x\n1.234,5;3;y\n-0,5;;x\n", [[1.5, 2], [1234.5, 3], [-0.5, np.nan]]),
        ("a;b;label\n1.5;2;x\n2.25;3;y\n", [[1.5, 2], [2.25, 3]]),  # a semicolon alone says nothing of the mark
        ('a,b,label\n"1,234.5",2,x\n7,1e3,y\n', [[1234.5, 2], [7, 1000]]),
        ("a,b,label\n<0.5,2,x\n≥ 7,−3,y\n", [[0.5, 2], [7, -3]]),
        ("\ufeffa,b,label\r\n1,2,x\r\n\r\n3,4,y\r\n", [[1, 2], [3, 4]]),  # a spreadsheet's: mark, empty line
        ("a,b,label\n1,2\n3,4,y\n", [[1, 2], [3, 4]]),  # a short row has no label
        ("a,b,label\ns1,1,2,x\ns2,3,4,y\n", [[1, 2], [3, 4]]),  # R's row names have no name
        ("a,b,label\n1,2,x,\n3,4,y,\n", [[1, 2], [3, 4]]),  # a comma at each row's end
        (" a , b ,label\n 1 , 2 ,x\n3,4,y\n", [[1, 2], [3, 4]]),
    ],
)
def test_numbers_as_people_write_them(tmp_path: Path, text: str, expected: list[list[float]]) -> None:
    np.testing.assert_array_equal(matrix(write(tmp_path / "t.csv", text)), expected)


def test_decimal_commas_in_labels(tmp_path: Path) -> None:
    place = write(tmp_path / "t.csv", "a;label\n1,5;2,5\n2,5;3\n3,5;\n")
    assert [row.label for row in vector.find(place, {}).rows] == [2.5, 3.0, None]


def test_missing_marks_and_those_of_ones_own(tmp_path: Path) -> None:
    marks = ["", "NA", "nan", "NULL", "?", "-", "N/A", " - "]
    text = "a,b,label\n" + "".join(f"{mark},{i + 1.5},x\n" for i, mark in enumerate(marks)) + "-999,2,y\n7,3,y\n"
    place = write(tmp_path / "t.csv", text)
    plain = matrix(place)[:, 0]
    assert np.isnan(plain[:8]).all()
    assert plain[8:].tolist() == [-999, 7]
    for own in ("-999", ["-999"]):
        assert np.isnan(matrix(place, missing=own)[:9, 0]).all()
    assert np.isnan(matrix(place, missing="-999.0")[8, 0])


def test_mixed_infinite_and_huge_values_count_as_missing_and_are_said(tmp_path: Path) -> None:
    rows = [f"{i}.5,{i}.5,{i}" for i in range(30)] + ["oops,inf,1", f"{1e300},-Infinity,1", "1_0,3,2"]
    place = write(tmp_path / "t.csv", "a,b,c,label\n" + "\n".join(f"{row},{'xy'[i % 2]}" for i, row in enumerate(rows)))
    found, _, _ = read(place)
    x = matrix(place)
    assert np.isnan(x[30:, 0]).all()
    assert np.isnan(x[30:32, 1]).all()
    assert sum("are no finite numbers" in note for note in found.notes) == 2
    assert any("'oops'" in note for note in found.notes)
    half = "a,b,label\n" + "\n".join(f"{i if i % 2 else 'low'},{i},{'xy'[i % 2]}" for i in range(12))
    assert read(write(tmp_path / "half.csv", half))[1].categories == {"a": ("1", "11", "3", "5", "7", "9", "low")}


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    rows = [f"{900 + 7 * i},s{i},word {i % 25},{i % 4},,7,{i},{'xy'[i % 2]}" for i in range(50)]
    place = write(tmp_path / "t.csv", "sample_id,code,remark,dose,void,same,row,label\n" + "\n".join(rows))
    found, reading, _ = read(place)
    assert reading.columns == ("dose", "same")
    said = " ".join(found.notes)
    assert "sample_id, row; it only names the rows" in said
    assert "void; nothing stands there" in said
    assert "code, remark; texts" in said
    assert "1 columns hold one value throughout and tell nothing: same" in said
    assert read(place, columns="sample_id, dose")[1].columns == ("sample_id", "dose")


def test_a_number_that_is_no_counter_stays(tmp_path: Path) -> None:
    rows = "\n".join(f"{i},{2 * i},{i},{'xy'[i % 2]}" for i in range(30))
    reading = read(write(tmp_path / "t.csv", f"dose,mass_index,index,label\n{rows}"))[1]
    assert reading.columns == ("dose", "mass_index")


def test_doubled_and_empty_names(tmp_path: Path) -> None:
    place = write(tmp_path / "t.csv", ",tp53,tp53,,label\ns1,1,2,3,x\ns2,4,5,6,y\n")
    found, reading, examples = read(place)
    assert reading.columns == ("tp53", "tp53.2", "column 4")
    np.testing.assert_array_equal(examples[1].values, [4, 5, 6])
    assert any("Several columns are called tp53" in note for note in found.notes)


def test_units_that_were_mistaken_are_noticed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    glucose, counts = rng.normal(5, 0.5, 60), rng.lognormal(3, 2.5, 60)
    glucose[17] *= 1000
    glucose[40] /= 1e6
    text = "glucose,counts,label\n" + "\n".join(
        f"{g},{c},{'xy'[i % 2]}" for i, (g, c) in enumerate(zip(glucose, counts, strict=True))
    )
    said = [note for note in vector.find(write(tmp_path / "t.csv", text), {}).notes if "mistaken unit" in note]
    assert len(said) == 1
    assert said[0].startswith("2 values")
    assert "glucose of row 18" in said[0]


def test_shares_and_long_tails_are_no_mistaken_units() -> None:
    """A loyalty that fades by a fifth each time, shares that are nearly all one, amounts that reach down to zero."""
    rng, rows = np.random.default_rng(0), 1000
    fades = np.where(rng.random(rows) < 0.1, 0.8 ** rng.integers(0, 50, rows), rng.uniform(0.4, 0.8, rows))
    nearly = np.where(np.arange(rows) == 7, 0.001, rng.normal(0.95, 0.01, rows).clip(0, 1))
    owed = rng.normal(800, 480, rows).clip(0)
    tail = 1 + rng.pareto(1.5, rows)
    logs = rng.normal(-2.3, 0.1, rows)
    logs[3] = -0.002
    owed[5], tail[:2] = 0.5, (300.0, 1000.0)
    columns = np.stack([fades, nearly, owed, tail, logs], 1)
    assert misplaced(columns) == []
    columns[9] = 700, 0.95, 8e5, 1500, -2300  # in another unit, but for the share and the tail
    assert misplaced(columns) == [(9, 0), (9, 2), (9, 4)]
    heights = rng.normal(1.7, 0.1, rows)
    heights[5] *= 0.001
    assert misplaced(heights[:, None]) == [(5, 0)]


def test_labels_that_only_count_the_rows_are_refused(tmp_path: Path) -> None:
    rows = "\n".join(f"{i + 1},{np.sin(i)},{i % 2}" for i in range(20))
    place = write(tmp_path / "t.csv", f"y,value,outcome\n{rows}")
    with pytest.raises(DataError, match=r"only count the rows: 1, 2, 3 .* outcome"):
        vector.find(place, {})
    assert read(place, label="outcome")[1].columns == ("y", "value")
    assert [row.label for row in vector.find(write(tmp_path / "s.csv", "y,v\n1,5\n2,6\n3,7\n"), {}).rows] == [
        "1",
        "2",
        "3",
    ]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"columns": ["age", "crpp"]}, "no column 'crpp'. Did you mean crp"),
        ({"columns": ["age", "label"]}, "no column 'label'"),
        ({"label": "diagnose"}, "no column 'diagnose'"),
        ({"rate": 16000}, "no use for --rate"),
        ({"decimal": ";"}, "decimal mark"),
        ({"columns": ["name"]}, "texts stand there"),
    ],
)
def test_what_is_asked_for_must_be_there(tmp_path: Path, asked: dict[str, Any], says: str) -> None:
    rows = "\n".join(f"{20 + i},{i / 7},someone {i},{'xy'[i % 2]}" for i in range(30))
    place = write(tmp_path / "t.csv", f"age,crp,name,label\n{rows}")
    with pytest.raises(DataError, match=says):
        vector.find(place, asked)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.csv", "", "no rows"),
        ("t.csv", "a,b,label\n", "no rows"),
        ("t.csv", "a,label\n1,x\n1,2,3,y\n", "Row 2 .* has 4 cells, but there are 2 columns"),
        ("t.csv", "name,label\nabe,x\nbea,y\n", "no column of values"),
        ("t.jsonl", "{\n", "line 1 is not JSON"),
        ("t.jsonl", "[1]\n", "must be a JSON object"),
        ("t.parquet", "PAR1", "cannot be read"),
        ("t.npz", "PK", "cannot be read"),
        ("t.xlsx", "PK", "no table of numbers"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        vector.find(write(tmp_path / name, text), {})
    with pytest.raises(DataError, match="cannot be read"):
        vector.find(tmp_path / "nothing.csv", {})


def test_latin_1_is_refused_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("größe;label\n1;x\n".encode("latin-1"))
    with pytest.raises(DataError, match="Save it as UTF-8"):
        vector.find(tmp_path / "t.csv", {})


def test_one_row(tmp_path: Path) -> None:
    place = write(tmp_path / "t.csv", "a,b,label\n1,2,x\n")
    found, reading, examples = read(place)
    assert (len(found.rows), reading.columns) == (1, ("a", "b"))
    input = vector.parse(vector.suited({}, reading, examples))
    assert vector.prepare(examples[0], input)["x"].tolist() == [0, 0]


def test_a_table_is_read_once_until_it_changes(lab: Path) -> None:
    table = tables.read(lab)
    assert tables.read(str(lab)) is table
    assert tables.row(f"{lab}#2", ["age", "crp"]) == b'{"age":"41","crp":"0.4"}'
    for item in (f"{lab}#0", f"{lab}#7", f"{lab}#x", f"{lab}#²"):
        with pytest.raises(DataError, match="has no row"):
            tables.row(item, ["age"])
    with pytest.raises(DataError, match=r"no column 'agee'\. Did you mean age"):
        tables.row(f"{lab}#1", ["agee"])
    write(lab, LAB.replace("41", "42") + "p7,1,f,1,ill\n")
    assert tables.row(f"{lab}#2", ["age"]) == b'{"age":"42"}'
    assert tables.read(lab).records()[0]["sex"] == "f"


def test_texts_of_any_kind_survive_as_raw_bytes(tmp_path: Path) -> None:
    long = "word " * 60_000
    rows = [{"text": 'Größe\n"x" \ud800', "n": None}, {"text": long, "n": float("nan")}, {"text": ["a"], "n": 3}]
    place = tmp_path / "t.jsonl"
    place.write_text("\n".join(json.dumps(row) for row in rows))
    assert [json.loads(tables.row(f"{place}#{i}", ["text"]))["text"] for i in (1, 2, 3)] == [r["text"] for r in rows]
    assert tables.row(f"{place}#2", ["n"]) == b'{"n":null}'
    write(tmp_path / "t.csv", f'text,label\n"{long}",x\n"two\nlines",y\n')
    assert json.loads(tables.row(f"{tmp_path / 't.csv'}#1", ["text"])) == {"text": long}
    assert json.loads(tables.row(f"{tmp_path / 't.csv'}#2", ["text"])) == {"text": "two\nlines"}


def test_tables_of_numbers_are_claimed() -> None:
    assert vector.claims([{"a": "1,5", "b": "2", "label": "x"}, {"a": "", "b": "3", "label": "y"}])
    assert not vector.claims([{"text": "hello there", "label": "1"}, {"text": "12", "label": "0"}])
    assert not vector.claims([{"id": 1, "text": "hello"}, {"id": 2, "text": "there"}])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=8), st.floats(), st.integers(), st.booleans(), st.none()), max_size=6))
def test_any_cell_is_a_finite_number_or_missing(values: list[Any]) -> None:
    for decimal in ".,":
        found, odd = cells.numbers(values, decimal)
        assert found.shape == (len(values),)
        assert not np.isinf(found).any()
        assert np.isnan(found[odd]).all()


def test_middles_and_spreads() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (1000, 5))
    x[:, 1] = 7
    x[:, 2] = np.nan
    x[:, 3] = (rng.random(1000) < 0.1) * 5.0  # mostly zero
    x[::3, 4] = np.nan
    x[0, 0] = 1e30
    centre, spread = cells.robust(x)
    known = x[np.isfinite(x[:, 4]), 4]
    first, middle, third = np.percentile(known, [25, 50, 75])
    np.testing.assert_allclose([centre[4], spread[4]], [middle, (third - first) / 1.349])
    assert centre[0] == pytest.approx(3, abs=0.2)
    assert spread[0] == pytest.approx(2, abs=0.2)
    assert (centre[1:4].tolist(), spread[1], spread[2]) == ([7, 0, 0], 0, 0)
    assert spread[3] == pytest.approx(1.5, abs=0.2)
    assert cells.robust(x[:0])[1].tolist() == [0] * 5


# ── what a backbone is fed ────────────────────────────────────────────────────────────────────────────────────────────


def test_columns_are_matched_by_name_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names, x = [f"g{i}" for i in range(9)], rng.normal(size=(40, 9))
    order = rng.permutation(9)

    def table(name: str, which: Any) -> Path:
        rows = [",".join([names[i] for i in which] + ["label"])]
        rows += [",".join([repr(float(x[r, i])) for i in which] + ["xy"[r % 2]]) for r in range(40)]
        return write(tmp_path / name, "\n".join(rows))

    _, reading, examples = read(table("a.csv", range(9)))
    input = vector.parse(json.loads(to_json(vector.suited({}, reading, examples))))
    fed = [vector.prepare(example, input)["x"] for example in examples]
    assert {(v.dtype, v.shape) for v in fed} == {(np.dtype(np.float32), (9,))}
    others = read(table("b.csv", order))[2]
    np.testing.assert_array_equal([vector.prepare(example, input)["x"] for example in others], fed)
    assert np.abs(np.median(fed, axis=0)).max() < 0.05

    _, fewer, partial = read(table("c.csv", [8, 2, 5]))
    assert list(vector.remarks(input, fewer, ())) == [
        f"The table lacks {len(names) - 3} of the backbone's {len(names)} columns, such as 'g0'."
    ]
    some = np.array([vector.prepare(example, input)["x"] for example in partial])
    np.testing.assert_array_equal(some[:, [2, 5, 8]], np.array(fed)[:, [2, 5, 8]])
    assert (np.delete(some, [2, 5, 8], axis=1) == 0).all()


def test_a_backbone_keeps_its_columns_on_another_table(tmp_path: Path) -> None:
    source = write(tmp_path / "s.csv", "a,b,sex,label\n" + "".join(f"{i},{i * i},{'fm'[i % 2]},x\n" for i in range(9)))
    target = write(tmp_path / "t.csv", "c,b,sex,label\n" + "".join(f"{i},{i + 5},{'mw'[i % 2]},y\n" for i in range(6)))
    _, learned, examples = read(source)
    stated = vector.suited({}, learned, examples)
    _, reading, others = read(target)
    assert vector.suited(stated, reading, others) == stated
    input = vector.parse(stated)
    assert "lacks 1 of" in next(vector.remarks(input, reading, ()))
    assert "'a'" in next(vector.remarks(input, reading, ()))
    fed = [vector.prepare(example, input)["x"] for example in others]
    assert [v[0] for v in fed] == [0] * 6
    assert [np.sign(v[2:]).tolist() for v in fed[:2]] == [[-1, 1], [-1, -1]]  # m is known, w is neither f nor m
    np.testing.assert_allclose(fed[0][1], (5 - 16) / input.spread[1], rtol=1e-6)

    named = vector.suited({"columns": ["b", "a"]}, learned, examples)
    assert (named["columns"], len(named["centre"])) == (["b", "a"], 2)
    strange = write(tmp_path / "u.csv", "p,q,label\n1,2,x\n2,1,y\n")
    with pytest.raises(BackboneError, match=r"knows the columns a, b, .* has none of them, but p, q"):
        vector.suited(stated, read(strange)[1], [])
    with pytest.raises(BackboneError, match="log=false"):
        vector.suited(stated, read(target, log=True)[1], others)


def test_middles_come_from_the_training_examples(lab: Path) -> None:
    _, reading, examples = read(lab)
    input = vector.parse(vector.suited({}, reading, (e for e in examples[:3])))
    assert input.columns == ("age", "crp")
    assert input.centre == (52, 2.2, 2 / 3, 1 / 3, 0)
    assert input.names == ("age", "crp", "sex=f", "sex=m", "sex=x")
    fed = vector.prepare(examples[4], input)["x"]
    assert (fed[2:] == 0).all()  # an unknown sex stands in the middle
    with pytest.raises(DataError, match="no training examples"):
        vector.suited({}, reading, [])


def test_columns_that_do_not_vary_are_not_learned_from(tmp_path: Path) -> None:
    place = write(tmp_path / "t.csv", "a,same,late,label\n" + "".join(f"{i},7,{i // 8},x\n" for i in range(10)))
    _, reading, examples = read(place)
    assert reading.columns == ("a", "same", "late")
    assert vector.suited({}, reading, examples[:8])["columns"] == ["a"]
    assert vector.suited({"columns": ["same", "a"]}, reading, examples)["spread"][0] == 1


def test_outliers_are_clipped_and_logarithms_are_taken(tmp_path: Path) -> None:
    place = write(tmp_path / "t.csv", "a,label\n" + "".join(f"{v},x\n" for v in [*range(20), 1e37, -1e37]))
    _, reading, examples = read(place)
    input = vector.parse(vector.suited({}, reading, examples[:20]))
    assert [vector.prepare(e, input)["x"][0] for e in examples[-2:]] == [8, -8]
    np.testing.assert_allclose(matrix(place, log=True)[:20, 0], np.log1p(np.arange(20)))
    assert matrix(place, log="true")[-1, 0] == pytest.approx(-np.log(1e37))


def test_views(lab: Path) -> None:
    _, reading, examples = read(lab)
    input = vector.parse(vector.suited({}, reading, examples))
    before = copy.deepcopy(examples[0])
    plain = vector.prepare(examples[0], input)["x"]
    views = np.stack([vector.vary(examples[0], input, np.random.default_rng(i))["x"] for i in range(200)])
    np.testing.assert_array_equal(views[3], vector.vary(examples[0], input, np.random.default_rng(3))["x"])
    np.testing.assert_array_equal(before.values, examples[0].values)
    assert 0.05 < (views[:, 0] == 0).mean() < 0.2
    assert np.abs(np.median(views, 0) - plain).max() < 0.05
    assert views.dtype == np.float32


def test_faults_of_an_input_are_all_named() -> None:
    with pytest.raises(PlanError, match=r"names of their own.*centre has 3.*spread must be above 0"):
        vector.parse({"columns": ["a", "a"], "centre": [1, 2, 3], "spread": [0, 1]})
    with pytest.raises(PlanError, match=r"no field .center.\. Did you mean centre"):
        vector.parse({"center": [1]})
    input = vector.parse({"columns": ["a"], "categories": {"z": ["u", "v"], "b": ["w"]}})
    assert input.names == ("a", "b=w", "z=u", "z=v")
    assert vector.schema(input)["x"]["shape"] == ["batch", 4]
    batch = vector.example(input, 5, np.random.default_rng(0))["x"]
    assert (batch.shape, batch.dtype) == ((5, 4), np.float32)
    import torch

    assert vector.front(input)(torch.from_numpy(batch)).shape == (5, 4)


# ── answering ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_that_are_handed_over(lab: Path) -> None:
    found, reading, _ = read(lab)
    for value in ({"age": "63", "sex": "f", "crp": "5.1", "id": 9}, '{"sex": "f", "crp": "5.1", "age": "63"}'):
        assert vector.given(value, reading) == vector.fetch(found.rows[0].item, reading)
    some = vector.decode(vector.given({"crp": np.float32(2.5), "sex": "m"}, reading), reading)
    np.testing.assert_array_equal(some.values, [np.nan, 2.5, 0, 1, 0])
    plain = vector.Reading(columns=("a", "b"))
    for numbers in ([1, 2.5], np.array([1, 2.5], np.float32), "[1, 2.5]"):
        np.testing.assert_array_equal(vector.decode(vector.given(numbers, plain), plain).values, [1, 2.5])
    for value, says in (
        ({"Age": 63, "crp": 5}, "no column 'Age'. Did you mean age"),
        ({"weight": 63}, "A row has 3 columns, and this one lacks 3: age, crp, sex. Give them, or null"),
        ({"crp": 5}, "lacks 2: age, sex"),
        ([1, 2, 3], "values by column"),
        ("crp 5", """no JSON of a row, such as '{"age": 1, "crp": 1, "sex": "f"}'"""),
        (17, "values by column"),
    ):
        with pytest.raises(DataError, match=says):
            vector.given(value, reading)


def test_a_table_to_answer_for_needs_no_labels_and_may_lack_columns(lab: Path, tmp_path: Path) -> None:
    found, reading, _ = read(lab)
    asked = json.loads(to_json(found.reading))
    bare = write(tmp_path / "new.csv", "crp,weight\n5.1,80\n,70\n")
    new = vector.find(bare, asked, labelled=False)
    assert [row.label for row in new.rows] == [None, None]
    assert from_dict(vector.Reading, new.reading) == reading
    assert any("lacks age, sex" in note for note in new.notes)
    example = vector.decode(vector.fetch(new.rows[0].item, reading), reading)
    np.testing.assert_array_equal(example.values, [np.nan, 5.1, np.nan, np.nan, np.nan])
    with pytest.raises(DataError, match="None of its 3 values is there"):
        vector.look(vector.fetch(new.rows[1].item, reading), reading)
    with pytest.raises(DataError, match="none of the columns age, crp, sex"):
        vector.find(write(tmp_path / "other.csv", "p,q\n1,2\n"), asked, labelled=False)
    assert vector.find(lab, {}, labelled=False).reading["columns"] == ("age", "crp")


def test_a_row_at_a_glance(lab: Path) -> None:
    found, reading, _ = read(lab)
    looks = [vector.look(vector.fetch(row.item, reading), reading) for row in found.rows]
    assert [look.known for look in looks] == [3, 3, 2, 2, 2, 3]
    assert {look.notes for look in looks} == {()}
    assert vector.look(b'{"age":"1"}', reading).notes == ("more than half empty",)
    for raw in (b"", b"nonsense", b"[1]", b'{"crp":"NA"}'):
        with pytest.raises(DataError):
            vector.look(raw, reading)


def test_wide_tables_are_quick(tmp_path: Path) -> None:
    x = np.random.default_rng(0).lognormal(size=(100, 12_000))
    place = tmp_path / "genes.csv"
    with place.open("w") as file:
        file.write(",".join([f"gene{i}" for i in range(12_000)]) + ",label\n")
        for i, row in enumerate(x):
            file.write(",".join(map(repr, row.tolist())) + f",{'xy'[i % 2]}\n")
    start = time.process_time()
    _, reading, examples = read(place)
    input = vector.parse(vector.suited({}, reading, examples))
    fed = np.stack([vector.prepare(example, input)["x"] for example in examples])
    assert time.process_time() - start < 20  # about 3 where nothing else runs
    assert fed.shape == (100, 12_000)
    assert survey.LEVELS == 20


def test_the_only_column_of_words_holds_the_labels(tmp_path: Path) -> None:
    lines = [f"s{k},{k * 0.37 % 1:.2f},{k * 0.71 % 1:.2f},{'benign' if k % 3 else 'grave'}" for k in range(30)]
    found = vector.find(write(tmp_path / "t.csv", "\n".join(["sample,CRP,LDH,finding", *lines])), {})
    assert found.names == ("finding",)
    assert "The labels are taken from the column 'finding'." in found.notes
    for name, noted in (("diagnosis", True), ("Label", False)):
        said = vector.find(write(tmp_path / "n.csv", "\n".join([f"sample,CRP,LDH,{name}", *lines])), {}).notes
        assert (f"The labels are taken from the column {name!r}." in said) == noted
    two = [f"{line},{'left' if k % 2 else 'right'}" for k, line in enumerate(lines)]
    with pytest.raises(DataError, match=r"Which column of .* holds the labels"):
        vector.find(write(tmp_path / "u.csv", "\n".join(["sample,CRP,LDH,finding,side", *two])), {})
