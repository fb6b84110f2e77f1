"""Small parquet files as pyarrow writes them: goldens for the data set reader.

Pinned: pyarrow 26.0.1. Run from the repository root:

    pip install pyarrow==26.0.1
    python scripts/goldens/datasets_parquet.py        # writes datasets/testdata/parquet/

All files of "good" hold the same rows, which golden.json repeats. The files of "bad" must be refused, with a message that has the
given words in it.
"""

import datetime
import json
import math
import pathlib
import shutil

import pyarrow as pa
import pyarrow.parquet as pq

OUT = pathlib.Path(__file__).resolve().parents[2] / "datasets" / "testdata" / "parquet"
NAMES = ["Janet", "Zoë", "Łukasz", "李", "Ana\u00a0Maria", "O’Neil"]


def rows(n=40):
    out = []
    for i in range(n):
        who = NAMES[i % len(NAMES)]
        unit = "€" if i % 5 == 0 else "$"
        question = f"{who} has {i + 2} eggs and sells them for {unit}{i % 3 + 1} each. How much is that?"
        if i % 7 == 0:
            question = f"{who}\tasks:\n\"How much?\" ½ \\ {{}}"
        total = (i + 2) * (i % 3 + 1) * (1000 if i % 9 == 0 else 1)
        # Answers repeat, so that dictionaries have something to do.
        out.append({"question": question, "answer": f"{total}\n#### {total:,}" if i % 4 else "It is 18.\n#### 18"})
    return out


def table(data, kind=None, nullable=True, columns=("question", "answer")):
    kind = kind or pa.string()
    schema = pa.schema([pa.field(c, kind, nullable=nullable) for c in columns])
    return pa.table({c: pa.array([r[c] for r in data], kind) for c in columns}, schema=schema)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    data = rows()
    plain = table(data)

    def write(name, t, **options):
        pq.write_table(t, OUT / f"{name}.parquet", **options)
        return name

    extra = plain.append_column("cleaning_status", pa.array(["consensus", None] * 20))
    extra = extra.add_column(0, "steps", pa.array([[i, i + 1] for i in range(40)], pa.list_(pa.int64())))
    extra = extra.append_column("source", pa.array([{"answer": "nested", "id": i} for i in range(40)]))
    good = [
        write("default", plain),
        write("none_plain", plain, compression="none", use_dictionary=False),
        write("gzip_v2", plain, compression="gzip", data_page_version="2.0"),
        write("zstd_groups", plain, compression="zstd", row_group_size=7),
        write("zstd_plain_v2", plain, compression="zstd", use_dictionary=False, data_page_version="2.0"),
        write("snappy_plain_groups_v2", plain, compression="snappy", use_dictionary=False, data_page_version="2.0", row_group_size=13),
        write("none_v2", plain, compression="none", data_page_version="2.0"),
        write("large_string", table(data, pa.large_string())),
        write("string_view", table(data, pa.string_view())),
        write("binary", table(data, pa.binary())),
        write("required", table(data, nullable=False)),
        write("required_v2", table(data, nullable=False), data_page_version="2.0"),
        write("small_pages", plain, data_page_size=128, write_batch_size=3, max_rows_per_page=3),
        write("dictionary_overflow", plain, dictionary_pagesize_limit=512, data_page_size=256, write_batch_size=4),
        write("format_1_0", plain, version="1.0", store_schema=False, write_statistics=False),
        write("index_and_checksum", plain, write_page_index=True, write_page_checksum=True),
        write("answer_first", table(data, columns=("answer", "question"))),
        write("other_columns", extra),
        write("brotli", plain, compression="brotli"),
        write("lz4_raw", plain, compression="lz4", data_page_version="2.0"),
        write("delta", plain, use_dictionary=False, column_encoding={"question": "DELTA_BYTE_ARRAY", "answer": "DELTA_LENGTH_BYTE_ARRAY"}),
        write("delta_v2", plain, use_dictionary=False, row_group_size=13, data_page_version="2.0",
              column_encoding={"question": "DELTA_LENGTH_BYTE_ARRAY", "answer": "DELTA_BYTE_ARRAY"}),
    ]
    null = [dict(r) for r in data]
    null[17] = {**null[17], "answer": None}
    no_gold = [dict(r) for r in data]
    no_gold[5] = {**no_gold[5], "answer": "no number"}
    bad = {
        write("null_answer", table(null), row_group_size=7): ["row 17", "answer", "null"],
        write("null_answer_v2", table(null), data_page_version="2.0"): ["row 17", "answer", "null"],
        write("no_gold", table(no_gold)): ["row 5", "####"],
        write("no_answer_column", plain.drop_columns(["answer"]).append_column("solution", pa.array(["x"] * 40))): ['no column "answer"', '"question"', '"solution"'],
        write("nested_answer", extra.drop_columns(["answer"])): ['no column "answer"', '"source.answer"'],
        write("date_answer", pa.table({"question": ["a"], "answer": [datetime.date(2024, 5, 12)]})): ["answer", "neither a text nor a number", "INT32, DATE"],
        write("list_answer", pa.table({"question": ["a"], "answer": [["b"]]})): ['no column "answer"'],
        write("no_rows", plain.slice(0, 0)): ["no rows"],
        write("no_columns", pa.table({})): ["no column", "no columns"],
        write("not_utf8", pa.table({"question": pa.array([b"\xff"]), "answer": pa.array([b"#### 1"])})): ["row 0", "question", "UTF-8"],
        write("nan_answer", pa.table({"question": ["a", "b"], "answer": [8.0, math.nan]})): ["row 1", "answer", "NaN", "not a finite number"],
        write("two_answers", pa.table([["a"], ["#### 1"], ["#### 2"]], names=["question", "answer", "answer"])): ['"answer" is there twice'],
        write("byte_stream_split", pa.table({"question": ["a"], "answer": [8.0]}), use_dictionary=False, use_byte_stream_split=["answer"]):
            ["answer", "BYTE_STREAM_SPLIT is not supported", "with PLAIN or dictionary encoding"],
        write("delta_numbers", pa.table({"question": ["a"], "answer": [8]}), use_dictionary=False, column_encoding={"answer": "DELTA_BINARY_PACKED"}):
            ["answer", "DELTA_BINARY_PACKED is not supported", "with PLAIN or dictionary encoding"],
        write("infinite_answer", pa.table({"question": ["a", "b"], "answer": [-math.inf, 8.0]})): ["row 0", "answer", "-Inf"],
    }
    # A data set whose answers and ids are numbers.
    write("numbers", pa.table({"ID": pa.array([7, 8], pa.int32()), "Problem": ["1+1?", "Half?"], "Answer": pa.array([204, -3], pa.int64()), "x": [0.5, 2.0]}))
    write("floats", pa.table({"question": list("abc"), "answer": pa.array([0.1, 8, -2.5e7], pa.float32())}))
    write("unsigned", pa.table({"question": list("abc"), "answer": pa.array([2**64 - 1, 2**63, 8], pa.uint64()),
                                "id": pa.array([2**32 - 1, 2**31, 7], pa.uint32()), "cluster": pa.array([255, 128, 1], pa.uint8())}))
    # Columns in groups and lists, as evaluators keep their samples: absent, empty, and with absent values.
    lists = [None if i % 11 == 0 else [r["answer"] if (i + k) % 5 else None for k in range(i % 4)] for i, r in enumerate(data)]
    groups = [None if i % 13 == 12 else {"id": str(i), "choices": lists[i], "steps": [[i], []]} for i in range(len(data))]
    nested = pa.table({"doc": groups, "text": pa.array(lists[::-1], pa.list_(pa.string())), "number": list(range(len(data)))})
    nested_files = [
        write("nested_default", nested),
        write("nested_v2", nested, compression="zstd", data_page_version="2.0", row_group_size=25),
        write("nested_small_pages", nested, data_page_size=64, write_batch_size=3, use_dictionary=False),
        write("nested_old_names", nested, use_compliant_nested_type=False),
    ]
    write("nested_empty_page", nested, data_page_size=64, write_batch_size=3, data_page_version="2.0")
    cells = [[[g["id"]] if g else [], [c for c in g["choices"] or [] if c] if g else [], [c for c in t or [] if c], [str(i)]]
             for i, (g, t) in enumerate(zip(groups, lists[::-1]))]
    golden = {"made": datetime.date.today().isoformat(), "pyarrow": pa.__version__, "rows": data, "good": good, "bad": bad,
              "nested": nested_files, "nested_rows": cells}
    (OUT / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, indent=0) + "\n")
    print(f"{OUT}: {sum(f.stat().st_size for f in OUT.iterdir())} bytes")


if __name__ == "__main__":
    main()
